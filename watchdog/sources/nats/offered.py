"""The kinds that peer-observer's events give. Needs no package, so that they are known where none is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from watchdog.sources.nats import node_rows, polled
from watchdog.sources.nats.settings import SUBJECTS, NatsUrl
from watchdog.sources.wire.decode import KNOWN_TYPES, kinds_from

_P2P: Final = frozenset(kind for type_ in (*KNOWN_TYPES, "") for kind in kinds_from(type_)) - {"p2p:malformed"}
KINDS: Final = (
    _P2P | node_rows.KINDS_GIVEN | polled.KINDS_GIVEN | {"net:inbound_message", "net:outbound_message", "source:gap"}
)
"""All kinds that peer-observer's events give. Messages that are malformed are not among them: it publishes none."""


def kinds_at(place: str) -> frozenset[str]:
    """Return the kinds of the subjects that a place names, of all subjects where it names none."""
    return kinds_of_subjects(NatsUrl.of(place).query.get("subjects", "").split(","))


def kinds_of_subjects(subjects: Sequence[str]) -> frozenset[str]:
    """Return the kinds of subjects; all kinds where one is not a subject of the extractors."""
    if not set(subjects) <= SUBJECTS.keys():
        return KINDS
    beginnings = tuple(start for subject in subjects for start in SUBJECTS[subject])
    messages = ("net:inbound_message", "net:outbound_message")
    return frozenset(
        kind
        for kind in KINDS
        if kind == "source:gap" or (kind.startswith(beginnings) and ("netmsg" in subjects or kind not in messages))
    )
