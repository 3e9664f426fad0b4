"""The budget of a rule file: it is split evenly over those of its rules that may spend one and name none.

A rule may spend a budget when it has a detector that takes one, `unlike_others` or `anomalous` by the law `counts`, and
gives this detector neither a budget nor a threshold. The share becomes the rule's own key `budget`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from rules.budget import LONGEST_NS, Budget, read_budget
from rules.rule import RuleSource
from rules.syntax import Binary, Call, Expr, Literally, Logic, Member, Unary, parse
from rules.tokens import ExpressionError
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Entry, Node, Scalar, Series
from watchdog.located_yaml.problem import Report

KEY = "budget"


def split_budget(entry: Entry, rules: Mapping[str, RuleSource], report: Report) -> dict[str, RuleSource]:
    """Return the rules of one file, with a share of its budget where they name none. entry: the file's key `budget`."""
    whole = budget_of(entry.value, report)
    sharers = [name for name, rule in rules.items() if KEY not in rule.entries and unbudgeted(rule.entries)]
    if whole is None:
        return dict(rules)
    if not sharers:
        report.warn(entry.key.place, "no rule of this file spends its budget", "give it to a rule with a detector")
        return dict(rules)
    share = whole.share(len(sharers))
    if share.every_ns > LONGEST_NS:
        report.error(
            entry.value.place, f"the budget is too small for {len(sharers)} rules", "1 per 3650d each at least"
        )
        return dict(rules)
    text = Scalar(share.text, entry.value.place, plain=False, start=0, end=0)
    given = Entry(Scalar(KEY, entry.key.place, plain=True, start=0, end=0), text)
    return {
        name: replace(rule, entries={**rule.entries, KEY: given}) if name in sharers else rule
        for name, rule in rules.items()
    }


def budget_of(node: Node, report: Report) -> Budget | None:
    """Return the budget that a key gives; None, and a problem in the report, for anything else."""
    scalar = values.scalar(node, KEY, 'a text such as "1 per 30d"', report)
    budget = read_budget(scalar.text) if scalar is not None else None
    if isinstance(budget, str):
        report.error(node.place, budget)
        return None
    return budget


def unbudgeted(entries: Mapping[str, Entry]) -> int:
    """Return how many detectors of a rule may spend a budget and name neither one nor a threshold."""
    deciding = [entries[name].value for name in ("measure", "fire", "clear", "escalate") if name in entries]
    return sum(_spends(call) for text in _texts(deciding) for call in _calls(text))


def _texts(nodes: list[Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Scalar):
            yield node.text
        elif not isinstance(node, Series):
            yield from _texts([entry.value for entry in node.entries])


def _calls(text: str) -> list[Call]:
    """Return all calls in an expression; none in one that cannot be parsed, which its compilation reports."""
    try:
        trees: list[Expr] = [parse(text)]
    except ExpressionError:
        return []
    calls = []
    for tree in trees:  # grows while it is walked
        if isinstance(tree, Call):
            calls.append(tree)
            trees += [*tree.args, *(value for _, value in tree.options), *([tree.where] if tree.where else [])]
        elif isinstance(tree, Logic):
            trees += tree.parts
        elif isinstance(tree, Binary):
            trees += [tree.left, tree.right]
        elif isinstance(tree, Unary):
            trees.append(tree.operand)
        elif isinstance(tree, Member):
            trees.append(tree.item)
    return calls


def _spends(call: Call) -> bool:
    options = {name.name: value for name, value in call.options}
    law = options.get("law")
    counts = call.name == "anomalous" and isinstance(law, Literally) and law.value == "counts"
    return (counts or call.name == "unlike_others") and not {"budget", "threshold"} & options.keys()
