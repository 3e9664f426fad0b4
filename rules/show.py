"""A rule as it is in force: its keys after overrides, each with the place it comes from."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from rules.budget import promises
from rules.digest import rule_hash
from rules.exceptions import FOREVER_NS, exceptions_of, plain_plan
from rules.keys import RULE_KEY_NAMES
from rules.rule import RuleSource
from watchdog.core.durations import exact_duration
from watchdog.core.plan import RulePlan
from watchdog.located_yaml.nodes import Node, Scalar, Series
from watchdog.located_yaml.problem import plain

_ODD = set("\"'{}[]#&*!|>%@`:,")  # a scalar with one of these is written in quotes


def show_rule(plan: RulePlan, source: RuleSource, learnt: Collection[str] = ()) -> Iterator[str]:
    """Yield lines of YAML with comments: hash, keys with their places, and derived values.

    learnt: names of detectors whose thresholds are shown elsewhere, as they have learnt since.
    """
    yield f"# hash {rule_hash(plan)}, pane {exact_duration(plan.pane_ns)}, state by {_names(plan.by)}"
    yield f"# incidents by {_names(plan.incident)}, entities {_names(plan.entities)}"
    for promise in promises(plan):
        if promise.partition(":")[0] not in learnt:
            yield f"# {promise}"
    exceptions = exceptions_of(plan)
    if exceptions:
        yield f"# hash without exceptions {rule_hash(plain_plan(plan))}"
    for one in exceptions:
        yield f"# except {plain(one.when)}: {plain(one.reason)}{_until(one.until_ns)}, {one.place}"
    yield f"{plan.id}:  # {plan.place}"
    for name in RULE_KEY_NAMES:
        entry = source.entries.get(name)
        if entry is not None:
            place = entry.key.place
            first, *rest = _value(entry.value, "  ")
            yield f"  {name}:{first}  # {place.source.name}:{place.line}"
            yield from rest


def _until(time_ns: int) -> str:
    if time_ns == FOREVER_NS:
        return ""
    return f", until {datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "node"


def _value(node: Node, indent: str) -> list[str]:
    """Return the value of a key as lines: on its own line, or as a table below it."""
    if isinstance(node, Scalar):
        return [f" {_scalar(node)}"]
    if isinstance(node, Series):
        return [f" [{', '.join(_scalar(item) for item in node.items if isinstance(item, Scalar))}]"]
    lines = [""]
    for entry in node.entries:
        first, *rest = _value(entry.value, indent + "  ")
        lines.extend([f"{indent}  {plain(entry.key.text)}:{first}", *rest])
    return lines


def _scalar(node: Scalar) -> str:
    """Return a scalar on one line, quoted when YAML could read it as something else."""
    text = " ".join(node.text.split())
    return json.dumps(text, ensure_ascii=True) if not node.plain or set(text) & _ODD else plain(text)
