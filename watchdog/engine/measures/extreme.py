"""`min(x)`, `max(x)`: what both have in common."""

from __future__ import annotations

from detectors.extremes import Extremes
from detectors.state import State
from detectors.windows import Ints
from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan
from watchdog.engine.measures.measure import CellRows, Column, Measure, PaneRows, whole_numbers


class Extreme(Measure):
    """The least or greatest value, looked up in a log of its own; 0 in an empty window."""

    def __init__(self, width: int, *, least: bool) -> None:
        self._extremes = Extremes(width, least=least)

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return the value of each row."""
        return whole_numbers(plan, view)

    def close(self, rows: PaneRows) -> None:
        """Take the rows of one pane."""
        self._extremes.close(rows.slots, rows.values, rows.start)

    def cells(self, rows: CellRows) -> Column:
        """Return the extreme of each slot."""
        return self._extremes.of(rows.slots)

    def evict(self, slots: Ints) -> None:
        """Forget these slots."""
        self._extremes.purge(slots)

    def state(self) -> State:
        """Return the log."""
        return self._extremes.state()

    def restore(self, state: State, closed: int, slots: int) -> None:
        """Continue from `state`."""
        self._extremes.restore(state, closed, slots)
