"""Named lists: text, numbers, or addresses and ranges, checked once for all rules."""

from __future__ import annotations

from collections.abc import Mapping

from rules.keys import LONGEST_ID, NAME
from rules.syntax import LARGEST
from rules.texts import parse_network
from watchdog.located_yaml import values
from watchdog.located_yaml.nodes import Node, Scalar, Series
from watchdog.located_yaml.problem import Location, Report
from watchdog.located_yaml.values import parse_integer

NamedLists = dict[str, tuple[str, ...] | tuple[int, ...]]


def read_lists(node: Node, lists: NamedLists, places: dict[str, Location], report: Report) -> None:
    """Add the lists of one file to those of the files before it; a name may be given once. places: of their names."""
    table = values.table(node, "lists", report)
    for entry in table.entries if table else ():
        name = entry.key.text
        if not NAME.fullmatch(name) or len(name) > LONGEST_ID:
            hint = "small letters, digits and _, a letter first"
            report.error(entry.key.place, f"bad list name '{name[:80]}'", hint)
        elif name in lists:
            first = places[name]
            hint = (
                f"to add to it, give yours a name of its own and override 'where' of the rules that use it: "
                f"x in {name} or x in my_{name}; to replace it: x in my_{name}"
            )
            where = f"{first.source.name}:{first.line}"
            report.error(entry.key.place, f"list '{name}' is given twice, first in {where}", hint)
        elif not isinstance(entry.value, Series):
            shape = values.describe(entry.value)
            report.error(entry.value.place, f"list '{name}' must be a list, not {shape}")
        else:
            places[name] = entry.key.place
            lists[name] = _read(name, entry.value, report)


def texts_of(lists: Mapping[str, tuple[str, ...] | tuple[int, ...]]) -> dict[str, tuple[str, ...]]:
    """Return all lists as text, as sources take them."""
    return {name: tuple(str(value) for value in entries) for name, entries in lists.items()}


def _read(name: str, node: Series, report: Report) -> tuple[str, ...] | tuple[int, ...]:
    """Read the values of one list: all whole numbers, or all text."""
    items = [item for each in node.items if (item := values.scalar(each, name, "text or a number", report))]
    numbers = [parse_integer(item.text) if item.plain else None for item in items]
    if items and all(number is not None and abs(number) <= LARGEST for number in numbers):
        return tuple(number for number in numbers if number is not None)
    for item in items:
        _check_network(item, report)
    return tuple(item.text for item in items)


def _check_network(item: Scalar, report: Report) -> None:
    """Report a range with bits set behind its prefix length, a typing mistake."""
    try:
        parse_network(item.text)
    except ValueError as error:
        report.error(item.place, f"not a range: '{item.text[:80]}'", str(error))
