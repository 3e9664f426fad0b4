"""Times and durations as people type them."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime

SECOND_NS = 1_000_000_000
UNITS_NS = {
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3_600 * SECOND_NS,
    "d": 86_400 * SECOND_NS,
    "w": 604_800 * SECOND_NS,
}


def duration_ns(text: str) -> int:
    """`90d`, `12h`, `30m`; for argparse."""
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as '90d', '12h' or '30m'")
    return int(found[1]) * UNITS_NS[found[2]]


def moment(text: str) -> tuple[int, bool]:
    """A time in ns, or (True) a duration before now: `2h`, `2026-01-31`, `2026-01-31T12:00` (UTC), unix seconds."""
    if re.fullmatch(r"\d{1,6}[smhdw]", text):
        return duration_ns(text), True
    if re.fullmatch(r"\d{9,10}(\.\d{1,9})?", text):
        return int(float(text) * 1e9), False
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is neither a duration such as '2h' nor a time such as '2026-01-31T12:00'"
        raise argparse.ArgumentTypeError(message) from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp() * 1e9), False
