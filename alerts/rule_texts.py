"""What rules tell people to do, by rule: their keys `do` and `runbook`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from watchdog.core.own_rules import OWN_RULES
from watchdog.core.plan import RulePlan


class RuleText(NamedTuple):
    """What a rule in force tells people to do; empty for nothing. runbook: a URL."""

    do: str = ""
    runbook: str = ""


def rule_texts(plans: Iterable[RulePlan]) -> dict[str, RuleText]:
    """Return the texts of rules by id, and those of findings by the wall clock."""
    own = {one.id: RuleText(one.remedy) for one in OWN_RULES.values()}
    return own | {
        plan.id: RuleText(str(plan.metadata.get("do", "")), str(plan.metadata.get("runbook", ""))) for plan in plans
    }
