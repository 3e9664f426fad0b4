"""Verdicts of one rule: when its condition begins to hold, for how long, how bad, and when it ends.

pane       0  1  2  3  4  5  6  7  8
verdict       x  .  x  x  .  x  c            x: fire, c: clear, . between the two: as before
condition     [=================)            since = 1
for: 2        1     2  ^                     counts the panes with x; fires at pane 4
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from detectors.windows import Ints
from watchdog.core.durations import MINUTE_NS
from watchdog.core.finding import Change
from watchdog.core.plan import COVERED, SPEAKS, RulePlan, as_bool
from watchdog.engine.budgets import Budgeted
from watchdog.engine.comparisons import compare
from watchdog.engine.coverage import START_NS
from watchdog.engine.emission import Emission, Held, Rest
from watchdog.engine.guards import FOR_SYNC, EnoughKeys, PaneGuards, until_text
from watchdog.engine.learning import Learning, far_name, name_verdict
from watchdog.engine.panes import NEVER, PaneCells
from watchdog.engine.river_detectors import RiverDetectors
from watchdog.engine.spells import Freezing

NO_SLOTS: Ints = np.zeros(0, np.int64)
SPARE = 1_000  # entries of the heap that wait no longer
SPAN_LEAST = 8  # panes that a baseline follows before the first look whether it should have learned of them
LEAST_REFRESH_NS = MINUTE_NS  # a firing key is reported again at most once a minute, and once a window


class Verdict:
    """The state of one rule over the slots of its grouping."""

    def __init__(self, plan: RulePlan, budgeted: Mapping[str, Budgeted], freezing: Freezing) -> None:
        self.plan, self._freezing = plan, freezing
        self._budgeted = {one.spec.name: one for one in budgeted.values()}
        self._attendance = {one.name: EnoughKeys(one.least, plan.over_ns) for one in plan.comparisons if one.every_ns}
        self.hold_panes = -(-plan.for_ns // plan.pane_ns)
        self.refresh_panes = max(1, max(plan.over_ns, LEAST_REFRESH_NS) // plan.pane_ns)
        self._soonest = min(self.refresh_panes, self.hold_panes or self.refresh_panes)
        self.learning = Learning(plan, budgeted)
        self.river = RiverDetectors(plan)
        self._condition: NDArray[np.bool_] = np.zeros(64, np.bool_)
        self._due: Ints = np.zeros(64, np.int64)  # by slot that holds: the pane at which it is reported again, or fires
        self._count: NDArray[np.int8] = np.zeros(64, np.int8)  # by slot: 1 while its `for` counts, -1 while that pauses
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

    def rest(self, cells: PaneCells, panes: Ints, seen: PaneGuards | None) -> Rest:
        """Return what baselines learn, and how long no verdict changes, while cells stay like these through `panes`.

        Every window is whole in these panes, and nothing is due. seen: of the first pane, and so of all of them.
        """
        if self.plan.drifts or self.plan.model:
            return Rest(0, [], lambda _panes: None)  # these take their samples one by one
        size, span = len(cells.slots), len(panes)
        self._reserve(int(cells.slots.max()) + 1)
        held = self._condition[cells.slots]
        whole = np.ones(size, np.bool_)
        speaks = whole if seen is None else seen.speaks
        named: dict[str, NDArray[Any]] = {**cells.values, COVERED: whole, SPEAKS: speaks}
        self._derive(named, size)
        paths = self.learning.paths(cells, named, held | self._frozen(cells), panes)
        many = {name: np.repeat(column, span) for name, column in named.items()}
        same = np.ones(size * span, np.bool_)
        for spec, path in zip(self.plan.baselines, paths, strict=True):
            name_verdict(many, spec, path.threshold, path.scores())
            same &= (many[far_name(spec)] == np.repeat(named[far_name(spec)], span)) & ~path.turns()
        self._derive(many, size * span)
        spread = PaneCells(
            np.repeat(cells.slots, span),
            np.tile(panes, size),
            np.repeat(cells.live, span),
            np.tile(panes == panes[0], size),
            many,
        )
        turns = self._turns_of(many, spread.live)
        counts = np.repeat(self._count[cells.slots] > 0, span)  # a pane between fire and clear makes these pause
        same &= (turns == np.repeat(self._turns_before(cells.slots), span)) | ((turns == 0) & ~counts)
        if self.plan.escalate:
            same &= self._levels(many, size * span) < np.repeat(self._active_of(cells.slots), span)
        quiet = same.reshape(size, span).all(axis=0)
        rested = span if quiet.all() else int(quiet.argmin())
        return Rest(rested, paths, lambda number: self.learning.tails.note_rest(many, span, panes[:number]))

    def _active_of(self, slots: Ints) -> Ints:
        """Return the level at which an escalation of each slot is reported; any level for one that does not fire."""
        levels = (self._held[slot].active if slot in self._held else 0 for slot in slots.tolist())
        active = np.fromiter(levels, np.int64, len(slots))
        return np.where(active, active, len(self.plan.escalate) + 1)

    def firing(self, slots: int) -> NDArray[np.bool_]:
        """Return, by slot, whether its condition holds now."""
        self._reserve(slots)
        return self._condition[:slots].copy()

    def values(self, cells: PaneCells, seen: PaneGuards | None) -> dict[str, NDArray[Any]]:
        """Return the cells, and all that the rule derives from them, by name. seen: None if no rule asks for it."""
        named: dict[str, NDArray[Any]] = cells.values
        if seen is not None:
            named = {**cells.values, COVERED: seen.whole, SPEAKS: seen.speaks}
        self._derive(named, len(cells.slots))
        if self.plan.comparisons and seen is not None:
            self._compare(cells, named, seen)
        if self.plan.drifts or self.plan.model:
            self.river.judge(cells, named)
        if self.plan.baselines:
            if cells.first.all():
                self.learning.judge(cells, named, self._condition_of(cells.slots) | self._frozen(cells))
            else:
                self._judge_along(cells, named)
            self._derive(named, len(cells.slots))
            if self._budgeted and seen is not None:
                self.learning.tails.note(cells, named)
                self._wait(seen)
        return named

    def _compare(self, cells: PaneCells, named: dict[str, NDArray[Any]], seen: PaneGuards) -> None:
        """Compare the keys of one pane; a comparison with a budget waits until enough of them are there."""
        thresholds = {name: one.tail.threshold for name, one in self._budgeted.items()}
        compare(self.plan.comparisons, cells, named, thresholds)
        pane = int(cells.panes[0])
        for name, attendance in self._attendance.items():
            peers = int(named[f"{name}_peers"].max())
            judged = attendance.ready((pane + 1) * self.plan.pane_ns, seen.start_ns, peers) & ~seen.syncing
            named[name] = named[name] & judged
            one = self._budgeted[name]
            one.waits = FOR_SYNC if seen.syncing[-1] else attendance.waits
            if peers:
                worst = named[f"{name}_score"].max(keepdims=True)
                one.note(cells.panes[:1], worst, (judged & named[COVERED])[:1])

    def _wait(self, seen: PaneGuards) -> None:
        """Note for what the budgeted baselines wait."""
        waits = until_text(seen.start_ns + START_NS) if seen.begun[-1] else ""
        for spec in self.plan.baselines:
            if spec.name in self._budgeted:
                self._budgeted[spec.name].waits = FOR_SYNC if seen.syncing[-1] else waits

    def _derive(self, named: dict[str, NDArray[Any]], size: int) -> None:
        """Add the values whose ingredients are there."""
        for name, expression in self.plan.values:
            if name not in named and expression.names <= named.keys():
                derived = expression(named)
                named[name] = derived if np.shape(derived) == (size,) else np.broadcast_to(derived, (size,))

    def decide(self, cells: PaneCells, named: dict[str, NDArray[Any]]) -> list[Emission]:
        """Follow the condition through these rows; return the emissions, in row order.

        Most rows change nothing: walked are only those at which the condition turns, worsens or is due.
        """
        plan, size = self.plan, len(cells.slots)
        fire = as_bool(plan.fire(named), size)
        if not self._held and not fire.any():
            return []
        self._reserve(int(cells.slots.max()) + 1)
        turns = self._turns(named, fire, cells.live)
        held = self._condition[cells.slots]
        before = np.empty_like(turns)
        before[1:] = turns[:-1]
        np.copyto(before, self._turns_before(cells.slots), where=cells.first)
        notable = (turns != before) & (turns != 0)
        if self.hold_panes:
            counts = np.where(cells.first, self._count[cells.slots] > 0, before > 0)
            notable |= counts & (turns == 0)
        if self._held:
            notable |= held & (turns > 0) & (cells.panes >= self._due[cells.slots])
        if int(cells.panes.max()) - int(cells.panes.min()) >= self._soonest:
            notable[:] = True  # what begins to hold in these rows may be due in them
        level = None
        if plan.escalate:
            level = self._levels(named, size)
            notable |= level > 0
        rows = np.flatnonzero(notable)
        return self._walk(cells, rows, turns, level) if len(rows) else []

    def _turns_before(self, slots: Ints) -> Ints:
        """Return the turns of these slots when they were judged last, as far as they matter: 1 for all that fire."""
        return np.where(self._condition[slots], np.where(self._count[slots] < 0, 0, 1), -1)

    def _turns_of(self, named: dict[str, NDArray[Any]], live: Ints) -> Ints:
        return self._turns(named, as_bool(self.plan.fire(named), len(live)), live)

    def _turns(self, named: dict[str, NDArray[Any]], fire: NDArray[np.bool_], live: Ints) -> Ints:
        """Return, by row, 1 where the condition is true, -1 where it ends, 0 between the two."""
        plan = self.plan
        turns = np.where(fire, 1, -1)
        if plan.clear is not None:
            turns[~fire & ~as_bool(plan.clear(named), len(fire))] = 0
        if not plan.absence:
            turns[live == 0] = -1
        return turns

    def _levels(self, named: dict[str, NDArray[Any]], size: int) -> Ints:
        """Return the highest escalation whose condition is true, 0 for none."""
        level = np.zeros(size, np.int64)
        for step, (_, expression) in enumerate(self.plan.escalate, start=1):
            level[as_bool(expression(named), size)] = step
        return level

    def _walk(self, cells: PaneCells, rows: NDArray[np.intp], turns: Ints, level: Ints | None) -> list[Emission]:
        """Return the emissions of the rows that may change a state, row by row."""
        emissions: list[Emission] = []
        levels = np.zeros(len(rows), np.int64) if level is None else level[rows]
        columns = (cells.slots[rows], cells.panes[rows], turns[rows], levels)
        steps = zip(rows.tolist(), *(column.tolist() for column in columns), strict=True)
        for row, slot, pane, turn, step in steps:
            held = self._held.get(slot)
            if held is None:
                if turn > 0:
                    held = Held(pane, 0, 0, pane)
                else:
                    continue
            elif turn < 0:
                if held.active:
                    emissions.append(Emission(slot, pane, held.since, "clear", held.active - 1, row))
                self._forget(slot)
                continue
            change, held = self._step(held, pane, step, fires=turn > 0)
            if change is not None:
                emissions.append(Emission(slot, pane, held.since, change, held.active - 1, row))
            self._keep(slot, held)
        return emissions

    def _step(self, held: Held, pane: int, level: int, *, fires: bool) -> tuple[Change | None, Held]:
        """Return the emission of a condition that still holds at this pane, and its new state.

        Between fire and clear there is nothing to tell again: such numbers would read as no reason to alarm.
        """
        if not held.active:
            held = held.counted(pane, fires=fires)
            if not fires or pane - held.start < self.hold_panes:
                return None, held
        bucket = (pane - held.since) // self.refresh_panes
        active = max(level + 1, held.active)
        change: Change | None = None
        if not held.active:
            change = "fire"
        elif active > held.active:
            change = "escalate"
        elif fires and bucket > held.bucket:
            change = "update"
        return change, Held(held.since, active, bucket if fires else held.bucket, held.since)

    def _keep(self, slot: int, held: Held) -> None:
        self._held[slot] = held
        self._active = None
        self._condition[slot] = True
        self._count[slot] = 0 if held.active else 1 if held.paused is None else -1
        if self._count[slot] <= 0:
            self._waiting.pop(slot, None)
            # a paused count may resume and be due within rows that are judged together
            self._due[slot] = held.since + (held.bucket + 1) * self.refresh_panes if held.active else -NEVER
            return
        due = held.start + self.hold_panes
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
        self._condition[slot], self._count[slot] = False, 0

    def _judge_along(self, cells: PaneCells, named: dict[str, NDArray[Any]]) -> None:
        """Add what `Learning.judge` gives for one key pane by pane, as from each pane to the next it learns.

        Spans of panes are judged as if nothing odd came, and end where something does, or where the condition turns.
        """
        size, slot, learning = len(cells.slots), int(cells.slots[0]), self.learning
        series = learning.series(named, size)
        held, row, length = bool(self._condition_of(cells.slots[:1])[0]), 0, SPAN_LEAST
        frozen = self._frozen(cells)
        thaws = np.append(np.flatnonzero(np.diff(frozen)) + 1, size)  # rows at which that changes
        judged: list[dict[str, NDArray[Any]]] = []
        while row < size:
            span = slice(row, min(int(thaws[np.searchsorted(thaws, row, side="right")]), row + length))
            stays = held or bool(frozen[row])
            own = {name: column[span] for name, column in named.items()}
            watched = [values[span] for values in series]
            learned = learning.follow(slot, cells.panes[span], watched, own, held=stays)
            self._derive(own, len(cells.panes[span]))
            turns = self._turns_of(own, cells.live[span])
            odd = np.any([own[far_name(spec)] for spec in self.plan.baselines], axis=0)
            ends = np.flatnonzero(turns < 0 if held else odd | (turns > 0))
            last = int(ends[0]) if len(ends) else len(turns) - 1
            learning.settle(slot, cells.panes[row : row + last + 1], watched, own, learned, held=stays)
            judged.append({name: own[name][: last + 1] for name in own.keys() - named.keys()})
            held = bool(turns[last] > 0) if turns[last] else held
            row, length = row + last + 1, max(SPAN_LEAST, length // 2) if len(ends) else 2 * length
        for name in judged[0]:
            named[name] = np.concatenate([columns[name] for columns in judged])

    def next_thaw(self, pane: int) -> int:
        """Return the first pane after `pane` at which a fixed rule begins or ceases to freeze a key."""
        return self._freezing.next_thaw(pane)

    def _frozen(self, cells: PaneCells) -> NDArray[np.bool_]:
        return self._freezing.rows(cells)

    def _condition_of(self, slots: Ints) -> NDArray[np.bool_]:
        self._reserve(int(slots.max(initial=0)) + 1)
        return self._condition[slots]

    def _reserve(self, slots: int) -> None:
        if slots > len(self._condition):
            more = (1 << (slots - 1).bit_length()) - len(self._condition)
            self._condition = np.concatenate([self._condition, np.zeros(more, np.bool_)])
            self._due = np.concatenate([self._due, np.zeros(more, np.int64)])
            self._count = np.concatenate([self._count, np.zeros(more, np.int8)])

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        if len(slots):
            self._reserve(int(slots.max()) + 1)
        self.learning.purge(slots)
        self.river.purge(slots)
        for slot in slots.tolist():
            self._forget(slot)

    def state(self) -> State:
        """Return conditions, what waits, and baselines; equal however many panes closed at once."""
        rows = sorted(self._held.items())
        paused = [(slot, held) for slot, held in rows if (held.start, held.paused) != (held.since, None)]
        return {
            "held": [[slot, held.since, held.active, held.bucket] for slot, held in rows],
            "counts": [[slot, held.start, held.paused] for slot, held in paused],
            "baselines": self.learning.state(),
            "river": self.river.state(),
            "attendance": {name: one.state() for name, one in self._attendance.items()},
        }

    def restore(self, state: State, slots: int) -> None:
        """Continue from `state`; `slots` is how many there are."""
        counts = {int(slot): (int(start), paused) for slot, start, paused in state.get("counts", ())}
        for row in state["held"]:
            slot, since, active, bucket = (int(number) for number in row)
            if not 0 <= slot < slots or not 0 <= active <= len(self.plan.escalate) + 1:
                raise ValueError("a condition holds for no slot")
            self._reserve(slot + 1)
            start, paused = counts.get(slot, (since, None))
            self._keep(slot, Held(since, active, bucket, start, None if paused is None else int(paused)))
        self.learning.restore(state["baselines"])
        self.river.restore(state.get("river", {}))
        for name, one in self._attendance.items():
            if name in state.get("attendance", {}):
                one.restore(state["attendance"][name])
