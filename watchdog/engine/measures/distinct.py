"""`distinct(x)`: different values in the window; exact up to 32,768 of a key, then an estimate."""

from __future__ import annotations

import numpy as np

from detectors.distinct import DistinctWindow, Touches
from detectors.state import State
from detectors.windows import Changes, Ints
from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan
from watchdog.engine.measures.measure import CellRows, Column, Cost, Measure, MeasureKind, PaneRows, identities


class Distinct(Measure):
    """Pairs of slot and value, counted in a column of the window; sampled slots are scaled up when decided."""

    columns = 1

    def __init__(self, width: int) -> None:
        self._width = width
        self._distinct = DistinctWindow(width)

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return the identity of each row's value."""
        return identities(plan, view)

    def close(self, rows: PaneRows) -> Changes:
        """Return the changes of the number of pairs."""
        widths = np.full(len(rows.slots), self._width)
        return self._distinct.close(Touches(rows.slots, rows.panes, rows.words, widths), rows.start, rows.stop)

    def cells(self, rows: CellRows) -> Column:
        """Return the estimate, exact where the slot is not sampled."""
        return rows.values[:, 0] << self._distinct.level[rows.slots]

    def settle(self, slots: Ints) -> tuple[Ints, Ints] | None:
        """Sample slots with too many values; return how many pairs they lost."""
        if not self._distinct.needs_resampling(slots):
            return None
        decided = np.unique(slots)
        before = self._distinct.pairs[decided].copy()
        self._distinct.resample(decided)
        return decided, self._distinct.pairs[decided] - before

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        self._distinct.reserve(slots)

    def evict(self, slots: Ints) -> None:
        """Forget these slots and their values."""
        self._distinct.purge(slots)

    def cost(self) -> Cost:
        """Return the values that are remembered and refused."""
        return Cost(len(self._distinct), self._distinct.refused)

    def state(self) -> State:
        """Return pairs, log and levels."""
        return self._distinct.state()

    def restore(self, state: State, closed: int, slots: int) -> None:
        """Continue from `state`."""
        self._distinct.restore(state, closed, slots)


KIND = MeasureKind("distinct", lambda _plan, width: Distinct(width), bank="distinct")
