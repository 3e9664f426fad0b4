"""Request bodies: our webhook, Alertmanager's version 4, and log lines."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.formats import HEARTBEAT, NOT_YET, TEST, notice_body, rfc3339, signal_body
from alerts.delivery.journal import line
from alerts.notice import Notice
from tests.support.delivery import START_NS, notice

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m%s{0}\r\nlevel=error \u202e\u200f"
INCIDENT: dict[str, Any] = {
    "id": "a1b2",
    "rule": "addr-beyond-limit",
    "attack": "addr-flooding",
    "severity": "high",
    "state": "open",
    "node": "node",
    "key": {"netgroup": "136.43.0.0/16", "user agent": HOSTILE},
    "opened": 1_780_000_000.25,
    "updated": 1_780_000_060.0,
    "resolved": None,
    "summary": HOSTILE,
    "title": "Peer sends addresses beyond the limit",
    "fingerprint": "0123456789abcdef0123",
    "acknowledged_by": None,
    "url": "https://watch.example.com/incidents/a1b2",
}
GO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def told(**changed: object) -> Notice:
    return replace(notice(1, "a1b2"), body=INCIDENT | changed)


def test_the_webhook_has_exactly_type_timestamp_and_data() -> None:
    message = json.loads(notice_body(told(), "webhook"))
    assert list(message) == ["type", "timestamp", "data"]
    assert message["type"] == "incident.opened"
    assert message["timestamp"] == rfc3339(START_NS)
    assert message["data"] == INCIDENT


@pytest.mark.parametrize("form", ["webhook", "alertmanager"])
def test_the_same_notice_gives_the_same_bytes_and_only_printable_ascii(form: Any) -> None:
    body = notice_body(told(), form)
    assert body == notice_body(told(), form)
    assert all(0x20 <= byte < 0x7F for byte in body)


def test_the_alertmanager_format_has_the_fields_of_version_4() -> None:
    message = json.loads(notice_body(told(), "alertmanager"))
    assert set(message) == {
        "receiver",
        "status",
        "alerts",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
        "version",
        "groupKey",
        "truncatedAlerts",
    }
    (alert,) = message["alerts"]
    assert (message["version"], message["status"], message["truncatedAlerts"]) == ("4", "firing", 0)
    assert message["receiver"] == "ops"
    assert message["groupLabels"] == {"alertname": "addr-beyond-limit", "node": "node"}
    assert message["groupKey"] == '{}:{alertname="addr-beyond-limit", node="node"}'
    assert message["commonLabels"] == alert["labels"]
    assert message["externalURL"] == "https://watch.example.com"
    assert alert["startsAt"] == "2026-05-28T20:26:40.250000Z"
    assert alert["endsAt"] == NOT_YET
    assert alert["generatorURL"] == INCIDENT["url"]
    assert re.fullmatch("[0-9a-f]{16}", alert["fingerprint"])
    assert alert["labels"]["netgroup"] == "136.43.0.0/16"
    assert all(re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", name) for name in alert["labels"])
    assert all(isinstance(value, str) for value in (*alert["labels"].values(), *alert["annotations"].values()))


def test_a_resolved_incident_is_a_resolved_alert_and_an_acknowledged_one_fires() -> None:
    resolved = json.loads(notice_body(told(state="resolved", resolved=1_780_000_500.0), "alertmanager"))
    assert (resolved["status"], resolved["alerts"][0]["endsAt"]) == ("resolved", "2026-05-28T20:35:00.000000Z")
    seen = json.loads(notice_body(told(state="acknowledged", acknowledged_by="ann"), "alertmanager"))
    assert (seen["status"], seen["alerts"][0]["annotations"]["acknowledged_by"]) == ("firing", "ann")


def test_what_peers_sent_is_harmless_text_to_alertmanagers_readers() -> None:
    (alert,) = json.loads(notice_body(told(), "alertmanager"))["alerts"]
    for text in (alert["annotations"]["summary"], alert["labels"]["user_agent"]):
        assert text.isprintable()
        assert "\\x1b[31m" in text
        assert "\u202e" not in text


def test_labels_stay_the_same_through_an_incidents_life() -> None:
    opened, later = (json.loads(notice_body(one, "alertmanager")) for one in (told(), told(state="resolved")))
    assert opened["alerts"][0]["labels"] == later["alerts"][0]["labels"]
    assert opened["groupKey"] == later["groupKey"]


@given(st.integers(0, 253_402_300_799 * 10**9))
def test_times_are_rfc_3339(time_ns: int) -> None:
    assert GO_TIME.fullmatch(rfc3339(time_ns))


@pytest.mark.parametrize("kind", [HEARTBEAT, TEST])
def test_signals_have_the_shape_of_their_format(kind: str) -> None:
    plain = json.loads(signal_body(kind, "ops", START_NS, {"number": 1}, "webhook"))
    assert plain == {"type": kind, "timestamp": rfc3339(START_NS), "data": {"number": 1}}
    alerts = json.loads(signal_body(kind, "ops", START_NS, {"number": 1}, "alertmanager"))
    assert alerts["alerts"][0]["labels"]["alertname"] in {"WatchdogHeartbeat", "WatchdogTest"}
    assert GO_TIME.fullmatch(alerts["alerts"][0]["startsAt"])


@given(st.text())
def test_a_log_line_is_one_harmless_line_whatever_it_says(text: str) -> None:
    told_line = line("delivery", receiver="ops", error=text, status=None)
    assert told_line.startswith("delivery receiver=ops")
    assert "status" not in told_line
    assert len(told_line.splitlines()) == 1
    assert told_line.isprintable()


def test_a_log_value_cannot_pretend_to_be_another_key() -> None:
    assert line("x", error="a fate=sent") == 'x error="a fate=sent"'
    assert line("x", error='a"b') == 'x error="a\\"b"'
