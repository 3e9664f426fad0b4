"""Alertmanager's API v2: lists of alerts for `POST <base>/api/v2/alerts`.

An alert is known by its labels, so these hold nothing that a peer chooses, and the severity among them makes an
escalation the end of one alert and the start of another. Alertmanager takes an alert as resolved once `endsAt` has
passed; what fires must be posted again before that (`keepalive`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

from alerts.delivery.case_alerts import case_alerts, firing_case, is_case_object
from alerts.delivery.encoding import SIGNAL_NAMES, encode, nanoseconds, rfc3339, texts
from alerts.delivery.notice_facts import is_case
from alerts.incident import RANK
from alerts.notice import MERGED, Notice
from alerts.routing import Receiver
from watchdog.core.finding import SEVERITIES
from watchdog.core.text import printable

API_PATH = "/api/v2/alerts"
KEEPALIVES = 3  # of them may fail before an alert expires
NAMED_ENTITIES = 10
ENTITY_LIMIT = 90  # characters: ten of them fit into an annotation
Alert = dict[str, object]


def target(base: str) -> str:
    """Return the URL of Alertmanager's alerts below its base, which may have a path and a query."""
    parts = urlsplit(base)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + API_PATH))


def notice_body(notice: Notice, receiver: Receiver, now_ns: int) -> bytes:
    """Return the alerts of a notice: one, all that a merged notice names, or two for an escalation."""
    body, until_ns = notice.body, now_ns + _standing_ns(receiver.keepalive_s)
    if is_case(notice.type):
        return encode(case_alerts(notice, receiver, now_ns, until_ns))
    if notice.type == MERGED:
        named = body.get("incidents")
        return encode([_alert(one, receiver, now_ns, until_ns) for one in (named if isinstance(named, list) else ())])
    if body.get("state") == "resolved":
        return encode([_alert(body, receiver, now_ns, min(nanoseconds(body.get("resolved")) or now_ns, now_ns))])
    ended = _severities_before(body, receiver) if notice.type == "incident.escalated" else []
    former = [_alert({**body, "severity": severity}, receiver, now_ns, now_ns) for severity in ended]
    return encode([*former, _alert(body, receiver, now_ns, until_ns)])


def alive_body(incidents: Sequence[Mapping[str, object]], receiver: Receiver, now_ns: int) -> bytes:
    """Return the body for incidents or cases that still fire."""
    until_ns = now_ns + _standing_ns(receiver.keepalive_s)
    return encode(
        [
            firing_case(one, receiver, now_ns, until_ns)
            if is_case_object(one)
            else _alert(one, receiver, now_ns, until_ns)
            for one in incidents
        ]
    )


def signal_body(kind: str, receiver: Receiver, now_ns: int, data: Mapping[str, object]) -> bytes:
    """Return a heartbeat or test as an alert that expires when no other follows."""
    every_s = data.get("every_s")
    standing_ns = _standing_ns(every_s if isinstance(every_s, int | float) else receiver.keepalive_s)
    labels = {**receiver.labels, "alertname": SIGNAL_NAMES[kind], "severity": "info", "node": data.get("node")}
    notes = {name: value for name, value in data.items() if name not in ("number", "node")}
    return encode(
        [
            {
                "labels": texts(labels),
                "annotations": texts(notes),
                "startsAt": rfc3339(now_ns),
                "endsAt": rfc3339(now_ns + standing_ns),
            }
        ]
    )


def _standing_ns(keepalive_s: float) -> int:
    return int(KEEPALIVES * keepalive_s * 1e9)


def _alert(incident: Mapping[str, object], receiver: Receiver, now_ns: int, ends_ns: int) -> Alert:
    """Return one incident as an alert; an acknowledged one keeps firing and names the operator.

    A start ahead of our clock would keep the alert from ever ending, so it is now at the latest.
    """
    starts_ns = min(nanoseconds(incident.get("opened")) or now_ns, now_ns)
    names = {"alertname": "rule", "node": "node", "attack": "attack", "severity": "severity", "incident": "id"}
    listed = incident.get("entities")
    entities = [printable(str(one), ENTITY_LIMIT) for one in (listed if isinstance(listed, list) else ())]
    notes = {
        "title": incident.get("title"),
        "summary": incident.get("summary"),
        "entities": ", ".join(entities[:NAMED_ENTITIES]),
        "url": incident.get("url"),
        "acknowledged_by": incident.get("acknowledged_by"),
    }
    alert: Alert = {
        "labels": texts({**receiver.labels, **{label: incident.get(name) for label, name in names.items()}}),
        "annotations": texts(notes),
        "startsAt": rfc3339(starts_ns),
        "endsAt": rfc3339(max(starts_ns, ends_ns)),
    }
    return alert | ({"generatorURL": incident["url"]} if incident.get("url") else {})


def _severities_before(body: Mapping[str, object], receiver: Receiver) -> list[str]:
    """Return the severity that an escalation left, from its own step; all lower ones where steps were joined.

    None below the receiver's `severity`: no alert with these labels was ever sent.
    """
    now = str(body.get("severity"))
    steps = body.get("changes")
    found: list[str] = []
    for step in steps if isinstance(steps, list) else ():
        before, _, rest = str(step.get("text")).partition(" to ")
        if step.get("reason") == "escalated" and before in SEVERITIES and rest.partition(":")[0] == now:
            found = [before]
    lower = found or [one for one in SEVERITIES if RANK[one] < RANK.get(now, 0)]
    return [one for one in lower if RANK[one] >= RANK[receiver.severity]]
