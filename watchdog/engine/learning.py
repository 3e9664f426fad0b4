"""The baselines of one rule: what they judge, what they learn, and when one begins to learn afresh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.baseline import RELEARNS, Baseline, Learnt, Path, turns
from detectors.laws import CountLaw, LevelLaw
from detectors.state import State
from detectors.windows import Floats, Ints
from watchdog.core.plan import COVERED, SPEAKS, BaselinePlan, RulePlan
from watchdog.engine.budgets import Budgeted
from watchdog.engine.panes import NEVER, PaneCells

Named = dict[str, NDArray[Any]]


class Turn(NamedTuple):
    """A key that begins to learn its normal afresh at a pane (begins), or that has learned it.

    name: the baseline. old, new: expected values before and after; new is 0 where it begins.
    """

    pane: int
    slot: int
    name: str
    begins: bool
    old: float
    new: float


class BaselineTails:
    """The budgets of the baselines of one rule: they take the worst score of each pane. budgeted: by name."""

    def __init__(self, plan: RulePlan, budgeted: Mapping[str, Budgeted]) -> None:
        own = {one.spec.name: one for one in budgeted.values()}
        self._rows = [(spec, own.get(spec.name)) for spec in plan.baselines]

    def thresholds(self) -> list[float]:
        """Return the threshold of each baseline, learnt or as the plan has it."""
        return [spec.threshold if one is None else one.tail.threshold for spec, one in self._rows]

    def note(self, cells: PaneCells, named: Named) -> None:
        """Take the scores of a closing."""
        for spec, one in self._rows:
            if one is None:
                continue
            scores, judged = named[_score(spec)], named[SPEAKS]
            if cells.first.all():
                one.note(cells.panes[:1], scores.max(keepdims=True), judged[:1])
            else:
                one.note(cells.panes, scores, judged)

    def note_rest(self, many: Named, span: int, panes: Ints) -> None:
        """Take those of the first panes of a span in which nothing came: `many` has those of a key in a row."""
        for spec, one in self._rows:
            if one is not None:
                worst = many[_score(spec)].reshape(-1, span).max(axis=0)[: len(panes)]
                one.note(panes, worst, many[SPEAKS][: len(panes)])


class Learning:
    """The baselines of one rule over the slots of its grouping. budgeted: those that keep a budget, by name."""

    def __init__(self, plan: RulePlan, budgeted: Mapping[str, Budgeted]) -> None:
        self.specs = plan.baselines
        self.tails = BaselineTails(plan, budgeted)
        self._baselines = [_baseline(spec) for spec in plan.baselines]
        self._steps = [max(1, spec.step_ns // plan.pane_ns) for spec in plan.baselines]
        self._turns: list[Turn] = []

    def take_turns(self) -> list[Turn]:
        """Return the turns since the last call, by pane."""
        found, self._turns = self._turns, []
        return sorted(found)

    def next_sample(self, pane: int) -> int:
        """Return the first pane from `pane` on at which a baseline may learn, or judge by what it has just learned."""
        return min((pane if pane % step <= 1 else pane + -pane % step for step in self._steps), default=int(NEVER))

    def series(self, named: Named, size: int) -> list[Floats]:
        """Return what each baseline watches, by row."""
        watched = (np.broadcast_to(spec.value(named), (size,)) for spec in self.specs)
        return [np.nan_to_num(values.astype(np.float64)) for values in watched]

    def judge(self, cells: PaneCells, named: Named, held: NDArray[np.bool_]) -> None:
        """Add verdicts and expectations of distinct slots to `named`, and learn. held: the rule's condition, by row.

        Attacks must not become normal: an anomalous value teaches nothing, nor does any while the condition holds.
        """
        slots, keys = cells.slots, int((cells.live > 0).sum())
        series = self.series(named, len(slots))
        for baseline, threshold in zip(self._baselines, self.tails.thresholds(), strict=True):
            baseline.threshold = threshold
        for spec, baseline, step, values in zip(self.specs, self._baselines, self._steps, series, strict=True):
            baseline.reserve(int(slots.max()) + 1)
            name_verdict(named, spec, baseline.threshold, baseline.scored(values, baseline.at(slots), keys))
            odd = named[far_name(spec)]
            taken = (cells.panes % step == 0) & named[COVERED]
            teaches = ~odd[taken] & ~held[taken]
            self._learn(spec, baseline, (slots[taken], cells.panes[taken]), values[taken], teaches)

    def follow(self, slot: int, panes: Ints, series: list[Floats], named: Named, *, held: bool) -> list[Learnt]:
        """Add the verdicts on one key pane by pane to `named`, as if nothing odd came; return what is learned then.

        held: whether the rule's condition holds in all of these panes.
        """
        learned = []
        for baseline, threshold in zip(self._baselines, self.tails.thresholds(), strict=True):
            baseline.threshold = threshold
        for spec, baseline, step, values in zip(self.specs, self._baselines, self._steps, series, strict=True):
            baseline.reserve(slot + 1)
            memory = baseline.series(slot, values, (panes % step == 0) & named[COVERED], teaches=not held)
            before = Learnt._make(column[:-1] for column in memory)
            name_verdict(named, spec, baseline.threshold, baseline.scored(values, before))
            learned.append(memory)
        return learned

    def settle(
        self, slot: int, panes: Ints, series: list[Floats], named: Named, learned: list[Learnt], *, held: bool
    ) -> None:
        """Learn what `follow` returned, through the last of these panes; an odd value there teaches nothing.

        series, named: as `follow` had and left them; they may be longer.
        """
        last, at = len(panes) - 1, np.array([slot])
        rows = zip(self.specs, self._baselines, self._steps, series, learned, strict=True)
        for spec, baseline, step, values, memory in rows:
            end = last if named[far_name(spec)][last] and not held else last + 1
            for row in np.flatnonzero(turns(memory.frozen[: end + 1])).tolist():
                self._note(spec, baseline, slot, int(panes[row]), Learnt._make(column[row + 1] for column in memory))
            baseline.put(at, Learnt._make(column[end] for column in memory))
            if end == last and panes[last] % step == 0 and named[COVERED][last]:
                nothing = np.zeros(1, np.bool_)
                self._learn(spec, baseline, (at, panes[last:]), values[last : last + 1], nothing)

    def paths(self, cells: PaneCells, named: Named, held: NDArray[np.bool_], panes: Ints) -> list[Path]:
        """Add the verdicts to `named`; return what baselines learn while cells stay like these through `panes`."""
        slots, keys = cells.slots, int((cells.live > 0).sum())
        paths = []
        series = self.series(named, len(slots))
        for baseline, threshold in zip(self._baselines, self.tails.thresholds(), strict=True):
            baseline.threshold = threshold
        for spec, baseline, step, values in zip(self.specs, self._baselines, self._steps, series, strict=True):
            baseline.reserve(int(slots.max()) + 1)
            name_verdict(named, spec, baseline.threshold, baseline.scored(values, baseline.at(slots), keys))
            sampled, teaches = panes % step == 0, ~named[far_name(spec)] & ~held
            paths.append(Path(baseline, slots, values, teaches, sampled=sampled, keys=keys))
        return paths

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        for baseline in self._baselines:
            baseline.reserve(int(slots.max(initial=0)) + 1)
            baseline.purge(slots)

    def state(self) -> State:
        """Return what is known, by baseline."""
        return {spec.name: baseline.state() for spec, baseline in zip(self.specs, self._baselines, strict=True)}

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        for spec, baseline in zip(self.specs, self._baselines, strict=True):
            baseline.restore(state[spec.name])

    def _learn(
        self,
        spec: BaselinePlan,
        baseline: Baseline,
        where: tuple[Ints, Ints],
        values: Floats,
        teaches: NDArray[np.bool_],
    ) -> None:
        """Take samples of distinct slots at panes, and note which turn."""
        slots, panes = where
        before = baseline.at(slots)
        after = baseline.after(values, teaches, before)
        baseline.put(slots, after)
        for row in np.flatnonzero((before.frozen == RELEARNS) != (after.frozen == RELEARNS)).tolist():
            memory = Learnt._make(column[row] for column in after)
            self._note(spec, baseline, int(slots[row]), int(panes[row]), memory)

    def _note(self, spec: BaselinePlan, baseline: Baseline, slot: int, pane: int, after: Learnt) -> None:
        begins = int(after.frozen) == RELEARNS
        new = 0.0 if begins else baseline.law.expected(np.array([after.mean])).item()
        self._turns.append(Turn(pane, slot, spec.name, begins, float(after.old), new))


def turning(learning: Learning) -> set[tuple[int, str]]:
    """Return slot and name of each baseline that learns afresh."""
    afresh = {name: baseline["frozen"] == RELEARNS for name, baseline in learning.state().items()}
    return {(slot, name) for name, slots in afresh.items() for slot in np.flatnonzero(slots).tolist()}


def name_verdict(named: Named, spec: BaselinePlan, threshold: float, found: tuple[Floats, Floats]) -> None:
    """Add score, expectation and verdict; one with a budget is silent where it may not judge."""
    scores, named[f"{spec.name}_expected"] = found
    named[_score(spec)], named[far_name(spec)] = scores, scores > threshold
    named[spec.name] = named[far_name(spec)] & named[SPEAKS] if spec.every_ns else named[far_name(spec)]


def _score(spec: BaselinePlan) -> str:
    """Return the hidden name of a score; a rule cannot have one that begins like it."""
    return f"__score_{spec.name}"


def far_name(spec: BaselinePlan) -> str:
    """Return the hidden name of whether a score is over the threshold, where a verdict is given or not."""
    return f"__far_{spec.name}"


def _baseline(spec: BaselinePlan) -> Baseline:
    return Baseline(
        spec.threshold,
        spec.floor,
        1.0 - 2.0 ** (-spec.step_ns / spec.half_life_ns),
        max(1, spec.warmup_ns // spec.step_ns),
        up=spec.direction in ("up", "both"),
        down=spec.direction in ("down", "both"),
        law=CountLaw() if spec.law == "counts" else LevelLaw(spec.floor),
        freeze=max(1, spec.freeze_ns // spec.step_ns),
        shared=bool(spec.budget),
    )
