"""All measures of one window that closes pane by pane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from detectors.windows import Changes, Decided, Ints
from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan, as_bool
from watchdog.engine.measures.measure import CellRows, Column, Cost, Measure, PaneRows
from watchdog.engine.measures.registry import kind_of

Rows = dict[str, Column]
_OLD_SUMS = "added"  # of checkpoints before the registry: rows x the measures that the window sums


@dataclass(frozen=True, slots=True)
class _Member:
    """A measure with its number among the measures and its columns in the window."""

    index: int
    plan: MeasurePlan
    measure: Measure
    start: int

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + self.measure.columns)


class WindowMeasures:
    """The measures of a window of `width` panes, in the order of `plans`; `width` of the object is its columns."""

    def __init__(self, plans: Sequence[MeasurePlan], width: int) -> None:
        self._members: list[_Member] = []
        self._answers: dict[str, list[bool | None]] = {}  # by kind: what the filter of each measure says of every row
        self.width = 0
        for index, plan in enumerate(plans):
            measure = kind_of(plan).make(plan, width)
            self._members.append(_Member(index, plan, measure, self.width))
            self.width += measure.columns

    def feed(self, view: Batch) -> Rows:
        """Return the columns that open panes keep of a batch: the values of each measure, and which rows count."""
        rows: Rows = {}
        if any(member.measure.timed for member in self._members):
            rows["time"] = view.time_ns
        nothing = np.zeros(view.rows, np.int64)
        for member, answer in zip(self._members, self._answers_for(view.kind), strict=True):
            if answer is False and member.measure.summed:
                rows[f"value{member.index}"] = nothing
                continue
            values = member.measure.feed(member.plan, view)
            where = None if answer and member.measure.summed else member.plan.where
            passed = None if where is None else as_bool(where(view), view.rows)
            if passed is not None and member.measure.summed:
                values, passed = values * passed, None
            rows[f"value{member.index}"] = values
            if passed is not None:
                rows[f"counts{member.index}"] = passed
        return rows

    def _answers_for(self, kind: str) -> list[bool | None]:
        """Return, by measure, whether its filter passes every row of a kind, or none; None if it depends on the row."""
        known = self._answers.get(kind)
        if known is None:
            filters = [member.plan.where for member in self._members]
            known = [True if where is None else where.constant_for(kind) for where in filters]
            self._answers[kind] = known
        return known

    @property
    def runs(self) -> bool:
        """Whether all measures can close several panes at once."""
        return all(member.measure.runs or member.measure.summed for member in self._members)

    def close(self, rows: Rows | None, start: int, stop: int) -> tuple[Changes, Changes]:
        """Close panes start..stop-1 for all measures. rows: what waited in them, None without any.

        Returns the arrivals, which the window sums and expires, and the signed changes of the other columns.
        """
        arrivals = Changes.none(self.width)
        if rows is not None:
            arrivals = Changes(rows["slot"], rows["pane"], np.zeros((len(rows["slot"]), self.width), np.int64))
        changes = []
        for member in self._members:
            if member.measure.summed:
                if rows is not None:
                    arrivals.deltas[:, member.start] = rows[f"value{member.index}"]
                continue
            change = member.measure.close(_counted(rows, member, start, stop))
            if change is not None and len(change.slots):
                changes.append(self._placed(change, member))
        return arrivals, Changes.joined(changes, self.width)

    def cells(self, decided: Decided) -> dict[str, Column]:
        """Return the measures as named cells, one for each decided row."""
        return {
            member.plan.name: member.measure.cells(
                CellRows(decided.slots, decided.panes, decided.live, decided.values[:, member.columns])
            )
            for member in self._members
        }

    def settle(self, slots: Ints) -> Iterator[tuple[int, Ints, Ints]]:
        """Shrink the state of decided slots; yield (column, slots, correction) for the window's sums."""
        for member in self._members:
            correction = member.measure.settle(slots)
            if correction is not None:
                yield member.start, *correction

    def next_expiry(self) -> int | None:
        """Return the pane at which something leaves a measure that the window's own log does not hold."""
        panes = (member.measure.next_expiry() for member in self._members)
        return min((pane for pane in panes if pane is not None), default=None)

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        for member in self._members:
            member.measure.reserve(slots)

    def evict(self, slots: Ints) -> None:
        """Forget these slots."""
        for member in self._members:
            member.measure.evict(slots)

    def cost(self) -> Cost:
        """Return what all measures hold and have refused."""
        costs = [member.measure.cost() for member in self._members]
        return Cost(sum(cost.values for cost in costs), sum(cost.refused for cost in costs))

    def state(self) -> State:
        """Return the state of each measure, by its number."""
        return {str(member.index): member.measure.state() for member in self._members if not member.measure.summed}

    def restore(self, state: State, closed: int, slots: int) -> None:
        """Continue from `state`; panes before `closed` are closed, `slots` is how many there are."""
        for member in self._members:
            if not member.measure.summed:
                member.measure.restore(state[str(member.index)], closed, slots)

    def waiting(self, rows: State) -> Rows:
        """Return the saved rows of open panes with the columns that `close` reads. ValueError when some are missing."""
        columns: Rows = dict(rows)
        summed = [member for member in self._members if member.measure.summed]
        if _OLD_SUMS in columns:
            sums = columns.pop(_OLD_SUMS)
            columns |= {f"value{member.index}": sums[:, number] for number, member in enumerate(summed)}
        if missing := [m.plan.name for m in self._members if f"value{m.index}" not in columns]:
            raise ValueError(f"open panes lack the values of {missing}")
        return columns

    def _placed(self, changes: Changes, member: _Member) -> Changes:
        """Return changes of one measure in the columns of the window."""
        deltas = np.zeros((len(changes.slots), self.width), np.int64)
        deltas[:, member.columns] = changes.deltas
        return Changes(changes.slots, changes.panes, deltas)


def _counted(rows: Rows | None, member: _Member, start: int, stop: int) -> PaneRows:
    """Return the rows that pass the filter of a measure."""
    nothing = np.zeros(0, np.int64)
    if rows is None:
        return PaneRows(start, stop, nothing, nothing, nothing, nothing)
    passed: NDArray[np.bool_] | slice = rows.get(f"counts{member.index}", slice(None))
    times = rows["time"][passed] if member.measure.timed else nothing
    values = rows[f"value{member.index}"][passed]
    return PaneRows(start, stop, rows["slot"][passed], rows["pane"][passed], times, values)
