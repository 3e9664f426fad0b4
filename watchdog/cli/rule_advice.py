"""What to do about a rule, for commands that show one incident: the `do` and `runbook` of the rules in force."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alerts.rule_texts import RuleText, rule_texts
from rules.load import RuleSet, load
from watchdog.core.errors import RuleError
from watchdog.core.text import printable
from watchdog.service.config.read import DEFAULT_PATH, ConfigError, load_config


def advice_lines(rule: str, config: Path | None) -> Sequence[str]:
    """Return what to do about a rule as lines; nothing for a rule that is not known.

    config: names the rules in force; None: the configuration in this folder, if there is one. Where it has mistakes,
    the shipped rules stand in, as an incident must be readable all the same.
    """
    found = rule_texts(_rules(config).plans).get(rule, RuleText())
    runbook = [f"Runbook: {printable(found.runbook, 500)}"] if found.runbook else []
    return [*([printable(found.do, 500)] if found.do else []), *runbook]


def _rules(config: Path | None) -> RuleSet:
    path = config or DEFAULT_PATH
    if config is not None or path.exists():
        try:
            named = load_config(path)
            return load(named.rules, packs=named.packs)
        except (ConfigError, RuleError):
            return load(())
    return load(())
