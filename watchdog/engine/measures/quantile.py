"""`quantile(x, share)`: the value that a share of the rows does not exceed; within 1 in 128, exact below 128."""

from __future__ import annotations

from detectors.quantiles import QuantileWindow
from detectors.state import State
from detectors.windows import Ints
from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan
from watchdog.engine.measures.measure import CellRows, Column, Cost, Measure, MeasureKind, PaneRows, whole_numbers


class Quantile(Measure):
    """A histogram of each slot's values; 0 in an empty window."""

    def __init__(self, width: int, share: float) -> None:
        self._bins = QuantileWindow(width, share)

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return the value of each row."""
        return whole_numbers(plan, view)

    def close(self, rows: PaneRows) -> None:
        """Count the rows in their bins."""
        self._bins.close(rows.slots, rows.panes, rows.values, rows.start, rows.stop)

    def cells(self, rows: CellRows) -> Column:
        """Return the quantile of each slot."""
        return self._bins.of(rows.slots)

    def next_expiry(self) -> int | None:
        """Return the pane at which the next row leaves."""
        return self._bins.next_expiry()

    def evict(self, slots: Ints) -> None:
        """Forget these slots and their bins."""
        self._bins.purge(slots)

    def cost(self) -> Cost:
        """Return the bins that are held, and the rows that were refused."""
        return Cost(len(self._bins), self._bins.refused)

    def state(self) -> State:
        """Return the bins and their counts."""
        return self._bins.state()

    def restore(self, state: State, closed: int, slots: int) -> None:
        """Continue from `state`."""
        self._bins.restore(state, closed, slots)


def _quantile(plan: MeasurePlan, width: int) -> Quantile:
    (share,) = plan.parameters
    return Quantile(width, share)


KIND = MeasureKind("quantile", _quantile)
