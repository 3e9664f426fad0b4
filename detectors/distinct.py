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

import numpy as np
from numpy.typing import NDArray

from detectors.mixing import Words, combine, mix
from detectors.slots import SlotTable
from detectors.state import State
from detectors.windows import SMALLEST, Changes, Ints, PaneLog

LONG_AGO = np.int64(-(1 << 62))
DEFAULT_CAP = 4096


class DistinctWindow:
    """Counts of distinct values, for each slot, over the last `width` panes.

    max_pairs bounds all slots together; a pair beyond it is not counted, only in `refused`.
    """

    def __init__(self, width: int, *, cap: int = DEFAULT_CAP, max_pairs: int = 1_000_000) -> None:
        self.width, self.cap = width, cap
        self._table = SlotTable(max_pairs)
        self._log = PaneLog(1, width)  # slots are pairs; the column says whether the touch began a run
        self._last: Ints = np.zeros(SMALLEST, np.int64)
        self._began: Ints = np.zeros(SMALLEST, np.int64)
        self._owner: Ints = np.zeros(SMALLEST, np.int64)
        self._zeros: NDArray[np.uint8] = np.zeros(SMALLEST, np.uint8)  # low zero bits of the value's hash
        self.pairs: Ints = np.zeros(SMALLEST, np.int64)  # by slot
        self.level: Ints = np.zeros(SMALLEST, np.int64)  # by slot

    @property
    def refused(self) -> int:
        """Values that were not counted because the table was full."""
        return self._table.refused

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        self.pairs, self.level = (_grown(array, slots) for array in (self.pairs, self.level))

    def may_overflow(self, slots: Ints) -> bool:
        """Whether these arrivals could push a slot over its cap: then close pane by pane."""
        if not len(slots):
            return False
        if (self.level[slots] > 0).any():
            return True
        return bool((np.bincount(slots, minlength=0) + self.pairs[: int(slots.max()) + 1] > self.cap).any())

    def close(self, slots: Ints, panes: Ints, values: Words, start: int, stop: int) -> Changes:
        """Close panes start..stop-1; signed changes of the count (one column)."""
        arrived = self._arrive(slots, panes, values, start, stop - start)
        expired = self._expire(stop)
        changes = Changes.joined([arrived, expired], 1)
        np.add.at(self.pairs, changes.slots, changes.deltas[:, 0])
        return changes

    def needs_resampling(self, slots: Ints) -> bool:
        """Whether `resample` would change anything for these slots."""
        return bool(((self.pairs[slots] > self.cap) | (self.level[slots] > 0)).any())

    def resample(self, slots: Ints) -> None:
        """After a pane was closed: halve the sample of slots that hold too many pairs."""
        for slot in np.unique(slots[self.pairs[slots] > self.cap]).tolist():
            while self.pairs[slot] > self.cap:
                self.level[slot] += 1
                mine = self._table.used[: self._table.capacity] & (self._owner[: self._table.capacity] == slot)
                self._drop(np.flatnonzero(mine & (self._zeros[: self._table.capacity] < self.level[slot])))
        empty = slots[self.pairs[slots] == 0]
        self.level[empty] = 0

    def purge(self, slots: Ints) -> None:
        """Forget these slots and all their values."""
        live = self._table.used[: self._table.capacity]
        self._drop(np.flatnonzero(live & np.isin(self._owner[: self._table.capacity], slots)))
        self.pairs[slots], self.level[slots] = 0, 0

    def _arrive(self, slots: Ints, panes: Ints, values: Words, start: int, span: int) -> Changes:
        if not len(slots):
            return Changes.none(1)
        spread = mix(values)
        low = spread & (~spread + np.uint64(1))
        zeros = np.where(spread == 0, 64, np.log2(np.maximum(low, np.uint64(1)).astype(np.float64))).astype(np.uint8)
        kept = np.flatnonzero(zeros >= self.level[slots])
        slots, panes, spread, zeros = slots[kept], panes[kept], spread[kept], zeros[kept]
        pairs, first = self._table.assign(combine(slots.astype(np.uint64), spread))
        self._reserve_pairs()
        fresh = pairs[first]
        self._last[fresh] = LONG_AGO
        self._owner[fresh], self._zeros[fresh] = slots[first], zeros[first]
        admitted = pairs >= 0
        codes = np.unique(pairs[admitted].astype(np.int64) * span + (panes[admitted] - start))
        pair, pane = codes // span, codes % span + start
        head = np.concatenate(([True], pair[1:] != pair[:-1])) if len(pair) else np.zeros(0, np.bool_)
        before = np.where(head, self._last[pair], np.roll(pane, 1))
        begins = pane - before >= self.width
        self._last[pair] = pane  # the last assignment of a pair wins: its latest pane
        self._began[pair[begins]] = pane[begins]
        self._log.append(Changes(pair, pane, begins.astype(np.int64)[:, None]))
        ones = np.ones((int(begins.sum()), 1), np.int64)
        return Changes(self._owner[pair[begins]], pane[begins], ones)

    def _expire(self, stop: int) -> Changes:
        left = self._log.expire(stop)
        if not len(left.slots):
            return Changes.none(1)
        order = np.lexsort((left.panes, left.slots))
        pair, touched, began = left.slots[order], left.panes[order] - self.width, left.deltas[order, 0] == 1
        following = np.concatenate((pair[1:] == pair[:-1], [False]))
        later = np.where(following, ~np.roll(began, -1), (self._last[pair] > touched) & (self._began[pair] <= touched))
        ends = ~later
        owners, panes = self._owner[pair[ends]], touched[ends] + self.width
        self._table.remove(pair[~following & (self._last[pair] == touched)])
        return Changes(owners, panes, np.full((len(owners), 1), -1, np.int64))

    def _drop(self, pairs: Ints) -> None:
        """Take pairs out at once; their rows in the log go with them."""
        np.subtract.at(self.pairs, self._owner[pairs], 1)
        self._table.remove(pairs)
        rows = self._log.rows()
        self._log.restart(rows.rows(~np.isin(rows.slots, pairs)))

    def _reserve_pairs(self) -> None:
        size = self._table.capacity
        self._last, self._began, self._owner = (_grown(a, size) for a in (self._last, self._began, self._owner))
        if size > len(self._zeros):
            self._zeros = np.concatenate([self._zeros, np.zeros(len(self._last) - len(self._zeros), np.uint8)])

    def state(self) -> State:
        """Pairs, log and levels, as arrays."""
        size, rows = self._table.capacity, self._log.rows()
        return {
            "table": self._table.state(),
            "last": self._last[:size],
            "began": self._began[:size],
            "owner": self._owner[:size],
            "zeros": self._zeros[:size],
            "pairs": self.pairs,
            "level": self.level,
            "log_pairs": rows.slots.astype(np.int32),
            "log_panes": rows.panes,
            "log_began": rows.deltas[:, 0].astype(np.int8),
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._table = SlotTable.restored(self._table.max_slots, state["table"])
        self._reserve_pairs()
        size = self._table.capacity
        self._last[:size], self._began[:size] = state["last"], state["began"]
        self._owner[:size], self._zeros[:size] = state["owner"], state["zeros"]
        self.pairs, self.level = state["pairs"].copy(), state["level"].copy()
        self._log.restart(
            Changes(
                state["log_pairs"].astype(np.int64), state["log_panes"], state["log_began"].astype(np.int64)[:, None]
            )
        )


def _grown(array: Ints, size: int) -> Ints:
    if size <= len(array):
        return array
    grown = np.zeros(1 << (size - 1).bit_length(), np.int64)
    grown[: len(array)] = array
    return grown
