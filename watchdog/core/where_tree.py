"""Conditions over the fields of one kind as data, so that they can travel: what a source may leave out.

`rules/where_tree.py` makes them from text, `watchdog/stream/where.py` evaluates them.
"""

from __future__ import annotations

from dataclasses import dataclass

FixedValue = bool | int | float | str


@dataclass(frozen=True, slots=True)
class FieldValue:
    """The value of a field."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on its parts: and, or, not, ==, !=, <, <=, >, >=, in, startswith, endswith, contains, has."""

    name: str
    parts: tuple[WhereTree, ...]


WhereTree = FieldValue | FixedValue | Apply
