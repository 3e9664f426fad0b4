"""Sliding windows of panes over integer columns, for all keys at once and many panes at once.

    pane      0  1  2  3  4  5        width 3: the window at pane p is panes p-2, p-1, p
    arrivals  5        2
    expiries           -5       -2    an arrival of pane p leaves at pane p + width
    value     5  5  5  2  2  2->0

Arrivals and expiries are one list of changes, sorted by (slot, pane); a cumulative sum for
each slot gives the window's value wherever it changed. Cost follows the number of changes,
never keys x panes, and stretches without any change cost nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.state import State, checked

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
SMALLEST = 64


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Rows (slot, pane, one integer for each column), in any order."""

    slots: Ints
    panes: Ints
    deltas: Ints  # rows x columns

    @classmethod
    def none(cls, columns: int) -> Changes:
        """Return no change at all."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, columns), np.int64))

    def rows(self, chosen: NDArray[np.bool_]) -> Changes:
        """Return the chosen rows."""
        return Changes(self.slots[chosen], self.panes[chosen], self.deltas[chosen])

    def taken(self, order: NDArray[np.intp]) -> Changes:
        """Return these rows, in this order."""
        return Changes(self.slots[order], self.panes[order], self.deltas[order])

    def part(self, start: int, stop: int) -> Changes:
        """Return rows start to stop - 1; nothing is copied."""
        return Changes(self.slots[start:stop], self.panes[start:stop], self.deltas[start:stop])

    @classmethod
    def joined(cls, parts: list[Changes], columns: int) -> Changes:
        """Return all parts in one."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.none(columns)
        return cls(
            np.concatenate([part.slots for part in parts]),
            np.concatenate([part.panes for part in parts]),
            np.concatenate([part.deltas for part in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """The window's value wherever it changed, sorted by (slot, pane): one row each.

    deltas: what the row changed; values - deltas is what stood there before.
    live: panes with arrivals in the window, 0 when the window is empty.
    first: marks the first row of each slot.
    """

    slots: Ints
    panes: Ints
    values: Ints  # rows x columns
    deltas: Ints  # rows x columns
    live: Ints
    first: NDArray[np.bool_]


def sum_by_code(codes: Ints, deltas: Ints) -> tuple[Ints, Ints]:
    """Return distinct codes in order, and the sum of the rows of each."""
    if not len(codes):
        return codes, deltas
    if len(codes) > 1 and not (codes[1:] > codes[:-1]).all():
        order = np.argsort(codes, kind="stable")
        codes, deltas = codes[order], deltas[order]
        starts = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
        if len(starts) < len(codes):
            return codes[starts], np.add.reduceat(deltas, starts, axis=0)
    return codes, deltas


class PaneLog:
    """What entered the window and when, so that it can leave.

    One chunk for each closing, oldest first, its rows in order of panes. Closings do not overlap, so when a chunk
    keeps a row, all later chunks keep all of theirs.
    """

    def __init__(self, columns: int, width: int) -> None:
        self._columns, self._width = columns, width
        self._chunks: deque[Changes] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, arrivals: Changes) -> None:
        """Keep these until they expire."""
        panes = arrivals.panes
        if (panes[1:] < panes[:-1]).any():
            arrivals = arrivals.taken(np.argsort(panes, kind="stable"))
        self.append_ordered(arrivals)

    def append_ordered(self, arrivals: Changes) -> None:
        """Keep these until they expire; they are in order of panes."""
        if len(arrivals.slots):
            self._chunks.append(arrivals)
            self._length += len(arrivals.slots)

    def next_expiry(self) -> int | None:
        """Return the pane at which the next row leaves."""
        return int(self._chunks[0].panes[0]) + self._width if self._chunks else None

    def expire(self, stop: int) -> Changes:
        """Take out all rows that leave before pane `stop`; their panes are those of leaving."""
        limit = stop - self._width  # rows of panes before this leave before `stop`
        gone: list[Changes] = []
        while self._chunks and self._chunks[0].panes[0] < limit:
            chunk = self._chunks.popleft()
            leave = int(np.searchsorted(chunk.panes, limit))
            gone.append(chunk.part(0, leave))
            if leave < len(chunk.panes):
                self._chunks.appendleft(chunk.part(leave, len(chunk.panes)))
        if not gone:
            return Changes.none(self._columns)
        expired = Changes.joined(gone, self._columns)
        self._length -= len(expired.slots)
        return Changes(expired.slots, expired.panes + self._width, expired.deltas)

    def rows(self) -> Changes:
        """Return all rows in the log, oldest closing first."""
        return Changes.joined(list(self._chunks), self._columns)

    def restart(self, rows: Changes) -> None:
        """Hold just these rows, in chunks that can expire from the head."""
        self._chunks.clear()
        self._length = 0
        order = np.argsort(rows.panes, kind="stable")
        marks = np.flatnonzero(np.diff(rows.panes[order])) + 1
        for part in np.split(order, marks):
            self.append(Changes(rows.slots[part], rows.panes[part], rows.deltas[part]))


class Window:
    """Sums of `columns` integer columns over the last `width` panes, for each slot."""

    def __init__(self, columns: int, width: int) -> None:
        self.columns, self.width = columns, width
        self.values: Ints = np.zeros((SMALLEST, columns), np.int64)
        self.live: NDArray[np.int32] = np.zeros(SMALLEST, np.int32)
        self.log = PaneLog(columns, width)

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        if slots > len(self.live):
            size = 1 << (slots - 1).bit_length()
            grown = np.zeros((size, self.columns), np.int64)
            grown[: len(self.live)] = self.values
            live = np.zeros(size, np.int32)
            live[: len(self.live)] = self.live
            self.values, self.live = grown, live

    def close(self, arrivals: Changes, extra: Changes, start: int, stop: int) -> Decided:
        """Close panes start..stop-1: the window's value wherever it changed.

        arrivals enter and will expire; extra are signed changes that the caller takes back itself
        (distinct counts). All are of the panes that close.
        """
        span = stop - start
        codes, sums = sum_by_code(arrivals.slots * span + (arrivals.panes - start), arrivals.deltas)
        entered = Changes(codes // span, codes % span + start, sums)
        self.log.append(entered)
        left = self.log.expire(stop)
        steps = np.concatenate(
            [np.ones(len(codes), np.int64), np.zeros(len(extra.slots), np.int64), np.full(len(left.slots), -1)]
        )
        others = [part.slots * span + (part.panes - start) for part in (extra, left)]
        every = np.concatenate([codes, *others])
        deltas = np.concatenate([sums, extra.deltas, -left.deltas])
        return self._decide(every, np.column_stack([deltas, steps]), start, span)

    def _decide(self, codes: Ints, deltas: Ints, start: int, span: int) -> Decided:
        codes, deltas = sum_by_code(codes, deltas)
        slots = codes // span
        first = np.concatenate(([True], slots[1:] != slots[:-1])) if len(slots) else np.zeros(0, np.bool_)
        sums = np.cumsum(deltas, axis=0)
        heads = np.flatnonzero(first)
        lengths = np.diff(np.append(heads, len(slots)))
        owners = slots[heads]
        base = np.column_stack([self.values[owners], self.live[owners]]) - (sums[heads] - deltas[heads])
        sums += np.repeat(base, lengths, axis=0)
        ends = heads + lengths - 1
        self.values[owners] = sums[ends, :-1]
        self.live[owners] = sums[ends, -1]
        return Decided(slots, codes % span + start, sums[:, :-1], deltas[:, :-1], sums[:, -1], first)

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        self.values[slots] = 0
        self.live[slots] = 0
        rows = self.log.rows()
        self.log.restart(rows.rows(~np.isin(rows.slots, slots)))

    def state(self) -> State:
        """Log and values, as arrays."""
        rows = self.log.rows()
        used = np.flatnonzero((self.live != 0) | self.values.any(axis=1))
        return {
            "used": used,
            "values": self.values[used],
            "live": self.live[used],
            "slots": rows.slots.astype(np.int32),
            "panes": rows.panes,
            "deltas": rows.deltas,
        }

    def restore(self, state: State, closed: int | None = None) -> None:
        """Continue from `state`; panes before `closed` are closed."""
        room = len(self.live)  # the caller has reserved the slots that there are
        used = checked(state, "used", np.int64, bounds=(0, room))
        self.values[used] = checked(state, "values", np.int64, len(used), columns=self.columns)
        self.live[used] = checked(state, "live", np.int32, len(used))
        panes = checked(state, "panes", np.int64, bounds=None if closed is None else (closed - self.width, closed))
        slots = checked(state, "slots", np.int32, len(panes), (0, room)).astype(np.int64)
        self.log.restart(Changes(slots, panes, checked(state, "deltas", np.int64, len(panes), columns=self.columns)))
