"""Typed values of located nodes: text, numbers, durations, choices, lists; each with its error."""

from __future__ import annotations

import re

from watchdog.core.durations import UNITS_TEXT, exact_duration, parse_duration
from watchdog.located_yaml.nodes import Node, Scalar, Series, Table
from watchdog.located_yaml.problem import Report
from watchdog.located_yaml.suggest import did_you_mean

LONGEST_TEXT = 4000  # characters of a title, summary, reference or note
_INTEGER = re.compile(r"[+-]?[0-9][0-9_]{0,24}")


def parse_integer(text: str) -> int | None:
    """Parse a whole number, `_` allowed between digits; None when it is not one."""
    found = _INTEGER.fullmatch(text.strip())
    return int(text.strip().replace("_", "")) if found else None


def describe(node: Node) -> str:
    """Return what a node is, for errors."""
    if isinstance(node, Table):
        return "a table"
    if isinstance(node, Series):
        return "a list"
    return "nothing" if node.empty else f"'{node.text[:60]}'"


def scalar(node: Node, name: str, wanted: str, report: Report) -> Scalar | None:
    """Return a scalar that is not empty; else None, with a problem that names what was wanted."""
    if isinstance(node, Scalar) and not node.empty:
        return node
    bracket = node.place.source.text[node.start : node.start + 1] if isinstance(node, Scalar) else _bracket(node)
    hint = f"put the value in quotes when it starts with '{bracket}'" if bracket in ("{", "[") else ""
    report.error(node.place, f"'{name}' must be {wanted}, not {describe(node)}", hint)
    return None


def _bracket(node: Node) -> str:
    """Return the character at which a table or a list begins."""
    place = node.place
    line = place.source.lines[place.line - 1] if place.line <= len(place.source.lines) else ""
    return line[place.column - 1 : place.column]


def text(node: Node, name: str, report: Report) -> str:
    """Return text; empty, with a problem, for anything else."""
    found = scalar(node, name, "text", report)
    if found is None:
        return ""
    if not found.text.strip():
        report.error(node.place, f"'{name}' is empty")
    elif len(found.text) > LONGEST_TEXT:
        report.error(node.place, f"'{name}' is longer than {LONGEST_TEXT} characters")
    return found.text.strip()


def choice(node: Node, name: str, choices: tuple[str, ...], report: Report) -> str | None:
    """Return one of the choices; None with a problem for anything else."""
    found = scalar(node, name, f"one of {', '.join(choices)}", report)
    if found is None or found.text in choices:
        return found.text if found else None
    report.error(
        node.place,
        f"unknown {name} '{found.text[:60]}'",
        lambda: did_you_mean(found.text, choices, "choices"),
    )
    return None


def duration(node: Node, name: str, low: int, high: int, report: Report) -> int | None:
    """Return the ns of a duration within bounds (ns); None with a problem for anything else."""
    found = scalar(node, name, "a duration such as 10m", report)
    if found is None:
        return None
    value = parse_duration(found.text)
    if value is None:
        hint = f"a number with {UNITS_TEXT}, such as 500ms, 10s, 5m, 2h, 7d"
        report.error(node.place, f"'{name}' is not a duration: '{found.text[:60]}'", hint)
        return None
    if not low <= value <= high:
        report.error(node.place, f"'{name}' must be {exact_duration(low)} to {exact_duration(high)}")
        return None
    return value


def whole(node: Node, name: str, low: int, high: int, report: Report) -> int | None:
    """Return a whole number within bounds; None with a problem for anything else."""
    found = scalar(node, name, "a whole number", report)
    if found is None:
        return None
    value = parse_integer(found.text)
    if value is None:
        report.error(node.place, f"'{name}' must be a whole number, not '{found.text[:60]}'")
        return None
    if not low <= value <= high:
        report.error(node.place, f"'{name}' must be {low} to {high}")
        return None
    return value


def boolean(node: Node, name: str, report: Report) -> bool | None:
    """Return true or false; None with a problem for anything else, also for YAML's yes, no, on and off."""
    found = scalar(node, name, "true or false", report)
    if found is None:
        return None
    if found.text not in ("true", "false"):
        report.error(node.place, f"'{name}' must be true or false, not '{found.text[:60]}'")
        return None
    return found.text == "true"


def scalars(node: Node, name: str, what: str, report: Report) -> list[Scalar]:
    """Return the scalars of a list, or a scalar that stands for a list with one item."""
    if (isinstance(node, Scalar) and node.empty) or isinstance(node, Table):
        report.error(node.place, f"'{name}' must be {what}, not {describe(node)}")
        return []
    items = node.items if isinstance(node, Series) else (node,)
    found = [scalar(item, name, what, report) for item in items]
    return [item for item in found if item is not None]


def table(node: Node, name: str, report: Report) -> Table | None:
    """Return a table; None with a problem for anything else."""
    if isinstance(node, Table):
        return node
    report.error(node.place, f"'{name}' must be a table of keys and values, not {describe(node)}")
    return None
