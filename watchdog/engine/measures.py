"""The measures of one window: what rows add to it, and the cells that come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.distinct import DistinctWindow
from detectors.extremes import Extremes, Latest
from detectors.mixing import text_word
from detectors.shares import ValueCounts, entropy_bits
from detectors.state import State
from detectors.windows import Changes, Decided, Ints
from watchdog.core.batch import Blobs, Strings
from watchdog.core.plan import MeasurePlan, as_bool
from watchdog.engine.selection import Selected

ADDITIVE = ("count", "sum")
BY_VALUE = ("distinct", "top_share", "entropy", "min", "max", "last")
# Measures that can be followed by adding and subtracting, so that windows close many panes at once.
MANY_PANES = ("count", "sum", "distinct")


def row_words(values: object, rows: int) -> NDArray[np.uint64]:
    """Values of any column as 64-bit words, equal for equal values."""
    if isinstance(values, Strings):
        return np.array([text_word(value) for value in values.values], np.uint64)[values.codes]
    if isinstance(values, Blobs):
        return np.array([text_word(blob.hex()) for blob in values.tolist()], np.uint64)
    numbers: NDArray[Any] = np.broadcast_to(np.asarray(values), (rows,))
    if numbers.dtype == np.float64:
        return numbers.view(np.uint64)
    return numbers.astype(np.int64).view(np.uint64) if numbers.dtype != np.uint64 else numbers


class WindowMeasures:
    """State of the measures of one window, except for the sums, which the window holds.

    Columns of the window: one for each count, sum, last, distinct and top_share; two for entropy.
    """

    def __init__(self, plans: Sequence[MeasurePlan], width: int) -> None:
        self.plans = tuple(plans)
        self.columns: list[int] = []  # first column of each measure
        self.additive = [i for i, plan in enumerate(plans) if plan.op in ADDITIVE]
        self.valued = [i for i, plan in enumerate(plans) if plan.op in BY_VALUE]
        self.distinct: dict[int, DistinctWindow] = {}
        self.counts: dict[int, ValueCounts] = {}
        self.extremes: dict[int, Extremes] = {}
        self.latest: dict[int, Latest] = {}
        width_of = {"entropy": 2, "top_share": 2, "min": 0, "max": 0}
        self.width = 0
        for i, plan in enumerate(plans):
            self.columns.append(self.width)
            self.width += width_of.get(plan.op, 1)
            if plan.op == "distinct":
                self.distinct[i] = DistinctWindow(width)
            elif plan.op in ("entropy", "top_share"):
                self.counts[i] = ValueCounts(width)
            elif plan.op in {"min", "max"}:
                self.extremes[i] = Extremes(width, least=plan.op == "min")
            elif plan.op == "last":
                self.latest[i] = Latest()

    def additions(self, selected: Selected) -> Ints:
        """What each row adds to each additive measure, rows x measures."""
        view, rows = selected.view, len(selected.rows)
        added = np.ones((rows, len(self.additive)), np.int64)
        for column, i in enumerate(self.additive):
            plan = self.plans[i]
            if plan.value is not None:
                added[:, column] = plan.value(view)
            if plan.where is not None:
                added[:, column] *= as_bool(plan.where(view), rows)
        return added

    def values(self, selected: Selected) -> list[tuple[NDArray[Any], NDArray[np.bool_] | None]]:
        """For each measure over values, one value a row and which rows count (None: all)."""
        view, rows = selected.view, len(selected.rows)
        found: list[tuple[NDArray[Any], NDArray[np.bool_] | None]] = []
        for i in self.valued:
            plan = self.plans[i]
            assert plan.value is not None
            value = plan.value(view)
            if plan.op in ("min", "max", "last"):
                column: NDArray[Any] = np.broadcast_to(np.asarray(value), (rows,)).astype(np.int64)
            else:
                column = row_words(value, rows)
            found.append((column, None if plan.where is None else as_bool(plan.where(view), rows)))
        return found

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        for distinct in self.distinct.values():
            distinct.reserve(slots)
        for latest in self.latest.values():
            latest.reserve(slots)

    def placed(self, changes: Changes, measure: int) -> Changes:
        """Changes of one measure, in the columns of the window."""
        deltas = np.zeros((len(changes.slots), self.width), np.int64)
        start = self.columns[measure]
        deltas[:, start : start + changes.deltas.shape[1]] = changes.deltas
        return Changes(changes.slots, changes.panes, deltas)

    def cells(self, decided: Decided) -> dict[str, NDArray[Any]]:
        """The measures as named cells, one a decided row."""
        cells: dict[str, NDArray[Any]] = {}
        for i, plan in enumerate(self.plans):
            column = self.columns[i]
            if plan.op == "entropy":
                cells[plan.name] = entropy_bits(decided.values[:, column], decided.values[:, column + 1])
            elif plan.op == "top_share":
                total = decided.values[:, column]
                cells[plan.name] = self.counts[i].tops(decided.slots) / np.maximum(total, 1)
            elif plan.op in {"min", "max"}:
                cells[plan.name] = self.extremes[i].of(decided.slots)
            elif plan.op == "distinct":
                cells[plan.name] = decided.values[:, column] << self.distinct[i].level[decided.slots]
            elif plan.op == "last":
                cells[plan.name] = np.where(decided.live > 0, decided.values[:, column], 0)
            else:
                cells[plan.name] = decided.values[:, column]
        return cells

    @property
    def pairs(self) -> int:
        """Values that the measures remember, for each key."""
        return sum(map(len, self.distinct.values())) + sum(map(len, self.counts.values()))

    @property
    def refused(self) -> int:
        """Values left out because a table was full."""
        return sum(d.refused for d in self.distinct.values()) + sum(c.refused for c in self.counts.values())

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        for part in self._parts().values():
            part.purge(slots)

    def _parts(self) -> dict[str, DistinctWindow | ValueCounts | Extremes | Latest]:
        return {
            str(i): part
            for group in (self.distinct, self.counts, self.extremes, self.latest)
            for i, part in group.items()
        }

    def state(self) -> State:
        """All parts."""
        return {name: part.state() for name, part in self._parts().items()}

    def restore(self, state: State, closed: int, slots: int) -> None:
        """Continue from `state`; panes before `closed` are closed, `slots` is how many there are."""
        for name, part in self._parts().items():
            if isinstance(part, DistinctWindow):
                part.restore(state[name], closed, slots)
            else:
                part.restore(state[name])
