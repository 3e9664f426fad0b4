"""What a receiver gets, by the name of its format: the table of encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alerts.delivery import alertmanager, alertmanager_webhook
from alerts.delivery.texts import encode, rfc3339
from alerts.notice import Notice
from alerts.routing import NoticeFormat, Receiver

Incidents = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Encoder:
    """One format. Times are wall clock in ns.

    notice: the request body of a notice, posted at a time; it rests on what is stored of the notice and on the
    receiver's settings. signal: that of a heartbeat or a test. target: the URL of requests, from the receiver's own.
    alive: the body that says of incidents that they still fire; None where a receiver needs no such thing. misplaced:
    what a 404 or 405 suggests; empty for nothing.
    """

    notice: Callable[[Notice, Receiver, int], bytes]
    signal: Callable[[str, Receiver, int, Mapping[str, object]], bytes]
    target: Callable[[str], str]
    alive: Callable[[Incidents, Receiver, int], bytes] | None = None
    misplaced: str = ""


def _plain_notice(notice: Notice, _receiver: Receiver, _now_ns: int) -> bytes:
    return encode({"type": notice.type, "timestamp": rfc3339(notice.created_ns), "data": dict(notice.body)})


def _plain_signal(kind: str, _receiver: Receiver, now_ns: int, data: Mapping[str, object]) -> bytes:
    return encode({"type": kind, "timestamp": rfc3339(now_ns), "data": dict(data)})


def _as_given(url: str) -> str:
    return url


ENCODERS: Mapping[NoticeFormat, Encoder] = {
    "webhook": Encoder(_plain_notice, _plain_signal, _as_given),
    "alertmanager": Encoder(
        alertmanager.notice_body,
        alertmanager.signal_body,
        alertmanager.target,
        alertmanager.alive_body,
        misplaced="'format: alertmanager' posts to Alertmanager's own API, <url>/api/v2/alerts; "
        "a program that reads Alertmanager's webhook needs 'format: alertmanager-webhook'",
    ),
    "alertmanager-webhook": Encoder(alertmanager_webhook.notice_body, alertmanager_webhook.signal_body, _as_given),
}


def notice_body(notice: Notice, receiver: Receiver, now_ns: int) -> bytes:
    """Return the request body of a notice for a receiver."""
    return ENCODERS[receiver.format].notice(notice, receiver, now_ns)


def signal_body(kind: str, receiver: Receiver, now_ns: int, data: Mapping[str, object]) -> bytes:
    """Return the request body of a heartbeat or a test."""
    return ENCODERS[receiver.format].signal(kind, receiver, now_ns, data)


def target(receiver: Receiver) -> str:
    """Where requests to a receiver go."""
    return ENCODERS[receiver.format].target(receiver.url)


def misplaced(receiver: Receiver, status: int | None) -> str:
    """Return a hint when a status suggests a wrong format of the receiver; empty otherwise."""
    return ENCODERS[receiver.format].misplaced if status in (404, 405) else ""
