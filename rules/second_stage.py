"""Rules over findings against the rules in force: whose findings each can read, and that none reads its own stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rules.reach import can_feed
from rules.rule import RuleSource
from watchdog.core.kinds import FINDING_KINDS
from watchdog.core.plan import RulePlan
from watchdog.located_yaml.problem import Report
from watchdog.located_yaml.suggest import did_you_mean


def check_feeders(rules: Mapping[str, RuleSource], plans: Sequence[RulePlan], report: Report) -> None:
    """Report rules that read findings of rules over findings, and warn of those that no rule in force can feed.

    plans: those of `rules` without mistakes. Called once all rules are compiled.
    """
    plans = [plan for plan in plans if plan.scope == "node"]  # the fleet reads the findings of both stages
    second = {plan.id for plan in plans if not FINDING_KINDS.isdisjoint(plan.kinds)}
    first = [plan for plan in plans if plan.id not in second]
    for plan in plans:
        if plan.id not in second:
            continue
        place = rules[plan.id].entries["where" if plan.where else "on"].value.place
        named = [text for name, text in (plan.where.equals if plan.where else ()) if name == "rule"]
        circular = next((name for name in named if name in second), None)
        if circular is not None:
            whose = "its own findings" if circular == plan.id else f"findings of '{circular}', which reads findings too"
            hint = "rules over findings read the findings of rules over events only"
            report.error(place, f"rule '{plan.id}' reads {whose}", hint)
        elif len(plans) == len(rules) and not any(can_feed(feeder, plan) for feeder in first):
            hint = did_you_mean(named[0], [feeder.id for feeder in first], "rules") if named else ""
            report.warn(place, f"no rule in force reports a finding that rule '{plan.id}' reads", hint)
