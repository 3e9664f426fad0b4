"""PagerDuty's Events API v2: one alert for each case, by its root.

Limits from PagerDuty's reference: `summary` 1,024 characters, `dedup_key` 255. A resolved alert is never opened again:
the same key makes a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from alerts.delivery.answers import Judged, json_object, shown
from alerts.delivery.encoding import HEARTBEAT, compact, encode, nanoseconds, rfc3339
from alerts.delivery.markup import cut, plain
from alerts.delivery.message import signal_words, words_of
from alerts.delivery.notice_facts import aliases_of, change_of, incidents_in, subject_of
from alerts.delivery.schedule import RetryDecision
from alerts.notice import Notice
from alerts.routing import Receiver

API = "https://events.pagerduty.com/v2/enqueue"
PATH = "/v2/enqueue"
SUMMARY, KEY, SOURCE = 1_024, 255, 255  # characters
CLIENT = "bitcoin-watchdog"
SEVERITY: Final = {"info": "info", "warning": "warning", "high": "error", "critical": "critical"}
AGAIN: Final = ("case.severity", "case.stage", "case.reopened", "case.escalated")
REPORTING: Final = ("case.severity", "case.stage", "case.merged")
"""Types that a notice with several reasons may have, where the receiver did not ask for the main one."""
_ACTIONS: Final = {"acknowledged": "acknowledge", "resolved": "resolve"}


def notice_bodies(notice: Notice, receiver: Receiver, _now_ns: int, _kept: str) -> Sequence[bytes]:
    """Return the events of a notice. A merge resolves the alerts of its aliases first.

    A case that reopens is a new alert, also where the receiver does not ask for resolutions. PagerDuty notifies no one
    of a trigger for an alert that is acknowledged. So where a case has more than an operator acknowledged, its alert is
    resolved first, and the trigger makes a new one.
    """
    several = incidents_in(notice.body)
    if several:
        return [_incident_event(one, notice, receiver) for one in several]
    root = subject_of(notice)
    ended = [
        _resolving(alias, f"merged into {root}", {"merged_into": root}, notice, receiver)
        for alias in aliases_of(notice)
    ]
    if _outgrew_acknowledgement(notice):
        ended.append(_resolving(root, "more than was acknowledged: see the new alert", {}, notice, receiver))
    elif _reopens(notice) and "case.resolved" not in receiver.events:  # so the alert before is still there
        ended.append(_resolving(root, "the case was over: see the new alert", {}, notice, receiver))
    return [*ended, _event(notice, receiver, root)]


def signal_bodies(kind: str, receiver: Receiver, now_ns: int, data: Mapping[str, object]) -> Sequence[bytes]:
    """Return a test: an alert of severity info that is resolved at once. A heartbeat is the resolution alone."""
    key = f"watchdog-test-{now_ns:x}"
    message = signal_words(kind, data, plain)
    payload = {"summary": cut(message.first, SUMMARY), "source": CLIENT, "severity": "info"}
    event = {"routing_key": receiver.text("routing_key"), "dedup_key": key, "payload": payload, "client": CLIENT}
    actions = ("resolve",) if kind == HEARTBEAT else ("trigger", "resolve")
    return [encode(event | {"event_action": action}) for action in actions]


def target(receiver: Receiver) -> str:
    """Return where events go; a URL without a path is the base."""
    parts = urlsplit(receiver.url or API)
    return urlunsplit(parts._replace(path=PATH)) if parts.path in ("", "/") else urlunsplit(parts)


def judge(_receiver: Receiver, status: int, body: bytes) -> Judged | None:
    """Return what the answer says: 400 is a bad event, or a routing key that PagerDuty does not know."""
    if status != 400:
        return None
    found = json_object(body)
    errors = found.get("errors")
    texts = [str(one) for one in errors] if isinstance(errors, list) else []
    said = shown("; ".join([str(found.get("message") or ""), *texts]))
    about_key = any("routing_key" in one or "service key" in one.lower() for one in (said, *texts))
    meaning = RetryDecision.FAILED if about_key else RetryDecision.REFUSED
    return Judged(meaning, f"answered 400: {said}")


def _event(notice: Notice, receiver: Receiver, key: str) -> bytes:
    message = words_of(notice, receiver, plain)
    body, kind = notice.body, notice.type.rpartition(".")[2]
    reopened = _reopens(notice)
    opened_ns = nanoseconds(body.get("opened"))
    links = [{"href": message.url, "text": "Open the page"}] if message.url else []
    if reopened and message.url:
        links.append({"href": message.url, "text": f"reopened; the alert before has the same key, {key}"})
    details = compact(
        {
            "case": body.get("id"),
            "state": body.get("state"),
            "stages": body.get("stages"),
            "text": "\n".join(message.parts),
            "earlier_alert": key if reopened else None,
        }
    )
    event = {
        "routing_key": receiver.text("routing_key"),
        "event_action": _ACTIONS.get(kind, "trigger"),
        "dedup_key": key[:KEY],
        "client": CLIENT,
        "client_url": message.url,
        "links": links,
        "payload": compact(
            {
                "summary": cut(message.first, SUMMARY),
                "source": plain(str(body.get("node") or CLIENT))[:SOURCE],
                "severity": SEVERITY.get(notice.severity, "warning"),
                "timestamp": rfc3339(opened_ns) if opened_ns else None,
                "class": body.get("attack"),
                "custom_details": details,
            }
        ),
    }
    return encode(compact(event))


def _reopens(notice: Notice) -> bool:
    """Return whether the notice reports that its case is active again, also where its type names something else."""
    listed = notice.body.get("notices")
    last = listed[-1] if isinstance(listed, list) and listed else None
    if notice.type == "case.reopened":
        return True
    return notice.type in REPORTING and isinstance(last, Mapping) and last.get("reason") == "reopened"


def _outgrew_acknowledgement(notice: Notice) -> bool:
    """Return whether the notice reports more of a case than an operator acknowledged, as the first to do so."""
    listed = notice.body.get("notices")
    if notice.type not in AGAIN or not isinstance(listed, list):
        return False
    before = [str(one.get("reason")) for one in listed[:-1] if isinstance(one, Mapping)]
    return next((reason for reason in reversed(before) if reason != "merged"), "") == "acknowledged"


def _resolving(key: str, summary: str, more: Mapping[str, object], notice: Notice, receiver: Receiver) -> bytes:
    """Return the event that resolves an alert beside that of the notice."""
    payload = {"summary": summary, "source": plain(str(notice.body.get("node") or CLIENT))[:SOURCE], "severity": "info"}
    details = {**more, "at": change_of(notice.body).get("time")}
    event = {
        "routing_key": receiver.text("routing_key"),
        "event_action": "resolve",
        "dedup_key": key[:KEY],
        "client": CLIENT,
        "payload": payload | {"custom_details": compact(details)},
    }
    return encode(event)


def _incident_event(incident: Mapping[str, object], notice: Notice, receiver: Receiver) -> bytes:
    """Return the event of one incident of a merged notice."""
    body = {**incident, "severity": notice.severity, "rule": notice.body.get("rule"), "node": incident.get("node")}
    single = Notice(
        notice.id,
        notice.receiver,
        str(incident.get("id")),
        "incident.opened",
        notice.severity,
        notice.created_ns,
        body,
    )
    return _event(single, receiver, str(incident.get("id")))
