"""Kinds of events and their fields, as every other part sees them.

The table is generated from `schema/events.capnp`; this module gives it types.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from watchdog.core import kinds_table
from watchdog.core.errors import WatchdogError

# Column types with a fixed width, little-endian; text is `Strings`, bytes are `Blobs`.
_DTYPES: Mapping[str, np.dtype[np.generic]] = {
    "bool": np.dtype(np.bool_),
    "u8": np.dtype("<u1"),
    "u16": np.dtype("<u2"),
    "u32": np.dtype("<u4"),
    "u64": np.dtype("<u8"),
    "i32": np.dtype("<i4"),
    "i64": np.dtype("<i8"),
    "f64": np.dtype("<f8"),
    "prefix": np.dtype("<u8"),
}
TYPES: tuple[str, ...] = (*_DTYPES, "str", "bytes")


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a kind: its type (one of `TYPES`), unit ("" for text, flags and identifiers) and meaning.

    identity: the value is constant for the life of a connection. values: all that a text can be, () for any text.
    """

    name: str
    type: str
    unit: str
    description: str
    identity: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event: its columns in order, `time_ns` first.

    sources: which sources give it ("capture", "snapshots", "log", "tracepoint", ...); "rules" for findings.
    same_fact: kinds that report the same fact from another source; a rule counts one of them.
    """

    name: str
    description: str
    sources: tuple[str, ...]
    fields: Mapping[str, Field]
    same_fact: tuple[str, ...] = ()


TIME_FIELD = Field("time_ns", "i64", "ns", "Event time, nanoseconds since the epoch, UTC")

# Constants of a batch that rules can use like fields.
PSEUDO_FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "kind": Field("kind", "str", "", "Kind of the event"),
        "node": Field("node", "str", "", "Name of the node, as the command line gives it"),
        "boot_ns": Field("boot_ns", "i64", "ns", "Start of the node process since the epoch, 0 when unknown"),
        "source": Field("source", "str", "", "Source of the event, as the command line gives it"),
    }
)

# Names of the columns that say which connection an event belongs to, in order.
PEER_FIELDS: tuple[str, ...] = tuple(row[0] for row in kinds_table.PEER)


def kind_named(name: str) -> Kind:
    """Return the kind of that name; WatchdogError with a sentence that names the nearest one otherwise."""
    if name in KINDS:
        return KINDS[name]
    near = difflib.get_close_matches(name, KINDS, n=1, cutoff=0.65)
    if not near:
        near = [kind for kind in KINDS if kind.partition(":")[2] == name.partition(":")[2] or kind.endswith(f":{name}")]
    hint = f"; did you mean '{near[0]}'?" if near else "; `watchdog events` lists them"
    raise WatchdogError(f"unknown kind '{name}'{hint}")


def chosen_kinds(names: Iterable[str]) -> frozenset[str] | None:
    """Return the kinds with these names or prefixes (`p2p`); None without names. WatchdogError: an unknown name."""
    chosen: set[str] = set()
    for name in names:
        begin = [kind for kind in KINDS if name and kind.startswith(name)] if name not in KINDS else []
        chosen.update(begin or (kind_named(name).name,))
    return frozenset(chosen) or None


def dtype_of(typ: str) -> np.dtype[np.generic] | None:
    """Return the NumPy type of a column type; None for "str" and "bytes", KeyError for an unknown type."""
    return None if typ in {"str", "bytes"} else _DTYPES[typ]


_SAME_ANSWERS: Mapping[str, tuple[str, ...]] = {"rpc": ("ipc",)}
"""Sources that give every kind of another one: `ipc` makes the calls of `rpc` over another transport."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _field(row: kinds_table.FieldRow) -> Field:
    return Field(*row[:5], _names(row[5]))


def _read_table() -> dict[str, Kind]:
    known = {id(row): _field(row) for row in (*kinds_table.PEER, *kinds_table.WIRE)}
    kinds = {}
    for name, description, sources, same_fact, rows in kinds_table.TABLE:
        columns = {TIME_FIELD.name: TIME_FIELD}
        columns.update({row[0]: known.get(id(row)) or _field(row) for row in rows})
        given = tuple(one for source in _names(sources) for one in (source, *_SAME_ANSWERS.get(source, ())))
        kinds[name] = Kind(name, description, given, MappingProxyType(columns), _names(same_fact))
    return kinds


_TABLE: dict[str, Kind] = _read_table()
KINDS: Mapping[str, Kind] = MappingProxyType(_TABLE)
"""All kinds by name: those of the catalogue, then those that users declare (`watchdog/core/declared.py`)."""
FINDING_KINDS: frozenset[str] = frozenset(name for name in KINDS if name.startswith("finding:"))
"""The kinds that rules give; no source of this node has them, and no recording."""
FLEET_KINDS: frozenset[str] = frozenset(name for name in KINDS if name.startswith("fleet:"))
"""The kinds that the nodes of a service show together; no node has them."""
PER_MESSAGE = ("p2p:", "net:inbound_message", "net:outbound_message", "rpc:addrman_entry")
"""Kinds, or how they begin, with an event for each message or each entry of a table: no rule over nodes reads them."""
ALL_KINDS: frozenset[str] = frozenset(KINDS) - FINDING_KINDS - FLEET_KINDS
"""The kinds of a source whose input does not list them: any of the catalogue."""


def add_kinds(kinds: Iterable[Kind]) -> None:
    """Make further kinds known for the rest of this process; only `watchdog.core.declared` calls it.

    ValueError: a kind of that name exists.
    """
    for kind in kinds:
        if kind.name in _TABLE:
            raise ValueError(f"kind {kind.name!r} exists")
        _TABLE[kind.name] = kind


def any_kinds() -> frozenset[str]:
    """Return the kinds of a source whose input does not list them: `ALL_KINDS`, and the declared ones."""
    return frozenset(KINDS) - FINDING_KINDS - FLEET_KINDS
