"""`last(x)`: the value of the latest row in the window, the greater of two at the same time; 0 when it is empty."""

from __future__ import annotations

import numpy as np

from detectors.extremes import Latest
from detectors.state import State
from detectors.windows import Changes, Ints
from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan
from watchdog.engine.measures.measure import CellRows, Column, Measure, MeasureKind, PaneRows, whole_numbers


class Last(Measure):
    """The latest value, in a column of the window that changes with each pane."""

    columns, timed, runs = 1, True, True

    def __init__(self) -> None:
        self._latest = Latest()

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return the value of each row."""
        return whole_numbers(plan, view)

    def close(self, rows: PaneRows) -> Changes:
        """Return the changes of the latest value."""
        return self._latest.close(rows.slots, rows.panes, rows.times, rows.values)

    def cells(self, rows: CellRows) -> Column:
        """Return the latest value, 0 where the window is empty."""
        return np.where(rows.live > 0, rows.values[:, 0], 0)

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        self._latest.reserve(slots)

    def evict(self, slots: Ints) -> None:
        """Forget these slots."""
        self._latest.purge(slots)

    def state(self) -> State:
        """Return the latest values."""
        return self._latest.state()

    def restore(self, state: State, closed: int, slots: int) -> None:
        """Continue from `state`."""
        self._latest.restore(state, closed, slots)


KIND = MeasureKind("last", lambda _plan, _width: Last())
