"""A window and the rules that are decided on it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from detectors.windows import Ints
from watchdog.core.finding import Finding
from watchdog.core.plan import COVERED, SPEAKS, MeasurePlan, RulePlan
from watchdog.engine.budgets import Budgets
from watchdog.engine.coverage import Coverage
from watchdog.engine.findings import Findings, StreamId
from watchdog.engine.guards import PaneGuards, seen_of
from watchdog.engine.learning import turning
from watchdog.engine.lookback import Lookback
from watchdog.engine.panes import NEVER, PaneCells, RuleWindow
from watchdog.engine.spells import Freezing
from watchdog.engine.verdict import Verdict

RESTED_CELLS = 16_384  # keys x panes that are looked at together while nothing comes


class WindowRules:
    """Closes one window's panes and decides its rules; a `Decider`."""

    def __init__(
        self,
        window: RuleWindow,
        plans: Sequence[RulePlan],
        measures: Mapping[str, MeasurePlan],
        place: StreamId,
        coverage: Coverage,
        *,
        budgets: Budgets,
    ) -> None:
        self.window, self.group = window, place.group
        self._coverage, self._over_ns, self._kinds = coverage, plans[0].over_ns, plans[0].kinds  # of all its rules
        self._needs_coverage = any(plan.absence or plan.sampled or plan.comparisons for plan in plans)
        self.learns = any(plan.sampled for plan in plans)
        self._river = any(plan.drifts or plan.model for plan in plans)
        self.absence_of_node = any(plan.absence for plan in plans) and not plans[0].by
        self.waits = any(plan.for_ns for plan in plans)
        self._guarded, self._compares = any(plan.guarded for plan in plans), any(plan.comparisons for plan in plans)
        self._fixed = budgets.fixed
        self._verdicts = [Verdict(p, budgets.of_rule.get(p.id, {}), self._freezing(p)) for p in plans]
        self.seconds = dict.fromkeys((plan.id for plan in plans), 0.0)  # spent on deciding, by rule
        self._names = [{m.name: measures[m.text].name for m in plan.measures} for plan in plans]
        self._writers = [
            Findings(plan, place, window.grouping, coverage, budgets.of_rule.get(plan.id)) for plan in plans
        ]
        self.refused = 0  # samples of keys for which there was no detector
        self._lookback: Lookback | None = None
        self._findings: list[Finding] = []

    def _freezing(self, plan: RulePlan) -> Freezing:
        return Freezing(self._fixed.freezing.get(plan.id, ()), self.window.grouping, plan.pane_ns)

    def findings_cut(self) -> dict[str, int]:
        """Return findings that were left out because too many keys fired at once, by rule."""
        return {writer.plan.id: writer.surplus.cut for writer in self._writers if writer.surplus.cut}

    def held(self) -> Ints:
        """Return the slots for which the condition of a rule holds, in no order; some may be named twice."""
        if len(self._verdicts) == 1:
            return self._verdicts[0].held()
        return np.concatenate([verdict.held() for verdict in self._verdicts])

    def begin(self, lookback: Lookback) -> None:
        """Collect findings from here on."""
        self._lookback, self._findings = lookback, []

    def take(self) -> list[Finding]:
        """Return the findings since `begin`, once."""
        findings, self._findings = self._findings, []
        return findings

    def decide(self, cells: PaneCells) -> None:
        """Judge the cells of a closing with every rule of the window."""
        seen = self._seen(cells) if self._needs_coverage else None
        for rule, verdict, names, writer in zip(self.seconds, self._verdicts, self._names, self._writers, strict=True):
            begun = time.perf_counter()
            values = {name: cells.values[inner] for name, inner in names.items()}
            own = PaneCells(cells.slots, cells.panes, cells.live, cells.first, values)
            named = verdict.values(own, seen)
            emissions = verdict.decide(own, named)
            for spells in self._fixed.told.get(rule, ()) if emissions else ():
                spells.take(emissions, self.window.grouping.table.keys, self.window.pane_ns)
            turns = verdict.learning.take_turns()
            if emissions and self._lookback is not None:
                for hidden in (COVERED, SPEAKS):
                    named.pop(hidden, None)
                self._findings += writer.write(emissions, named, self._lookback)
            if turns:
                self._findings += writer.write_turns(turns)
            if self._river:
                self._findings += writer.write_faults(verdict.river.take_faults())
            self.seconds[rule] += time.perf_counter() - begun
        if self._river:
            self.refused = sum(verdict.river.refused for verdict in self._verdicts)

    def next_due(self) -> int:
        """Return the next pane at which some rule's condition has held for long enough."""
        return min((verdict.next_due() for verdict in self._verdicts), default=int(NEVER))

    def next_silent(self, pane: int, *, fresh: bool) -> int:
        """Return the first pane from `pane` on at which something may be new though no value has changed."""
        panes = [self.next_due()]
        if self._needs_coverage:
            panes.append(self._coverage.disturbed(self._over_ns, self._kinds).next_change(pane, self.window.pane_ns))
        if self._guarded:
            panes += [guard.next_change(pane, self.window.pane_ns) for guard in self._coverage.guards()]
        if fresh:
            panes += [verdict.next_update(pane) for verdict in self._verdicts]
        return max(min(panes), pane)

    def next_sample(self, pane: int) -> int:
        """Return the first pane from `pane` on at which a baseline may learn, or judge by what it has just learned."""
        disturbed = self._coverage.disturbed(self._over_ns, self._kinds)
        if not self.learns or disturbed.at((pane + 1) * self.window.pane_ns):
            return int(NEVER)
        return min(min(one.learning.next_sample(pane), one.river.next_sample(pane)) for one in self._verdicts)

    def rest(self, cells: PaneCells, until: int) -> int:
        """Let baselines learn of panes in which all cells stay like these; how many panes say nothing."""
        if not len(cells.slots) or self._compares:
            return 0
        seen = self._seen(cells) if self._guarded else None
        begun = time.perf_counter()
        start = int(cells.panes[0])
        until = min([until, *(verdict.next_thaw(start) for verdict in self._verdicts)])
        panes = np.arange(start, min(until, start + max(1, RESTED_CELLS // len(cells.slots))))
        paths = []
        for verdict, names in zip(self._verdicts, self._names, strict=True):
            values = {name: cells.values[inner] for name, inner in names.items()}
            own = PaneCells(cells.slots, cells.panes, cells.live, cells.first, values)
            paths.append(verdict.rest(own, panes, seen))
        quiet = min(path.quiet for path in paths)
        for path in paths:
            path.follow(quiet)
        self.seconds[next(iter(self.seconds))] += time.perf_counter() - begun
        return quiet

    def _seen(self, cells: PaneCells) -> PaneGuards:
        ends = (cells.panes + 1) * self.window.pane_ns
        return seen_of(self._coverage, ends, self._over_ns, self._kinds, guarded=self._guarded)

    def due(self, pane: int) -> Ints:
        """Return the slots whose `for` period has elapsed by this pane."""
        return np.unique(np.concatenate([verdict.due(pane) for verdict in self._verdicts]))

    def busy(self) -> NDArray[np.bool_]:
        """Return, by slot, whether rows wait in an open pane or a condition holds."""
        return self.window.busy() | self.firing()

    def firing(self) -> NDArray[np.bool_]:
        """Return, by slot, whether a condition holds or a baseline learns afresh: both must be reported to end."""
        size = self.window.grouping.capacity
        firing = np.zeros(size, np.bool_)
        for verdict in self._verdicts:
            firing |= verdict.firing(size)
            firing[[slot for slot, _ in turning(verdict.learning)]] = True
        return firing

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        self.window.purge(slots)
        for verdict, writer in zip(self._verdicts, self._writers, strict=True):
            verdict.purge(slots)
            writer.purge(slots)
        words = self.window.grouping.table.keys[slots].tolist()
        for spells in (one for rule in self.seconds for one in self._fixed.told.get(rule, ())):
            spells.purge(words)

    def state(self) -> State:
        """Return window, verdicts and what is open."""
        return {
            "window": self.window.state(),
            "verdicts": [verdict.state() for verdict in self._verdicts],
            "open": [writer.state() for writer in self._writers],
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.window.restore(state["window"])
        for verdict, saved in zip(self._verdicts, state["verdicts"], strict=True):
            verdict.restore(saved, self.window.grouping.capacity)
        for writer, verdict, saved in zip(self._writers, self._verdicts, state["open"], strict=True):
            writer.restore(saved)
            if "turning" not in saved:
                writer.take_turning(turning(verdict.learning))
