"""Verdicts of one rule: when its condition begins to hold, for how long, how bad, and when it ends.

pane       0  1  2  3  4  5  6  7  8
fire          x     x              clear      x     (between fire and clear: as before)
condition     [===================)  since = 1
for: 2            ^ fires at pane 3
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.baseline import Baseline, Path
from detectors.state import State
from detectors.windows import Ints
from watchdog.core.durations import MINUTE_NS
from watchdog.core.finding import Change
from watchdog.core.plan import COVERED, BaselinePlan, RulePlan, as_bool
from watchdog.engine.panes import NEVER, PaneCells

NO_SLOTS: Ints = np.zeros(0, np.int64)
SPARE = 1_000  # entries of the heap that wait no longer
LEAST_REFRESH_NS = MINUTE_NS  # a firing key is reported again at most once a minute, and once a window


class Emission(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What a rule has to say of one key at one pane; `row` is the row of the cells."""

    slot: int
    pane: int
    since: int
    change: Change
    level: int  # 0: the rule's own severity, n: its n-th escalation
    row: int
    counted: bool = False  # the finding for what is left out has counted this key


class Held(NamedTuple):
    """A condition that holds: since which pane, how bad, and how often it was reported again."""

    since: int
    active: int  # 0: it has not held for long enough yet, else level + 1
    bucket: int


class Rest(NamedTuple):
    """How many panes of a silence change no verdict, and what each baseline would learn of it."""

    quiet: int
    paths: list[Path]

    def follow(self, panes: int) -> None:
        """Learn of the first `panes` panes."""
        for path in self.paths:
            path.follow(panes)


class Verdict:
    """The state of one rule over the slots of its grouping."""

    def __init__(self, plan: RulePlan) -> None:
        self.plan = plan
        self.hold_panes = -(-plan.for_ns // plan.pane_ns)
        self.refresh_panes = max(1, max(plan.over_ns, LEAST_REFRESH_NS) // plan.pane_ns)
        self._soonest = min(self.refresh_panes, self.hold_panes or self.refresh_panes)
        self._baselines = [(spec, _baseline(spec)) for spec in plan.baselines]
        self._steps = [max(1, spec.step_ns // plan.pane_ns) for spec in plan.baselines]
        self._condition: NDArray[np.bool_] = np.zeros(64, np.bool_)
        self._due: Ints = np.zeros(64, np.int64)  # by slot that holds: the pane at which it is reported again, or fires
        self._held: dict[int, Held] = {}  # slots whose condition holds; few
        self._waiting: dict[int, int] = {}  # slot -> pane at which its condition has held long enough
        self._soon: list[tuple[int, int]] = []  # a heap of (pane, slot), with entries that wait no longer
        self._active: Ints | None = None  # since when the firing keys hold; None: to be computed

    def held(self) -> Ints:
        """Return the slots for which the condition holds."""
        return np.flatnonzero(self._condition).astype(np.int64, copy=False) if self._held else NO_SLOTS

    def next_due(self) -> int:
        """Return the next pane at which a condition has held for long enough."""
        while self._soon and self._waiting.get(self._soon[0][1]) != self._soon[0][0]:
            heapq.heappop(self._soon)
        return self._soon[0][0] if self._soon else int(NEVER)

    def due(self, pane: int) -> Ints:
        """Return slots whose condition has held for long enough by this pane."""
        if self.next_due() > pane:
            return NO_SLOTS
        return np.array([slot for slot, due in self._waiting.items() if due <= pane], np.int64)

    def next_update(self, pane: int) -> int:
        """Return the first pane from `pane` on at which a firing key may be reported again."""
        if self._active is None:
            self._active = np.array([held.since for held in self._held.values() if held.active], np.int64)
        if not len(self._active):
            return int(NEVER)
        return pane + int(((self._active - pane) % self.refresh_panes).min())

    def next_sample(self, pane: int) -> int:
        """Return the first pane from `pane` on at which a baseline may learn, or judge by what it has just learned."""
        return min((pane if pane % step <= 1 else pane + -pane % step for step in self._steps), default=int(NEVER))

    def rest(self, cells: PaneCells, panes: Ints) -> Rest:
        """Return what baselines learn, and how long no verdict changes, while cells stay like these through `panes`.

        Every window is whole in these panes, and nothing is due.
        """
        size, span = len(cells.slots), len(panes)
        self._reserve(int(cells.slots.max()) + 1)
        held = self._condition[cells.slots]
        named: dict[str, NDArray[Any]] = {**cells.values, COVERED: np.ones(size, np.bool_)}
        self._derive(named, size)
        paths, odds = [], []
        for (spec, baseline), step in zip(self._baselines, self._steps, strict=True):
            baseline.reserve(int(cells.slots.max()) + 1)
            values = np.nan_to_num(np.broadcast_to(spec.value(named), (size,)).astype(np.float64))
            odd, _ = baseline.judge(cells.slots, values)
            odds.append(odd)
            paths.append(Path(baseline, cells.slots, values, ~odd & ~held, panes % step == 0))
        many = {name: np.repeat(column, span) for name, column in named.items()}
        same = np.ones(size * span, np.bool_)
        for (spec, _), path, odd in zip(self._baselines, paths, odds, strict=True):
            many[spec.name], many[f"{spec.name}_expected"] = path.judged()
            same &= many[spec.name] == np.repeat(odd, span)
        self._derive(many, size * span)
        spread = PaneCells(
            np.repeat(cells.slots, span),
            np.tile(panes, size),
            np.repeat(cells.live, span),
            np.tile(panes == panes[0], size),
            many,
        )
        turns = self._turns(spread, many, as_bool(self.plan.fire(many), size * span))
        same &= (turns == np.repeat(np.where(held, 1, -1), span)) | (turns == 0)
        if self.plan.escalate:
            same &= self._levels(many, size * span) < np.repeat(self._active_of(cells.slots), span)
        quiet = same.reshape(size, span).all(axis=0)
        return Rest(span if quiet.all() else int(quiet.argmin()), paths)

    def _active_of(self, slots: Ints) -> Ints:
        """Return the level at which an escalation of each slot is reported; any level for one that does not fire."""
        levels = (self._held[slot].active if slot in self._held else 0 for slot in slots.tolist())
        active = np.fromiter(levels, np.int64, len(slots))
        return np.where(active, active, len(self.plan.escalate) + 1)

    def firing(self, slots: int) -> NDArray[np.bool_]:
        """Return, by slot, whether its condition holds now."""
        self._reserve(slots)
        return self._condition[:slots].copy()

    def values(self, cells: PaneCells, covered: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
        """Return the cells, and all that the rule derives from them, by name. covered: None if no rule asks for it."""
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

    def decide(self, cells: PaneCells, named: dict[str, NDArray[Any]]) -> list[Emission]:
        """Follow the condition through these rows; what is to be said, in row order.

        Most rows change nothing: walked are only those at which the condition turns, worsens or is due.
        """
        plan, size = self.plan, len(cells.slots)
        fire = as_bool(plan.fire(named), size)
        if not self._held and not fire.any():
            return []
        self._reserve(int(cells.slots.max()) + 1)
        turns = self._turns(cells, named, fire)
        held = self._condition[cells.slots]
        before = np.empty_like(turns)
        before[1:] = turns[:-1]
        np.copyto(before, np.where(held, 1, -1), where=cells.first)
        notable = (turns != before) & (turns != 0)
        if self._held:
            notable |= held & (cells.panes >= self._due[cells.slots])
        if int(cells.panes.max()) - int(cells.panes.min()) >= self._soonest:
            notable[:] = True  # what begins to hold in these rows may be due in them
        level = None
        if plan.escalate:
            level = self._levels(named, size)
            notable |= level > 0
        rows = np.flatnonzero(notable)
        return self._walk(cells, rows, turns, level) if len(rows) else []

    def _turns(self, cells: PaneCells, named: dict[str, NDArray[Any]], fire: NDArray[np.bool_]) -> Ints:
        """Return, by row, 1 where the condition is true, -1 where it ends, 0 between the two."""
        plan = self.plan
        turns = np.where(fire, 1, -1)
        if plan.clear is not None:
            turns[~fire & ~as_bool(plan.clear(named), len(fire))] = 0
        if not plan.absence:
            turns[cells.live == 0] = -1
        return turns

    def _levels(self, named: dict[str, NDArray[Any]], size: int) -> Ints:
        """Return the highest escalation whose condition is true, 0 for none."""
        level = np.zeros(size, np.int64)
        for step, (_, expression) in enumerate(self.plan.escalate, start=1):
            level[as_bool(expression(named), size)] = step
        return level

    def _walk(self, cells: PaneCells, rows: NDArray[np.intp], turns: Ints, level: Ints | None) -> list[Emission]:
        """Return the emissions of the rows that may change a state, row by row."""
        said: list[Emission] = []
        levels = np.zeros(len(rows), np.int64) if level is None else level[rows]
        columns = (cells.slots[rows], cells.panes[rows], turns[rows], levels)
        steps = zip(rows.tolist(), *(column.tolist() for column in columns), strict=True)
        for row, slot, pane, turn, step in steps:
            held = self._held.get(slot)
            if held is None:
                if turn > 0:
                    held = Held(pane, 0, 0)
                else:
                    continue
            elif turn < 0:
                if held.active:
                    said.append(Emission(slot, pane, held.since, "clear", held.active - 1, row))
                self._forget(slot)
                continue
            change, held = self._step(held, pane, step, fires=turn > 0)
            if change is not None:
                said.append(Emission(slot, pane, held.since, change, held.active - 1, row))
            self._keep(slot, held)
        return said

    def _step(self, held: Held, pane: int, level: int, *, fires: bool) -> tuple[Change | None, Held]:
        """Return the emission of a condition that still holds at this pane, and its new state.

        Between fire and clear there is nothing to tell again: such numbers would read as no reason to alarm.
        """
        lasted = pane - held.since
        if not held.active and lasted < self.hold_panes:
            return None, held
        bucket = lasted // self.refresh_panes
        active = max(level + 1, held.active)
        change: Change | None = None
        if not held.active:
            change = "fire"
        elif active > held.active:
            change = "escalate"
        elif fires and bucket > held.bucket:
            change = "update"
        return change, Held(held.since, active, bucket if fires else held.bucket)

    def _keep(self, slot: int, held: Held) -> None:
        self._held[slot] = held
        self._active = None
        self._condition[slot] = True
        if held.active:
            self._waiting.pop(slot, None)
            self._due[slot] = held.since + (held.bucket + 1) * self.refresh_panes
            return
        due = held.since + self.hold_panes
        if self._waiting.get(slot) != due:
            self._due[slot] = self._waiting[slot] = due
            heapq.heappush(self._soon, (due, slot))
            if len(self._soon) > 2 * len(self._waiting) + SPARE:
                self._soon = [(pane, slot) for slot, pane in self._waiting.items()]
                heapq.heapify(self._soon)

    def _forget(self, slot: int) -> None:
        self._active = None
        self._held.pop(slot, None)
        self._waiting.pop(slot, None)
        self._condition[slot] = False

    def _judge_baseline(
        self, spec: BaselinePlan, baseline: Baseline, cells: PaneCells, named: dict[str, NDArray[Any]]
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
            self._due = np.concatenate([self._due, np.zeros(more, np.int64)])

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        if len(slots):
            self._reserve(int(slots.max()) + 1)
        for _, baseline in self._baselines:
            baseline.reserve(int(slots.max(initial=0)) + 1)
            baseline.purge(slots)
        for slot in slots.tolist():
            self._forget(slot)

    def state(self) -> State:
        """Return conditions, what waits, and baselines."""
        return {
            "held": [[slot, *held] for slot, held in self._held.items()],
            "baselines": {spec.name: baseline.state() for spec, baseline in self._baselines},
        }

    def restore(self, state: State, slots: int) -> None:
        """Continue from `state`; `slots` is how many there are."""
        for row in state["held"]:
            slot, since, active, bucket = (int(number) for number in row)
            if not 0 <= slot < slots or not 0 <= active <= len(self.plan.escalate) + 1:
                raise ValueError("a condition holds for no slot")
            self._reserve(slot + 1)
            self._keep(slot, Held(since, active, bucket))
        for spec, baseline in self._baselines:
            baseline.restore(state["baselines"][spec.name])


def _baseline(spec: BaselinePlan) -> Baseline:
    weight = 1.0 - 2.0 ** (-spec.step_ns / spec.half_life_ns)
    warmup = max(1, spec.warmup_ns // spec.step_ns)
    up, down = spec.direction in ("up", "both"), spec.direction in ("down", "both")
    return Baseline(spec.threshold, spec.floor, weight, warmup, up=up, down=down)
