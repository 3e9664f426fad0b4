"""`last(x)`: the value of the latest row in the window, the greater of two at the same time; 0 without one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.extremes import Latest
from detectors.state import State, checked
from detectors.windows import SMALLEST, Changes, Ints
from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan
from watchdog.engine.measures.measure import CellRows, Column, Measure, MeasureKind, PaneRows, whole_numbers

LONG_AGO = np.int64(-(1 << 62))


@dataclass(frozen=True, slots=True, eq=False)
class _RowsOfRun:
    """The rows of several panes that closed together, as ordered codes; before: the latest panes ahead of them."""

    start: int
    span: int
    codes: Ints
    before: Ints

    def latest(self, slots: Ints, panes: Ints) -> Ints:
        """Return the pane of the latest row of each slot up to each of these panes."""
        at = np.searchsorted(self.codes, slots * self.span + (panes - self.start), side="right") - 1
        found = self.codes[np.maximum(at, 0)] if len(self.codes) else np.full(len(slots), -1)
        mine = (at >= 0) & (found // self.span == slots)
        return np.where(mine, found % self.span + self.start, self.before[slots])


class _LatestPanes:
    """In which pane the latest row of each slot came."""

    def __init__(self) -> None:
        self.panes: Ints = np.full(SMALLEST, LONG_AGO)
        self._run: _RowsOfRun | None = None  # between `take` and `latest` of several panes

    def reserve(self, slots: int) -> None:
        if slots > len(self.panes):
            more = (1 << (slots - 1).bit_length()) - len(self.panes)
            self.panes = np.concatenate([self.panes, np.full(more, LONG_AGO)])

    def take(self, rows: PaneRows) -> None:
        span = rows.stop - rows.start
        if span > 1:
            self._run = _RowsOfRun(
                rows.start, span, np.sort(rows.slots * span + (rows.panes - rows.start)), self.panes.copy()
            )
        np.maximum.at(self.panes, rows.slots, rows.panes)

    def latest(self, slots: Ints, panes: Ints) -> Ints:
        run, self._run = self._run, None
        return self.panes[slots] if run is None else run.latest(slots, panes)


class Last(Measure):
    """The latest value, in a column of the window that changes with each pane, and whether it is still in the window.

    A row that a filter leaves out keeps the window alive, but no value in it.
    """

    columns, timed, runs = 1, True, True

    def __init__(self, width: int) -> None:
        self._width, self._latest, self._when = width, Latest(), _LatestPanes()

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return the value of each row."""
        return whole_numbers(plan, view)

    def close(self, rows: PaneRows) -> Changes:
        """Return the changes of the latest value."""
        self._when.take(rows)
        return self._latest.close(rows.slots, rows.panes, rows.times, rows.values)

    def cells(self, rows: CellRows) -> Column:
        """Return the latest value, 0 where the window has none."""
        within: NDArray[np.bool_] = rows.panes - self._when.latest(rows.slots, rows.panes) < self._width
        return np.where(within, rows.values[:, 0], 0)

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        self._latest.reserve(slots)
        self._when.reserve(slots)

    def evict(self, slots: Ints) -> None:
        """Forget these slots."""
        self._latest.purge(slots)
        self._when.panes[slots] = LONG_AGO

    def state(self) -> State:
        """Return the latest values and their panes."""
        return {**self._latest.state(), "panes": self._when.panes}

    def restore(self, state: State, closed: int, slots: int) -> None:
        """Continue from `state`; one of an older version has no panes: then all values are as of the last pane."""
        self._latest.restore(state, closed, slots)
        if "panes" in state:
            self._when.panes = checked(state, "panes", np.int64).copy()
        else:
            self._when.panes = np.where(self._latest.values != 0, max(closed - 1, 0), LONG_AGO)


KIND = MeasureKind("last", lambda _plan, width: Last(width))
