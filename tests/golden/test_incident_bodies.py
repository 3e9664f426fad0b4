"""Receivers about incidents get what they got before cases had notices, byte for byte.

`tests/data/notices/incident_bodies.jsonl` was written by commit d351a0e2, whose receivers knew incidents only.
"""

from __future__ import annotations

import json
from pathlib import Path

from alerts.decide import decide, notices
from alerts.delivery.formats import notice_body
from alerts.incident import IncidentState, Reason
from alerts.notice import EVENT_TYPES
from alerts.routing import NoticeFormat, Receiver
from tests.support.history import START, incident, record

GOLDEN = Path(__file__).parents[1] / "data" / "notices" / "incident_bodies.jsonl"
STATES = {
    Reason.RESOLVED: IncidentState.RESOLVED,
    Reason.RESOLVED_BY_OPERATOR: IncidentState.RESOLVED,
    Reason.ACKNOWLEDGED: IncidentState.ACKNOWLEDGED,
}
FORMATS_THEN: tuple[NoticeFormat, ...] = ("webhook", "alertmanager", "alertmanager-webhook")


def bodies() -> list[dict[str, str]]:
    """The notice of each kind of change in each format."""
    found = []
    for number, reason in enumerate(Reason, 1):
        state = STATES.get(reason, IncidentState.OPEN)
        one = incident(number, state=state, resolved_ns=START + 99 if reason in STATES else None)
        change = record(one, number, reason)
        for form in FORMATS_THEN:
            receiver = Receiver(
                "team", "https://example.org/hook", form, severity="info", events=EVENT_TYPES, about="incidents"
            )
            for notice in notices(change, decide(change, [receiver]), lambda id_: f"https://w/incidents/{id_}", START):
                body = notice_body(notice, receiver, START + 5).decode("ascii")
                named = {"reason": reason.value, "format": form, "id": notice.id, "type": notice.type}
                found.append({**named, "body": body})
    return found


def test_bodies_and_ids_of_incident_notices_are_what_they_were() -> None:
    expected = [json.loads(line) for line in GOLDEN.read_text(encoding="ascii").splitlines()]
    assert len(expected) == len(Reason) * len(FORMATS_THEN)
    assert bodies() == expected
