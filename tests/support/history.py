"""Incidents, changes and notices for tests of the store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from alerts.decide import decide, notices
from alerts.incident import BY_OPERATOR, HistoryEntry, Incident, IncidentChange, IncidentState, Reason
from alerts.notice import ChangeRecord, Notice
from alerts.routing import DEFAULT_EVENTS, Receiver
from watchdog.core.finding import Evidence

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
RECEIVER = Receiver("team", "https://example.org/hook", about="incidents", events=(*DEFAULT_EVENTS, "incident.updated"))


def incident(number: int = 1, **other: Any) -> Incident:
    """An incident that opened `number` seconds after START; `other` replaces fields: any of Incident's types."""
    opened_ns = START + number * SECOND
    plain = Incident(
        id=hashlib.blake2b(str(number).encode(), digest_size=8).hexdigest(),
        fingerprint=hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest(),
        rule="addr-beyond-limit",
        attack="addr-flooding",
        severity="warning",
        state=IncidentState.OPEN,
        node="node",
        key={"netgroup": "136.43.0.0/16"},
        opened_ns=opened_ns,
        updated_ns=opened_ns,
        cleared_ns=None,
        resolved_ns=None,
        acknowledged_by=None,
        entities=("136.43.0.0/16", "136.43.1.1"),
        entities_beyond=0,
        summary="136.43.1.1 sent 150 addresses beyond the limit",
        measures={"beyond": 150},
        peak={"beyond": 150},
        findings=1,
        members=1,
        firing=1,
        members_beyond=0,
        listed_members=({"peer": "136.43.1.1:8333"},),
        evidence=(Evidence(opened_ns, "p2p:addr", {"peer_addr": "136.43.1.1", "entries": 1000}),),
        completeness=1.0,
        watched=1.0,
        history=(HistoryEntry(opened_ns, opened_ns, Reason.OPENED, "condition met"),),
        history_beyond=0,
    )
    return replace(plain, **other)


def record(
    one: Incident,
    sequence: int = 1,
    reason: Reason = Reason.OPENED,
    *,
    acted: int = 0,
    action: int = 0,
    taken: int | None = None,
) -> ChangeRecord:
    """A change of an incident, told with its picture; an operator's has an action. taken: as in `ChangeRecord`."""
    action = action or (1 if reason in BY_OPERATOR else 0)
    time_ns = one.opened_ns + sequence * SECOND
    change = IncidentChange(
        one.id, one.fingerprint, time_ns, reason, "why", one.state, one.severity, sequence, acted or int(action > 0)
    )
    return ChangeRecord(one, change, "Peer sends too many addresses", action, taken)


def told(records: Sequence[ChangeRecord], *receivers: Receiver, now_ns: int = START) -> list[Notice]:
    """What the receivers (one called `team` if none is given) hear of it."""
    return [
        notice
        for one in records
        for notice in notices(one, decide(one, receivers or (RECEIVER,)), lambda id_: f"http://127.0.0.1/{id_}", now_ns)
    ]
