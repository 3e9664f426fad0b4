"""Warnings for unused measures and lists: the name is often mistyped elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from rules.cells import CellFormula, names_in
from rules.changing import MOVED
from rules.comparison import PARTS
from rules.deciding import Verdicts
from rules.measures import Measures
from rules.rule import RuleKeys, RuleSource
from watchdog.located_yaml.nodes import Node, Scalar, Series, Table
from watchdog.located_yaml.problem import Location, Report

EXPECTED = "_expected"  # `Measures` makes such a name for each baseline
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_IN = re.compile(r"\bin\s+([a-z][a-z0-9_]*)")


def unused_measures(keys: RuleKeys, measures: Measures, verdicts: Verdicts, summary: str) -> None:
    """Warn of each measure that decides nothing and is shown nowhere.

    Not where an override has changed what decides: the measures below it are another file's.
    """
    sources = {entry.key.place.source.name for entry in keys.rule.entries.values()}
    if len(sources) > 1:
        return
    used = {*_PLACEHOLDER.findall(summary), *(measures.model.features if measures.model else ())}
    deciding = [verdicts.fire, verdicts.clear, *(part for _, part in verdicts.escalate)]
    watched = [*(part.value for part in measures.baselines), *(part.value for part in measures.drifts)]
    for formula in (*deciding, *(value for _, value in measures.values), *watched):
        if isinstance(formula, CellFormula):
            used |= names_in(formula.tree)
    used |= {name.removesuffix(EXPECTED) for name in used}
    for comparison in measures.comparisons:
        used |= {comparison.name} if used & {f"{comparison.name}_{part}" for part in PARTS} else set()
        used |= {name for name, _, _ in comparison.values}
    used |= {drift.name for drift in measures.drifts if used & {f"{drift.name}_{part}" for part in MOVED}}
    node = keys.node("measure")
    for entry in node.entries if isinstance(node, Table) else ():
        if entry.key.text not in used:
            hint = "use it in fire, clear, escalate or the summary, or remove it"
            keys.report.warn(entry.key.place, f"measure '{entry.key.text}' is never used", hint)


def unused_lists(places: Mapping[str, Location], rules: Iterable[RuleSource], report: Report) -> None:
    """Warn of each list that no rule uses, not even one that is switched off."""
    used = {name for rule in rules for entry in rule.entries.values() for name in _lists_in(entry.value)}
    for name, place in places.items():
        if name not in used:
            report.warn(place, f"list '{name}' is never used", f"as in where: peer_addr in {name}")


def _lists_in(node: Node) -> set[str]:
    if isinstance(node, Scalar):
        return set(_IN.findall(node.text))
    parts = node.items if isinstance(node, Series) else [entry.value for entry in node.entries]
    return {name for part in parts for name in _lists_in(part)}
