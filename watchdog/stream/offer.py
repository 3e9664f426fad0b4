"""What a server offers, and what its subscribers want of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from watchdog.core.kinds import KINDS
from watchdog.core.payload_columns import most_payload

OfferedField = tuple[str, str, str]
"""name, type (as in `watchdog.core.kinds.TYPES`) and unit of a column."""


@dataclass(frozen=True, slots=True)
class OfferedKind:
    """A kind that a server can give; the first of its fields is time_ns."""

    name: str
    fields: tuple[OfferedField, ...]


@dataclass(frozen=True, slots=True)
class Hello:
    """How a server introduces itself. boot_ns: start of the node's process since the epoch, 0 when unknown."""

    producer: str
    node: str
    boot_ns: int
    kinds: tuple[OfferedKind, ...]


@dataclass(frozen=True, slots=True)
class Demand:
    """What all subscribers together want.

    payloads: message type, or "*" -> most bytes of a payload. tracepoints: declared by subscribers,
    `provider:name` -> its fields without time_ns.
    """

    kinds: frozenset[str] = frozenset()
    payloads: Mapping[str, int] = field(default_factory=dict)
    tracepoints: Mapping[str, tuple[OfferedField, ...]] = field(default_factory=dict)


def catalogue_kind(name: str) -> OfferedKind:
    """Return a kind with all fields that the catalogue gives it."""
    fields = KINDS[name].fields.values()
    return OfferedKind(name, tuple((one.name, one.type, one.unit) for one in fields))


def united_payloads(several: list[Mapping[str, int]]) -> dict[str, int]:
    """Return the sizes that satisfy all: the largest by type, a general size counted for types that others name."""
    types = {type_ for one in several for type_ in one}
    return {type_: max(most_payload(one, type_) for one in several) for type_ in sorted(types)}
