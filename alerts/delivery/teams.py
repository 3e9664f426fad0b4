"""Microsoft Teams: an Adaptive Card to the URL of a flow of Workflows ("When a Teams webhook request is received").

Teams refuses messages above 28 KB. Texts are runs of a RichTextBlock, which Adaptive Cards do not read as Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alerts.delivery.answers import Judged, shown
from alerts.delivery.encoding import encode
from alerts.delivery.markup import cut_bytes, plain
from alerts.delivery.message import Message, signal_words, words_of
from alerts.delivery.schedule import RetryDecision
from alerts.notice import Notice
from alerts.routing import Receiver

LARGEST = 26_000  # bytes of a request
PART = 3_000  # bytes of UTF-8 in one paragraph
COLOURS = {"info": "Default", "warning": "Warning", "high": "Attention", "critical": "Attention"}


def notice_bodies(notice: Notice, receiver: Receiver, _now_ns: int, _kept: str) -> Sequence[bytes]:
    """Return the card of a notice; a resolution is green."""
    colour = "Good" if notice.type.endswith(".resolved") else COLOURS.get(notice.severity, "Default")
    return [_card(words_of(notice, receiver, plain), colour)]


def signal_bodies(kind: str, _receiver: Receiver, _now_ns: int, data: Mapping[str, object]) -> Sequence[bytes]:
    """Return the card of a test."""
    return [_card(signal_words(kind, data, plain), "Default")]


def judge(_receiver: Receiver, status: int, body: bytes) -> Judged | None:
    """Return a failure that is reported in the text of a 200."""
    text = body[:2_000].decode("utf-8", "replace")
    if 200 <= status < 300 and "delivery failed with error" in text:
        return Judged(RetryDecision.FAILED, f"answered {status}: {shown(text)}")
    return None


def _card(message: Message, colour: str) -> bytes:
    """Encode a card with as many paragraphs as have room."""
    parts = [cut_bytes(part, PART) for part in message.parts if part.strip()]
    while len(raw := encode(_message(message, parts, colour))) > LARGEST and parts:
        parts.pop()
    return raw


def _message(message: Message, parts: Sequence[str], colour: str) -> dict[str, object]:
    head = {"type": "TextRun", "text": message.first, "weight": "Bolder", "color": colour}
    blocks = [{"type": "RichTextBlock", "inlines": [head]}]
    blocks += [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": part}]} for part in parts]
    card: dict[str, object] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": message.first,
        "msteams": {"width": "Full"},
        "body": blocks,
    }
    if message.url:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open the page", "url": message.url}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "summary": message.first, "attachments": [attachment]}
