"""Verdicts of one rule: when its condition begins to hold, for how long, how bad, and when it ends.

pane       0  1  2  3  4  5  6  7  8
fire          x     x              clear      x     (between fire and clear: as before)
condition     [===================)  since = 1
for: 2            ^ fires at pane 3
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.baseline import Baseline
from detectors.state import State
from detectors.windows import Ints
from watchdog.core.finding import Change
from watchdog.core.plan import COVERED, BaselinePlan, RulePlan, as_bool
from watchdog.engine.stream import NEVER, Cells

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


class Verdict:
    """The state of one rule over the slots of its grouping."""

    def __init__(self, plan: RulePlan) -> None:
        self.plan = plan
        self.hold_panes = -(-plan.for_ns // plan.pane_ns)
        self.refresh_panes = max(1, max(plan.over_ns, LEAST_REFRESH_NS) // plan.pane_ns)
        self._baselines = [(spec, _baseline(spec)) for spec in plan.baselines]
        self._condition: NDArray[np.bool_] = np.zeros(64, np.bool_)
        self._active: NDArray[np.int8] = np.zeros(64, np.int8)  # 0: not firing, else level + 1
        self._since: Ints = np.zeros(64, np.int64)
        self._bucket: Ints = np.zeros(64, np.int64)
        self._waiting: dict[int, int] = {}  # slot -> pane at which its condition has held long enough

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

    def values(self, cells: Cells, covered: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """The cells, and all that the rule derives from them, by name."""
        named: dict[str, NDArray[Any]] = {**cells.values, COVERED: covered}
        self._derive(named, len(cells.decided.slots))
        for spec, baseline in self._baselines:
            self._judge_baseline(spec, baseline, cells, named)
        if self._baselines:
            self._derive(named, len(cells.decided.slots))
        return named

    def _derive(self, named: dict[str, NDArray[Any]], size: int) -> None:
        """Add the values whose ingredients are there."""
        for name, expression in self.plan.values:
            if name not in named and expression.names <= named.keys():
                named[name] = np.broadcast_to(expression(named), (size,))

    def decide(self, cells: Cells, named: dict[str, NDArray[Any]]) -> list[Emission]:
        """Follow the condition through these rows; what is to be said, in row order."""
        decided, plan = cells.decided, self.plan
        size = len(decided.slots)
        alive = (decided.live > 0) | plan.absence
        fire = as_bool(plan.fire(named), size) & alive
        self._reserve(int(decided.slots.max()) + 1)
        if not fire.any() and not self._condition[decided.slots].any():
            return []
        clear = ~fire if plan.clear is None else as_bool(plan.clear(named), size) & ~fire
        clear |= ~alive
        runs = _Runs(decided.slots, decided.panes, decided.first, fire, clear)
        runs.follow(self._condition, self._since)
        level = np.zeros(size, np.int64)
        for step, (_, expression) in enumerate(plan.escalate, start=1):
            level[as_bool(expression(named), size)] = step
        runs.judge(level, self._active, self._bucket, self.hold_panes, self.refresh_panes)
        self._store(runs)
        return runs.emissions()

    def _store(self, runs: _Runs) -> None:
        ends = runs.ends
        slots = runs.slots[ends]
        self._condition[slots] = runs.condition[ends]
        self._since[slots] = runs.since[ends]
        self._active[slots] = np.where(runs.active[ends], runs.level[ends] + 1, 0)
        self._bucket[slots] = runs.bucket[ends]
        if self.hold_panes:
            waits = runs.condition[ends] & ~runs.active[ends]
            for slot, waiting, since in zip(slots.tolist(), waits.tolist(), runs.since[ends].tolist(), strict=True):
                if waiting:
                    self._waiting[slot] = since + self.hold_panes
                else:
                    self._waiting.pop(slot, None)

    def _judge_baseline(
        self, spec: BaselinePlan, baseline: Baseline, cells: Cells, named: dict[str, NDArray[Any]]
    ) -> None:
        slots = cells.decided.slots
        size = len(slots)
        baseline.reserve(int(slots.max()) + 1)
        values = np.nan_to_num(np.broadcast_to(spec.value(named), (size,)).astype(np.float64))
        odd, expected = baseline.judge(slots, values)
        named[spec.name], named[f"{spec.name}_expected"] = odd, expected
        step = max(1, spec.step_ns // self.plan.pane_ns)
        # Attacks must not become normal: no learning while the condition holds.
        learns = (cells.decided.panes % step == 0) & named[COVERED] & ~odd & ~self._condition_of(slots)
        baseline.learn(slots[learns], values[learns])

    def _condition_of(self, slots: Ints) -> NDArray[np.bool_]:
        self._reserve(int(slots.max(initial=0)) + 1)
        return self._condition[slots]

    def _reserve(self, slots: int) -> None:
        if slots > len(self._condition):
            more = (1 << (slots - 1).bit_length()) - len(self._condition)
            self._condition = np.concatenate([self._condition, np.zeros(more, np.bool_)])
            self._active = np.concatenate([self._active, np.zeros(more, np.int8)])
            self._since = np.concatenate([self._since, np.zeros(more, np.int64)])
            self._bucket = np.concatenate([self._bucket, np.zeros(more, np.int64)])

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        if len(slots):
            self._reserve(int(slots.max()) + 1)
        self._condition[slots], self._active[slots] = False, 0
        self._since[slots], self._bucket[slots] = 0, 0
        for _, baseline in self._baselines:
            baseline.reserve(int(slots.max(initial=0)) + 1)
            baseline.purge(slots)
        for slot in slots.tolist():
            self._waiting.pop(slot, None)

    def state(self) -> State:
        """Conditions, what waits, and baselines."""
        return {
            "condition": self._condition,
            "active": self._active,
            "since": self._since,
            "bucket": self._bucket,
            "waiting_slots": np.array(list(self._waiting), np.int64),
            "waiting_panes": np.array(list(self._waiting.values()), np.int64),
            "baselines": {spec.name: baseline.state() for spec, baseline in self._baselines},
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._condition, self._active = state["condition"].copy(), state["active"].copy()
        self._since, self._bucket = state["since"].copy(), state["bucket"].copy()
        panes = state["waiting_panes"].tolist()
        self._waiting = dict(zip(state["waiting_slots"].tolist(), panes, strict=True))
        for spec, baseline in self._baselines:
            baseline.restore(state["baselines"][spec.name])


class _Runs:
    """One closing's rows of a rule, with the condition followed through them.

    A run is a stretch of rows of one slot between changes of its condition.
    """

    def __init__(
        self,
        slots: Ints,
        panes: Ints,
        first: NDArray[np.bool_],
        fire: NDArray[np.bool_],
        clear: NDArray[np.bool_],
    ) -> None:
        self.slots, self.panes, self.first = slots, panes, first
        self._events = fire.astype(np.int8) - (clear & ~fire)
        self.ends = np.flatnonzero(np.concatenate((first[1:], [True])))
        size = len(slots)
        self.condition: NDArray[np.bool_] = np.zeros(size, np.bool_)
        self.since: Ints = np.zeros(size, np.int64)
        self.active: NDArray[np.bool_] = np.zeros(size, np.bool_)
        self.level: Ints = np.zeros(size, np.int64)
        self.bucket: Ints = np.zeros(size, np.int64)
        self._says: list[tuple[int, NDArray[np.bool_]]] = []

    def follow(self, condition: NDArray[np.bool_], since: Ints) -> None:
        """The condition after each row and since when, from the stored state of each slot on."""
        stored = condition[self.slots]
        events = np.where(self.first & (self._events == 0), np.where(stored, 1, -1), self._events)
        self.condition = events[_carried(events != 0)] == 1
        self._before = np.where(self.first, stored, _shifted(self.condition))
        rises = self.condition & ~self._before
        self._rises = rises
        starts = np.where(rises, self.panes, since[self.slots])
        self.since = starts[_carried(rises | self.first)]

    def judge(self, level: Ints, active: NDArray[np.int8], bucket: Ints, hold: int, refresh: int) -> None:
        """Which rows fire, escalate, refresh and clear."""
        self.active = self.condition & (self.panes - self.since >= hold)
        stored = active[self.slots].astype(np.int64)
        # Firing goes on until the condition ends, also if it was stored from before a reload.
        was = np.where(self.first, stored > 0, _shifted(self.active)) & self._before
        self.active |= was & self.condition
        begins = self.active & ~was
        level = np.where(self.first & was, np.maximum(level, stored - 1), level)
        run = np.cumsum(begins | self.first)
        self.level = np.maximum.accumulate(run * LEVELS + np.where(self.active, level, 0)) - run * LEVELS
        before = np.where(self.first, np.maximum(stored - 1, 0), _shifted(self.level))
        rises = self.active & ~begins & (self.level > before)
        self.bucket = np.where(self.active, (self.panes - self.since) // refresh, 0)
        refreshed = np.where(self.first, bucket[self.slots], _shifted(self.bucket))
        goes_on = self.active & ~begins & ~rises & (self.bucket > refreshed)
        ends = was & ~self.condition
        self._says = [(FIRE, begins), (UPDATE, goes_on), (ESCALATE, rises), (CLEAR, ends)]
        self._level_before = before

    def emissions(self) -> list[Emission]:
        """What there is to say, in row order."""
        said: list[Emission] = []
        for change, rows in self._says:
            for row in np.flatnonzero(rows).tolist():
                level = self._level_before[row] if change == CLEAR else self.level[row]
                since = int(self.since[row])
                said.append(
                    Emission(int(self.slots[row]), int(self.panes[row]), since, CHANGES[change], int(level), row)
                )
        said.sort(key=lambda emission: emission.row)
        return said


def _carried(marks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each row the latest marked row up to it; the first row must be marked."""
    return np.maximum.accumulate(np.where(marks, np.arange(len(marks)), 0))


def _shifted(values: NDArray[Any]) -> NDArray[Any]:
    """Each row's predecessor; the first row has its own value, for the caller to replace."""
    return np.concatenate((values[:1], values[:-1]))


def _baseline(spec: BaselinePlan) -> Baseline:
    weight = 1.0 - 2.0 ** (-spec.step_ns / spec.half_life_ns)
    warmup = max(1, spec.warmup_ns // spec.step_ns)
    return Baseline(spec.direction, spec.threshold, spec.floor, weight, warmup)
