"""A notice as bytes: our own webhook, or version 4 of Alertmanager's. The same notice gives the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from alerts.notice import Notice
from alerts.routing import Format
from watchdog.core.text import printable

HEARTBEAT = "watchdog.heartbeat"
TEST = "watchdog.test"
NOT_YET = "0001-01-01T00:00:00Z"  # endsAt of an alert that fires: Go's zero time, as Alertmanager sends it
TEXT_LIMIT = 1_000  # characters of an annotation: chat services cut or refuse longer ones
_NOT_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def rfc3339(time_ns: int) -> str:
    """A time in UTC with microseconds: `2026-05-04T03:02:01.000000Z`."""
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).replace(microsecond=time_ns // 1_000 % 1_000_000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment.year >= 1000 else NOT_YET


def encode(message: Mapping[str, object]) -> bytes:
    """JSON in ASCII without spaces: what peers sent can neither break a line nor steer a terminal."""
    return json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def notice_body(notice: Notice, form: Format) -> bytes:
    """The request body of a notice in one of the formats; it rests on what is stored of the notice and nothing else."""
    if form == "alertmanager":
        alert = incident_alert(notice.body)
        return encode(alertmanager(notice.receiver, [alert], _group(alert), str(notice.body.get("url") or "")))
    return encode({"type": notice.type, "timestamp": rfc3339(notice.created_ns), "data": dict(notice.body)})


def signal_body(kind: str, receiver: str, now_ns: int, data: Mapping[str, object], form: Format) -> bytes:
    """The request body of a heartbeat or a test; to Alertmanager's readers an alert without end of that name."""
    if form != "alertmanager":
        return encode({"type": kind, "timestamp": rfc3339(now_ns), "data": dict(data)})
    name = "WatchdogHeartbeat" if kind == HEARTBEAT else "WatchdogTest"
    alert: dict[str, object] = {
        "status": "firing",
        "labels": {"alertname": name, "severity": "info"},
        "annotations": {key: printable(str(value), TEXT_LIMIT) for key, value in data.items()},
        "startsAt": rfc3339(now_ns),
        "endsAt": NOT_YET,
        "generatorURL": "",
        "fingerprint": name.encode("ascii").hex()[:16],
    }
    return encode(alertmanager(receiver, [alert], {"alertname": name}, ""))


def incident_alert(incident: Mapping[str, object]) -> dict[str, object]:
    """The incident object of a webhook as one alert of Alertmanager.

    Labels say what it is and stay the same through its life, but for the severity; fields of the key become labels
    with `_` for what a label name may not hold. Annotations are texts for people.
    """
    key = incident.get("key")
    named = {_NOT_A_LABEL.sub("_", name): value for name, value in key.items()} if isinstance(key, Mapping) else {}
    own = {
        "alertname": incident.get("rule"),
        "severity": incident.get("severity"),
        "attack": incident.get("attack"),
        "node": incident.get("node"),
    }
    texts = {
        "title": incident.get("title"),
        "summary": incident.get("summary"),
        "incident": incident.get("id"),
        "state": incident.get("state"),
        "acknowledged_by": incident.get("acknowledged_by"),
        "url": incident.get("url"),
    }
    resolved = incident.get("state") == "resolved"
    return {
        "status": "resolved" if resolved else "firing",
        "labels": _texts({**named, **own}),
        "annotations": _texts(texts),
        "startsAt": _moment(incident.get("opened")),
        "endsAt": _moment(incident.get("resolved")) if resolved else NOT_YET,
        "generatorURL": str(incident.get("url") or ""),
        "fingerprint": str(incident.get("fingerprint") or "")[:16],
    }


def alertmanager(
    receiver: str, alerts: Sequence[Mapping[str, object]], group: Mapping[str, str], url: str
) -> dict[str, object]:
    """Version 4 of Alertmanager's webhook (its template.Data and webhook message), fields in its order."""
    firing = any(alert["status"] == "firing" for alert in alerts)
    return {
        "receiver": receiver,
        "status": "firing" if firing else "resolved",
        "alerts": list(alerts),
        "groupLabels": dict(group),
        "commonLabels": _common(alerts, "labels"),
        "commonAnnotations": _common(alerts, "annotations"),
        "externalURL": url.partition("/incidents/")[0] if url else "",
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(group.items())) + "}",
        "truncatedAlerts": 0,
    }


def _group(alert: Mapping[str, object]) -> dict[str, str]:
    labels = alert["labels"]
    return {name: str(labels[name]) for name in ("alertname", "node") if isinstance(labels, dict) and name in labels}


def _common(alerts: Sequence[Mapping[str, object]], part: str) -> dict[str, object]:
    """The labels or annotations that all alerts share."""
    first, *others = [alert[part] for alert in alerts]
    if not isinstance(first, Mapping):
        return {}
    return {
        name: value
        for name, value in first.items()
        if all(isinstance(other, Mapping) and other.get(name) == value for other in others)
    }


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    """Harmless texts of what is there."""
    return {name: printable(str(value), TEXT_LIMIT) for name, value in values.items() if value not in (None, "")}


def _moment(seconds: object) -> str:
    return rfc3339(round(seconds * 1e6) * 1_000) if isinstance(seconds, int | float) else NOT_YET
