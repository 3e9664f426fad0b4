"""E-mail: a plain text message for each notice, all of one case in one thread; sent by `alerts.delivery.smtp`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from alerts.delivery.markup import cut, plain
from alerts.delivery.message import Message, signal_words, words_of
from alerts.notice import Notice
from alerts.routing import Receiver

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
"""An address that needs no quotes (RFC 5322, dot-atom, nearly); nothing in it can begin another header."""
MOST_RECIPIENTS = 50
PART = 10_000  # characters of one paragraph
TLS = ("starttls", "tls", "none")


def notice_bodies(notice: Notice, receiver: Receiver, now_ns: int, kept: str) -> Sequence[bytes]:
    """Return the message of a notice. kept: Message-ID of the first message of the case."""
    made = _message(words_of(notice, receiver, plain), receiver, notice.id, now_ns)
    made["X-Watchdog-Severity"] = notice.severity
    if kept:
        made["In-Reply-To"] = kept
        made["References"] = kept
    return [made.as_bytes()]


def signal_bodies(kind: str, receiver: Receiver, now_ns: int, data: Mapping[str, object]) -> Sequence[bytes]:
    """Return the message of a test."""
    return [_message(signal_words(kind, data, plain), receiver, f"test.{now_ns:x}", now_ns).as_bytes()]


def check(receiver: Receiver) -> Iterator[tuple[str, str]]:
    """Yield keys with their faults."""
    for key in ("from", "to"):
        for one in receiver.several(key):
            if not ADDRESS.fullmatch(one):
                yield key, f"'{one[:80]}' is not an e-mail address; write it without a name: ops@example.org"
    if len(receiver.several("to")) > MOST_RECIPIENTS:
        yield "to", f"more than {MOST_RECIPIENTS} recipients"
    if bool(receiver.text("smtp.user")) != bool(receiver.text("smtp.password")):
        yield "smtp", "'user' and 'password' belong together"
    if receiver.text("smtp.user") and receiver.text("smtp.tls") == "none":
        yield "smtp", "the password would be sent unencrypted; use 'tls: starttls' or 'tls: tls'"


def message_id(raw: bytes) -> str:
    """Return the Message-ID of a message that was made here."""
    found = re.search(rb"^Message-ID: (<[^>\r\n]+>)\r?$", raw, re.MULTILINE)
    return found[1].decode("ascii", "replace") if found else ""


def _message(message: Message, receiver: Receiver, id_: str, now_ns: int) -> EmailMessage:
    made = EmailMessage(policy=SMTP)
    sender = receiver.text("from")
    made["From"] = sender
    made["To"] = ", ".join(receiver.several("to"))
    made["Subject"] = cut(message.first, 200)
    made["Date"] = format_datetime(datetime.fromtimestamp(now_ns // 1_000_000_000, UTC))
    made["Message-ID"] = f"<{id_}@{sender.rpartition('@')[2]}>"
    made["Auto-Submitted"] = "auto-generated"
    paragraphs = [message.first, *(cut(part, PART) for part in message.parts), message.url or ""]
    made.set_content("\n\n".join(one for one in paragraphs if one) + "\n")
    return made
