"""The budgeted detectors of one source group: what their tails learn, from which panes, and when thresholds change.

panes      |----|----|----|----|----|----|----|     worst score of each, kept for an hour
vetted          no         no   no                  an incident was open, the input had a gap, the node had started
hours      ^                        ^               rows older than an hour are learnt; marks of operators count
days       ^                                        thresholds change

All of this happens at whole hours and days of event time, between two closings of panes. So a verdict depends on
events, rules and marks alone, in whatever slices they came.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from detectors.tail import DAY_NS, BudgetTail, Prior
from detectors.windows import Floats, Ints
from watchdog.core.durations import HOUR_NS
from watchdog.core.plan import BaselinePlan, ComparisonPlan, RulePlan
from watchdog.engine.coverage import START_NS, Coverage
from watchdog.engine.open_incidents import OpenIncidents
from watchdog.engine.spells import FixedRules

HOLD_NS: Final = HOUR_NS  # a pane is learnt when it is this old: what an attack did before a rule fired must not be
SILENT_NS: Final = 4 * DAY_NS  # behind the latest event no pane is judged
HOURS_MOST: Final = 2_000  # of one step; a clock that jumps by years must not walk through them
WAITING_MOST: Final = 1_000  # marks that wait for their hour
RARE_CAP: Final = 10  # budgets: a value rarer than once in this much time is not extrapolated further
COUNTS_PEAKS: Final = 20
COUNTS_APART_NS: Final = HOUR_NS
"""Surprises of single panes count as peaks from a level that one pane an hour exceeds, by their own law. At the 90 %
quantile, peaks of independent minutes run into each other: quiet Poisson counts gave a threshold of 6.2, not 4.64."""


class WaitingVerdict(NamedTuple):
    """An operator's verdict on an incident that waits for its hour. score: by detector; empty takes a mark back."""

    from_ns: int
    rule: str
    incident: str
    scores: Mapping[str, float]


class BudgetFact(NamedTuple):
    """What people see of one budgeted detector; rates are false findings in 30 days.

    unit: of the threshold. achieved: by what operators marked, None before a day was watched. waits: for what the
    detector waits, such as "until 12:31 UTC"; empty when it gives verdicts.
    """

    rule: str
    name: str
    budget: str
    unit: str
    threshold: float
    low: float
    high: float
    shipped: float
    peaks: int
    vetted_ns: int
    provisional: bool
    false_alarms: int
    watched_ns: int
    promised: float
    achieved: float | None
    waits: str = ""


class Budgeted:
    """One detector with a budget: its tail, and the worst scores of panes that are not old enough to be learnt."""

    def __init__(self, plan: RulePlan, spec: BaselinePlan | ComparisonPlan) -> None:
        self.plan, self.spec = plan, spec
        hidden = "anomalous" if isinstance(spec, BaselinePlan) else "unlike_others"
        self.name = hidden if spec.name.startswith("__") else spec.name
        self.tail = _tail(plan, spec)
        self.waits = ""
        measures = ",".join(measure.text for measure in plan.measures)
        parts = (plan.stream_text, str(plan.over_ns), str(plan.pane_ns), measures, spec.text, repr(self.tail.prior))
        self._text = "|".join(parts)
        self._ends: list[Ints] = []
        self._scores: list[Floats] = []

    def note(self, panes: Ints, scores: Floats, judged: NDArray[np.bool_]) -> None:
        """Take the worst score of panes. judged: where a verdict was given; others are neither watched nor learnt."""
        ends = (panes[judged] + 1) * self.plan.pane_ns
        if len(ends):
            self.tail.watch(len(ends) * self.plan.pane_ns)
            self._ends.append(ends)
            self._scores.append(scores[judged])

    def learn(self, before_ns: int, spans: NDArray[np.int64], starts: Sequence[int]) -> None:
        """Learn the panes that end before this time, outside of spans (open, n x 2) and of 30 minutes after a start."""
        if not self._ends:
            return
        ends, scores = np.concatenate(self._ends), np.concatenate(self._scores)
        due = ends <= before_ns
        self._ends, self._scores = [ends[~due]], [scores[~due]]
        ends, scores = ends[due], scores[due]
        vetted = ~_within(ends, spans[:, 0] - self.plan.over_ns, spans[:, 1] + self.plan.pane_ns)
        begun = np.array(sorted(starts), np.int64)
        vetted &= ~_within(ends, begun, begun + START_NS + self.plan.pane_ns)
        self.tail.learn(ends[vetted], scores[vetted], self.plan.pane_ns)

    def fact(self) -> BudgetFact:
        """Return what people see."""
        tail, month = self.tail, 30 * DAY_NS
        known, marked = tail.facts, len(tail.marks)
        return BudgetFact(
            rule=self.plan.id,
            name=self.name,
            budget=self.spec.budget,
            unit="deviations" if isinstance(self.spec, ComparisonPlan) else "-log10 of the chance",
            threshold=tail.threshold,
            low=known.low,
            high=known.high,
            shipped=tail.shipped,
            peaks=known.peaks,
            vetted_ns=known.vetted_ns,
            provisional=known.provisional,
            false_alarms=marked,
            watched_ns=known.watched_ns,
            promised=month / self.spec.every_ns,
            achieved=marked * month / known.watched_ns if known.watched_ns >= DAY_NS else None,
            waits=self.waits,
        )

    def once_in_days(self, score: float) -> float:
        """Return in how many days one pane of this node has such a score: at most `RARE_CAP` budgets."""
        return float(f"{min(self.tail.once_in_ns(score), RARE_CAP * self.spec.every_ns) / DAY_NS:.3g}")

    def state(self) -> State:
        """Return tail and panes that wait."""
        none: Floats = np.zeros(0)
        return {
            "text": self._text,
            "tail": self.tail.state(),
            "ends": np.concatenate([none.astype(np.int64), *self._ends]),
            "scores": np.concatenate([none, *self._scores]),
        }

    def adopt(self, state: State) -> None:
        """Take over the tail of `state`; what another prior or another detector has learnt is left."""
        if state["text"] == self._text:
            self.tail.restore(state["tail"])

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.adopt(state)
        ends, scores = state["ends"].astype(np.int64), state["scores"].astype(np.float64)
        if ends.shape != scores.shape or ends.ndim != 1 or not np.isfinite(scores).all():
            raise ValueError("panes of a tail differ in length")
        self._ends, self._scores = [ends], [scores]


class Budgets:
    """The budgeted detectors of one source group, and the incidents of its rules by attack."""

    def __init__(self, plans: Sequence[RulePlan], beside: Sequence[RulePlan] = ()) -> None:
        """Start without anything learnt. beside: plans of the other groups of which this one hears."""
        self.of_rule: dict[str, dict[str, Budgeted]] = {plan.id: own for plan in plans if (own := _budgeted(plan))}
        attacks = {plan.attack for plan in plans if plan.id in self.of_rule}
        self.incidents: Final = OpenIncidents(attacks, self.of_rule)
        self.beside: Final = OpenIncidents(attacks, beside=True)  # of groups that close their panes before this one
        self._waiting: list[WaitingVerdict] = []
        self._day = -1  # the day whose first hour was the last to change thresholds; -1 before any hour
        self.fixed: Final = FixedRules(plans, beside)
        self.all: list[Budgeted] = [one for own in self.of_rule.values() for one in own.values()]

    def stops(self, closed_ns: int, until_ns: int, latest_ns: int) -> Iterable[int]:
        """Return the whole hours in (closed_ns, until_ns] at which something may be learnt; none without detectors."""
        if not self.of_rule:
            return ()
        last = min(until_ns, latest_ns + SILENT_NS) // HOUR_NS
        first = max(closed_ns // HOUR_NS + 1, last - HOURS_MOST)
        return range(first * HOUR_NS, (last + 1) * HOUR_NS, HOUR_NS)

    def renew(self, now_ns: int, coverage: Coverage) -> None:
        """Learn what is old enough at this hour; at the first hour of a day, take new thresholds."""
        horizon_ns = now_ns - HOLD_NS
        for one in self.all:
            spans = [span for heard in (self.incidents, self.beside) for span in heard.spans(one.plan.attack, now_ns)]
            one.learn(horizon_ns, np.array(spans, np.int64).reshape(-1, 2), coverage.starts)
        for heard in (self.incidents, self.beside):
            heard.forget(horizon_ns - HOUR_NS)
        day = now_ns // DAY_NS
        if day != self._day:
            if self._day >= 0:
                for one in self.all:
                    one.tail.renew(day * DAY_NS)
            self._day = day
        for mark in [mark for mark in self._waiting if mark.from_ns <= now_ns]:
            self._waiting.remove(mark)
            self._take(mark)

    def mark(self, rule: str, incident: str, scores: Mapping[str, float], at_ns: int) -> bool:
        """Take an operator's verdict on an incident at the next whole hour. scores: of a false alarm, by detector.

        Empty scores take a mark back. False when no detector of the rule has a budget.
        """
        if rule not in self.of_rule:
            return False
        mark = WaitingVerdict(-(-at_ns // HOUR_NS) * HOUR_NS, rule, incident, dict(scores))
        self._waiting = [*(one for one in self._waiting if one != mark), mark][-WAITING_MOST:]
        return True

    def _take(self, mark: WaitingVerdict) -> None:
        for name, one in self.of_rule.get(mark.rule, {}).items():
            score = mark.scores.get(name, 0.0)
            if score > one.tail.prior.above:
                one.tail.mark(mark.incident, score, mark.from_ns)
            else:
                one.tail.mark(mark.incident, None, mark.from_ns)

    def keep(self, rules: Container[str]) -> None:
        """Forget what rules of other groups have open that are not among these: they begin without state."""
        self.beside.keep(rules)
        self.fixed.keep(rules)

    def facts(self) -> list[BudgetFact]:
        """Return what people see of each detector."""
        return [one.fact() for one in self.all]

    def state(self) -> State:
        """Return all of it."""
        return {
            "tails": {rule: {name: one.state() for name, one in own.items()} for rule, own in self.of_rule.items()},
            **self.incidents.state(),
            "beside": self.beside.state(),
            "waiting": [[mark.from_ns, mark.rule, mark.incident, dict(mark.scores)] for mark in self._waiting],
            "day": self._day,
        }

    def adopt(self, state: State) -> None:
        """Take over tails and marks of detectors that are the same: rules beside them may have changed."""
        for rule, own in self.of_rule.items():
            for name, one in own.items():
                if name in state["tails"].get(rule, {}):
                    one.adopt(state["tails"][rule][name])
        waiting = [
            WaitingVerdict(int(from_ns), str(rule), str(incident), {str(k): float(v) for k, v in scores.items()})
            for from_ns, rule, incident, scores in state["waiting"]
        ]
        self._waiting += [mark for mark in waiting if mark.rule in self.of_rule][-WAITING_MOST:]
        self._day = max(int(state["day"]), self._day)

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.adopt(state)
        for rule, own in self.of_rule.items():
            for name, one in own.items():
                one.restore(state["tails"][rule][name])
        self.incidents.restore(state)
        if "beside" in state:
            self.beside.restore(state["beside"])


def _budgeted(plan: RulePlan) -> dict[str, Budgeted]:
    """Return the budgeted detectors of a rule by the name that people see; of several without a name, the first."""
    specs: tuple[BaselinePlan | ComparisonPlan, ...] = (*plan.baselines, *plan.comparisons)
    found: dict[str, Budgeted] = {}
    for spec in specs:
        if spec.every_ns:
            one = Budgeted(plan, spec)
            found.setdefault(one.name, one)
    return found


def _tail(plan: RulePlan, spec: BaselinePlan | ComparisonPlan) -> BudgetTail:
    """Return a tail that has learnt nothing: as measured on a quiet node, or as the law has it by definition."""
    if isinstance(spec, ComparisonPlan):
        return BudgetTail(Prior(*spec.tail), spec.every_ns)
    panes = max(10.0, COUNTS_APART_NS / plan.pane_ns)
    span_ns = int(COUNTS_PEAKS * panes * plan.pane_ns) // (2 if spec.direction == "both" else 1)
    prior = Prior(math.log10(panes), 1.0 / math.log(10), COUNTS_PEAKS, span_ns)
    return BudgetTail(prior, spec.every_ns, quantile=1.0 - 1.0 / panes, model=True)


def _within(ends: Ints, begins: Ints, finishes: Ints) -> NDArray[np.bool_]:
    """Return which times are within [begin, finish) of one of these spans, in any order."""
    if not len(begins) or not len(ends):
        return np.zeros(len(ends), np.bool_)
    order = np.argsort(begins, kind="stable")
    firsts, lasts = begins[order], np.maximum.accumulate(finishes[order])
    span = np.searchsorted(firsts, ends, side="right") - 1
    found: NDArray[np.bool_] = (span >= 0) & (lasts[np.maximum(span, 0)] > ends)
    return found
