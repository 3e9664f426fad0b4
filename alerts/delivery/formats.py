"""What a receiver gets, by the name of its format: the table of encoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote, urlsplit

from alerts.delivery import (
    alertmanager,
    alertmanager_webhook,
    by_apprise,
    command,
    mail,
    pagerduty,
    slack,
    teams,
    telegram,
)
from alerts.delivery.answers import Judged
from alerts.delivery.encoding import encode, rfc3339
from alerts.delivery.notice_facts import subject_of
from alerts.delivery.redaction import redacted, redacted_body
from alerts.notice import Notice
from alerts.routing import NoticeFormat, Receiver

Incidents = Sequence[Mapping[str, object]]
Way = Literal["http", "smtp", "process", "apprise"]
ANSWER_BYTES = 4_096  # of a response body are read, the rest is left and the connection closed
ECHO_BYTES = 256 * 1024  # where a service sends the message back
CLOUDEVENTS = "cloudevents"
COMMON_KEYS = frozenset(
    {
        "format", "about", "events", "nodes", "severity", "template", "redact", "rate_per_minute", "timeout",
        "allow_private", "proxy", "tls", "enabled",
    }
)  # fmt: skip
SIGNED_KEYS = frozenset({"secret", "previous", "headers"})


def _single(make: Callable[[Notice, Receiver, int], bytes]) -> Callable[[Notice, Receiver, int, str], Sequence[bytes]]:
    """Return an encoder of one body that needs nothing kept."""
    return lambda notice, receiver, now_ns, _kept: [make(notice, receiver, now_ns)]


def _single_signal(
    make: Callable[[str, Receiver, int, Mapping[str, object]], bytes],
) -> Callable[[str, Receiver, int, Mapping[str, object]], Sequence[bytes]]:
    return lambda kind, receiver, now_ns, data: [make(kind, receiver, now_ns, data)]


def _as_given(receiver: Receiver) -> str:
    return receiver.url


def _none(_receiver: Receiver) -> Mapping[str, str]:
    return {}


def _fine(_receiver: Receiver) -> Iterator[tuple[str, str]]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Encoder:
    """One format. Times are wall clock in ns.

    notice: the bodies of a notice, sent one after the other at a time, given what the channel returned for the first
    notice of the same case (`Response.kept`, empty before). signal: those of a heartbeat or a test. required: sets of
    keys of which one must be complete. optional: further keys besides `COMMON_KEYS`. refused: common keys without
    effect, which are mistakes. check: yields keys with faults. people: heartbeats do not belong there. way: how bodies
    travel; the rest is for HTTP. target: the URL of requests. headers: what the format demands. judge: what an answer
    means, None where the status says all. answer_bytes: how much of it is read. alive: the body that says of incidents
    that they still fire; None where a receiver needs no such thing. misplaced: what a 404 or 405 suggests. merges:
    whether one request can name many openings; else merging them would save none.
    """

    notice: Callable[[Notice, Receiver, int, str], Sequence[bytes]]
    signal: Callable[[str, Receiver, int, Mapping[str, object]], Sequence[bytes]]
    required: tuple[tuple[str, ...], ...] = (("url",),)
    optional: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    check: Callable[[Receiver], Iterator[tuple[str, str]]] = _fine
    way: Way = "http"
    target: Callable[[Receiver], str] = _as_given
    headers: Callable[[Receiver], Mapping[str, str]] = _none
    judge: Callable[[Receiver, int, bytes], Judged | None] | None = None
    answer_bytes: int = ANSWER_BYTES
    alive: Callable[[Incidents, Receiver, int], bytes] | None = None
    misplaced: str = ""
    people: bool = True
    merges: bool = True


def plain_notice(notice: Notice, receiver: Receiver, _now_ns: int, _kept: str) -> Sequence[bytes]:
    """Return a notice as the webhook sends it: `type`, `timestamp`, `data`; or as a CloudEvent."""
    data, time = dict(notice.body), rfc3339(notice.created_ns)
    if receiver.text("envelope") == CLOUDEVENTS:
        event = cloud_event(notice.id, notice.type, str(data.get("node") or ""), time, data)
        return [encode(event | {"subject": subject_of(notice)})]
    return [encode({"type": notice.type, "timestamp": time, "data": data})]


def plain_signal(kind: str, receiver: Receiver, now_ns: int, data: Mapping[str, object]) -> Sequence[bytes]:
    """Return a heartbeat or test as the webhook sends it."""
    time = rfc3339(now_ns)
    if receiver.text("envelope") == CLOUDEVENTS:
        return [encode(cloud_event(f"{kind}-{now_ns:x}", kind, str(data.get("node") or ""), time, data))]
    return [encode({"type": kind, "timestamp": time, "data": dict(data)})]


def cloud_event(id_: str, type_: str, node: str, time: str, data: Mapping[str, object]) -> dict[str, object]:
    """Return CloudEvents 1.0 in structured mode; the source names the node."""
    return {
        "specversion": "1.0",
        "id": id_,
        "source": f"urn:bitcoin-watchdog:{quote(node, safe='') or 'service'}",
        "type": type_,
        "time": time,
        "datacontenttype": "application/json",
        "data": dict(data),
    }


def _webhook_headers(receiver: Receiver) -> Mapping[str, str]:
    structured = receiver.text("envelope") == CLOUDEVENTS
    return {"Content-Type": "application/cloudevents+json; charset=utf-8"} if structured else {}


ENCODERS: Mapping[NoticeFormat, Encoder] = {
    "webhook": Encoder(
        plain_notice,
        plain_signal,
        optional=SIGNED_KEYS | {"envelope"},
        headers=_webhook_headers,
        people=False,
    ),
    "alertmanager": Encoder(
        _single(alertmanager.notice_body),
        _single_signal(alertmanager.signal_body),
        optional=SIGNED_KEYS | {"labels", "keepalive"},
        target=lambda receiver: alertmanager.target(receiver.url),
        alive=alertmanager.alive_body,
        misplaced="'format: alertmanager' posts to Alertmanager's own API, <url>/api/v2/alerts; "
        "a program that reads Alertmanager's webhook needs 'format: alertmanager-webhook'",
        people=False,
    ),
    "alertmanager-webhook": Encoder(
        _single(alertmanager_webhook.notice_body),
        _single_signal(alertmanager_webhook.signal_body),
        optional=SIGNED_KEYS | {"labels"},
        people=False,
    ),
    "slack": Encoder(
        slack.notice_bodies,
        slack.signal_bodies,
        required=(("token", "channel"), ("url",)),
        optional=frozenset({"headers"}),
        target=slack.target,
        headers=slack.headers,
        judge=slack.judge,
        answer_bytes=ECHO_BYTES,
    ),
    "pagerduty": Encoder(
        pagerduty.notice_bodies,
        pagerduty.signal_bodies,
        required=(("routing_key",),),
        optional=frozenset({"url"}),
        target=pagerduty.target,
        judge=pagerduty.judge,
        merges=False,
    ),
    "telegram": Encoder(
        telegram.notice_bodies,
        telegram.signal_bodies,
        required=(("token", "chat"),),
        optional=frozenset({"topic", "url"}),
        check=telegram.check,
        target=telegram.target,
        judge=telegram.judge,
        answer_bytes=ECHO_BYTES,
    ),
    "teams": Encoder(teams.notice_bodies, teams.signal_bodies, optional=frozenset({"headers"}), judge=teams.judge),
    "email": Encoder(
        mail.notice_bodies,
        mail.signal_bodies,
        required=(("smtp", "from", "to"),),
        refused=frozenset({"proxy"}),
        check=mail.check,
        way="smtp",
    ),
    "exec": Encoder(
        plain_notice,
        plain_signal,
        required=(("command",),),
        refused=frozenset({"proxy", "tls", "allow_private"}),
        check=command.check,
        way="process",
        people=False,
    ),
    "apprise": Encoder(
        by_apprise.notice_bodies,
        by_apprise.signal_bodies,
        refused=frozenset({"proxy", "tls", "allow_private"}),
        check=by_apprise.check,
        way="apprise",
    ),
}


def notice_bodies(notice: Notice, receiver: Receiver, now_ns: int, kept: str = "") -> Sequence[bytes]:
    """Return the bodies of a notice for a receiver, with addresses as it may see them."""
    return ENCODERS[receiver.format].notice(redacted(notice, receiver), receiver, now_ns, kept)


def notice_body(notice: Notice, receiver: Receiver, now_ns: int) -> bytes:
    """Return the last body of a notice for a receiver: all that most formats have."""
    return notice_bodies(notice, receiver, now_ns)[-1]


def signal_bodies(kind: str, receiver: Receiver, now_ns: int, data: Mapping[str, object]) -> Sequence[bytes]:
    """Return the bodies of a heartbeat, a test or another signal, with addresses as the receiver may see them."""
    return ENCODERS[receiver.format].signal(kind, receiver, now_ns, redacted_body(data, receiver))


def targets(receiver: Receiver) -> Sequence[str]:
    """Return the URLs that requests to a receiver go to: one, or one for each member of a cluster."""
    target = ENCODERS[receiver.format].target
    return [target(replace(receiver, url=url)) for url in receiver.urls or (receiver.url,)]


def signs(form: str) -> bool:
    """Return whether requests of a format may be signed."""
    return any(name == form and "secret" in encoder.optional for name, encoder in ENCODERS.items())


def place_of(receiver: Receiver) -> str:
    """Return what people may see of where notices go: hosts, or the path of a program."""
    way = ENCODERS[receiver.format].way
    if way == "smtp":
        return receiver.text("smtp.host")
    if way == "process":
        return next(iter(receiver.several("command")), "")
    if way == "apprise":
        return urlsplit(receiver.url).scheme  # what follows may be a token
    return ", ".join(str(urlsplit(url).hostname) for url in targets(receiver))


def misplaced(receiver: Receiver, status: int | None) -> str:
    """Return a hint when a status suggests a wrong format of the receiver; empty otherwise."""
    return ENCODERS[receiver.format].misplaced if status in (404, 405) else ""
