"""Request bodies: our webhook, Alertmanager's API, version 4 of its webhook, and log lines."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.encoding import HEARTBEAT, NOT_YET, TEST, rfc3339
from alerts.delivery.formats import ENCODERS, signal_bodies, targets
from alerts.delivery.formats import notice_body as body_for
from alerts.delivery.journal import line
from alerts.notice import MERGED, Notice
from alerts.routing import FORMATS, Receiver
from alerts.store.merged import merged_body
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


NOW_NS = START_NS + 600 * 10**9


def receiver(form: Any, **other: Any) -> Receiver:
    return Receiver("ops", "https://example.org/hook", format=form, about="incidents", **other)


def notice_body(one: Notice, form: Any, now_ns: int = NOW_NS) -> bytes:
    return body_for(one, receiver(form), now_ns)


def told(**changed: object) -> Notice:
    return replace(notice(1, "a1b2"), body=INCIDENT | changed)


def test_the_webhook_has_exactly_type_timestamp_and_data() -> None:
    message = json.loads(notice_body(told(), "webhook"))
    assert list(message) == ["type", "timestamp", "data"]
    assert message["type"] == "incident.opened"
    assert message["timestamp"] == rfc3339(START_NS)
    assert message["data"] == INCIDENT


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_notice_gives_the_same_bytes_and_only_printable_ascii(form: Any) -> None:
    body = notice_body(told(), form)
    assert body == notice_body(told(), form)
    assert all(0x20 <= byte < 0x7F for byte in body.replace(b"\r\n", b""))


def test_the_alertmanager_webhook_has_the_fields_of_version_4() -> None:
    message = json.loads(notice_body(told(), "alertmanager-webhook"))
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
    resolved = json.loads(notice_body(told(state="resolved", resolved=1_780_000_500.0), "alertmanager-webhook"))
    assert (resolved["status"], resolved["alerts"][0]["endsAt"]) == ("resolved", "2026-05-28T20:35:00.000000Z")
    seen = json.loads(notice_body(told(state="acknowledged", acknowledged_by="ann"), "alertmanager-webhook"))
    assert (seen["status"], seen["alerts"][0]["annotations"]["acknowledged_by"]) == ("firing", "ann")


def test_what_peers_sent_is_harmless_text_to_alertmanagers_readers() -> None:
    (alert,) = json.loads(notice_body(told(), "alertmanager-webhook"))["alerts"]
    for text in (alert["annotations"]["summary"], alert["labels"]["user_agent"]):
        assert text.isprintable()
        assert "\\x1b[31m" in text
        assert "\u202e" not in text


def test_labels_stay_the_same_through_an_incidents_life() -> None:
    opened, later = (json.loads(notice_body(one, "alertmanager-webhook")) for one in (told(), told(state="resolved")))
    assert opened["alerts"][0]["labels"] == later["alerts"][0]["labels"]
    assert opened["groupKey"] == later["groupKey"]


@given(st.integers(0, 253_402_300_799 * 10**9))
def test_times_are_rfc_3339(time_ns: int) -> None:
    assert GO_TIME.fullmatch(rfc3339(time_ns))


@pytest.mark.parametrize("kind", [HEARTBEAT, TEST])
def test_signals_have_the_shape_of_their_format(kind: str) -> None:
    plain = json.loads(signal_bodies(kind, receiver("webhook"), START_NS, {"number": 1})[0])
    assert plain == {"type": kind, "timestamp": rfc3339(START_NS), "data": {"number": 1}}
    alerts = json.loads(signal_bodies(kind, receiver("alertmanager-webhook"), START_NS, {"number": 1})[0])
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


def api(one: Notice, now_ns: int = NOW_NS, **other: Any) -> list[dict[str, Any]]:
    found = json.loads(body_for(one, receiver("alertmanager", **other), now_ns))
    assert isinstance(found, list)
    return found


def test_every_format_has_an_encoder_and_no_encoder_is_without_a_format() -> None:
    assert tuple(ENCODERS) == FORMATS


@pytest.mark.parametrize(
    ("base", "place"),
    [
        ("http://am:9093", "http://am:9093/api/v2/alerts"),
        ("http://am:9093/", "http://am:9093/api/v2/alerts"),
        ("https://am.example.org/alertmanager/?x=1", "https://am.example.org/alertmanager/api/v2/alerts?x=1"),
    ],
)
def test_alertmanagers_alerts_go_below_its_base(base: str, place: str) -> None:
    assert targets(Receiver("ops", base, format="alertmanager")) == [place]
    assert targets(Receiver("ops", base, format="alertmanager-webhook")) == [base]


def test_alertmanagers_labels_hold_nothing_that_a_peer_chooses_and_texts_are_bounded() -> None:
    (alert,) = api(told(title=HOSTILE * 99, entities=[f"{number} {HOSTILE * 99}" for number in range(50)]))
    labels = {"alertname": "addr-beyond-limit", "node": "node", "attack": "addr-flooding", "severity": "high"}
    assert alert["labels"] == labels | {"incident": "a1b2"}
    assert set(alert["annotations"]) == {"title", "summary", "entities", "url"}
    assert all(text.isprintable() and len(text) < 1_100 for text in alert["annotations"].values())
    assert [one.split()[0] for one in alert["annotations"]["entities"].split(", ")] == [str(one) for one in range(10)]
    assert alert["generatorURL"] == INCIDENT["url"]


def test_what_fires_ends_three_keepalives_from_now() -> None:
    (alert,) = api(told(), keepalive_s=30.0)
    assert (alert["startsAt"], alert["endsAt"]) == (rfc3339(START_NS + 250_000_000), rfc3339(NOW_NS + 90 * 10**9))
    alive = ENCODERS["alertmanager"].alive
    assert alive is not None
    assert json.loads(alive([INCIDENT], receiver("alertmanager", keepalive_s=30.0), NOW_NS)) == [alert]


def test_an_acknowledged_incident_fires_and_says_who_has_it() -> None:
    (alert,) = api(told(state="acknowledged", acknowledged_by="ann"))
    assert alert["endsAt"] > rfc3339(NOW_NS)
    assert alert["annotations"]["acknowledged_by"] == "ann"
    assert alert["labels"] == api(told())[0]["labels"]


@pytest.mark.parametrize(
    ("resolved", "now_ns", "ends"),
    [
        (1_780_000_500.0, NOW_NS, "2026-05-28T20:35:00.000000Z"),
        (1_790_000_000.0, NOW_NS, rfc3339(NOW_NS)),
        (1_779_999_000.0, NOW_NS, "2026-05-28T20:26:40.250000Z"),
        (None, NOW_NS, rfc3339(NOW_NS)),
        (1_780_000_500.0, START_NS - 10**9, rfc3339(START_NS - 10**9)),
    ],
)
def test_a_resolved_alert_has_ended_and_never_before_its_start(resolved: object, now_ns: int, ends: str) -> None:
    (alert,) = api(told(state="resolved", resolved=resolved), now_ns)
    assert alert["endsAt"] == ends
    assert alert["startsAt"] <= alert["endsAt"] <= rfc3339(now_ns)


def test_an_escalation_ends_the_old_alert_and_starts_the_new_one() -> None:
    steps = [
        {"reason": "escalated", "text": "warning to high: x to critical: y"},
        {"reason": "escalated", "text": "high to critical: x"},
        {"reason": "updated", "text": "info to critical: a peer's words"},
    ]
    worse = replace(told(severity="critical", changes=steps), type="incident.escalated")
    old, new = api(worse)
    assert [old["labels"]["severity"], new["labels"]["severity"]] == ["high", "critical"]
    assert (old["endsAt"], new["endsAt"]) == (rfc3339(NOW_NS), rfc3339(NOW_NS + 180 * 10**9))
    assert {**old["labels"], "severity": "critical"} == new["labels"]
    first = replace(told(severity="high", changes=steps), type="incident.escalated")
    assert [one["labels"]["severity"] for one in api(first)] == ["warning", "high"]
    assert [one["labels"]["severity"] for one in api(first, severity="high")] == ["high"]
    lost = replace(told(severity="high", changes=[]), type="incident.escalated")
    assert [one["labels"]["severity"] for one in api(lost)] == ["warning", "high"]


@pytest.mark.parametrize("form", ["alertmanager", "alertmanager-webhook"])
def test_a_merged_notice_is_an_alert_for_each_incident(form: Any) -> None:
    many = merged_body([INCIDENT | {"id": f"i{number}", "entities": ["x"] * 30} for number in range(100)])
    found = json.loads(notice_body(replace(told(), type=MERGED, body=many), form))
    alerts = found if form == "alertmanager" else found["alerts"]
    assert len(alerts) == 100
    assert {one["labels"]["alertname"] for one in alerts} == {"addr-beyond-limit"}
    plain = json.loads(notice_body(replace(told(), type=MERGED, body=many), "webhook"))
    assert (plain["type"], plain["data"]["rule"], plain["data"]["count"]) == (MERGED, "addr-beyond-limit", 100)
    assert [one["id"] for one in plain["data"]["incidents"]] == [f"i{number}" for number in range(100)]


@pytest.mark.parametrize("kind", [HEARTBEAT, TEST])
def test_a_signal_to_alertmanager_is_an_alert_that_expires_by_itself(kind: str) -> None:
    data = {"number": 1, "every_s": 300.0, "state": "degraded", "cannot_fire": ["eclipse-stale-tip"]}
    (alert,) = json.loads(signal_bodies(kind, receiver("alertmanager"), START_NS, data)[0])
    assert alert["endsAt"] == rfc3339(START_NS + 900 * 10**9)
    assert alert["annotations"]["state"] == "degraded"
    assert "eclipse-stale-tip" in alert["annotations"]["cannot_fire"]
