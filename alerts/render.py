"""Incidents for machines (the JSON object of `watchdog replay`) and for people (a table for terminals)."""

from __future__ import annotations

import json
import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from alerts.incident import HistoryEntry, Incident, IncidentState
from watchdog.core.durations import rough_duration
from watchdog.core.finding import SEVERITIES, Evidence, Severity
from watchdog.core.text import printable

COLOURS: Mapping[Severity, str] = {"info": "36", "warning": "33", "high": "31", "critical": "1;31"}  # ANSI SGR codes
NARROWEST = 60
SUMMARY_LIMIT = 1_000  # characters looked at; two lines are shown
COLUMNS = (("SEVERITY", 8), ("OPENED (UTC)", 19), ("LASTED", 7), ("STATE", 12))
INDENT = COLUMNS[0][1] + 2


def as_object(incident: Incident, title: str = "") -> dict[str, object]:
    """Return the incident as JSON-able data: times in unix seconds (float, null while it has not come), no NaN.

    The fields of the contract come first: id, rule, attack, severity, state, node, key, opened, updated,
    resolved, entities, summary, measures, findings, evidence, completeness, watched.
    """
    return {
        "id": incident.id,
        "rule": incident.rule,
        "attack": incident.attack,
        "severity": incident.severity,
        "state": incident.state.value,
        "node": incident.node,
        "key": dict(incident.key),
        "opened": _seconds(incident.opened_ns),
        "updated": _seconds(incident.updated_ns),
        "resolved": _seconds(incident.resolved_ns),
        "entities": list(incident.entities),
        "summary": incident.summary,
        "measures": _numbers(incident.measures),
        "findings": incident.findings,
        "evidence": [_event(event) for event in incident.evidence],
        "completeness": incident.completeness,
        "watched": incident.watched,
        "title": title,
        "maturity": incident.maturity,
        "fingerprint": incident.fingerprint,
        "cleared": _seconds(incident.cleared_ns),
        "acknowledged_by": incident.acknowledged_by,
        "entities_beyond": incident.entities_beyond,
        "peak": _numbers(incident.peak),
        "members": {
            "count": incident.members,
            "firing": incident.firing,
            "beyond": incident.members_beyond,
            "listed": [dict(member) for member in incident.listed_members],
        },
        "changes": [_change(entry) for entry in incident.history],
        "changes_beyond": incident.history_beyond,
    }


def as_line(incident: Incident, title: str = "") -> str:
    """Return one line of ASCII JSON without the line break: peers' text cannot break the line or steer a terminal."""
    return json.dumps(as_object(incident, title), ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def table(incidents: Sequence[Incident], width: int, *, colour: bool = False, until_ns: int | None = None) -> str:
    """Render incidents in at most `width` columns (at least 60), each with its summary and those involved.

    Where the rules' ids do not fit beside the other columns, each has a line of its own: it is what people look up.
    until_ns: how far the input went; what still fires has lasted until then. Without it, until its latest change.
    """
    width = max(width, NARROWEST)
    head = "  ".join((*(f"{name:<{size}}" for name, size in COLUMNS), "RULE"))
    beside = all(len(head) - len("RULE") + len(incident.rule) <= width for incident in incidents)
    lines = [head if beside else head.removesuffix("RULE").rstrip() + f"\n{' ' * INDENT}RULE"]
    for incident in incidents:
        lines += _rows(incident, width, until_ns, colour=colour, beside=beside)
    return "\n".join([*lines, "", tally(incidents)]) + "\n"


def tally(incidents: Sequence[Incident]) -> str:
    """Return `4 incidents: 1 critical, 3 warning`."""
    counts = Counter(incident.severity for incident in incidents)
    parts = [f"{counts[severity]} {severity}" for severity in reversed(SEVERITIES) if counts[severity]]
    total = f"{len(incidents)} incident{'' if len(incidents) == 1 else 's'}"
    return f"{total}: {', '.join(parts)}" if parts else total


def time_text(time_ns: int) -> str:
    """Return a time for people, UTC, whole seconds."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _rows(incident: Incident, width: int, until_ns: int | None, *, colour: bool, beside: bool) -> list[str]:
    lasted = rough_duration(_end_ns(incident, until_ns) - incident.opened_ns)
    cells = (incident.severity, time_text(incident.opened_ns), lasted, incident.state.value)
    head = "  ".join(f"{cell:<{size}}" for cell, (_, size) in zip(cells, COLUMNS, strict=True))
    first = f"{head}  {incident.rule}" if beside else head.rstrip()
    if colour:
        code = (
            COLOURS[incident.severity]
            if incident.state is not IncidentState.RESOLVED
            else f"2;{COLOURS[incident.severity]}"
        )
        first = f"\x1b[{code}m{first[: len(incident.severity)]}\x1b[0m{first[len(incident.severity) :]}"
    space = " " * INDENT
    summary = textwrap.wrap(printable(incident.summary, SUMMARY_LIMIT), width - INDENT)
    if len(summary) > 2:
        summary = [summary[0], _cut(f"{summary[1]} ...", width - INDENT)]
    involved = _involved(incident, width - INDENT)
    rule = "" if beside else _cut(incident.rule, width - INDENT)
    return [first, *(f"{space}{line}" for line in (rule, *summary, involved) if line)]


def _end_ns(incident: Incident, until_ns: int | None) -> int:
    """Return when its last key cleared; else when it was resolved by hand; else the end of what was seen."""
    if incident.cleared_ns is not None:
        return incident.cleared_ns
    if incident.resolved_ns is not None:
        return incident.resolved_ns
    return max(incident.updated_ns, until_ns or 0)


def _involved(incident: Incident, room: int) -> str:
    """Return as many entities as fit in `room` columns, and the number of the others."""
    names = [printable(entity) for entity in incident.entities]
    shown = ""
    for place, name in enumerate(names):
        longer = f"{shown} {name}".strip()
        left = len(names) - place - 1 + incident.entities_beyond
        if len(longer) + (len(f" and {left} more") if left else 0) > room:
            left += 1
            return _cut(f"{shown} and {left} more" if shown else name, room)
        shown = longer
    return f"{shown} and {incident.entities_beyond} more" if incident.entities_beyond else shown


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _change(entry: HistoryEntry) -> dict[str, object]:
    return {
        "time": _seconds(entry.time_ns),
        "until": _seconds(entry.until_ns),
        "reason": entry.reason.value,
        "text": entry.text,
        "count": entry.count,
    }


def _seconds(time_ns: int | None) -> float | None:
    return None if time_ns is None else time_ns / 1e9


def _numbers(values: Mapping[str, int | float]) -> dict[str, int | float | None]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: int | float) -> int | float | None:  # noqa: PYI041 (exact integers stay integers)
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


def _event(event: Evidence) -> dict[str, object]:
    fields = {
        name: _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        for name, value in event.fields.items()
    }
    return {"time": _seconds(event.time_ns), "kind": event.kind, "fields": fields}
