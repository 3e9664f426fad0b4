"""`watchdog receivers preview`: what receivers would be sent about a case or an incident, without a request."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from alerts.case.document import INNER
from alerts.delivery.formats import ENCODERS, notice_bodies
from alerts.delivery.message import Message, words_of
from alerts.delivery.redaction import redacted
from alerts.delivery.samples import sample_body, sample_incident
from alerts.incident_table import UnknownIncidentError
from alerts.notice import CASE_EVENT_TYPES, EVENT_TYPES, Notice
from alerts.routing import Receiver
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from watchdog.cli.database import id_digits, the_one
from watchdog.core.durations import SECOND_NS
from watchdog.core.errors import WatchdogError
from watchdog.core.finding import SEVERITIES
from watchdog.core.text import printable
from watchdog.service.config.settings import ServiceConfig

STATES: Mapping[str, str] = {"case.resolved": "resolved", "case.acknowledged": "acknowledged"}
TYPES = (*CASE_EVENT_TYPES, *EVENT_TYPES)
LONGEST_LINE = 4_000  # characters
INCIDENT_TYPE = "incident.opened"
SECRET_FIELDS = ("routing_key",)
"""Fields of requests that are secrets of a receiver: PagerDuty has its key in the body."""
PREVIEW_ID = "msg_" + "0" * 32


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what the action takes beside the receiver's name and the configuration."""
    parser.add_argument(
        "--type",
        choices=TYPES,
        default=None,
        metavar="TYPE",
        help=f"what changed: {', '.join(TYPES)} (default: case.opened, or incident.opened for "
        "'about: incidents'; of a stored case, its latest notice)",
    )
    parser.add_argument("--case", metavar="ID", help="a stored case, its id or the first digits (default: an example)")


def preview(receivers: Sequence[Receiver], config: ServiceConfig, type_: str | None, case: str | None) -> str:
    """Return what would be sent to these receivers, each of several under its name.

    WatchdogError: no such case, no database, or a receiver alone that hears of something else.
    """
    url = config.api.url
    stored = None if case is None else stored_body(config, case, type_, url)
    about = "incidents" if type_ in EVENT_TYPES else "cases" if type_ or stored else None
    if stored is not None and about == "incidents":
        raise WatchdogError(f"--case shows a change of a case, not '{type_}'")
    texts: list[str] = []
    for one in receivers:
        if about is not None and one.about != about:
            text = f"receiver '{one.name}' hears of {one.about}: nothing about {about} is sent to it"
            if len(receivers) == 1:
                raise WatchdogError(text)
        else:
            text = text_of(one, stored or _sample(one, type_, url), type_)
        texts.append(text if len(receivers) == 1 else f"== {one.name} ({one.format})\n\n{text}")
    return "\n\n".join(texts)


def _sample(receiver: Receiver, type_: str | None, url: str) -> Mapping[str, object]:
    if receiver.about == "incidents":
        return sample_incident(type_ or INCIDENT_TYPE, url)
    return sample_body(type_ or "case.opened", url)


def text_of(receiver: Receiver, body: Mapping[str, object], type_: str | None = None) -> str:
    """Return the message, for formats that have one, and the requests. type_: of an incident's change."""
    notice = _notice(receiver, body, type_)
    requests = _requests(receiver, notice)
    if not ENCODERS[receiver.format].people:
        return requests
    return f"{message_text(words_of(redacted(notice, receiver), receiver, str))}\n\n{requests}"


def _notice(receiver: Receiver, body: Mapping[str, object], type_: str | None) -> Notice:
    """Return the notice of a case or an incident with this body."""
    change = body.get("change")
    of_case = isinstance(change, Mapping)
    time = change["time"] if isinstance(change, Mapping) else body["updated"]
    assert isinstance(time, int | float)
    return Notice(
        id=PREVIEW_ID,
        receiver=receiver.name,
        incident_id="" if of_case else str(body["id"]),
        type=str(change["type"]) if isinstance(change, Mapping) else type_ or INCIDENT_TYPE,
        severity=next(one for one in SEVERITIES if one == body["severity"]),
        created_ns=int(time * SECOND_NS),
        body=body,
        case_id=str(body["root"]) if of_case else "",
    )


def _requests(receiver: Receiver, notice: Notice) -> str:
    """Return the requests of a format in their order, laid out where they are JSON, without a secret."""
    return "\n\n".join(_request(raw) for raw in notice_bodies(notice, receiver, notice.created_ns))


def _request(raw: bytes) -> str:
    try:
        found = json.loads(raw)
    except ValueError:
        return "\n".join(printable(line, LONGEST_LINE) for line in raw.decode("utf-8", "replace").split("\n"))
    if isinstance(found, dict):
        found |= {name: "***" for name in SECRET_FIELDS if name in found}
    return json.dumps(found, indent=2)


def message_text(message: Message) -> str:
    """Return a message as plain text: the first line, then the paragraphs, then the link."""
    return "\n\n".join([message.first, *message.parts, *([message.url] if message.url else [])])


def stored_body(config: ServiceConfig, text: str, type_: str | None, url: str) -> dict[str, Any]:  # Any: JSON
    """Return the body of a notice about a stored case: its latest, or one of this type."""
    wanted = id_digits(text, "case")
    database = Database.open(config.database.reveal(), create=False)
    try:
        found = {one["id"]: one for one in CaseQueries(database).named(wanted)}
    finally:
        database.close()
    case = found[the_one(list(found), text, "case")]
    notices = case["notices"]
    if not notices:
        raise UnknownIncidentError(f"case {case['id']} has had no notice")
    last = notices[-1]
    type_ = type_ or f"case.{last['reason']}"
    body = {name: value for name, value in case.items() if name not in INNER}
    if type_ in STATES:
        body["state"] = STATES[type_]
    return body | {
        "url": f"{url}/cases/{case['id']}",
        "root": case["id"],
        "change": {
            "type": type_,
            "time": last["time"],
            "reason": type_.removeprefix("case."),
            "severity": last["severity"],
            "parties": last["parties"],
            "new_stages": case["stages"][-1:] if type_ == "case.stage" else [],
            "new_parties": [],
            "merged": case["aliases"][-1] if type_ == "case.merged" and case["aliases"] else None,
            "by": case["acknowledged_by"],
            "text": "",
        },
    }
