"""A case as one alert, for Alertmanager and for programs that read its webhook.

Its labels are the same through its life but for the severity: the root, which survives merges, and nothing that a peer
chooses. A case only rises in severity; the alerts of the severities that it had are ended.
"""

from __future__ import annotations

from collections.abc import Mapping

from alerts.delivery.encoding import nanoseconds, rfc3339, texts
from alerts.delivery.notice_facts import aliases_of, change_of
from alerts.incident import RANK
from alerts.notice import Notice
from alerts.routing import Receiver
from watchdog.core.finding import SEVERITIES

ALERTNAME = "BitcoinCase"
CaseAlert = dict[str, object]


def is_case_object(body: Mapping[str, object]) -> bool:
    """Return whether an object is a case: these have stages and notices, incidents do not."""
    return "stages" in body and "notices" in body


def case_alerts(notice: Notice, receiver: Receiver, now_ns: int, until_ns: int) -> list[CaseAlert]:
    """Return the alerts of a notice: those that end first, then the case's own. until_ns: when it ends by itself."""
    body = notice.body
    former = [_ended(body, receiver, severity, now_ns) for severity in _severities_before(notice)]
    merged = [
        _ended({**body, "root": alias}, receiver, severity, now_ns)
        for alias in aliases_of(notice)
        for severity in SEVERITIES
        if RANK[severity] >= RANK[receiver.severity]
    ]
    resolved = notice.type == "case.resolved" or body.get("state") == "resolved"
    ends_ns = min(nanoseconds(body.get("resolved")) or now_ns, now_ns) if resolved else until_ns
    own = _alert(body, receiver, notice.severity, now_ns=now_ns, ends_ns=ends_ns)
    wanted = [one for one in former if RANK[_severity(one)] >= RANK[receiver.severity]]
    return [*wanted, *merged, own]


def firing_case(body: Mapping[str, object], receiver: Receiver, now_ns: int, until_ns: int) -> CaseAlert:
    """Return the alert of a case that still fires, with the severity of its last notice."""
    return _alert(body, receiver, notified_severity(body), now_ns=now_ns, ends_ns=until_ns)


def notified_severity(body: Mapping[str, object]) -> str:
    """Return the severity of the last notice: the case may have risen since."""
    notices = body.get("notices")
    last = notices[-1] if isinstance(notices, list) and notices else {}
    found = last.get("severity") if isinstance(last, Mapping) else None
    return str(found or body.get("severity"))


def case_labels(body: Mapping[str, object], receiver: Receiver, severity: str) -> dict[str, str]:
    """Return the labels of a case's alert; those of the receiver's own are below ours."""
    own = {
        "alertname": ALERTNAME,
        "node": body.get("node"),
        "case": body.get("root") or body.get("id"),
        "severity": severity,
        "attack": body.get("attack"),
    }
    return texts({**receiver.labels, **own})


def _alert(body: Mapping[str, object], receiver: Receiver, severity: str, *, now_ns: int, ends_ns: int) -> CaseAlert:
    """Return one alert; its annotations follow from the state of the case, so that a repetition says the same.

    A start ahead of our clock would keep it from ever ending, so it is now at the latest.
    """
    starts_ns = min(nanoseconds(body.get("opened")) or now_ns, now_ns)
    advice, stages = body.get("advice"), body.get("stages")
    known = advice if isinstance(advice, Mapping) else {}
    todo = known.get("do")
    notes = {
        "summary": body.get("headline"),
        "description": " ".join(str(one) for one in todo) if isinstance(todo, list | tuple) else "",
        "parties": ", ".join(_names(body)),
        "stages": ", ".join(str(one) for one in stages) if isinstance(stages, list | tuple) else "",
        "url": body.get("url"),
        "runbook_url": known.get("runbook"),
        "acknowledged_by": body.get("acknowledged_by"),
    }
    alert: CaseAlert = {
        "labels": case_labels(body, receiver, severity),
        "annotations": texts(notes),
        "startsAt": rfc3339(starts_ns),
        "endsAt": rfc3339(max(starts_ns, ends_ns)),
    }
    return alert | ({"generatorURL": body["url"]} if body.get("url") else {})


def _names(body: Mapping[str, object]) -> list[str]:
    """Return the names that the last notice showed."""
    parties, notices = change_of(body).get("parties"), body.get("notices")
    if parties is None and isinstance(notices, list) and notices and isinstance(notices[-1], Mapping):
        parties = notices[-1].get("parties")
    return [str(one) for one in parties] if isinstance(parties, list | tuple) else []


def _ended(body: Mapping[str, object], receiver: Receiver, severity: str, now_ns: int) -> CaseAlert:
    return _alert(body, receiver, severity, now_ns=now_ns, ends_ns=now_ns)


def _severity(alert: CaseAlert) -> str:
    labels = alert["labels"]
    return str(labels["severity"]) if isinstance(labels, dict) else ""


def _severities_before(notice: Notice) -> list[str]:
    """Return the other severities of earlier notices of the case."""
    notices = notice.body.get("notices")
    listed = notices if isinstance(notices, list) else []
    found = {str(one.get("severity")) for one in listed if isinstance(one, Mapping)}
    return [one for one in SEVERITIES if one in found and one != notice.severity]
