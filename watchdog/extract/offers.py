"""What an extractor offers to its readers: the kinds of the binary's tracepoints, and its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from watchdog.core.declared import Declaration, from_columns
from watchdog.core.kinds import KINDS, TIME_FIELD
from watchdog.core.release import VERSION
from watchdog.extract.elf import TracedBinary, read_binary
from watchdog.extract.losses import GAP
from watchdog.extract.releases import Tracepoint, offer_of
from watchdog.extract.rings import with_peer
from watchdog.stream.offer import Hello, OfferedField, OfferedKind, catalogue_kind

STARTED: Final = "node:started"
STOPPED: Final = "node:stopped"
OWN_KINDS: Final = (STARTED, STOPPED, GAP)
PRODUCER: Final = f"bitcoin-watchdog {VERSION} extract"


@dataclass(frozen=True, slots=True)
class BinaryOffer:
    """What a binary offers. tracepoints: by kind. faults: by kind, why a probe is not read. release: in words."""

    binary: TracedBinary
    tracepoints: Mapping[str, Tracepoint]
    faults: Mapping[str, str]
    release: str


def offered_by(path: str, kinds: frozenset[str] | None, declarations: Iterable[Declaration] = ()) -> BinaryOffer:
    """Return what a binary offers of these kinds, None for all. SourceError: it cannot be read."""
    binary = read_binary(path)
    found = offer_of(binary, declarations)
    names = {one.kind_name for one in declarations}
    chosen = {kind: one for kind, one in found.kinds.items() if kinds is None or kind in kinds or kind in names}
    return BinaryOffer(binary, chosen, found.faults, found.releases.text)


def hello_of(node: str, boot_ns: int, offer: BinaryOffer) -> Hello:
    """Return how the server introduces itself; fields that this binary does not give are left out."""
    kinds = [_offered_kind(one) for one in offer.tracepoints.values() if one.kind in KINDS]
    return Hello(PRODUCER, node, boot_ns, (*kinds, *(catalogue_kind(kind) for kind in OWN_KINDS)))


def _offered_kind(tracepoint: Tracepoint) -> OfferedKind:
    whole = catalogue_kind(tracepoint.kind)
    given = {TIME_FIELD.name, *(one.field for one in tracepoint.inputs)}
    if with_peer(tracepoint.kind):
        return OfferedKind(whole.name, tuple(one for one in whole.fields if one[0] not in tracepoint.left_out))
    return OfferedKind(whole.name, tuple(one for one in whole.fields if one[0] in given))


def declarations_of(tracepoints: Mapping[str, tuple[OfferedField, ...]]) -> tuple[Declaration, ...]:
    """Return the declarations that readers sent, checked; WatchdogError names the mistake."""
    return tuple(from_columns(name, fields) for name, fields in tracepoints.items())
