"""The keyed structures as the contract suite sees them: one rig for each."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from detectors.baseline import Baseline
from detectors.distinct import DistinctWindow, Touches
from detectors.drift import Drift
from detectors.extremes import Extremes, Latest
from detectors.laws import CountLaw, Law, LevelLaw
from detectors.quantiles import QuantileWindow
from detectors.replayed import LEAST_MEMORY, Replayed
from detectors.shares import ValueCounts
from detectors.state import State
from detectors.tail import DAY_NS, MINUTE_NS, BudgetTail, Prior
from detectors.window_banks import BankChanges, WindowBank
from detectors.windows import Changes, Ints, Window

WIDTH, SLOTS, PANES = 3, 5, 12
LIMIT = 40  # pairs of the structures that take a limit


@dataclass(frozen=True)
class Pane:
    """Rows of one pane: slot, time, value."""

    number: int
    slots: Ints
    times: Ints
    values: Ints

    def shuffled(self, chance: random.Random) -> Pane:
        """Return the same rows in another order."""
        order = np.array(chance.sample(range(len(self.slots)), len(self.slots)), np.int64)
        return Pane(self.number, self.slots[order], self.times[order], self.values[order])


class Rig(Protocol):
    """A structure behind one interface for all tests."""

    def close(self, pane: Pane) -> object:
        """Close a pane; what comes out, comparable by `same`."""

    def forget(self, slots: Ints) -> None:
        """Forget these slots."""

    def state(self) -> State:
        """The state."""

    def restore(self, state: State, closed: int) -> None:
        """Continue from a state."""

    def size(self) -> int:
        """Values that are remembered."""


class _Rig:
    structure: Any  # any of the structures below

    def forget(self, slots: Ints) -> None:
        self.structure.purge(slots)

    def state(self) -> State:
        return self.structure.state()  # type: ignore[no-any-return] # every structure returns one

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state, closed, SLOTS)

    def size(self) -> int:
        return len(self.structure) if hasattr(self.structure, "__len__") else 0


ALL = np.arange(SLOTS)


class SumsRig(_Rig):
    def __init__(self) -> None:
        self.structure = Window(1, WIDTH)
        self.structure.reserve(SLOTS)

    def close(self, pane: Pane) -> object:
        arrivals = Changes(pane.slots, np.full(len(pane.slots), pane.number), pane.values[:, None])
        decided = self.structure.close(arrivals, Changes.none(1), pane.number, pane.number + 1)
        return decided.slots, decided.values, decided.live

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state, closed)


class BankRig(_Rig):
    def __init__(self) -> None:
        self.structure = WindowBank(1, [WIDTH, WIDTH + 2])

    def close(self, pane: Pane) -> object:
        members = pane.slots % 2
        cells = self.structure.cells(members, pane.slots, SLOTS)
        arrivals = BankChanges(cells, np.full(len(cells), pane.number), pane.values[None, :])
        nothing = np.zeros(0, np.int64)
        none = BankChanges(nothing, nothing, np.zeros((1, 0), np.int64))
        decided = self.structure.close(arrivals, none, pane.number, pane.number + 1)
        self.structure.take_back(nothing)
        return [_by_slot(part.slots, part.values[0], part.live) for _, part in sorted(decided.items())]

    def forget(self, slots: Ints) -> None:
        for member in (0, 1):
            self.structure.purge(member, slots)

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state, closed, np.full(2, SLOTS))


def _by_slot(slots: Ints, *columns: Ints) -> list[Ints]:
    """Cells are numbered in order of arrival; what they say of a slot must not depend on it."""
    order = np.argsort(slots, kind="stable")
    return [column[order] for column in (slots, *columns)]


class DistinctRig(_Rig):
    def __init__(self) -> None:
        self.structure = DistinctWindow(WIDTH, cap=8, max_pairs=LIMIT)
        self.structure.reserve(SLOTS)

    def close(self, pane: Pane) -> object:
        panes, widths = np.full(len(pane.slots), pane.number), np.full(len(pane.slots), WIDTH)
        touches = Touches(pane.slots, panes, pane.values.view(np.uint64), widths)
        self.structure.close(touches, pane.number, pane.number + 1)
        self.structure.resample(np.arange(SLOTS))
        return self.structure.pairs[:SLOTS] << self.structure.level[:SLOTS]


class SharesRig(_Rig):
    def __init__(self) -> None:
        self.structure = ValueCounts(WIDTH, max_pairs=LIMIT)

    def close(self, pane: Pane) -> object:
        words, panes = pane.values.view(np.uint64), np.full(len(pane.slots), pane.number)
        changes = self.structure.close(pane.slots, panes, words, pane.number, pane.number + 1)
        sums = np.zeros((SLOTS, 2), np.int64)
        np.add.at(sums, changes.slots, changes.deltas)
        return self.structure.tops(ALL), sums


class QuantileRig(_Rig):
    def __init__(self) -> None:
        self.structure = QuantileWindow(WIDTH, 0.9, max_pairs=LIMIT)

    def close(self, pane: Pane) -> object:
        panes = np.full(len(pane.slots), pane.number)
        self.structure.close(pane.slots, panes, pane.values, pane.number, pane.number + 1)
        return self.structure.of(ALL)


class ExtremesRig(_Rig):
    def __init__(self) -> None:
        self.structure = Extremes(WIDTH, least=True)

    def close(self, pane: Pane) -> object:
        self.structure.close(pane.slots, pane.values, pane.number)
        return self.structure.of(ALL)


class LatestRig(_Rig):
    def __init__(self) -> None:
        self.structure = Latest()
        self.structure.reserve(SLOTS)

    def close(self, pane: Pane) -> object:
        panes = np.full(len(pane.slots), pane.number)
        self.structure.close(pane.slots, panes, pane.times, pane.values)
        return self.structure.values[:SLOTS].copy()


class BaselineRig(_Rig):
    law: Law = LevelLaw(1.0)

    def __init__(self) -> None:
        self.structure = Baseline(4.0, 1.0, 0.05, 4, up=True, down=True, law=self.law, freeze=3)
        self.structure.reserve(SLOTS)

    def close(self, pane: Pane) -> object:
        slots, first = np.unique(pane.slots, return_index=True)
        own = [pane.values[pane.slots == slot].max() for slot in slots.tolist()]
        values = np.array(own, np.float64).reshape(len(first))
        odd, expected = self.structure.judge(slots, values)
        self.structure.learn(slots, values, ~odd)
        return odd, expected

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state)


class CountsRig(BaselineRig):
    law = CountLaw()


class Jump:
    """A detector of change that any library could give: the last value is far from the mean of those before."""

    def __init__(self) -> None:
        self.seen, self.mean, self.drift_detected = 0, 0.0, False

    def update(self, x: float) -> None:
        self.drift_detected = self.seen > 3 and abs(x - self.mean) > 0.5
        self.seen += 1
        self.mean += (x - self.mean) / self.seen


class DriftRig(_Rig):
    def __init__(self) -> None:
        self.structure = Drift(Jump, most=20, slots=SLOTS - 1)

    def close(self, pane: Pane) -> object:
        slots = np.unique(pane.slots).tolist()
        found = [self.structure.sample(slot, float(pane.values[pane.slots == slot].max())) for slot in slots]
        return [(-1.0, -1.0) if one is None else one for one in found]

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state)


class Mean:
    """A model that any library could give: how far a row is from the mean of those before."""

    freezes = True

    def __init__(self) -> None:
        self.rows: list[float] = []

    def score(self, row: Sequence[float]) -> float:
        return abs(row[0] - float(np.mean(self.rows)))

    def learn(self, row: Sequence[float]) -> None:
        self.rows.append(row[0])


class ReplayedRig(_Rig):
    def __init__(self) -> None:
        self.structure = Replayed(Mean, 2, memory=LEAST_MEMORY, slots=SLOTS - 1)

    def close(self, pane: Pane) -> object:
        slots = np.unique(pane.slots).tolist()
        rows = [(float(pane.values[pane.slots == slot].max()), float(pane.number)) for slot in slots]
        teach = [(lambda score: score < 2)] * len(rows)
        many = range(20)  # samples of each pane: the warm-up is 30
        return [self.structure.sample(*one).score for one in zip(slots, rows, teach, strict=True) for _ in many]

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state)


class TailRig(_Rig):
    """A day ends every third pane. A tail belongs to a rule, not to keys: it is forgotten as a whole."""

    model = False

    def __init__(self) -> None:
        self.structure = self._fresh()

    def _fresh(self) -> BudgetTail:
        return BudgetTail(Prior(4.0, 0.5, 20, 200 * MINUTE_NS), 30 * DAY_NS, model=self.model)

    def close(self, pane: Pane) -> object:
        ends = pane.number * DAY_NS // 3 + np.arange(len(pane.slots)) * 20 * MINUTE_NS
        self.structure.learn(ends, np.sort(pane.values) % 12 / 1.5, MINUTE_NS)
        for slot in np.sort(pane.slots[pane.slots > 2]).tolist():
            self.structure.mark(str(slot), 9.0, pane.number * DAY_NS // 3)
        if pane.number % 3 == 2:
            self.structure.renew((pane.number + 1) * DAY_NS // 3)
        return self.structure.threshold, self.structure.facts, len(self.structure.marks)

    def forget(self, slots: Ints) -> None:
        self.structure = self._fresh()

    def restore(self, state: State, closed: int) -> None:
        self.structure.restore(state)


class CountsTailRig(TailRig):
    model = True


CASES: dict[str, Callable[[], Rig]] = {
    "sums": SumsRig,
    "bank": BankRig,
    "distinct": DistinctRig,
    "shares": SharesRig,
    "quantile": QuantileRig,
    "extremes": ExtremesRig,
    "latest": LatestRig,
    "baseline": BaselineRig,
    "baseline-counts": CountsRig,
    "drift": DriftRig,
    "replayed": ReplayedRig,
    "tail": TailRig,
    "tail-counts": CountsTailRig,
}
