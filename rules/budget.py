"""Budgets of false findings: how a rule states one, and which threshold follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from rules.syntax import Expr, Literally
from rules.typed import fail
from watchdog.core.durations import DAY_NS, MINUTE_NS, exact_duration, parse_duration
from watchdog.core.plan import RulePlan

DEFAULT_BUDGET: Final = "1 per 30d"
MOST: Final = 1_000  # findings of a budget
LONGEST_NS: Final = 3_650 * DAY_NS
PROVISIONAL: Final = 20
"""Peaks below which a tail is provisional: the threshold for 1 per 30d is then uncertain by more than a tenth."""


class Budget(NamedTuple):
    """One false finding in a time, at one node. text: how it is written."""

    every_ns: int
    text: str

    def share(self, parts: int) -> Budget:
        """Return what one of these parts may spend."""
        if parts <= 1:
            return self
        every_ns = -(-self.every_ns * parts // MINUTE_NS) * MINUTE_NS
        return Budget(every_ns, f"1 per {exact_duration(every_ns)}")


STANDARD: Final = Budget(30 * DAY_NS, DEFAULT_BUDGET)


def read_budget(text: str) -> Budget | str:
    """Return the budget of a text `N per DURATION`, or what is wrong with it."""
    words = text.split()
    if len(words) != 3 or words[1] != "per" or not words[0].isdecimal() or not 1 <= int(words[0][:5]) <= MOST:
        return "'budget' must be a text such as \"1 per 30d\""
    span_ns = parse_duration(words[2])
    if span_ns is None or not DAY_NS <= span_ns <= LONGEST_NS:
        return "a budget is for a time of 1d to 3650d"
    return Budget(span_ns // int(words[0]), " ".join(words))


def budget_option(given: Mapping[str, Expr], default: Budget) -> Budget:
    """Return the option `budget` of a detector. Raises ExpressionError for a wrong one, and beside `threshold`."""
    node = given.get("budget")
    if node is None:
        return default
    if "threshold" in given:
        raise fail(given["threshold"], "'budget' and 'threshold' exclude each other")
    text = node.value if isinstance(node, Literally) and isinstance(node.value, str) else ""
    budget = read_budget(text)
    if isinstance(budget, str):
        raise fail(node, budget)
    return budget


def surprise_of(budget: Budget, pane_ns: int) -> float:
    """Return -log10 of the chance with which one pane may spend the budget."""
    return math.log10(budget.every_ns / pane_ns)


def promises(plan: RulePlan) -> Iterator[str]:
    """Yield a line for each detector of a rule: its threshold, the budget that it keeps, and what that rests on."""
    for spec in plan.baselines:
        unit = "-log10 of the chance" if spec.law == "counts" else "deviations"
        rests = f"budget {spec.budget}, the law's own tail; more for one key among many" if spec.budget else "no budget"
        yield f"{_named(spec.name, 'anomalous')}: threshold {spec.threshold:.2f} {unit} ({rests})"
    for one in plan.comparisons:
        note = ", provisional" if one.tail[2] < PROVISIONAL else ""
        rests = f"budget {one.budget}, shipped tail of {one.tail[2]} peaks{note}" if one.budget else "no budget"
        yield f"{_named(one.name, 'unlike_others')}: threshold {one.threshold:.2f} deviations ({rests})"


def _named(name: str, detector: str) -> str:
    return detector if name.startswith("__") else name
