"""Expressions inside YAML values: parsing them, and locating their mistakes in the file."""

from __future__ import annotations

from rules.syntax import Expr, parse
from rules.tokens import ExpressionError, Flaw
from watchdog.located_yaml.nodes import Node, Scalar
from watchdog.located_yaml.problem import Location, Report
from watchdog.located_yaml.values import describe


def parse_node(node: Node, name: str, report: Report) -> Expr | None:
    """Return the tree of an expression value; None, and a problem in the report, when it cannot be parsed."""
    if not isinstance(node, Scalar) or node.empty or not node.text.strip():
        report.error(node.place, f"'{name}' must be an expression, not {describe(node)}")
        return None
    try:
        return parse(node.text)
    except ExpressionError as error:
        report_flaws(node, error, report)
        return None


def report_flaws(node: Node, error: ExpressionError, report: Report, prefix: str = "") -> None:
    """Report the mistakes of an expression at their places in the file."""
    for flaw in error.flaws:
        place = flaw_place(node, flaw) if isinstance(node, Scalar) else node.place
        report.error(place, prefix + flaw.message, flaw.hint)


def flaw_place(node: Scalar, flaw: Flaw) -> Location:
    """Return the location in the file of a part of a scalar's text.

    The text is aligned with the file by its characters that are no space, which YAML keeps in
    order however the scalar is written (quoted, folded, over several lines).
    """
    raw = node.place.source.text[node.start : node.end]
    offset = 0 if node.plain else _content_start(raw)
    column = 0
    for char in node.text[: flaw.start + 1]:
        if char.isspace():
            continue
        position = raw.find(char, offset)
        if position < 0:
            return node.place
        column, offset = position, position + 1
    before = raw[:column].splitlines() or [""]
    if raw[:column].endswith("\n"):
        before.append("")
    line = node.place.line + len(before) - 1
    first = node.place.column if len(before) == 1 else 1
    return Location(node.place.source, line, first + len(before[-1]), max(1, flaw.end - flaw.start))


def _content_start(raw: str) -> int:
    """Return the location after the opening quote, or after the header line of a block."""
    if raw[:1] in "|>":
        return raw.find("\n") + 1
    return 1
