"""What a `stream:` source subscribes to: kinds, and the payloads that the decoders need."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from watchdog.core.core_constants import MAX_PROTOCOL_MESSAGE_LENGTH
from watchdog.core.declared import declared
from watchdog.core.errors import SourceError
from watchdog.core.kinds import FINDING_KINDS, FLEET_KINDS, KINDS
from watchdog.core.payload_columns import ANY_TYPE, MESSAGES, most_payload
from watchdog.core.text import printable
from watchdog.sources.capture.new_blocks import BLOCK_AGE, NEW_BLOCK
from watchdog.sources.messages.rows import KNOWN_TYPES
from watchdog.sources.wire.decode import ENOUGH, kinds_from
from watchdog.stream.offer import Hello, OfferedField, OfferedKind

PATH_MOST: Final = 107  # bytes; sockaddr_un holds 108, and a zero ends them (Linux unix(7))
CLOSED: Final = "net:closed_connection"
DECODED: Final = frozenset(kind for kind in KINDS if kind.startswith("p2p:")) | {BLOCK_AGE}
"""What this end decodes from payloads where the server does not offer it."""
_OWN: Final = frozenset({"node:started", "node:stopped", "source:gap"})
_NAMING_BLOCKS: Final = ("headers", "cmpctblock", "block", "inv")
_LOG = logging.getLogger("watchdog.sources")


def known_kinds() -> frozenset[str]:
    """Return the kinds that a stream may give here: those of the catalogue, and those that users declare."""
    return frozenset(KINDS) - FINDING_KINDS - FLEET_KINDS


def stream_kinds() -> frozenset[str]:
    """Return the kinds of a node's tracepoints: what rules may expect of a stream before it is open."""
    traced = frozenset(kind.name for kind in KINDS.values() if "tracepoint" in kind.sources)
    return traced | DECODED | _OWN


def check_stream(place: str, _settings: Mapping[str, object]) -> str:
    """Return a warning about a place, empty for none; SourceError for a path that no socket can have."""
    if len(place.encode()) > PATH_MOST or "\0" in place:
        raise SourceError(f"stream: the path of a socket has at most {PATH_MOST} bytes, and no zero")
    return ""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription. decodes: whether messages are decoded here; for the rest see `watchdog.stream.offer.Demand`."""

    kinds: frozenset[str]
    payloads: Mapping[str, int]
    decodes: bool
    tracepoints: Mapping[str, tuple[OfferedField, ...]] = field(default_factory=dict)

    def decodes_from(self, kind: str) -> bool:
        """Return whether every event of a kind is needed to decode others."""
        return self.decodes and (kind in MESSAGES or kind == CLOSED)


def subscription_to(
    hello: Hello, wants: Callable[[str], bool], allowed: frozenset[str], payloads: Mapping[str, int]
) -> Subscribed:
    """Return what to subscribe to. wants: kinds that are read. allowed: those that the source may give.

    payloads: sizes that the reader asked for. Kinds that users declare and the server does not know are tracepoints
    that it may find in its node's binary. Raises SourceError where a field has another type here.
    """
    offered = {kind.name: kind for kind in hello.kinds}
    kinds = {name for name in offered if name in allowed and wants(name)}
    missing = {kind for kind in DECODED & allowed if wants(kind)} - offered.keys()
    decodes = bool(missing) and offered.keys() >= MESSAGES
    sizes = dict(payloads) if kinds & MESSAGES else {}
    if decodes:
        kinds |= MESSAGES | ({CLOSED} & offered.keys())
        needed = payloads_for(lambda kind: kind in missing)
        sizes = {
            type_: max(most_payload(needed, type_), most_payload(payloads, type_)) for type_ in {*needed, *payloads}
        }
    tracepoints = {
        one.kind_name: one.columns
        for one in declared()
        if one.kind_name in allowed and one.kind_name not in offered and wants(one.kind_name)
    }
    if not kinds and not tracepoints:
        raise SourceError("the server offers no kind of events that is read here")
    for name in sorted(kinds):
        _check_fields(offered[name])
    unknown = offered.keys() - known_kinds()
    if unknown:
        _LOG.info("stream: %d kinds are unknown here and passed over: %s", len(unknown), ", ".join(sorted(unknown)))
    return Subscribed(frozenset(kinds | tracepoints.keys()), sizes, decodes, tracepoints)


def payloads_for(wants: Callable[[str], bool]) -> dict[str, int]:
    """Return how much of each type's payload the decoders of wanted kinds read, by message type."""
    sizes = {
        type_: ENOUGH.get(type_, MAX_PROTOCOL_MESSAGE_LENGTH) if any(map(wants, kinds_from(type_))) else 0
        for type_ in KNOWN_TYPES
    }
    if wants("p2p:pong"):
        sizes["ping"] = MAX_PROTOCOL_MESSAGE_LENGTH
    if wants(NEW_BLOCK) or wants(BLOCK_AGE):
        sizes |= {type_: ENOUGH.get(type_, MAX_PROTOCOL_MESSAGE_LENGTH) for type_ in _NAMING_BLOCKS}
    others = wants("p2p:unknown") or wants("p2p:malformed")
    return {**sizes, ANY_TYPE: MAX_PROTOCOL_MESSAGE_LENGTH if others else 0}


def _check_fields(offered: OfferedKind) -> None:
    """Raise SourceError where a field has another type here; say which fields the server does not give."""
    own = KINDS[offered.name].fields
    given = {name: typ for name, typ, _ in offered.fields}
    for name, typ in given.items():
        if name in own and _stored(typ) != _stored(own[name].type):
            here = own[name].type
            raise SourceError(f"the field '{name}' of '{offered.name}' is {printable(typ, 40)} there and {here} here")
    lacking = [name for name in own if name not in given]
    if lacking:
        names = ", ".join(lacking)
        _LOG.warning("stream: '%s' comes without %s, which are read as empty or 0", offered.name, names)


def _stored(typ: str) -> str:
    return "u64" if typ == "prefix" else typ
