"""Version 4 of the webhook that Alertmanager sends, for programs that read it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from alerts.delivery.case_alerts import case_alerts
from alerts.delivery.encoding import NOT_YET, SIGNAL_NAMES, encode, nanoseconds, rfc3339, texts
from alerts.delivery.notice_facts import is_case
from alerts.notice import MERGED, Notice
from alerts.routing import Receiver

NEVER_NS = 253_402_300_799_000_000_000  # the last second of the year 9999: an alert that does not end by itself
_NOT_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def notice_body(notice: Notice, receiver: Receiver, now_ns: int) -> bytes:
    """Return the request body of a notice: an alert of each incident that it names, or those of a case."""
    if is_case(notice.type):
        alerts = [_case_alert(one, now_ns) for one in reversed(case_alerts(notice, receiver, now_ns, NEVER_NS))]
    else:
        named = notice.body.get("incidents") if notice.type == MERGED else None
        alerts = [incident_alert(one, receiver) for one in (named if isinstance(named, list) else [notice.body])]
    url = str(notice.body.get("url") or alerts[0]["generatorURL"])
    return encode(alertmanager(notice.receiver, alerts, _group(alerts[0]), url))


def signal_body(kind: str, receiver: Receiver, now_ns: int, data: Mapping[str, object]) -> bytes:
    """Return the request body of a heartbeat or a test: an alert of that name without an end."""
    name = SIGNAL_NAMES[kind]
    alert: dict[str, object] = {
        "status": "firing",
        "labels": {**receiver.labels, "alertname": name, "severity": "info"},
        "annotations": texts(data),
        "startsAt": rfc3339(now_ns),
        "endsAt": NOT_YET,
        "generatorURL": "",
        "fingerprint": name.encode("ascii").hex()[:16],
    }
    return encode(alertmanager(receiver.name, [alert], {"alertname": name}, ""))


def _case_alert(alert: Mapping[str, object], now_ns: int) -> dict[str, object]:
    """Return an alert of the API as one of the webhook: with its status, and a fingerprint of its labels."""
    resolved = str(alert["endsAt"]) <= rfc3339(now_ns)
    labels = json.dumps(alert["labels"], sort_keys=True)
    return {
        "status": "resolved" if resolved else "firing",
        "labels": alert["labels"],
        "annotations": alert["annotations"],
        "startsAt": alert["startsAt"],
        "endsAt": alert["endsAt"] if resolved else NOT_YET,
        "generatorURL": str(alert.get("generatorURL") or ""),
        "fingerprint": hashlib.blake2b(labels.encode("ascii"), digest_size=8).hexdigest(),
    }


def incident_alert(incident: Mapping[str, object], receiver: Receiver) -> dict[str, object]:
    """Return the incident object of a webhook as one alert of Alertmanager.

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
    notes = {
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
        "labels": texts({**receiver.labels, **named, **own}),
        "annotations": texts(notes),
        "startsAt": _moment(incident.get("opened")),
        "endsAt": _moment(incident.get("resolved")) if resolved else NOT_YET,
        "generatorURL": str(incident.get("url") or ""),
        "fingerprint": str(incident.get("fingerprint") or "")[:16],
    }


def alertmanager(
    receiver: str, alerts: Sequence[Mapping[str, object]], group: Mapping[str, str], url: str
) -> dict[str, object]:
    """Build version 4 of Alertmanager's webhook (its template.Data and webhook message), fields in its order."""
    firing = any(alert["status"] == "firing" for alert in alerts)
    return {
        "receiver": receiver,
        "status": "firing" if firing else "resolved",
        "alerts": list(alerts),
        "groupLabels": dict(group),
        "commonLabels": _common(alerts, "labels"),
        "commonAnnotations": _common(alerts, "annotations"),
        "externalURL": re.split("/incidents/|/cases/", url)[0] if url else "",
        "version": "4",
        "groupKey": "{}:{" + ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(group.items())) + "}",
        "truncatedAlerts": 0,
    }


def _group(alert: Mapping[str, object]) -> dict[str, str]:
    labels = alert["labels"]
    return {name: str(labels[name]) for name in ("alertname", "node") if isinstance(labels, dict) and name in labels}


def _common(alerts: Sequence[Mapping[str, object]], part: str) -> dict[str, object]:
    """Return the labels or annotations that all alerts share."""
    first, *others = [alert[part] for alert in alerts]
    if not isinstance(first, Mapping):
        return {}
    return {
        name: value
        for name, value in first.items()
        if all(isinstance(other, Mapping) and other.get(name) == value for other in others)
    }


def _moment(seconds: object) -> str:
    time_ns = nanoseconds(seconds)
    return NOT_YET if time_ns is None else rfc3339(time_ns)
