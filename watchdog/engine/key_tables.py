"""The keys of one source group: their slots, and which slots are freed when idle or evicted when a table is full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.windows import Ints
from watchdog.core.batch import Batch
from watchdog.engine.grouping import Grouping
from watchdog.engine.lookback import Lookback
from watchdog.engine.window_rules import WindowRules

CROWDED: Final = 0.95  # share of slots in use from which on keys are evicted before a batch
EVICTED_SHARE: Final = 0.1  # share of slots that an eviction frees, the longest idle keys first
VALUES: Final = "values"  # in `Usage.key_counts`, beside the groupings


class KeyTables:
    """The groupings of a source group, with the windows and the lookback that hold state by their slots.

    windows: each reads the slots of grouping `window.group`.
    """

    def __init__(self, groupings: Sequence[Grouping], windows: Sequence[WindowRules], lookback: Lookback) -> None:
        self.groupings, self._windows, self._lookback = groupings, windows, lookback

    def slots(self, batch: Batch, read: Sequence[tuple[int, NDArray[np.intp]]]) -> dict[int, NDArray[np.int32]]:
        """Return, by grouping, the slot of each row of the batch that a stream reads; -1 for other rows.

        read: the grouping of each stream and its rows. New keys get slots; a crowded table evicts keys first.
        """
        marks: dict[int, NDArray[np.bool_]] = {}
        for group, rows in read:
            marks.setdefault(group, np.zeros(batch.rows, np.bool_))[rows] = True
        slots_of = {}
        for group, mark in marks.items():
            grouping = self.groupings[group]
            if len(grouping.table) > CROWDED * grouping.table.max_slots:
                self._evict(group)
            rows = np.flatnonzero(mark)
            slots = np.full(batch.rows, -1, np.int32)
            slots[rows] = grouping.slots(batch, rows)
            slots_of[group] = slots
        return slots_of

    def sweep(self) -> None:
        """Free the slots of keys that no window or rule holds state for; called every few minutes of event time."""
        for group, grouping in enumerate(self.groupings):
            grouping.release(self._busy(group))

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the live, refused and evicted keys of each grouping, by its fields."""
        return {grouping.name: grouping.counts() for grouping in self.groupings}

    def _busy(self, group: int) -> NDArray[np.bool_]:
        """Return, by slot, whether rows wait in an open pane or a rule's condition holds."""
        busy = np.zeros(self.groupings[group].capacity, np.bool_)
        for rules in self._windows:
            if rules.group == group:
                busy |= rules.busy()
        return busy

    def _evict(self, group: int) -> None:
        grouping = self.groupings[group]
        grouping.release(self._busy(group))
        excess = len(grouping.table) - int((1 - EVICTED_SHARE) * grouping.table.max_slots)
        if excess <= 0:
            return
        firing = np.zeros(grouping.capacity, np.bool_)
        for rules in self._windows:
            if rules.group == group:
                firing |= rules.firing()
        victims: Ints = grouping.longest_idle(excess, firing).astype(np.int64)
        for rules in self._windows:
            if rules.group == group:
                rules.purge(victims)
        self._lookback.forget(group, victims)
        grouping.evicted += len(victims)
        grouping.release(self._busy(group))
