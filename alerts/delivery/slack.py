"""Slack: an incoming webhook (`url`), or chat.postMessage (`token` and `channel`) with a thread for each case.

Limits are Slack's own, from its reference of blocks and of chat.postMessage: 50 blocks, 3,000 characters in a section;
more than 13,000 characters in all blocks are refused in practice. Mattermost ignores blocks and shows `text`, as
Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from alerts.delivery.answers import Judged, json_object, kept_text, shown
from alerts.delivery.case_message import Advice
from alerts.delivery.encoding import encode
from alerts.delivery.markup import commands_as_code, cut, for_chat
from alerts.delivery.message import Message, signal_words, words_of
from alerts.delivery.schedule import RetryDecision
from alerts.notice import Notice
from alerts.routing import Receiver

API = "https://slack.com/api"
BLOCKS = 45
SECTION = 2_900  # characters
WHOLE = 10_000  # characters of all sections
TEXT = 3_900  # characters of `text`: chat.postMessage advises 4,000
LOUD = frozenset({"case.severity", "case.stage", "case.reopened", "case.reminder", "case.escalated"})
"""Answers in a thread that the channel shows too: an answer alone wakes only those who follow the thread."""
_REFUSED = frozenset(
    {
        "invalid_payload", "invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text",
        "too_many_attachments", "invalid_arguments", "invalid_json", "json_not_object",
    }
)  # fmt: skip


def notice_bodies(notice: Notice, receiver: Receiver, _now_ns: int, kept: str) -> Sequence[bytes]:
    """Return the message of a notice. kept: `ts` of the first message of the thread."""
    body = _body(words_of(notice, receiver, for_chat), receiver)
    if kept and receiver.text("token"):
        body |= {"thread_ts": kept, "reply_broadcast": notice.type in LOUD}
    return [encode(body)]


def signal_bodies(kind: str, receiver: Receiver, _now_ns: int, data: Mapping[str, object]) -> Sequence[bytes]:
    """Return the message of a test."""
    return [encode(_body(signal_words(kind, data, for_chat), receiver))]


def target(receiver: Receiver) -> str:
    """Return where messages go."""
    return f"{receiver.url or API}/chat.postMessage" if receiver.text("token") else receiver.url


def headers(receiver: Receiver) -> Mapping[str, str]:
    """Return the headers that carry the token."""
    token = receiver.text("token")
    own = {"Content-Type": "application/json; charset=utf-8"}
    return own | ({"Authorization": f"Bearer {token}"} if token else {})


def judge(receiver: Receiver, status: int, body: bytes) -> Judged | None:
    """Return what the answer says: a 200 may be a refusal."""
    found = json_object(body)
    if 200 <= status < 300 and receiver.text("token") and "ok" not in found:
        return Judged(RetryDecision.FAILED, f"answered {status} without Slack's 'ok'")
    if found.get("ok") is False:
        code = str(found.get("error") or "no reason")
        meaning = RetryDecision.REFUSED if code in _REFUSED else RetryDecision.FAILED
        return Judged(meaning, f"answered {status}: {shown(code)}")
    if 200 <= status < 300:
        return Judged(kept=kept_text(str(found.get("ts") or "")))
    word = body[:100].decode("utf-8", "replace").strip()
    return Judged(RetryDecision.REFUSED, f"answered {status}: {word}") if word in _REFUSED else None


def _body(message: Message, receiver: Receiver) -> dict[str, object]:
    """Build text and blocks of a message whose texts are escaped."""
    texts, room = [f"*{message.first}*"], WHOLE
    for part in message.parts:
        full = commands_as_code(part) if isinstance(part, Advice) else part
        piece = cut(full.strip(), min(SECTION, room))
        if piece:
            texts.append(piece)
            room -= len(piece)
    link = f"<{quote(message.url, safe=':/?&=#%[]@,;+~._-')}|Open the page>" if message.url else ""
    texts = texts[: BLOCKS - 1] + ([link] if link else [])
    body: dict[str, object] = {
        "text": cut("\n".join([message.first, *texts[1:]]), TEXT) if len(texts) > 1 else message.first,
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": one, "verbatim": True}} for one in texts],
    }
    if receiver.text("token"):
        body |= {"channel": receiver.text("channel"), "unfurl_links": False, "unfurl_media": False}
    return body
