"""The message about an incident, for receivers with `about: incidents` in a format for people."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.delivery.body_reader import SHOWN_NAMES, Body, count, items, moment, number, short_id, text, texts

LISTED = 10  # openings of a notice that names many


def is_incident(body: Body) -> bool:
    """Return whether a body is that of an incident, or of many openings in one notice."""
    return "rule" in body and "headline" not in body


def incident_line(body: Body) -> str:
    """Return severity, node, what and incident, in one line."""
    severity, node = (text(body, "severity", 16) or "alert").upper(), text(body, "node", 40)
    if "incidents" in body:
        return f"{severity}: {count(body, 'count')} incidents of rule {text(body, 'rule', 64)} opened"
    what = text(body, "title", 60) or text(body, "rule", 60)
    state = "OVER " if body.get("state") == "resolved" else ""
    return f"{state}{severity} {node}: {what}, incident {short_id(text(body, 'id'))}"


def incident_paragraphs(body: Body) -> list[str]:
    """Return what happened, and who is named."""
    names = texts(body, "entities")
    more = len(items(body, "entities")) + count(body, "entities_beyond") - SHOWN_NAMES
    who = f"Named: {', '.join(names[:SHOWN_NAMES])}{f' and {more} more' if more > 0 else ''}." if names else ""
    since = number(body, "opened")
    begun = f"Since {moment(since)} UTC." if since is not None else ""
    openings = [f"- {text(one, 'summary')}" for one in items(body, "incidents")[:LISTED] if isinstance(one, Mapping)]
    return [one for one in (text(body, "summary"), who, "\n".join(openings), begun) if one]
