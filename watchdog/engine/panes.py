"""What windows and rules share: cells to judge, who judges them, and rows that wait in open panes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from detectors.windows import Ints
from watchdog.engine.grouping import Grouping
from watchdog.engine.selection import Selected

NEVER = np.int64(1 << 62)


@dataclass(frozen=True, slots=True, eq=False)
class PaneCells:
    """Decided rows, sorted by (slot, pane), with the measures' values by name.

    live: panes with arrivals in the window, 0 when it is empty. first: the first row of each slot.
    """

    slots: Ints
    panes: Ints
    live: Ints
    first: NDArray[np.bool_]
    values: dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class WindowRows:
    """Rows of a batch for one window.

    member: the number of the window in what closes it. group: the number of the window's grouping in the engine.
    """

    member: int
    selected: Selected
    group: int


class RuleWindow(Protocol):
    """A window as its rules see it; how it closes its panes is a matter of its `Closer`."""

    @property
    def pane_ns(self) -> int:
        """Length of a pane."""

    @property
    def grouping(self) -> Grouping:
        """The keys whose slots the window uses."""

    def busy(self) -> NDArray[np.bool_]:
        """Return, by slot, whether the window or an open pane holds rows of it."""

    def purge(self, slots: Ints) -> None:
        """Forget these slots, also in open panes."""

    def state(self) -> State:
        """Return the state that the window holds alone; empty when a bank saves it."""

    def restore(self, state: State) -> None:
        """Continue from `state`; the grouping is restored before."""


class Decider(Protocol):
    """Who judges the cells of a window: its rules."""

    @property
    def learns(self) -> bool:
        """Whether some rule has a baseline, which takes panes one by one."""

    @property
    def waits(self) -> bool:
        """Whether some condition must hold for a time before its rule fires."""

    def held(self) -> Ints:
        """Return the slots of keys whose condition holds, so that its end must not be missed."""

    def decide(self, cells: PaneCells) -> None:
        """Judge these cells; called in order of time."""

    def next_due(self) -> int:
        """Return the next pane at which a key must be judged though nothing may have changed."""

    def next_silent(self, pane: int, *, fresh: bool) -> int:
        """Return the first pane from `pane` on at which something may be new though no value has changed.

        fresh: what fires is reported again. What baselines learn is left out.
        """

    def next_sample(self, pane: int) -> int:
        """Return the first pane from `pane` on at which a baseline may learn, or judge by what it has just learned."""

    def rest(self, cells: PaneCells, until: int) -> int:
        """Let baselines learn of panes in which all cells stay like these; how many panes say nothing.

        Those count from the cells' own pane; at most up to `until`, where 0 is always a right answer.
        """

    def due(self, pane: int) -> Ints:
        """Return the slots that must be judged at this pane."""


class Pending:
    """Rows of open panes, as column arrays in order of arrival."""

    def __init__(self) -> None:
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._first = NEVER

    @property
    def first_pane(self) -> int:
        """The earliest pane with rows; far in the future without any."""
        return int(self._first)

    def add(self, rows: dict[str, NDArray[Any]]) -> None:
        """Keep rows; all parts have the same columns, `pane` among them."""
        if len(rows["pane"]):
            self._parts.append(rows)
            self._first = min(self._first, rows["pane"].min())

    def take(self, stop: int) -> dict[str, NDArray[Any]] | None:
        """Remove the rows of panes before `stop` and return them, None without any."""
        if self._first >= stop:
            return None
        rows = self.rows()
        assert rows is not None
        due = rows["pane"] < stop
        self._parts, self._first = [], NEVER
        if due.all():
            return rows
        self.add({name: column[~due] for name, column in rows.items()})
        return {name: column[due] for name, column in rows.items()}

    def rows(self) -> dict[str, NDArray[Any]] | None:
        """Return all rows."""
        if not self._parts:
            return None
        if len(self._parts) > 1:
            self._parts = [{name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}]
        return self._parts[0]

    def drop(self, column: str, values: Ints) -> None:
        """Forget the rows that have one of these values in a column."""
        rows = self.rows()
        if rows is not None:
            kept = ~np.isin(rows[column], values)
            self._parts, self._first = [], NEVER
            self.add({name: column[kept] for name, column in rows.items()})
