"""How a window's rows are spread over values, for each slot: top share and entropy.

Counts are kept for each (slot, value) pair in a window of their own. Entropy needs only the
sum of c*log2(c), which changes with each count, so it stays exact and invertible as an
integer (fixed point), whatever the order of arrival.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.mixing import Words, combine, mix
from detectors.slots import SlotTable
from detectors.state import State
from detectors.windows import SMALLEST, Changes, Ints, Window

FIXED_POINT = 1 << 20  # of c*log2(c); 2**30 rows of one value still fit in 63 bits


def _weight(counts: Ints) -> Ints:
    return np.rint(counts * np.log2(np.maximum(counts, 1)) * FIXED_POINT).astype(np.int64)


def entropy_bits(total: Ints, weight: Ints) -> NDArray[np.float64]:
    """Shannon entropy in bits from the number of rows and the sum of c*log2(c) in fixed point."""
    rows = np.maximum(total, 1).astype(np.float64)
    return np.maximum(np.where(total > 0, np.log2(rows) - weight / FIXED_POINT / rows, 0.0), 0.0)


class ValueCounts:
    """Counts of each value for each slot over the last `width` panes; at most max_pairs pairs.

    Rows of pairs beyond are left out and counted in `refused`.
    """

    def __init__(self, width: int, *, max_pairs: int = 1_000_000) -> None:
        self._table = SlotTable(max_pairs)
        self._window = Window(1, width)
        self._owner: Ints = np.zeros(SMALLEST, np.int64)

    def __len__(self) -> int:
        """Pairs that are remembered."""
        return len(self._table)

    @property
    def refused(self) -> int:
        """Values that were not counted because the table was full."""
        return self._table.refused

    def next_expiry(self) -> int | None:
        """The pane at which the next row leaves."""
        return self._window.log.next_expiry()

    def close(self, slots: Ints, panes: Ints, values: Words, start: int, stop: int) -> Changes:
        """Close panes start..stop-1; signed changes of (rows, sum of c*log2(c)) for each slot."""
        pairs, first = self._table.assign(combine(slots.astype(np.uint64), mix(values)))
        if self._table.capacity > len(self._owner):
            grown = np.zeros(1 << (self._table.capacity - 1).bit_length(), np.int64)
            grown[: len(self._owner)] = self._owner
            self._owner = grown
        self._owner[pairs[first]] = slots[first]
        self._window.reserve(self._table.capacity)
        admitted = pairs >= 0
        ones = np.ones((int(admitted.sum()), 1), np.int64)
        arrivals = Changes(pairs[admitted].astype(np.int64), panes[admitted], ones)
        decided = self._window.close(arrivals, Changes.none(1), start, stop)
        now = decided.values[:, 0]
        before = now - decided.deltas[:, 0]
        owners = self._owner[decided.slots]
        self._table.remove(decided.slots[(decided.live == 0) & _last_rows(decided.first)])
        return Changes(owners, decided.panes, np.column_stack([now - before, _weight(now) - _weight(before)]))

    def tops(self, slots: Ints) -> Ints:
        """The count of each slot's most frequent value, as of the last closed pane."""
        if not len(slots):
            return slots
        size = self._table.capacity
        live = np.flatnonzero(self._table.used[:size])
        most = np.zeros(int(max(slots.max(), self._owner[live].max(initial=0))) + 1, np.int64)
        np.maximum.at(most, self._owner[live], self._window.values[live, 0])
        return most[slots]

    def purge(self, slots: Ints) -> None:
        """Forget these slots and all their values."""
        live = np.flatnonzero(self._table.used[: self._table.capacity])
        gone = live[np.isin(self._owner[live], slots)]
        self._window.purge(gone)
        self._table.remove(gone)

    def state(self) -> State:
        """Pairs and their window, as arrays."""
        return {
            "table": self._table.state(),
            "window": self._window.state(),
            "owner": self._owner[: self._table.capacity],
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._table = SlotTable.restored(self._table.max_slots, state["table"])
        self._window.reserve(self._table.capacity)
        self._window.restore(state["window"])
        self._owner = np.zeros(max(SMALLEST, self._table.capacity), np.int64)
        self._owner[: self._table.capacity] = state["owner"]


def _last_rows(first: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.concatenate((first[1:], [True])) if len(first) else first
