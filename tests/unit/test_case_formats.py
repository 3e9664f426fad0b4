"""What each format makes of a notice of a case."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from alerts.case.change import CaseChange
from alerts.case.drawing import change_of
from alerts.decide import case_notices, decide_case
from alerts.delivery.formats import notice_body
from alerts.routing import NoticeFormat, Receiver
from tests.support.case_rig import START_NS, CaseRig
from watchdog.core.durations import MINUTE_NS

PEER = "203.0.113.5"
NOW_NS = START_NS + 300 * MINUTE_NS


def life() -> list[CaseChange]:
    """A case from its opening to its end."""
    rig = CaseRig()
    rig.feed.book.draw = change_of
    rig.burst("ping-flood", [PEER], 1, 10)
    mark_ns = START_NS + 200 * MINUTE_NS
    return [one.change for one in rig.feed.reach([mark_ns], [mark_ns]) if one.change is not None]


def sent(change: CaseChange, form: NoticeFormat) -> Any:  # Any: JSON
    receiver = Receiver("team", "https://example.org/", form)
    decisions = decide_case(change, [receiver])
    (notice,) = case_notices(change, decisions, lambda id_: f"https://w/cases/{id_}", START_NS)
    return json.loads(notice_body(notice, receiver, NOW_NS))


def test_the_webhook_has_type_timestamp_and_the_case() -> None:
    opened, resolved = life()
    body: Mapping[str, Any] = sent(opened, "webhook")
    assert list(body) == ["type", "timestamp", "data"]
    assert (body["type"], body["timestamp"]) == ("case.opened", "2026-02-02T02:40:00.000000Z")
    data = body["data"]
    assert list(data)[:14] == [
        *("id", "node", "state", "severity", "opened", "updated", "resolved", "continues", "headline", "stages"),
        *("parties", "incidents", "notices", "aliases"),
    ]
    assert list(data)[-3:] == ["url", "root", "change"]
    assert (data["state"], data["root"], data["url"]) == ("open", data["id"], f"https://w/cases/{data['id']}")
    end = sent(resolved, "webhook")
    assert (end["type"], end["data"]["state"], end["data"]["root"]) == ("case.resolved", "resolved", data["root"])


def test_alertmanager_gets_one_alert_without_a_party_that_ends_with_the_case() -> None:
    opened, resolved = life()
    (alert,) = sent(opened, "alertmanager")
    assert alert["labels"] == {
        "alertname": "BitcoinCase",
        "node": "alice",
        "case": opened.root,
        "severity": "warning",
        "attack": "message-anomaly",
    }
    assert PEER not in json.dumps(alert["labels"])
    (ended,) = sent(resolved, "alertmanager")
    assert ended["labels"] == alert["labels"], "the same alert"
    assert ended["endsAt"] == "2026-02-02T03:21:00.000000Z", "when it was resolved"
    assert alert["endsAt"] > ended["endsAt"]


def test_the_webhook_of_alertmanager_says_whether_it_fires() -> None:
    opened, resolved = life()
    body, end = sent(opened, "alertmanager-webhook"), sent(resolved, "alertmanager-webhook")
    assert (body["status"], end["status"]) == ("firing", "resolved")
    assert body["groupLabels"] == {"alertname": "BitcoinCase", "node": "alice"}
    assert body["externalURL"] == "https://w"
    assert body["alerts"][0]["fingerprint"] == end["alerts"][0]["fingerprint"]
