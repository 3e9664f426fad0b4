"""Overrides: single keys of rules loaded earlier, changed by rule id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from rules.keys import OVERRIDE_KEYS
from rules.rule import RuleSource
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Entry, Node, Scalar, Table
from watchdog.located_yaml.problem import Report
from watchdog.located_yaml.suggest import did_you_mean


@dataclass(frozen=True, slots=True)
class Override:
    """The changes that one file makes to one rule. expects: the shipped rule's hash when the override was written."""

    id: Scalar
    entries: Mapping[str, Entry]
    enabled: bool = True
    expects: Scalar | None = None


def read_overrides(node: Node, report: Report) -> list[Override]:
    """Read the overrides of one file."""
    table = values.table(node, "overrides", report)
    found = []
    for entry in table.entries if table else ():
        body = values.table(entry.value, entry.key.text, report)
        if body is not None:
            found.append(_read(entry.key, body, report))
    return found


def overridden(overrides: Iterable[Override]) -> tuple[str, ...]:
    """Return which rules these change: `ID: KEY, KEY`, or `ID: off`; sorted."""
    changed: dict[str, set[str]] = {}
    for one in overrides:
        changed.setdefault(one.id.text, set()).update(one.entries if one.enabled else ("off",))
    return tuple(f"{rule}: {', '.join(sorted(keys))}" for rule, keys in sorted(changed.items()))


def apply_override(rule: RuleSource, override: Override) -> RuleSource:
    """Return the rule with the override's keys in place of its own."""
    return RuleSource(rule.id, {**rule.entries, **override.entries}, rule.place)


def _read(rule_id: Scalar, body: Table, report: Report) -> Override:
    """Read one override."""
    entries: dict[str, Entry] = {}
    enabled: bool | None = True
    expects: Scalar | None = None
    for entry in body.entries:
        name = entry.key.text
        if name == "enabled":
            enabled = values.boolean(entry.value, name, report)
        elif name == "expects":
            expects = values.scalar(entry.value, name, "the hash of a rule", report)
        elif name in OVERRIDE_KEYS:
            entries[name] = entry
        else:
            report.error(
                entry.key.place,
                f"unknown key '{name[:80]}' in override of '{rule_id.text[:80]}'",
                partial(did_you_mean, name, OVERRIDE_KEYS, "keys"),
            )
    return Override(rule_id, entries, enabled is not False, expects)
