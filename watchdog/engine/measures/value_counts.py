"""`top_share(x)`, `entropy(x)`: what both have in common, the counts of each value."""

from __future__ import annotations

from detectors.shares import ValueCounts
from detectors.state import State
from detectors.windows import Changes, Ints
from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan
from watchdog.engine.measures.measure import Column, Cost, Measure, PaneRows, identities


class Spread(Measure):
    """Counts by value; the window's columns are the number of rows and the sum of c*log2(c) in fixed point."""

    columns = 2

    def __init__(self, width: int) -> None:
        self._counts = ValueCounts(width)

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return the identity of each row's value."""
        return identities(plan, view)

    def close(self, rows: PaneRows) -> Changes:
        """Return the changes of both columns."""
        return self._counts.close(rows.slots, rows.panes, rows.words, rows.start, rows.stop)

    def next_expiry(self) -> int | None:
        """Return the pane at which the next row leaves."""
        return self._counts.next_expiry()

    def evict(self, slots: Ints) -> None:
        """Forget these slots and their values."""
        self._counts.purge(slots)

    def cost(self) -> Cost:
        """Return the values that are remembered and refused."""
        return Cost(len(self._counts), self._counts.refused)

    def state(self) -> State:
        """Return the pairs and their window."""
        return self._counts.state()

    def restore(self, state: State, closed: int, slots: int) -> None:
        """Continue from `state`."""
        self._counts.restore(state, closed, slots)
