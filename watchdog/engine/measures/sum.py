"""`sum(x)`: exact in 64 bits, values clipped by the rule language."""

from __future__ import annotations

from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan
from watchdog.engine.measures.measure import CellRows, Column, Measure, MeasureKind, whole_numbers


class Sum(Measure):
    """The window sums the value of each row."""

    columns, summed = 1, True

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return the value of each row."""
        return whole_numbers(plan, view)

    def cells(self, rows: CellRows) -> Column:
        """Return the sum."""
        return rows.values[:, 0]


KIND = MeasureKind("sum", lambda _plan, _width: Sum(), bank="sum")
