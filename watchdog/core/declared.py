"""Tracepoints that users declare: kinds of events beside those of the catalogue.

    tracepoints:
      fibre:block_done: [height: i32, took_us: u64, peer: str, hash: bytes32]

A declaration names the arguments of a probe in order. Its kind has a column for each, and `time_ns`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from watchdog.core.errors import WatchdogError
from watchdog.core.kinds import KINDS, PSEUDO_FIELDS, TIME_FIELD, Field, Kind, add_kinds

MOST_FIELDS: Final = 12  # arguments of a probe: STAP_PROBE12 is the last macro of sys/sdt.h
MOST_KINDS: Final = 64
SOURCE: Final = "tracepoint"
COLUMN_OF: Final[Mapping[str, str]] = {
    "i8": "i32", "i16": "i32", "i32": "i32", "i64": "i64", "u8": "u8", "u16": "u16", "u32": "u32", "u64": "u64",
    "bool": "bool", "str": "str", "bytes32": "bytes",
}  # fmt: skip
"""Types of a declaration, with the type of the column; `bytes(FIELD)` beside them: FIELD has the number of bytes."""

FIELD_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
PROBE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}:[A-Za-z_][A-Za-z0-9_]{0,127}")
FIELD_BYTES: Final = re.compile(r"bytes\(([a-z][a-z0-9_]{0,63})\)")
_WHOLE: Final = frozenset({"u8", "u16", "u32", "u64", "i32", "i64"})


@dataclass(frozen=True, slots=True)
class Declaration:
    """One declared tracepoint. fields: name and type of each argument, in order; see `COLUMN_OF`."""

    provider: str
    name: str
    fields: tuple[tuple[str, str], ...]

    @property
    def kind_name(self) -> str:
        """The name of its kind: that of the probe."""
        return f"{self.provider}:{self.name}"

    @property
    def columns(self) -> tuple[tuple[str, str, str], ...]:
        """Name, column type and unit of each field, as a stream carries them.

        The unit of bytes is the field with their number, empty for 32; that of a number that is wider here its type.
        """
        return tuple(_column(name, typ) for name, typ in self.fields)

    def kind(self) -> Kind:
        """Return it as a kind of the catalogue."""
        columns = {TIME_FIELD.name: TIME_FIELD}
        for at, (name, column, unit) in enumerate(self.columns, 1):
            columns[name] = Field(name, column, unit, f"Argument {at} of the tracepoint, {self.fields[at - 1][1]}")
        return Kind(self.kind_name, "A tracepoint that the configuration declares", (SOURCE,), columns)


def declaration_of(full_name: str, fields: Sequence[tuple[str, str]]) -> Declaration:
    """Return a checked declaration; WatchdogError with a sentence that names the mistake."""
    if not PROBE_NAME.fullmatch(full_name):
        raise WatchdogError(
            "a tracepoint is PROVIDER:NAME, both of letters, digits and '_', such as 'fibre:block_done'"
        )
    if _is_of_catalogue(full_name):
        raise WatchdogError(f"'{full_name}' is a kind of the catalogue already; remove the declaration")
    if len(fields) > MOST_FIELDS:
        raise WatchdogError(f"{len(fields)} fields; a tracepoint has {MOST_FIELDS} arguments at most")
    types: dict[str, str] = {}
    for name, typ in fields:
        if fault := _field_fault(name, typ, types):
            raise WatchdogError(fault)
        types[name] = typ
    for name, typ in fields:
        length = FIELD_BYTES.fullmatch(typ)
        if length and types.get(length[1]) not in _WHOLE:
            raise WatchdogError(f"field '{name}': '{length[1]}' is no whole number of this tracepoint")
    provider, _, name = full_name.partition(":")
    return Declaration(provider, name, tuple(types.items()))


def from_columns(full_name: str, columns: Sequence[tuple[str, str, str]]) -> Declaration:
    """Return the declaration with these `columns`, as a stream carries them; WatchdogError when none has them."""
    made = declaration_of(full_name, [(name, _declared_type(column, unit)) for name, column, unit in columns])
    if made.columns != tuple(columns):
        raise WatchdogError(f"'{full_name}': a field's type does not fit its unit")
    return made


def _column(name: str, typ: str) -> tuple[str, str, str]:
    if length := FIELD_BYTES.fullmatch(typ):
        return name, "bytes", length[1]
    column = COLUMN_OF[typ]
    return name, column, "" if typ in {column, "bytes32"} else typ


def _declared_type(column: str, unit: str) -> str:
    if column == "bytes":
        return f"bytes({unit})" if unit else "bytes32"
    return unit or column


def _field_fault(name: str, typ: str, earlier: Mapping[str, str]) -> str:
    if not FIELD_NAME.fullmatch(name):
        return f"field '{name}': a name has small letters, digits and '_', 64 at most"
    if name in PSEUDO_FIELDS or name == TIME_FIELD.name:
        return f"field '{name}': every kind has a field of this name already"
    if name in earlier:
        return f"field '{name}' is there twice"
    if typ not in COLUMN_OF and not FIELD_BYTES.fullmatch(typ):
        return f"field '{name}': unknown type '{typ}'; types are {', '.join(COLUMN_OF)} and bytes(FIELD)"
    return ""


def _is_of_catalogue(name: str) -> bool:
    known = KINDS.get(name)
    return known is not None and name not in _DECLARED


def declare(declarations: Iterable[Declaration]) -> None:
    """Make these tracepoints known as kinds, for the rest of this process. Repeating a declaration changes nothing.

    WatchdogError: another declaration of the same name has other fields, or there are more than 64.
    """
    for one in declarations:
        known = _DECLARED.get(one.kind_name)
        if known is not None and known.fields != one.fields:
            raise WatchdogError(
                f"tracepoint '{one.kind_name}' was declared with other fields; "
                "declare it once, and restart a running service after a change"
            )
        if known is None and len(_DECLARED) >= MOST_KINDS:
            raise WatchdogError(f"more than {MOST_KINDS} declared tracepoints")
        if known is None:
            add_kinds([one.kind()])
            _DECLARED[one.kind_name] = one


def kind_text(kind: str) -> str:
    """Return a kind as hashes of rules and their state know it: a declared one with its fields, which may change."""
    known = _DECLARED.get(kind)
    return kind if known is None else f"{kind}({','.join(f'{name}:{typ}' for name, typ in known.fields)})"


def declared() -> tuple[Declaration, ...]:
    """Return all declarations of this process, in order."""
    return tuple(_DECLARED.values())


_DECLARED: Final[dict[str, Declaration]] = {}
