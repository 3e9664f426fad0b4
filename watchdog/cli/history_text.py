"""The kept history as text for terminals; everything that strangers sent goes through `printable`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from alerts.render import time_text
from watchdog.core.text import printable

INDENT = "  "
SHOWN_EVENTS = 20
LONGEST = 1_000  # characters of one text

Object = Mapping[str, object]


def incident_table(rows: Sequence[Object]) -> str:
    """Render a page of incidents: a line each, then summary and entities."""
    lines = [f"{'SEVERITY':8}  {'OPENED (UTC)':19}  {'STATE':12}  {'ID':16}  RULE"]
    for row in rows:
        head = (
            f"{row['severity']:8}",
            _time(row["opened"]),
            f"{row['state']:12}",
            f"{row['id']:16}",
            _text(row["rule"]),
        )
        lines.append("  ".join(head))
        lines.append(f"{INDENT}{_text(row['summary'])}")
        involved = [_text(name) for name in cast("Sequence[str]", row["entities"])]
        beyond = cast("int", row["entities_beyond"])
        lines.append(f"{INDENT}{' '.join(involved)}{f' and {beyond} more' if beyond else ''}".rstrip())
    return "".join(f"{line}\n" for line in lines if line)


def incident_page(one: Object) -> str:
    """Render one incident in full."""
    members = cast("Mapping[str, object]", one["members"])
    lines = [
        f"{one['severity']} {one['state']}: {_text(one['title']) or _text(one['rule'])}",
        f"{INDENT}{_text(one['summary'])}",
        "",
        *_pairs(
            id=one["id"],
            rule=one["rule"],
            case=" ".join(case["id"] for case in cast("Sequence[Mapping[str, str]]", one["cases"])) or "-",
            attack=one["attack"],
            node=one["node"],
            key=_fields(one["key"]),
            opened=_time(one["opened"]),
            updated=_time(one["updated"]),
            resolved=_time(one["resolved"]),
            acknowledged=one["acknowledged_by"] or "-",
            verdict=_judgement(one.get("verdict")),
            findings=one["findings"],
            members=members["count"]
            if one["state"] == "resolved"
            else f"{members['count']}, {members['firing']} firing",
            measures=_fields(one["measures"]),
            completeness=one["completeness"],
            watched="-" if one["watched"] is None else one["watched"],
        ),
        *_listed("involved", [_text(name) for name in cast("Sequence[str]", one["entities"])]),
        *_listed("changes", [_change(change) for change in cast("Sequence[Object]", one["changes"])]),
        *_listed(
            "said by operators", [_said(done) for done in cast("Sequence[Object]", one["actions"]) if done["text"]]
        ),
        *_listed("recordings", [_recording(row) for row in cast("Sequence[Object]", one["recordings"])]),
        *_listed("deliveries", [_delivery(row) for row in cast("Sequence[Object]", one["deliveries"])]),
        *_events(cast("Sequence[Object]", one["evidence"])),
    ]
    return "".join(f"{line}\n" for line in lines)


def _judgement(verdict: object) -> str:
    """Render an operator's verdict."""
    if not verdict:
        return "-"
    found = cast("Object", verdict)
    words = str(found["verdict"]).replace("_", " ")
    return f"{words}, by {_text(found['who'])} at {_time(found['time'])} UTC"


def delivery_table(rows: Sequence[Object]) -> str:
    """Render a page of deliveries: a line each, with the error below."""
    lines = [
        f"{'STATUS':7}  {'CREATED (UTC)':19}  {'TYPE':21}  {'INCIDENT OR CASE':16}  {'TRIES':>5}  {'ID':36}  RECEIVER"
    ]
    for row in rows:
        cells = (
            f"{row['status']:7}",
            _time(row["created"]),
            f"{row['type']:21}",
            f"{row['incident'] or row['case']:16}",
            f"{row['attempts']:>5}",
            f"{row['id']:36}",
            _text(row["receiver"]),
        )
        lines.append("  ".join(cells))
        if row["last_error"]:
            lines.append(f"{INDENT}{_text(row['last_error'])}")
    return "".join(f"{line}\n" for line in lines)


def _pairs(**values: object) -> list[str]:
    return [f"{INDENT}{name:13} {_text(value)}" for name, value in values.items()]


def _listed(title: str, rows: Sequence[str]) -> list[str]:
    return ["", f"{title}:", *(f"{INDENT}{row}" for row in rows)] if rows else []


def _events(events: Sequence[Object]) -> list[str]:
    """Render the latest events of the evidence; `--json` has all."""
    rows = [f"{_time(event['time'])}  {_text(event['kind'])}  {_fields(event['fields'])}" for event in events]
    beyond = len(rows) - SHOWN_EVENTS
    title = f"evidence (the last {SHOWN_EVENTS} of {len(rows)} events)" if beyond > 0 else "evidence"
    return _listed(title, rows[-SHOWN_EVENTS:])


def _change(change: Object) -> str:
    count = cast("int", change["count"])
    times = f" ({count} times, until {_time(change['until'])})" if count > 1 else ""
    return f"{_time(change['time'])}  {change['reason']}: {_text(change['text'])}{times}"


def _said(done: Object) -> str:
    """Render an operator's text on a note, an acknowledgement or a resolution."""
    return f"{_time(done['time'])}  {done['action']} by {_text(done['who'])}: {_text(done['text'])}"


def _recording(row: Object) -> str:
    return f"{_time(row['from'])} to {_time(row['to'])}  {row['size']} bytes  {_text(row['path'])}"


def _delivery(row: Object) -> str:
    error = f"  {_text(row['last_error'])}" if row["last_error"] else ""
    return f"{_time(row['created'])}  {row['status']}  {row['type']}  to {_text(row['receiver'])}  {row['id']}{error}"


def _fields(value: object) -> str:
    return _text(" ".join(f"{name}={_plain(one)}" for name, one in cast("Object", value).items()) or "-")


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _text(value: object) -> str:
    return printable(str(value), LONGEST)


def _time(value: object) -> str:
    return "-" if value is None else time_text(int(cast("float", value) * 1e9))
