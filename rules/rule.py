"""A rule as written, and its keys one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rules.keys import RULE_KEYS, RuleShape
from watchdog.located_yaml import values
from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.nodes import Entry, Node, Scalar
from watchdog.located_yaml.problem import Location, Report

_KEYS: Mapping[str, Key[RuleShape]] = {key.name: key for key in RULE_KEYS}


@dataclass(frozen=True, slots=True)
class RuleSource:
    """A rule as written: its id, and its keys by name (those of overrides in place of its own)."""

    id: Scalar
    entries: Mapping[str, Entry]
    place: Location


@dataclass(frozen=True, slots=True)
class RuleKeys:
    """Reads the keys of one rule by the key table; problems go to the report."""

    rule: RuleSource
    report: Report

    def node(self, name: str) -> Node | None:
        """Return the value of a key, if it was given."""
        entry = self.rule.entries.get(name)
        return entry.value if entry else None

    def duration(self, name: str, default: int) -> int:
        """Return a duration in nanoseconds; 0 when it is broken."""
        node, key = self.node(name), _KEYS[name]
        if node is None:
            return default
        return values.duration(node, name, key.low, key.high, self.report) or 0

    def whole(self, name: str, default: int) -> int:
        """Return a whole number; its default when it is broken."""
        node, key = self.node(name), _KEYS[name]
        if node is None:
            return default
        number = values.whole(node, name, key.low, key.high, self.report)
        return default if number is None else number

    def choice(self, name: str, default: str) -> str:
        """Return one of the key's choices; its default when it is broken."""
        node = self.node(name)
        return default if node is None else values.choice(node, name, _KEYS[name].choices, self.report) or default

    def text(self, name: str) -> str:
        """Return text; empty when it is missing or broken."""
        node = self.node(name)
        return "" if node is None else values.text(node, name, self.report)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return texts from a single text or a list."""
        node = self.node(name)
        items = values.scalars(node, name, "text or a list of text", self.report) if node else []
        return tuple(values.text(item, name, self.report) for item in items)
