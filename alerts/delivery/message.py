"""The message that wakes a person: a first line for a lock screen, then what is new, what is known, and what to do.

All of it follows from the body of the notice, which is plain JSON. It names no bystander. Summaries of rules may quote
what peers sent, so every text is escaped, and only an `Advice` may hold commands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from alerts.delivery.body_reader import Body, short_id, text, was_severity
from alerts.delivery.case_message import CUT, LONGEST_FIRST, first_line, kind_of, news, paragraphs, shortened
from alerts.delivery.encoding import HEARTBEAT
from alerts.delivery.incident_message import incident_line, incident_paragraphs, is_incident
from alerts.delivery.markup import cut
from alerts.delivery.template import CompiledTemplate
from alerts.delivery.template_terms import OwnText, TemplateError
from alerts.notice import Notice
from alerts.routing import Receiver

Escape = Callable[[str], str]
LONGEST_PART = 1_500  # characters of a paragraph before it is escaped
MOST_PARTS = 12


@dataclass(frozen=True, slots=True)
class Message:
    """first: one line, complete on a lock screen. parts: paragraphs, the most important first; both are escaped."""

    first: str
    parts: tuple[str, ...]
    url: str | None


def message_of(
    body: Mapping[str, object], *, escape: Escape = str, template: CompiledTemplate | None = None
) -> Message:
    """Return the message of a notice, whatever its body holds.

    escape: makes a text harmless for a channel; it may lengthen it. A template that fails is reported in the message,
    which is then the usual one: no alert is lost for the sake of its form.
    """
    url = text(body, "url", 2_000) or None
    first, parts = _usual(body)
    if template is not None:
        try:
            own = template.render(variables_of(body), escape)
        except TemplateError as error:
            parts = [*parts, f"The template of this receiver failed ({error}), so this is the usual text."]
        else:
            line = _fitted(first, LONGEST_FIRST, escape) if own.first is None else _whole_words(own.first)
            shown = _escaped(parts, escape) if own.body is None else tuple(own.body)
            return Message(line, shown, url)
    return Message(_fitted(first, LONGEST_FIRST, escape), _escaped(parts, escape), url)


def words_of(notice: Notice, receiver: Receiver, escape: Escape) -> Message:
    """Return the message of a notice, every text escaped; its first line has `LONGEST_FIRST` characters at most."""
    message = message_of(notice.body, escape=escape, template=receiver.template)
    first = " ".join(message.first.split())  # one line, whatever an operator's template has made
    return Message(cut(first, LONGEST_FIRST), message.parts, message.url)


def signal_words(kind: str, data: Mapping[str, object], escape: Escape) -> Message:
    """Return the message of a heartbeat, or of a signal with a text."""
    if kind != HEARTBEAT:
        return Message(escape(str(data.get("text") or "test of bitcoin-watchdog")), (), None)
    facts = ", ".join(f"{name} {value}" for name, value in data.items() if isinstance(value, str | int | float))
    return Message(escape("bitcoin-watchdog is alive"), (escape(facts),), None)


def _usual(body: Body) -> tuple[str, list[str]]:
    """Return the usual first line and paragraphs, not yet escaped."""
    if is_incident(body):
        return incident_line(body), incident_paragraphs(body)
    return first_line(body), paragraphs(body)


def variables_of(body: Body) -> dict[str, object]:
    """Return what templates know, see docs/TEMPLATES.md: the fields of the body, and the texts made of them."""
    first, parts = _usual(body)
    return dict(body) | {
        "data": body,
        "kind": kind_of(body),
        "short": short_id(text(body, "id")),
        "was": was_severity(body),
        "first": first,
        "paragraphs": [OwnText(one) for one in parts],
        **{name: OwnText(one) for name, one in news(body).items()},
    }


def _escaped(parts: list[str], escape: Escape) -> tuple[str, ...]:
    """Escape line by line: line breaks are ours, and a channel's escape may spell out those of strangers.

    An `Advice` remains one.
    """
    lines = ((type(one), shortened(one, LONGEST_PART).split("\n")) for one in parts[:MOST_PARTS])
    return tuple(kind("\n".join(map(escape, part))) for kind, part in lines)


def _fitted(line: str, limit: int, escape: Escape) -> str:
    """Return a line that is short enough once it is escaped; no escape is cut in two."""
    room = limit
    while len(shown := escape(shortened(line, room))) > limit and room > 1:
        room -= max(len(shown) - limit, 1) if room - (len(shown) - limit) > limit // 2 else 1
    return shown


def _whole_words(line: str) -> str:
    """Cut the line of a template at a space: no escape of a channel has one inside."""
    return line if len(line) <= LONGEST_FIRST else line[: LONGEST_FIRST - 1].rpartition(" ")[0] + CUT
