"""Labelled recordings: the attacks that they hold, and which incidents match them."""

from __future__ import annotations

import ipaddress
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec

from alerts.incident import RANK, Incident
from watchdog.core.errors import SourceError

LATEST_S = 1 << 33  # unix seconds, year 2242: later times do not fit into int64 nanoseconds for long
GRACE_S = 600.0  # after every label: alerts that persist or come late (recordings' README: "Grant a grace")
GRACE_SHARE = 0.2  # of a recording that is shorter than that would suit
BENIGN = "benign"
AFTERMATH = "aftermath"  # "marks the time after an eclipse in which alerts that persist are not false"
ANY = "*"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Label(msgspec.Struct, frozen=True, rename={"class_": "class"}):
    """One labelled time span; start and end in unix seconds, entities are addresses, ranges or `*`."""

    attack: str
    class_: str
    start: float
    end: float
    entities: tuple[str, ...]
    note: str = ""

    @property
    def benign(self) -> bool:
        """Whether there was no attack to be found: the warm-up of a node, or the time after an eclipse."""
        return self.class_ == BENIGN or self.attack == AFTERMATH

    def covers(self, time_s: float, grace_s: float) -> bool:
        """Return whether a time is within the label or the grace after it."""
        return self.start <= time_s <= self.end + grace_s


@dataclass(frozen=True, slots=True)
class LabelSpan:
    """When an incident was there, unix seconds: until its last key cleared (the quiet time before the resolution finds
    nothing), or until it was resolved by hand, or until the recording's end.
    """

    opened_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class LabelMatch:
    """An incident that matches a label. primary: it names the label's class; named: it names one of its entities."""

    incident: Incident
    primary: bool
    named: bool


def read_labels(path: Path) -> tuple[Label, ...]:
    """Read the labels in a `labels.json`; SourceError with place and reason."""
    try:
        labels = msgspec.json.decode(path.read_bytes().removeprefix(BOM_UTF8), type=tuple[Label, ...])
    except FileNotFoundError:
        raise SourceError(
            f"recording '{path.parent}' has no labels.json to compare with; "
            f"'watchdog replay recording:{path.parent}' shows its incidents"
        ) from None
    except OSError as error:
        raise SourceError(f"labels '{path}': {(error.strerror or 'cannot be read').lower()}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"labels '{path}': {_reason(error)}") from None
    for place, label in enumerate(labels, 1):
        if not 0 <= label.start < LATEST_S or not 0 <= label.end < LATEST_S:
            raise SourceError(f"labels '{path}': label {place} ({label.attack!r}) has times that are no unix seconds")
        if label.end < label.start:
            raise SourceError(f"labels '{path}': label {place} ({label.attack!r}) ends before it starts")
    return labels


def _reason(error: Exception) -> str:
    """Return an error's text in lower case, except for an abbreviation at its start."""
    text = str(error)
    return text if text[1:2].isupper() else f"{text[:1].lower()}{text[1:]}"


def grace_of(recording_s: float) -> float:
    """Return the seconds of grace in a recording of this length: 10 minutes, in a short one a fifth of it."""
    return min(GRACE_S, GRACE_SHARE * recording_s)


def span_of(incident: Incident, end_s: float) -> LabelSpan:
    """Return the span from opening to the last clear, else to the resolution, else to the recording's end."""
    ended_ns = incident.resolved_ns if incident.cleared_ns is None else incident.cleared_ns
    ended_s = end_s if ended_ns is None else ended_ns / 1e9
    return LabelSpan(incident.opened_ns / 1e9, max(ended_s, incident.opened_ns / 1e9))


def match(label: Label, incident: Incident, end_s: float, grace_s: float) -> LabelMatch | None:
    """Match an incident with a label: they overlap in time, and it has the class or a true entity."""
    span = span_of(incident, end_s)
    if span.opened_s > label.end + grace_s or span.ended_s < label.start:
        return None
    named = names_entity(label.entities, incident.entities)
    primary = incident.attack == label.class_
    return LabelMatch(incident, primary, named) if primary or named else None


def is_alarm(incident: Incident) -> bool:
    """Return whether an incident wakes people: warning and above."""
    return RANK[incident.severity] >= RANK["warning"]


def names_entity(true: tuple[str, ...], named: Sequence[str]) -> bool:
    """Return whether a named entity is a true one: equal, or one contains the other; `*` is any."""
    if ANY in true:
        return bool(named)
    if not set(true).isdisjoint(named):
        return True
    truth = _truth(true)
    return any(truth.meets(network) for text in named if (network := network_of(text)) is not None)


class _Truth:
    """The true ranges, by version and length, so that a look-up does not go through all of them."""

    def __init__(self, entities: Sequence[str]) -> None:
        self._networks = [network for text in entities if (network := network_of(text)) is not None]
        self._lengths = {(network.version, network.prefixlen) for network in self._networks}
        self._known: dict[tuple[int, int], set[int]] = {}

    def meets(self, network: Network) -> bool:
        """Return whether it is within a true range, or contains one."""
        version, own = network.version, network.prefixlen
        wider = [length for v, length in self._lengths if v == version and length < own]
        return any(_head(network, length) in self._heads(version, length, length) for length in wider) or (
            _head(network, own) in self._heads(version, own, network.max_prefixlen)
        )

    def _heads(self, version: int, length: int, longest: int) -> set[int]:
        """Return the first `length` bits of the true ranges with prefixes of `length` to `longest` bits."""
        key = (version, length if longest == length else -1 - length)
        if key not in self._known:
            self._known[key] = {
                _head(network, length)
                for network in self._networks
                if network.version == version and length <= network.prefixlen <= longest
            }
        return self._known[key]


@lru_cache(maxsize=256)
def _truth(entities: tuple[str, ...]) -> _Truth:
    return _Truth(entities)


def _head(network: Network, length: int) -> int:
    return int(network.network_address) >> (network.max_prefixlen - length)


@lru_cache(maxsize=65_536)
def network_of(text: str) -> Network | None:
    """Return an address or range as a network; None for ASNs and overlay addresses."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
