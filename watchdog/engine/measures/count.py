"""`count()`, `count(condition)`: the rows in the window."""

from __future__ import annotations

from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan
from watchdog.engine.measures.measure import CellRows, Column, Measure, MeasureKind, whole_numbers


class Count(Measure):
    """The window sums a one for each row."""

    columns, summed = 1, True

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return a one for each row."""
        return whole_numbers(plan, view)

    def cells(self, rows: CellRows) -> Column:
        """Return the sum."""
        return rows.values[:, 0]


KIND = MeasureKind("count", lambda _plan, _width: Count(), bank="sum")
