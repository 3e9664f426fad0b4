"""Verdicts of one rule: when its condition begins to hold, for how long, how bad, and when it ends.

pane       0  1  2  3  4  5  6  7  8
fire          x     x              clear      x     (between fire and clear: as before)
condition     [===================)  since = 1
for: 2            ^ fires at pane 3
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.baseline import Baseline
from detectors.state import State
from detectors.windows import Ints
from watchdog.core.finding import Change
from watchdog.core.plan import COVERED, BaselinePlan, RulePlan, as_bool
from watchdog.engine.panes import NEVER, Cells

CHANGES: tuple[Change, ...] = ("fire", "update", "escalate", "clear")
FIRE, UPDATE, ESCALATE, CLEAR = range(4)
LEVELS = 16  # more than there are severities; packs (run, level) in one number
LEAST_REFRESH_NS = 60_000_000_000  # a firing key is reported again at most once a minute, and once a window


@dataclass(frozen=True, slots=True, eq=False)
class Emission:
    """What a rule has to say of one key at one pane; `row` is the row of the cells."""

    slot: int
    pane: int
    since: int
    change: Change
    level: int  # 0: the rule's own severity, n: its n-th escalation
    row: int


class Held(NamedTuple):
    """A condition that holds: since which pane, how bad, and how often it was reported again."""

    since: int
    active: int  # 0: it has not held for long enough yet, else level + 1
    bucket: int


_NOT_HELD = Held(0, 0, 0)


class Verdict:
    """The state of one rule over the slots of its grouping."""

    def __init__(self, plan: RulePlan) -> None:
        self.plan = plan
        self.hold_panes = -(-plan.for_ns // plan.pane_ns)
        self.refresh_panes = max(1, max(plan.over_ns, LEAST_REFRESH_NS) // plan.pane_ns)
        self._baselines = [(spec, _baseline(spec)) for spec in plan.baselines]
        self._condition: NDArray[np.bool_] = np.zeros(64, np.bool_)
        self._held: dict[int, Held] = {}  # slots whose condition holds; few
        self._told_again = 0  # the first pane at which one of them is due to be told again, or to fire
        self._waiting: dict[int, int] = {}  # slot -> pane at which its condition has held long enough

    @property
    def holds(self) -> bool:
        """Whether the condition holds for any key."""
        return bool(self._held)

    def next_due(self) -> int:
        """The next pane at which a condition has held for long enough."""
        return min(self._waiting.values(), default=int(NEVER))

    def due(self, pane: int) -> Ints:
        """Slots whose condition has held for long enough by this pane."""
        return np.array([slot for slot, due in self._waiting.items() if due <= pane], np.int64)

    def firing(self, slots: int) -> NDArray[np.bool_]:
        """By slot: whether its condition holds now."""
        self._reserve(slots)
        return self._condition[:slots].copy()

    def values(self, cells: Cells, covered: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
        """The cells, and all that the rule derives from them, by name. covered: None if no rule asks for it."""
        named: dict[str, NDArray[Any]] = cells.values if covered is None else {**cells.values, COVERED: covered}
        self._derive(named, len(cells.slots))
        for spec, baseline in self._baselines:
            self._judge_baseline(spec, baseline, cells, named)
        if self._baselines:
            self._derive(named, len(cells.slots))
        return named

    def _derive(self, named: dict[str, NDArray[Any]], size: int) -> None:
        """Add the values whose ingredients are there."""
        for name, expression in self.plan.values:
            if name not in named and expression.names <= named.keys():
                derived = expression(named)
                named[name] = derived if np.shape(derived) == (size,) else np.broadcast_to(derived, (size,))

    def decide(self, cells: Cells, named: dict[str, NDArray[Any]]) -> list[Emission]:
        """Follow the condition through these rows; what is to be said, in row order."""
        plan, size = self.plan, len(cells.slots)
        fire = as_bool(plan.fire(named), size)
        if not self._held and not fire.any():
            return []
        alive = None if plan.absence else cells.live > 0
        if alive is not None:
            fire = fire & alive
        self._reserve(int(cells.slots.max()) + 1)
        held = self._condition[cells.slots]
        clear = ~fire
        if plan.clear is not None:
            clear &= as_bool(plan.clear(named), size) if alive is None else as_bool(plan.clear(named), size) | ~alive
        changes = ((fire & ~held) | (clear & held)).any()
        due = held.any() and (bool(plan.escalate) or cells.panes.max() >= self._told_again)
        return self._follow(cells, named, fire, clear) if changes or due else []

    def _follow(
        self, cells: Cells, named: dict[str, NDArray[Any]], fire: NDArray[np.bool_], clear: NDArray[np.bool_]
    ) -> list[Emission]:
        rows = self._concerned(cells, fire)
        level = np.zeros(len(cells.slots), np.int64)
        for step, (_, expression) in enumerate(self.plan.escalate, start=1):
            level[as_bool(expression(named), len(level))] = step
        runs = _Runs(cells, rows, fire[rows], clear[rows])
        before = [self._held.get(slot, _NOT_HELD) for slot in runs.owners.tolist()]
        runs.follow(self._condition[runs.owners], np.array([held.since for held in before], np.int64))
        runs.judge(level[rows], before, self.hold_panes, self.refresh_panes)
        self._store(runs)
        return runs.emissions()

    def _concerned(self, cells: Cells, fire: NDArray[np.bool_]) -> NDArray[np.intp]:
        """All rows of the slots for which something fires or has fired: most keys are not among them."""
        heads = np.flatnonzero(cells.first)
        owners = np.logical_or.reduceat(fire | self._condition[cells.slots], heads)
        return np.flatnonzero(np.repeat(owners, np.diff(np.append(heads, len(cells.slots)))))

    def _store(self, runs: _Runs) -> None:
        ends, slots = runs.ends, runs.owners
        self._condition[slots] = runs.condition[ends]
        columns = (runs.condition[ends], runs.since[ends], runs.active[ends], runs.level[ends], runs.bucket[ends])
        for slot, holds, since, active, level, bucket in zip(
            slots.tolist(), *(column.tolist() for column in columns), strict=True
        ):
            self._waiting.pop(slot, None)
            if not holds:
                self._held.pop(slot, None)
                continue
            self._held[slot] = Held(since, level + 1 if active else 0, bucket)
            if not active:
                self._waiting[slot] = since + self.hold_panes
        self._set_due()

    def _set_due(self) -> None:
        told = (held.since + (held.bucket + 1) * self.refresh_panes for held in self._held.values() if held.active)
        self._told_again = min((*told, *self._waiting.values()), default=0)

    def _judge_baseline(
        self, spec: BaselinePlan, baseline: Baseline, cells: Cells, named: dict[str, NDArray[Any]]
    ) -> None:
        slots = cells.slots
        size = len(slots)
        baseline.reserve(int(slots.max()) + 1)
        values = np.nan_to_num(np.broadcast_to(spec.value(named), (size,)).astype(np.float64))
        odd, expected = baseline.judge(slots, values)
        named[spec.name], named[f"{spec.name}_expected"] = odd, expected
        step = max(1, spec.step_ns // self.plan.pane_ns)
        # Attacks must not become normal: no learning while the condition holds.
        learns = (cells.panes % step == 0) & named[COVERED] & ~odd & ~self._condition_of(slots)
        baseline.learn(slots[learns], values[learns])

    def _condition_of(self, slots: Ints) -> NDArray[np.bool_]:
        self._reserve(int(slots.max(initial=0)) + 1)
        return self._condition[slots]

    def _reserve(self, slots: int) -> None:
        if slots > len(self._condition):
            more = (1 << (slots - 1).bit_length()) - len(self._condition)
            self._condition = np.concatenate([self._condition, np.zeros(more, np.bool_)])

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        if len(slots):
            self._reserve(int(slots.max()) + 1)
        self._condition[slots] = False
        for _, baseline in self._baselines:
            baseline.reserve(int(slots.max(initial=0)) + 1)
            baseline.purge(slots)
        for slot in slots.tolist():
            self._waiting.pop(slot, None)
            self._held.pop(slot, None)
        self._set_due()

    def state(self) -> State:
        """Conditions, what waits, and baselines."""
        return {
            "condition": self._condition,
            "held": [[slot, *held] for slot, held in self._held.items()],
            "baselines": {spec.name: baseline.state() for spec, baseline in self._baselines},
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._condition = state["condition"].copy()
        self._held = {slot: Held(*held) for slot, *held in state["held"]}
        self._waiting = {slot: held.since + self.hold_panes for slot, held in self._held.items() if not held.active}
        self._set_due()
        for spec, baseline in self._baselines:
            baseline.restore(state["baselines"][spec.name])


class _Runs:
    """One closing's rows of a rule, with the condition followed through them.

    A run is a stretch of rows of one slot between changes of its condition.
    """

    def __init__(self, cells: Cells, rows: NDArray[np.intp], fire: NDArray[np.bool_], clear: NDArray[np.bool_]) -> None:
        self._rows = rows
        self.slots, self.panes, self.first = cells.slots[rows], cells.panes[rows], cells.first[rows]
        self._events = fire.astype(np.int8) - (clear & ~fire)
        self._heads = np.flatnonzero(self.first)
        self.ends = np.append(self._heads[1:] - 1, len(rows) - 1)
        self.owners = self.slots[self._heads]

    def follow(self, stored: NDArray[np.bool_], since: Ints) -> None:
        """The condition after each row and since when; stored and since: of each owner, before these rows."""
        events, heads = self._events, self._heads
        events[heads] = np.where(events[heads] == 0, np.where(stored, 1, -1), events[heads])
        self.condition = events[_carried(events != 0)] == 1
        self._before = _shifted(self.condition, heads, stored)
        rises = self.condition & ~self._before
        starts = np.where(rises, self.panes, 0)
        starts[heads] = np.where(rises[heads], self.panes[heads], since)
        self.since = starts[_carried(rises | self.first)]

    def judge(self, level: Ints, held: list[Held], hold: int, refresh: int) -> None:
        """Which rows fire, escalate, refresh and clear; held: of each owner, before these rows."""
        heads = self._heads
        stored = np.array([before.active for before in held], np.int64)
        self.active = self.condition & (self.panes - self.since >= hold)
        was = _shifted(self.active, heads, stored > 0) & self._before
        begins = self.active & ~was
        level[heads] = np.where(was[heads], np.maximum(level[heads], stored - 1), level[heads])
        run = np.cumsum(begins | self.first)
        self.level = np.maximum.accumulate(run * LEVELS + np.where(self.active, level, 0)) - run * LEVELS
        self._level_before = _shifted(self.level, heads, np.maximum(stored - 1, 0))
        rises = self.active & ~begins & (self.level > self._level_before)
        self.bucket = np.where(self.active, (self.panes - self.since) // refresh, 0)
        refreshed = _shifted(self.bucket, heads, np.array([before.bucket for before in held], np.int64))
        goes_on = self.active & ~begins & ~rises & (self.bucket > refreshed)
        self._says = [(FIRE, begins), (UPDATE, goes_on), (ESCALATE, rises), (CLEAR, was & ~self.condition)]

    def emissions(self) -> list[Emission]:
        """What there is to say, in row order."""
        said: list[Emission] = []
        for change, rows in self._says:
            for row in np.flatnonzero(rows).tolist():
                level = self._level_before[row] if change == CLEAR else self.level[row]
                since = int(self.since[row])
                slot, pane = int(self.slots[row]), int(self.panes[row])
                said.append(Emission(slot, pane, since, CHANGES[change], int(level), int(self._rows[row])))
        said.sort(key=lambda emission: emission.row)
        return said


def _carried(marks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each row the latest marked row up to it; the first row must be marked."""
    return np.maximum.accumulate(np.where(marks, np.arange(len(marks)), 0))


def _shifted(values: NDArray[Any], heads: NDArray[np.intp], before: NDArray[Any]) -> NDArray[Any]:
    """Each row's predecessor; for the first row of each slot, what was there before these rows."""
    shifted = np.concatenate((values[:1], values[:-1]))
    shifted[heads] = before
    return shifted


def _baseline(spec: BaselinePlan) -> Baseline:
    weight = 1.0 - 2.0 ** (-spec.step_ns / spec.half_life_ns)
    warmup = max(1, spec.warmup_ns // spec.step_ns)
    return Baseline(spec.direction, spec.threshold, spec.floor, weight, warmup)
