"""Reads the body of a notice without trust: whatever is missing or of another type reads as empty.

Bodies come from the database, perhaps of another version, and from tests of channels; no message may fail on them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from alerts.case.names import LISTED_ADDRESSES
from watchdog.core.text import printable

Body = Mapping[str, object]
LONGEST_FIELD = 500  # characters of a text in a message
MOST_ITEMS = 1_000  # of a list that are looked at
SHOWN_NAMES = 4
SHORT_ID = 8  # digits of a case's id for people; every command takes them
LAST_SECOND = 253_402_300_799  # 9999-12-31


def text(body: Body, name: str, limit: int = LONGEST_FIELD) -> str:
    """Return a text without a character that could steer a terminal or a page, and without a line break."""
    value = body.get(name)
    return printable(value, limit) if isinstance(value, str) else ""


def number(body: Body, name: str) -> float | None:
    """Return a finite number."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def count(body: Body, name: str) -> int:
    """Return a whole number, 0 without one."""
    return int(number(body, name) or 0)


def items(body: Body, name: str) -> Sequence[object]:
    """Return the items of a list, `MOST_ITEMS` at most."""
    value = body.get(name)
    return value[:MOST_ITEMS] if isinstance(value, list | tuple) else ()


def texts(body: Body, name: str, limit: int = LONGEST_FIELD) -> list[str]:
    """Return the texts of a list; see `text`."""
    return [printable(one, limit) for one in items(body, name) if isinstance(one, str) and one]


def tables(body: Body, name: str) -> list[Body]:
    """Return the objects of a list."""
    return [one for one in items(body, name) if isinstance(one, Mapping)]


def part(body: Body, name: str) -> Body:
    """Return an object inside the body."""
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def short_id(value: str) -> str:
    """Return the first digits of an id."""
    return value[:SHORT_ID]


def labels(body: Body, names: Sequence[str]) -> list[str]:
    """Return names as people read them: a netblock has the number of its addresses."""
    many = {text(one, "name"): len(items(one, "addresses")) for one in tables(body, "parties")}
    return [
        f"{name} ({capped(many[name], LISTED_ADDRESSES, 'addresses')})"
        if many.get(name, 0) > 1 and "/" in name
        else name
        for name in names
    ]


def capped(many: int, most: int, noun: str) -> str:
    """Return `14 addresses`, or `64 or more addresses` where a list holds no more."""
    return f"{many}{' or more' if many >= most else ''} {noun}"


def shown_names(body: Body) -> list[str]:
    """Return the names of a notice as it gave them, `SHOWN_NAMES` at most."""
    change = part(body, "change")
    named = texts(change, "parties") if "parties" in change else [text(p, "name") for p in tables(body, "parties")]
    return [name for name in named if name][:SHOWN_NAMES]


def moment(seconds: float | None, *, beside: float | None = None, exact: bool = False) -> str:
    """Return a time in UTC: only that of day on the day of `beside`. exact: with its seconds."""
    if seconds is None or not 0 <= seconds <= LAST_SECOND:
        return "an unknown time"
    found = datetime.fromtimestamp(int(seconds), UTC)
    form = "%H:%M:%S" if exact else "%H:%M"
    near = beside is not None and 0 <= beside <= LAST_SECOND
    same_day = near and datetime.fromtimestamp(int(beside or 0), UTC).date() == found.date()
    return found.strftime(form if same_day else f"%Y-%m-%d {form}")


def was_severity(body: Body) -> str:
    """Return the severity of the notice before this one, empty for the first."""
    time, found = number(part(body, "change"), "time"), ""
    for notice in tables(body, "notices"):
        at = number(notice, "time")
        if time is not None and at is not None and at < time:
            found = text(notice, "severity", 16)
    return found
