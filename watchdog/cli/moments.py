"""Times and durations as people type them."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime

from watchdog.core.durations import LONGEST_NS, exact_duration, parse_duration


def duration_ns(text: str) -> int:
    """Parse `90d`, `12h`, `30m` to ns, for argparse."""
    found = parse_duration(text)
    if found is None:
        message = f"{text!r} is not a duration such as '90d', '12h' or '30m', of at most {exact_duration(LONGEST_NS)}"
        raise argparse.ArgumentTypeError(message)
    return found


def moment(text: str) -> tuple[int, bool]:
    """Parse a time in ns, or (True) a duration before now: `2h`, `2026-01-31T12:00` (UTC), unix seconds."""
    span_ns = parse_duration(text)
    if span_ns is not None:
        return span_ns, True
    if re.fullmatch(r"\d{9,10}(\.\d{1,9})?", text):
        return int(float(text) * 1e9), False
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is neither a duration such as '2h' nor a time such as '2026-01-31T12:00'"
        raise argparse.ArgumentTypeError(message) from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp() * 1e9), False
