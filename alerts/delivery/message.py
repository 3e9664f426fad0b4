"""The message that wakes a person: a first line for a lock screen, then what is new, what is known, and what to do.

All of it follows from the body of the notice, which is plain JSON. It names no bystander and shows no text that peers
made: names are addresses, titles are those of rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from alerts.delivery.case_body import Body, part, short_id, text, texts, was_severity
from alerts.delivery.incident_message import incident_line, incident_paragraphs, is_incident
from alerts.delivery.message_texts import kind_of, lasted, news, paragraphs
from alerts.delivery.template import CompiledTemplate
from alerts.delivery.template_terms import OwnText, TemplateError

Escape = Callable[[str], str]
LONGEST_FIRST = 150  # characters, escaped: what a lock screen shows
LONGEST_PART = 1_500  # characters of a paragraph before it is escaped
MOST_PARTS = 12
CUT = "…"


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


def _usual(body: Body) -> tuple[str, list[str]]:
    """Return the usual first line and paragraphs, not yet escaped."""
    if is_incident(body):
        return incident_line(body), incident_paragraphs(body)
    return first_line(body), paragraphs(body)


def first_line(body: Body) -> str:
    """Return severity, node, what and case, `LONGEST_FIRST` characters at most; of these only what is shortened."""
    head, tail = _head(body), f", case {short_id(text(body, 'id'))}"
    what = text(body, "headline", 300) or "case"
    room = LONGEST_FIRST - len(head) - len(tail)
    return f"{head}{_cut(what, max(room, 20))}{tail}"


def _head(body: Body) -> str:
    """Return how the line begins: what happened, and where."""
    severity, node = (text(body, "severity", 16) or "alert").upper(), text(body, "node", 40) or "node"
    where = "several nodes" if node == "*" else node
    by = text(part(body, "change"), "by", 30)
    match kind_of(body):
        case "severity":
            was = was_severity(body)
            return f"{severity}{f' (was {was})' if was and was.upper() != severity else ''} {where}: "
        case "stage":
            stages = ", ".join(texts(part(body, "change"), "new_stages", 20)[:4])
            return f"{severity} {where}: new stage{f' {stages}' if stages else ''}: "
        case "merged":
            return f"{severity} {where}: two cases are one: "
        case "acknowledged":
            return f"ACKNOWLEDGED{f' (by {by})' if by else ''} {where}: "
        case "resolved":
            return f"OVER after {lasted(body)} {where}: "
        case "reopened":
            return f"{severity} {where}: again: "
        case "reminder":
            return f"{severity} {where}: still active after {lasted(body)}: "
        case "escalated":
            return f"{severity} {where}: not acknowledged: "
        case _:
            return f"{severity} {where}: "


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
    """Escape line by line: line breaks are ours, and a channel's escape may spell out those of strangers."""
    cut = (_cut(one, LONGEST_PART) for one in parts[:MOST_PARTS])
    return tuple("\n".join(escape(line) for line in one.split("\n")) for one in cut)


def _fitted(line: str, limit: int, escape: Escape) -> str:
    """Return a line that is short enough once it is escaped; no escape is cut in two."""
    room = limit
    while len(shown := escape(_cut(line, room))) > limit and room > 1:
        room -= max(len(shown) - limit, 1) if room - (len(shown) - limit) > limit // 2 else 1
    return shown


def _whole_words(line: str) -> str:
    """Cut the line of a template at a space: no escape of a channel has one inside."""
    return line if len(line) <= LONGEST_FIRST else line[: LONGEST_FIRST - 1].rpartition(" ")[0] + CUT


def _cut(line: str, limit: int) -> str:
    return line if len(line) <= limit else line[: limit - 1].rstrip() + CUT
