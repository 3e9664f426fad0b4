"""Distinct values for each slot over a sliding window; exact up to a cap, then a sample.

Each (slot, value) that was seen lately is a *pair*; `last` is its latest pane. A pair counts
from its first touch until `width` panes after its last one:

    pane     0  1  2  3  4  5  6  7      width 3
    touches  x     x           x
    counts   +1             -1 +1        the touch at 2 continues the run that began at 0

A slot with more than `cap` pairs is sampled: it keeps only values whose hash has `level` low
zero bits, and its count is an estimate, pairs x 2**level (adaptive sampling, Flajolet 1990;
relative error about 1.2 / sqrt(cap)). The level falls back when the slot empties.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors import kernel
from detectors.mixing import Words, combine, mix
from detectors.ordering import by_log
from detectors.slots import SlotTable
from detectors.state import State, checked
from detectors.windows import SMALLEST, Changes, Ints, PaneLog

_Number = TypeVar("_Number", np.int64, np.int32, np.uint8)

LONG_AGO = np.int64(-(1 << 62))
DEFAULT_CAP = 1 << 15


@dataclass(frozen=True, slots=True, eq=False)
class Touches:
    """Rows of values that arrived: the slot, the pane, the value and the width of the slot's window."""

    slots: Ints
    panes: Ints
    values: Words
    widths: Ints


class DistinctWindow:
    """Counts of distinct values, for each slot, over the last panes of its window.

    widths: the window widths that occur, in panes; each arrival says which of them is its slot's.
    max_pairs bounds all slots together; a pair beyond it is not counted, only in `refused`.
    """

    def __init__(self, *widths: int, cap: int = DEFAULT_CAP, max_pairs: int = 1 << 19) -> None:
        self.cap = cap
        self._table = SlotTable(max_pairs)
        # Slots of the logs are pairs; the column says whether the touch began a run.
        self._logs = {width: PaneLog(1, width) for width in sorted(set(widths))}
        self._widths: Ints = np.array(list(self._logs), np.int64)
        self._last: Ints = np.zeros(SMALLEST, np.int64)
        self._began: Ints = np.zeros(SMALLEST, np.int64)
        self._owner: NDArray[np.int32] = np.zeros(SMALLEST, np.int32)
        self._width: NDArray[np.int32] = np.zeros(SMALLEST, np.int32)
        self._zeros: NDArray[np.uint8] = np.zeros(SMALLEST, np.uint8)  # low zero bits of the value's hash
        self.pairs: Ints = np.zeros(SMALLEST, np.int64)  # by slot
        self.level: Ints = np.zeros(SMALLEST, np.int64)  # by slot
        self.sampling = False  # whether any slot is sampled

    def __len__(self) -> int:
        """Pairs that are remembered."""
        return len(self._table)

    @property
    def refused(self) -> int:
        """Values that were not counted because the table was full."""
        return self._table.refused

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        self.pairs, self.level = (_grown(array, slots) for array in (self.pairs, self.level))

    def may_overflow(self, slots: Ints) -> bool:
        """Return whether these arrivals could push a slot over its cap: then close pane by pane."""
        if not len(slots):
            return False
        if self.sampling or len(self._table) + len(slots) > self._table.max_slots:
            return True
        return bool((np.bincount(slots, minlength=0) + self.pairs[: int(slots.max()) + 1] > self.cap).any())

    def close(self, touches: Touches, start: int, stop: int) -> Changes:
        """Close panes start..stop-1; signed changes of the count (one column)."""
        arrived = self._arrive(touches, start, stop - start)
        changes = Changes.joined([arrived, self._expire(stop)], 1)
        np.add.at(self.pairs, changes.slots, changes.deltas[:, 0])
        return changes

    def needs_resampling(self, slots: Ints) -> bool:
        """Return whether `resample` would change anything for these slots."""
        return self.sampling or bool((self.pairs[slots] > self.cap).any())

    def resample(self, slots: Ints) -> None:
        """Halve the sample of slots that hold too many pairs; called after a pane was closed."""
        for slot in np.unique(slots[self.pairs[slots] > self.cap]).tolist():
            while self.pairs[slot] > self.cap:
                self.level[slot] += 1
                mine = self._table.used[: self._table.capacity] & (self._owner[: self._table.capacity] == slot)
                self._drop(np.flatnonzero(mine & (self._zeros[: self._table.capacity] < self.level[slot])))
        empty = slots[self.pairs[slots] == 0]
        self.level[empty] = 0
        self.sampling = bool(self.level.any())

    def purge(self, slots: Ints) -> None:
        """Forget these slots and all their values."""
        live = self._table.used[: self._table.capacity]
        self._drop(np.flatnonzero(live & np.isin(self._owner[: self._table.capacity], slots)))
        self.pairs[slots], self.level[slots] = 0, 0

    def _arrive(self, touches: Touches, start: int, span: int) -> Changes:
        slots, panes, widths = touches.slots, touches.panes, touches.widths
        if not len(slots):
            return Changes.none(1)
        words, zeros = spread(touches.values)
        if self.sampling:
            kept = np.flatnonzero(zeros >= self.level[slots])
            slots, panes, widths = slots[kept], panes[kept], widths[kept]
            words, zeros = words[kept], zeros[kept]
        pairs, first = self._table.assign(combine(slots.view(np.uint64), words))
        self._reserve_pairs()
        fresh = pairs[first]
        self._last[fresh] = LONG_AGO
        self._owner[fresh], self._width[fresh] = slots[first], widths[first]
        self._zeros[fresh] = zeros[first]
        if (pairs < 0).any():
            admitted = pairs >= 0
            pairs, panes = pairs[admitted], panes[admitted]
        pair, pane, begins = self._touch(pairs.astype(np.int64), panes, start, span)
        self._log(pair, pane, begins, start, span)
        begun = np.flatnonzero(begins)
        return Changes(self._owner[pair[begun]].astype(np.int64), pane[begun], np.ones((len(begun), 1), np.int64))

    def _log(self, pair: Ints, pane: Ints, begins: NDArray[np.bool_], start: int, span: int) -> None:
        """Log touches, apart by width."""
        logs = np.searchsorted(self._widths, self._width[pair])
        order, bounds = by_log(logs, pane, start, span, len(self._logs))
        rows = Changes(pair, pane, begins.astype(np.int64)[:, None])
        for log, first, end in zip(self._logs.values(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            log.append_ordered(rows.taken(order[first:end]))  # arrays of its own, given back when its window has passed

    def _touch(self, pairs: Ints, panes: Ints, start: int, span: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Return each (pair, pane) once and in order; and whether it begins a run."""
        if kernel.native is not None and span <= kernel.MOST_PANES:
            return kernel.touch(pairs, panes, start, span, (self._last, self._began, self._width))
        codes = pairs * span + (panes - start)
        codes.sort()
        codes = codes[np.concatenate(([True], codes[1:] != codes[:-1]))] if len(codes) else codes
        pair = codes // span
        pane = codes - pair * span + start
        head = np.concatenate(([True], pair[1:] != pair[:-1])) if len(pair) else np.zeros(0, np.bool_)
        before = np.where(head, self._last[pair], np.roll(pane, 1))
        begins = pane - before >= self._width[pair]
        self._last[pair] = pane  # the last assignment of a pair wins: its latest pane
        self._began[pair[begins]] = pane[begins]
        return pair, pane, begins

    def _expire(self, stop: int) -> Changes:
        left = Changes.joined([part for log in self._logs.values() if len((part := log.expire(stop)).slots)], 1)
        if not len(left.slots):
            return Changes.none(1)
        ended, panes, gone = self._leave(left)
        self._table.remove(gone)
        owners = self._owner[ended].astype(np.int64)
        return Changes(owners, panes, np.full((len(owners), 1), -1, np.int64))

    def _leave(self, left: Changes) -> tuple[Ints, Ints, Ints]:
        """Return the runs (pair, pane) that end with touches that left their windows, and the pairs to forget."""
        if kernel.native is not None and int(left.panes.max()) - int(left.panes.min()) < kernel.MOST_PANES:
            begun = np.ascontiguousarray(left.deltas[:, 0])
            return kernel.leave((left.slots, left.panes, begun), (self._width, self._last, self._began))
        order = np.lexsort((left.panes, left.slots))
        pair, began = left.slots[order], left.deltas[order, 0] == 1
        width = self._width[pair]
        touched = left.panes[order] - width
        following = np.concatenate((pair[1:] == pair[:-1], [False]))
        later = np.where(following, ~np.roll(began, -1), (self._last[pair] > touched) & (self._began[pair] <= touched))
        ends = ~later
        gone = pair[~following & (self._last[pair] == touched)]
        return pair[ends], (touched + width)[ends], gone

    def _drop(self, pairs: Ints) -> None:
        """Take pairs out at once; their rows in the log go with them."""
        np.subtract.at(self.pairs, self._owner[pairs], 1)
        self._table.remove(pairs)
        for log in self._logs.values():
            rows = log.rows()
            log.restart(rows.rows(~np.isin(rows.slots, pairs)))

    def _reserve_pairs(self) -> None:
        size = self._table.capacity
        self._last, self._began = _grown(self._last, size), _grown(self._began, size)
        self._owner, self._width = _grown(self._owner, size), _grown(self._width, size)
        self._zeros = _grown(self._zeros, size)

    def state(self) -> State:
        """Return pairs, log and levels, as arrays."""
        size = self._table.capacity
        logs = {str(width): log.rows() for width, log in self._logs.items()}
        return {
            "table": self._table.state(),
            "last": self._last[:size],
            "began": self._began[:size],
            "owner": self._owner[:size],
            "width": self._width[:size],
            "zeros": self._zeros[:size],
            "pairs": self.pairs,
            "level": self.level,
            "logs": {
                name: {"pairs": rows.slots.astype(np.int32), "panes": rows.panes, "began": rows.deltas.astype(np.int8)}
                for name, rows in logs.items()
            },
        }

    def restore(self, state: State, closed: int | None = None, slots: int | None = None) -> None:
        """Continue from `state`; panes before `closed` are closed, `slots` is how many there are."""
        self._table = SlotTable.restored(self._table.max_slots, state["table"])
        self._reserve_pairs()
        size = self._table.capacity
        self._last[:size] = checked(state, "last", np.int64, size)
        self._began[:size] = checked(state, "began", np.int64, size)
        self._zeros[:size] = checked(state, "zeros", np.uint8, size)
        self.pairs = checked(state, "pairs", np.int64, bounds=(0, 1 << 31)).copy()
        self.level = checked(state, "level", np.int64, len(self.pairs), (0, 65)).copy()
        slots = len(self.pairs) if slots is None else slots
        self.reserve(slots)
        self._owner[:size] = checked(state, "owner", np.int32, size, (0, max(slots, 1)))
        self._width[:size] = checked(state, "width", np.int32, size)
        if not np.isin(self._width[:size], self._widths).all():
            raise ValueError("a pair of no window")
        self.sampling = bool(self.level.any())
        for width, log in self._logs.items():
            rows = state["logs"][str(width)]
            panes = checked(rows, "panes", np.int64, bounds=None if closed is None else (closed - width, closed))
            pairs = checked(rows, "pairs", np.int32, len(panes), (0, size)).astype(np.int64)
            began = checked(rows, "began", np.int8, len(panes), (0, 2), columns=1).astype(np.int64)
            log.restart(Changes(pairs, panes, began))


def spread(values: Words) -> tuple[Words, NDArray[np.uint8]]:
    """Return a hash of each value, and its number of low zero bits."""
    if kernel.native is not None:
        return kernel.spread(values)
    words = mix(values)
    low = np.maximum(words & (~words + np.uint64(1)), np.uint64(1)).astype(np.float64)
    return words, np.where(words == 0, 64, np.log2(low)).astype(np.uint8)


def _grown(array: NDArray[_Number], size: int) -> NDArray[_Number]:
    """Return the array with room for `size` entries, at least."""
    if size <= len(array):
        return array
    grown = np.zeros(1 << (size - 1).bit_length(), array.dtype)
    grown[: len(array)] = array
    return grown
