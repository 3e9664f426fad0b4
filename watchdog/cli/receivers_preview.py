"""`watchdog receivers preview`: what a receiver would be sent about a case, without a request."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from alerts.case_document import INNER
from alerts.delivery.formats import ENCODERS, notice_body
from alerts.delivery.message import Message
from alerts.delivery.redaction import redacted
from alerts.delivery.samples import CASE_TYPES, sample_body
from alerts.delivery.wording import words_of
from alerts.incident_table import UnknownIncidentError
from alerts.notice import Notice
from alerts.routing import Receiver
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from watchdog.cli.database import id_digits, the_one
from watchdog.core.durations import SECOND_NS
from watchdog.core.finding import SEVERITIES
from watchdog.core.text import printable
from watchdog.service.config.settings import ServiceConfig

STATES: Mapping[str, str] = {"case.resolved": "resolved", "case.acknowledged": "acknowledged"}
LONGEST_LINE = 4_000  # characters
PREVIEW_ID = "msg_" + "0" * 32


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what the action takes beside the receiver's name and the configuration."""
    parser.add_argument(
        "--type",
        choices=CASE_TYPES,
        default=None,
        metavar="TYPE",
        help=f"what changed: {', '.join(CASE_TYPES)} (default: case.opened; of a stored case, its latest notice)",
    )
    parser.add_argument(
        "--case", metavar="ID", help="a stored case, its id or the first digits (default: one that is made up)"
    )


def preview(receiver: Receiver, config: ServiceConfig, type_: str | None, case: str | None) -> str:
    """Return what would be sent. WatchdogError: no such case, or no database."""
    url = config.api.url
    body = sample_body(type_ or "case.opened", url) if case is None else stored_body(config, case, type_, url)
    return text_of(receiver, body)


def text_of(receiver: Receiver, body: Mapping[str, object]) -> str:
    """Return the message, for formats that have one, and the request."""
    notice = _notice(receiver, body)
    request = _request(receiver, notice)
    if not ENCODERS[receiver.format].people:
        return request
    return f"{message_text(words_of(redacted(notice, receiver), receiver, str))}\n\n{request}"


def _notice(receiver: Receiver, body: Mapping[str, object]) -> Notice:
    """Return the notice of a case with this body."""
    change = body["change"]
    assert isinstance(change, Mapping)
    return Notice(
        id=PREVIEW_ID,
        receiver=receiver.name,
        incident_id="",
        type=str(change["type"]),
        severity=next(one for one in SEVERITIES if one == body["severity"]),
        created_ns=int(change["time"] * SECOND_NS),
        body=body,
        case_id=str(body["root"]),
    )


def _request(receiver: Receiver, notice: Notice) -> str:
    """Return the request of a format, laid out if it is JSON."""
    raw = notice_body(notice, receiver, notice.created_ns)
    try:
        return json.dumps(json.loads(raw), indent=2)
    except ValueError:
        return "\n".join(printable(line, LONGEST_LINE) for line in raw.decode("utf-8", "replace").split("\n"))


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
