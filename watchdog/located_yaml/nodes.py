"""Located nodes: values of a YAML text, each with its file, line and column.

The reader makes them from YAML. A rule set that travels as text makes the same nodes without YAML, so this module loads
no library.
"""

from __future__ import annotations

from dataclasses import dataclass

from watchdog.located_yaml.problem import Location

_EMPTY = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text as YAML gives it. plain: written without quotes. start, end: offsets in the file."""

    text: str
    place: Location
    plain: bool
    start: int
    end: int

    @property
    def empty(self) -> bool:
        """Whether nothing was written (also `null` and `~`)."""
        return self.plain and self.text in _EMPTY


@dataclass(frozen=True, slots=True)
class Series:
    """A YAML list."""

    items: tuple[Node, ...]
    place: Location


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key: value` of a table."""

    key: Scalar
    value: Node


@dataclass(frozen=True, slots=True)
class Table:
    """A YAML mapping, in written order, without duplicate keys."""

    entries: tuple[Entry, ...]
    place: Location


Node = Scalar | Series | Table
