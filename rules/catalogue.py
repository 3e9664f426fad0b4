"""The event catalogue as rules use it: field types, identity fields, and the fields that a key determines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rules.typed import ValueType
from watchdog.core.kinds import KINDS

PSEUDO: Mapping[str, ValueType] = {
    "kind": "text",
    "node": "text",
    "source": "text",
    "boot_ns": "int",
    "time_ns": "int",
}
_TYPES: Mapping[str, ValueType] = {"bool": "bool", "str": "text", "bytes": "bytes", "prefix": "prefix", "f64": "float"}
# fields that stay the same for all connections from one address; the others need the connection itself
_OF_ADDRESS = ("peer_addr", "network", "netgroup", "netblock", "subnet", "asn")


def kind_names() -> list[str]:
    """Return all kinds of the catalogue."""
    return sorted(KINDS)


def storage_type(kind: str, name: str) -> str:
    """Return the catalogue's own type of a field, such as `u64`."""
    return KINDS[kind].fields[name].type


def field_types(kind: str) -> dict[str, ValueType]:
    """Return the fields of a kind with the types that expressions see, pseudo-fields included."""
    types: dict[str, ValueType] = dict(PSEUDO)
    for name, entry in KINDS[kind].fields.items():
        types[name] = _TYPES.get(entry.type, "int")
    return types


def possible_values(kinds: Sequence[str], name: str) -> frozenset[str]:
    """Return all texts that a field can have in the kinds that have it; empty when it can be any text."""
    fields = [KINDS[kind].fields[name] for kind in kinds if name in KINDS[kind].fields]
    return (
        frozenset(value for field in fields for value in field.values) if all(f.values for f in fields) else frozenset()
    )


def shared_fields(kinds: Sequence[str]) -> dict[str, ValueType]:
    """Return the fields that all of the kinds have with one type."""
    first, *rest = [field_types(kind) for kind in kinds]
    return {name: kind for name, kind in first.items() if all(each.get(name) == kind for each in rest)}


def missing_in(kinds: Sequence[str], name: str) -> str:
    """Return the first of the kinds that lacks the field, or None."""
    return next((kind for kind in kinds if name not in field_types(kind)), "")


def determined(kinds: Sequence[str], by: Sequence[str]) -> set[str]:
    """Return the fields with one value for each key: the key's own, and those that they determine.

    A connection (`conn`, `peer`) determines all identity fields, an address its groups.
    """
    shared = shared_fields(kinds)
    known = {name for name in by if name in shared}
    identity = {
        name for name in shared if name not in PSEUDO and all(KINDS[kind].fields[name].identity for kind in kinds)
    }
    if {"conn", "peer"} & known & identity:
        known |= identity
    elif "peer_addr" in known:
        known |= identity & set(_OF_ADDRESS)
    return known
