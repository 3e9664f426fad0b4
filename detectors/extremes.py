"""Least, greatest and latest values for each slot over a sliding window.

Least and greatest cannot be taken back by subtraction, so they are looked up in the log of
the window for the slots that changed; such rules are closed pane by pane.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.state import State, checked
from detectors.windows import SMALLEST, Changes, Ints, PaneLog


class Extremes:
    """The least or greatest value of each slot over the last `width` panes."""

    def __init__(self, width: int, *, least: bool) -> None:
        self._log = PaneLog(1, width)
        self._width = width
        self._fold = np.minimum if least else np.maximum
        self._start = np.iinfo(np.int64).max if least else np.iinfo(np.int64).min

    def next_expiry(self) -> int | None:
        """Return the pane at which the next row leaves."""
        return self._log.next_expiry()

    def close(self, slots: Ints, values: Ints, pane: int) -> None:
        """Close one pane."""
        if len(slots):
            order = np.argsort(slots, kind="stable")
            heads = np.flatnonzero(np.diff(slots[order], prepend=-1))
            folded = self._fold.reduceat(values[order], heads)
            self._log.append(Changes(slots[order][heads], np.full(len(heads), pane), folded[:, None]))
        self._log.expire(pane + 1)

    def take(self, slots: Ints, panes: Ints, values: Ints) -> None:
        """Take the rows of several panes, none earlier than those of before; nothing leaves until `expire`."""
        if len(slots):
            order = np.lexsort((slots, panes))
            slots, panes = slots[order], panes[order]
            heads = np.flatnonzero((np.diff(slots, prepend=-1) != 0) | (np.diff(panes, prepend=-1) != 0))
            folded = self._fold.reduceat(values[order], heads)
            self._log.append_ordered(Changes(slots[heads], panes[heads], folded[:, None]))

    def over(self, slots: Ints, panes: Ints) -> Ints:
        """Return the extreme of each slot over the window that ends with each of these panes, 0 where it is empty.

        The windows must not reach behind what `expire` has dropped. In time of rows times panes in a window.
        """
        rows = self._log.rows()
        if not len(rows.slots) or not len(slots):
            return np.zeros(len(slots), np.int64)
        order = np.lexsort((rows.panes, rows.slots))
        base = min(int(rows.panes.min()), int(panes.min()) - self._width)
        span = max(int(rows.panes.max()), int(panes.max())) - base + 2
        codes = rows.slots[order] * span + (rows.panes[order] - base)
        begin = np.searchsorted(codes, slots * span + (panes - self._width + 1 - base))
        end = np.searchsorted(codes, slots * span + (panes - base), side="right")
        padded = np.append(rows.deltas[order, 0], self._start)
        folded = self._fold.reduceat(padded, np.column_stack((begin, end)).ravel())[::2]
        return np.where(end > begin, folded, 0)

    def expire(self, stop: int) -> None:
        """Drop all rows that have left the windows that end at `stop` and later."""
        self._log.expire(stop)

    def of(self, slots: Ints) -> Ints:
        """Return the extreme of each slot, 0 where the window is empty."""
        rows = self._log.rows()
        size = int(max(slots.max(initial=0), rows.slots.max(initial=0))) + 1
        folded, present = np.full(size, self._start, np.int64), np.zeros(size, np.bool_)
        self._fold.at(folded, rows.slots, rows.deltas[:, 0])
        present[rows.slots] = True
        return np.where(present[slots], folded[slots], 0)

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        rows = self._log.rows()
        self._log.restart(rows.rows(~np.isin(rows.slots, slots)))

    def state(self) -> State:
        """Return the log, as arrays."""
        rows = self._log.rows()
        return {"slots": rows.slots, "panes": rows.panes, "values": rows.deltas[:, 0]}

    def restore(self, state: State, closed: int | None = None, slots: int | None = None) -> None:
        """Continue from `state`. closed: panes before it are closed; slots: their number. ValueError on misfits."""
        panes = checked(state, "panes", np.int64, bounds=None if closed is None else (closed - self._width, closed))
        highest = 1 << 24 if slots is None else max(slots, 1)  # `of` takes memory by the largest
        owners = checked(state, "slots", np.int64, len(panes), (0, highest))
        self._log.restart(Changes(owners, panes, checked(state, "values", np.int64, len(panes))[:, None]))


class Latest:
    """The latest value of each slot, as signed changes; equal times are settled by the greater value."""

    def __init__(self) -> None:
        self.values: Ints = np.zeros(SMALLEST, np.int64)

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        if slots > len(self.values):
            grown = np.zeros(1 << (slots - 1).bit_length(), np.int64)
            grown[: len(self.values)] = self.values
            self.values = grown

    def close(self, slots: Ints, panes: Ints, times: Ints, values: Ints) -> Changes:
        """Return signed changes of the latest value, one for each (slot, pane) with arrivals."""
        if not len(slots):
            return Changes.none(1)
        order = np.lexsort((values, times, panes, slots))
        slot, pane, value = slots[order], panes[order], values[order]
        ends = np.flatnonzero(np.concatenate(((slot[1:] != slot[:-1]) | (pane[1:] != pane[:-1]), [True])))
        slot, pane, value = slot[ends], pane[ends], value[ends]
        head: NDArray[np.bool_] = np.concatenate(([True], slot[1:] != slot[:-1]))
        before = np.where(head, self.values[slot], np.roll(value, 1))
        self.values[slot] = value  # the last assignment of a slot wins: its latest pane
        return Changes(slot, pane, (value - before)[:, None])

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        self.values[slots] = 0

    def state(self) -> State:
        """Return the values, as an array."""
        return {"values": self.values}

    def restore(self, state: State, closed: int | None = None, slots: int | None = None) -> None:  # noqa: ARG002 - as all
        """Continue from `state`; `reserve` makes room for slots that it lacks. ValueError on misfits."""
        self.values = checked(state, "values", np.int64).copy()
