"""The budgeted detectors of all source groups of a node: what people see of them, and what operators teach them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from watchdog.core.durations import HOUR_NS
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.budgets import BudgetFact
from watchdog.engine.group_engine import GroupEngine

AHEAD_NS: Final = HOUR_NS
"""A verdict further ahead of event time than this is on an incident of an old recording."""


class NodeBudgets:
    """engines: those of all groups, by number; `Engine` may replace one."""

    def __init__(self, engines: Sequence[GroupEngine]) -> None:
        self._engines = engines

    def mark(self, rule: str, incident: str, scores: Mapping[str, float], at_ns: int) -> bool:
        """Take an operator's verdict on an incident of a rule; see `Budgets.mark`. False where no budget learns of it.

        It counts from the next whole hour of event time. One on an old recording: of the time that is judged now.
        """
        for engine in self._engines:
            if rule in engine.budgets.of_rule:
                mark_ns = engine.watermark_ns
                now_ns = engine.latest_ns if mark_ns == END_OF_TIME_NS else mark_ns
                at_ns = at_ns if at_ns - now_ns <= AHEAD_NS else now_ns
                return engine.budgets.mark(rule, incident, scores, at_ns)
        return False

    def facts(self) -> list[BudgetFact]:
        """Return what people see of each detector with a budget, by rule."""
        return sorted(fact for engine in self._engines for fact in engine.budgets.facts())
