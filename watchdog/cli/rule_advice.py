"""What the rules in force say to commands about one incident: what to do, and whether a verdict teaches anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alerts.rule_texts import RuleText, rule_texts
from rules.load import RuleSet, load
from watchdog.core.errors import RuleError
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.text import printable
from watchdog.service.budget_facts import has_budget
from watchdog.service.config.read import DEFAULT_PATH, ConfigError, load_config


def advice_lines(rule: str, config: Path | None) -> Sequence[str]:
    """Return what to do about a rule as lines; nothing for a rule that is not known.

    config: names the rules in force; None: the configuration in this folder, if there is one. Where it has mistakes,
    the shipped rules stand in, as an incident must be readable all the same.
    """
    found = rule_texts(_rules(config).plans).get(rule, RuleText())
    runbook = [f"Runbook: {printable(found.runbook, 500)}"] if found.runbook else []
    return [*([printable(found.do, 500)] if found.do else []), *runbook]


def why_nothing_is_learnt(rule: str, config: Path | None) -> str:
    """Return why an operator's verdict on an incident of a rule teaches nothing; empty where a budget learns from it.

    Empty for a rule that is not known, too. config: as in `advice_lines`.
    """
    if rule in OWN_RULES:
        return f"{rule} is a built-in finding without a budget, so nothing is learnt from this"
    plan = next((plan for plan in _rules(config).plans if plan.id == rule), None)
    if plan is None or has_budget(plan):
        return ""
    cure = f"an override can change its thresholds, see 'watchdog rules show {rule}'"
    return f"rule {rule} has no budget, so nothing is learnt from this; {cure}"


def _rules(config: Path | None) -> RuleSet:
    path = config or DEFAULT_PATH
    if config is not None or path.exists():
        try:
            named = load_config(path)
            return load(named.rules, packs=named.packs)
        except (ConfigError, RuleError):
            return load(())
    return load(())
