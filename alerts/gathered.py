"""Entities and evidence that an incident collects from its findings, within bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from watchdog.core.finding import Evidence

FIRST_PLACE = 1_000_000  # weight of the first name in a finding; the n-th gets 1/n of it
ENTITY_FIELDS = (
    "addr",
    "address",
    "asn",
    "netblock",
    "netgroup",
    "subnet",
)  # also with a prefix: `source_netgroup`, ...
NOBODY = frozenset({"", "0", "AS0", "unknown"})


@dataclass(slots=True)
class Involvement:
    """Who an incident is about: integer weights, so that the order of findings does not matter.

    Each finding gives its n-th entity 1/n of the weight of its first. When `limit` names are
    known, the lighter half is forgotten and counted in `beyond`.
    """

    weights: dict[str, int] = field(default_factory=dict)
    beyond: int = 0

    def add(self, entities: Iterable[str], limit: int) -> None:
        """Weigh one finding's entities, most involved first."""
        for place, entity in enumerate(entities, 1):
            if entity in NOBODY:
                continue
            self.weights[entity] = self.weights.get(entity, 0) + FIRST_PLACE // place
        if len(self.weights) > limit:
            kept = self.ordered()[: max(limit // 2, 1)]
            self.beyond += len(self.weights) - len(kept)
            self.weights = {entity: self.weights[entity] for entity in kept}

    def ordered(self) -> list[str]:
        """Return all known entities, most involved first; ties in the order of their text."""
        return sorted(self.weights, key=lambda entity: (-self.weights[entity], entity))


def key_entities(key: Mapping[str, str]) -> tuple[str, ...]:
    """Return the addresses, netgroups and ASNs that a key itself names (`AS` is put before a bare number)."""
    found = []
    for name, value in sorted(key.items()):
        if not name.endswith(ENTITY_FIELDS) or value in NOBODY:
            continue
        found.append(f"AS{value}" if name.endswith("asn") and value.isdigit() else value)
    return tuple(found)


EvidenceOrder = tuple[int, str, str]


def evidence_order(event: Evidence) -> EvidenceOrder:
    """Return the sort key of an event: time, then kind and content."""
    return event.time_ns, event.kind, repr(sorted(event.fields.items()))


@dataclass(slots=True)
class Exhibits:
    """Evidence: events before the opening and events after it, at most `limit` together.

    The latest ones before and the earliest half after are kept; what the second half leaves free is filled
    with events from before. An event that several findings show is kept once.
    """

    before: list[Evidence] = field(default_factory=list)
    after: list[Evidence] = field(default_factory=list)

    def add(self, events: Sequence[Evidence], opened_ns: int, limit: int) -> None:
        """Merge one finding's events; times are compared with the opening."""
        early = [event for event in events if event.time_ns <= opened_ns]
        late = [event for event in events if event.time_ns > opened_ns]
        if early and (len(self.before) < limit or (limit and max(e.time_ns for e in early) >= self.before[0].time_ns)):
            self.before = _merged(self.before, early)[-limit:] if limit else []
        if late and (
            len(self.after) < limit // 2 or (limit > 1 and min(e.time_ns for e in late) <= self.after[-1].time_ns)
        ):
            self.after = _merged(self.after, late)[: limit // 2]

    def shown(self, limit: int) -> tuple[Evidence, ...]:
        """Return at most `limit` events in the order of time."""
        room = limit - len(self.after)
        return (*(self.before[-room:] if room > 0 else ()), *self.after[:limit])


def _merged(known: list[Evidence], fresh: list[Evidence]) -> list[Evidence]:
    """Merge both lists in order. Two findings may show the same event: the larger count of equal ones is right."""
    have = Counter(evidence_order(event) for event in known)
    merged = list(known)
    for event in fresh:
        order = evidence_order(event)
        if have[order] > 0:
            have[order] -= 1
        else:
            merged.append(event)
    return sorted(merged, key=evidence_order)
