"""How often each (slot, value) pair occurred over a sliding window: the ground of shares, entropies and quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.mixing import Words, combine, mix
from detectors.slots import SlotTable
from detectors.state import State, checked
from detectors.windows import SMALLEST, Changes, Ints, Window


@dataclass(frozen=True, slots=True, eq=False)
class PairCounts:
    """Pairs whose count changed, sorted by (pair, pane): the slot of each, and its count before and after."""

    owners: Ints
    panes: Ints
    before: Ints
    after: Ints


class PairWindow:
    """Counts of (slot, value) pairs over the last `width` panes; at most max_pairs pairs for all slots together.

    Called once for each closing, as `assign` and then `close`. Rows of pairs beyond max_pairs are left out and counted
    in `refused`.
    """

    def __init__(self, width: int, max_pairs: int) -> None:
        self.width = width
        self._table = SlotTable(max_pairs)
        self._window = Window(1, width)
        self._owner: Ints = np.zeros(SMALLEST, np.int64)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def refused(self) -> int:
        """Values that were not counted because the table was full."""
        return self._table.refused

    @property
    def capacity(self) -> int:
        """Pairs have numbers below this one."""
        return self._table.capacity

    def next_expiry(self) -> int | None:
        """Return the pane at which the next row leaves, None when the window is empty."""
        return self._window.log.next_expiry()

    def assign(self, slots: Ints, values: Words) -> tuple[Ints, NDArray[np.intp]]:
        """Return the pair of each row, -1 where the table is full; and for each new pair, the first row that has it."""
        pairs, first = self._table.assign(combine(slots.astype(np.uint64), mix(values)))
        if self._table.capacity > len(self._owner):
            grown = np.zeros(1 << (self._table.capacity - 1).bit_length(), np.int64)
            grown[: len(self._owner)] = self._owner
            self._owner = grown
        self._owner[pairs[first]] = slots[first]
        self._window.reserve(self._table.capacity)
        return pairs.astype(np.int64), first

    def close(self, pairs: Ints, panes: Ints, start: int, stop: int) -> PairCounts:
        """Close panes start..stop-1 with these arrivals, and forget the pairs whose count fell to zero."""
        admitted = pairs >= 0
        ones = np.ones((int(admitted.sum()), 1), np.int64)
        arrivals = Changes(pairs[admitted], panes[admitted], ones)
        decided = self._window.close(arrivals, Changes.none(1), start, stop)
        after = decided.values[:, 0]
        owners = self._owner[decided.slots]
        self._table.remove(decided.slots[(decided.live == 0) & _last_rows(decided.first)])
        return PairCounts(owners, decided.panes, after - decided.deltas[:, 0], after)

    def of(self, slots: Ints) -> tuple[Ints, Ints, Ints]:
        """Return all pairs of these slots as of the last closed pane: the pairs, their slots and their counts."""
        live = np.flatnonzero(self._table.used[: self._table.capacity])
        owners = self._owner[live]
        wanted = np.zeros(int(max(slots.max(initial=-1), owners.max(initial=-1))) + 1, np.bool_)
        wanted[slots] = True
        chosen = wanted[owners]
        pairs = live[chosen]
        return pairs, owners[chosen], self._window.values[pairs, 0]

    def purge(self, slots: Ints) -> None:
        """Forget these slots and all their values."""
        pairs, _, _ = self.of(slots)
        self._window.purge(pairs)
        self._table.remove(pairs)

    def state(self) -> State:
        """Return pairs and their window, as arrays."""
        return {
            "table": self._table.state(),
            "window": self._window.state(),
            "owner": self._owner[: self._table.capacity],
        }

    def restore(self, state: State, closed: int | None = None, slots: int | None = None) -> None:
        """Continue from `state`. closed: panes before it are closed; slots: their number. ValueError on misfits."""
        self._table = SlotTable.restored(self._table.max_slots, state["table"])
        size = self._table.capacity
        self._window = Window(1, self.width)
        self._window.reserve(size)
        self._window.restore(state["window"], closed)
        self._owner = np.zeros(max(SMALLEST, 1 << max(size - 1, 0).bit_length()), np.int64)
        self._owner[:size] = checked(state, "owner", np.int64, size, (0, 1 << 31 if slots is None else max(slots, 1)))


def _last_rows(first: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.concatenate((first[1:], [True])) if len(first) else first
