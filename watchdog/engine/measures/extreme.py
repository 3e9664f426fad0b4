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

    runs = True

    def __init__(self, width: int, *, least: bool) -> None:
        self._extremes = Extremes(width, least=least)
        self._stop: int | None = None  # between `close` and `cells` of several panes: where they end

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return the value of each row."""
        return whole_numbers(plan, view)

    def close(self, rows: PaneRows) -> None:
        """Take the rows of one pane, or of several whose cells are asked for next."""
        if rows.stop - rows.start == 1:
            self._extremes.close(rows.slots, rows.values, rows.start)
        else:
            self._extremes.take(rows.slots, rows.panes, rows.values)
            self._stop = rows.stop

    def cells(self, rows: CellRows) -> Column:
        """Return the extreme of each slot."""
        if self._stop is None:
            return self._extremes.of(rows.slots)
        extremes = self._extremes.over(rows.slots, rows.panes)
        self._extremes.expire(self._stop)
        self._stop = None
        return extremes

    def evict(self, slots: Ints) -> None:
        """Forget these slots."""
        self._extremes.purge(slots)

    def state(self) -> State:
        """Return the log."""
        return self._extremes.state()

    def restore(self, state: State, closed: int, slots: int) -> None:
        """Continue from `state`."""
        self._extremes.restore(state, closed, slots)
