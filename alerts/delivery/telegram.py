"""Telegram's Bot API: sendMessage, with answers to the first message of a case.

Limits from the Bot API: 4,096 UTF-16 code units of text, 20 messages a minute to a group. It asks for patience in the
body of an answer, `parameters.retry_after`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence

from alerts.delivery.answers import Judged, json_object, kept_text, shown
from alerts.delivery.encoding import encode
from alerts.delivery.markup import cut_units, for_html, units
from alerts.delivery.message import Message, signal_words, words_of
from alerts.delivery.schedule import RetryDecision
from alerts.notice import Notice
from alerts.routing import Receiver

API = "https://api.telegram.org"
LONGEST = 4_096  # UTF-16 code units; markup counts here although Telegram does not count it
RATE = 20  # messages a minute to one group
TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,100}")
CHAT = re.compile(r"-?[0-9]{1,20}|@[A-Za-z][A-Za-z0-9_]{3,63}")
TOPIC = re.compile(r"[0-9]{1,18}")
_REFUSED = ("message is too long", "can't parse entities", "message text is empty")


def notice_bodies(notice: Notice, receiver: Receiver, _now_ns: int, kept: str) -> Sequence[bytes]:
    """Return the message of a notice. kept: id of the first message of the case."""
    body = _body(words_of(notice, receiver, for_html), receiver)
    if kept.isdigit():
        body["reply_parameters"] = {"message_id": int(kept), "allow_sending_without_reply": True}
    return [encode(body)]


def signal_bodies(kind: str, receiver: Receiver, _now_ns: int, data: Mapping[str, object]) -> Sequence[bytes]:
    """Return the message of a test."""
    return [encode(_body(signal_words(kind, data, for_html), receiver))]


def target(receiver: Receiver) -> str:
    """Return where messages go; the token is a part of it."""
    return f"{receiver.url.rstrip('/') or API}/bot{receiver.text('token')}/sendMessage"


def check(receiver: Receiver) -> Iterator[tuple[str, str]]:
    """Yield keys with their faults."""
    if not TOKEN.fullmatch(receiver.text("token")):
        yield "token", "not the token of a bot: digits, a colon, letters and digits"
    if not CHAT.fullmatch(receiver.text("chat")):
        yield "chat", "'chat' must be the number of a chat, or the @name of a channel"
    if receiver.text("topic") and not TOPIC.fullmatch(receiver.text("topic")):
        yield "topic", "'topic' must be the number of a topic (message_thread_id)"


def judge(_receiver: Receiver, status: int, body: bytes) -> Judged | None:
    """Return what the answer says."""
    found = json_object(body)
    if found.get("ok") is True and 200 <= status < 300:
        result = found.get("result")
        return Judged(kept=kept_text(str(result.get("message_id") or "")) if isinstance(result, Mapping) else "")
    if 200 <= status < 300 and "ok" not in found:
        return Judged(RetryDecision.FAILED, f"answered {status} without Telegram's 'ok'")
    if not found:
        return None
    text, parameters = str(found.get("description") or "no reason"), found.get("parameters")
    after = parameters.get("retry_after") if isinstance(parameters, Mapping) else None
    moved = parameters.get("migrate_to_chat_id") if isinstance(parameters, Mapping) else None
    hint = f"; the chat is now {moved}" if isinstance(moved, int) else ""
    refused = status == 400 and any(one in text.lower() for one in _REFUSED)
    meaning = RetryDecision.REFUSED if refused else RetryDecision.FAILED
    seconds = str(after) if isinstance(after, int) and after >= 0 else None
    return Judged(meaning, f"answered {status}: {shown(text)}{hint}", seconds)


def _body(message: Message, receiver: Receiver) -> dict[str, object]:
    """Build a message whose texts are escaped; tags are ours, so cutting texts leaves them whole."""
    first = f"<b>{cut_units(message.first, 500)}</b>"
    link = f'<a href="{html.escape(message.url)}">Open the page</a>' if message.url else ""
    if units(link) > LONGEST // 4:
        link = ""
    room = LONGEST - units(first) - units(link) - 4
    pieces = []
    for part in message.parts:
        if room > 40:
            pieces.append(cut_units(part, room - 2))
            room -= units(pieces[-1]) + 2
    chat = receiver.text("chat")
    body: dict[str, object] = {
        "chat_id": int(chat) if chat.lstrip("-").isdigit() else chat,
        "text": "\n\n".join([first, *pieces, *([link] if link else [])]),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }
    topic = receiver.text("topic")
    return body | ({"message_thread_id": int(topic)} if topic else {})
