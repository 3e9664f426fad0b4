"""How far a rule has been proved: the successor of a deprecated one, and what measurements are bound to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from rules.digest import rule_hash
from rules.keys import RULE_ID
from rules.rule import RuleKeys, RuleSource
from watchdog.core.finding import Maturity
from watchdog.core.plan import RulePlan
from watchdog.located_yaml.nodes import Scalar
from watchdog.located_yaml.problem import Report
from watchdog.located_yaml.suggest import did_you_mean

DEFAULT = "incubating"
DEPRECATED = "deprecated"


def read_maturity(keys: RuleKeys) -> tuple[Maturity, str]:
    """Return the maturity of a rule and its successor, empty unless the rule is deprecated.

    `compile_rule` calls this for each rule. A deprecated rule without a successor, and a successor of a rule that is
    not deprecated, are mistakes in the report.
    """
    maturity, successor = cast(Maturity, keys.choice("maturity", DEFAULT)), keys.text("successor")
    node, rule_id = keys.node("successor"), keys.rule.id
    if maturity == DEPRECATED and node is None:
        place = keys.rule.entries["maturity"].value.place
        keys.report.error(place, f"rule '{rule_id.text}' is deprecated and names no successor", "add successor: RULE")
    if node is not None and successor and maturity != DEPRECATED:
        hint = "a successor belongs to maturity: deprecated"
        keys.report.error(node.place, f"rule '{rule_id.text}' has a successor and is {maturity}", hint)
    if node is not None and successor and (successor == rule_id.text or not RULE_ID.fullmatch(successor)):
        keys.report.error(node.place, f"'{successor[:80]}' cannot succeed rule '{rule_id.text}'", "name another rule")
    return maturity, successor


def check_successors(rules: Mapping[str, RuleSource], plans: Iterable[RulePlan], report: Report) -> None:
    """Warn of each deprecated rule in force, with its successor; refuse a successor that does not exist.

    The reader calls this once all files are read and overrides are applied. A successor that an override switches off
    counts as missing: nothing would take the place of the deprecated rule.
    """
    for plan in plans:
        entry = rules[plan.id].entries.get("successor")
        if plan.maturity != DEPRECATED or entry is None or not isinstance(entry.value, Scalar):
            continue
        successor = entry.value.text
        if successor not in rules:
            hint = did_you_mean(successor, rules, "rules")
            report.error(entry.value.place, f"successor '{successor[:80]}' of rule '{plan.id}' is not a rule", hint)
            continue
        hint = f"use '{successor}', then switch this rule off: overrides: {{{plan.id}: {{enabled: false}}}}"
        report.warn(rules[plan.id].place, f"rule '{plan.id}' is deprecated; its successor is '{successor}'", hint)


def measured_hash(plan: RulePlan) -> str:
    """Return the twelve hex digits that a measurement is bound to: `rule_hash` of the rule without its summary."""
    return rule_hash(replace(plan, summary=""))
