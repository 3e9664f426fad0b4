"""How an attacker could keep a rule silent: five questions, which each shipped rule answers.

An answer says what the rule does about it, or begins with "accepted, because".
"""

from __future__ import annotations

from collections.abc import Mapping

from rules.rule import RuleSource
from watchdog.located_yaml import values
from watchdog.located_yaml.problem import Report
from watchdog.located_yaml.suggest import did_you_mean

QUESTIONS: Mapping[str, str] = {
    "falsify": "Can one peer falsify the condition?",
    "absence": "Does absence resolve it?",
    "left_out": "Is a network left out?",
    "discount": "Is there a discount that costs the attacker nothing?",
    "average": "Is there an average over keys that the attacker can add?",
}


def read_answers(rule: RuleSource, report: Report) -> dict[str, str]:
    """Return the answers of a rule by question, in the order of QUESTIONS; empty without the key."""
    entry = rule.entries.get("evasion")
    table = values.table(entry.value, "evasion", report) if entry else None
    found: dict[str, str] = {}
    for each in table.entries if table else ():
        name = each.key.text
        if name not in QUESTIONS:
            hint = did_you_mean(name, QUESTIONS, "answers")
            report.error(each.key.place, f"unknown answer '{name[:80]}' under 'evasion'", hint)
        else:
            found[name] = values.text(each.value, name, report)
    return {name: found[name] for name in QUESTIONS if name in found}


def require_answers(rule: RuleSource, report: Report) -> None:
    """Report a shipped rule that leaves questions open."""
    answers = read_answers(rule, Report())
    missing = [name for name in QUESTIONS if not answers.get(name)]
    if missing:
        asked = " ".join(f"{name}: {QUESTIONS[name]}" for name in missing)
        report.error(
            rule.id.place,
            f"shipped rule '{rule.id.text}' lacks answers under 'evasion': {', '.join(missing)}",
            f'an answer may be "accepted, because ...". {asked}',
        )
