"""Spans of time as people write and read them: one grammar for rules, configuration and command line."""

from __future__ import annotations

import re

MS_NS = 1_000_000
SECOND_NS = 1_000 * MS_NS
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS

UNITS_NS = {"ms": MS_NS, "s": SECOND_NS, "m": MINUTE_NS, "h": HOUR_NS, "d": DAY_NS, "w": 7 * DAY_NS}
UNITS_TEXT = "ms, s, m, h, d or w"
LONGEST_NS = 3660 * DAY_NS  # ten years; keeps every sum of two durations within int64
DURATION_PATTERN = f"^[0-9][0-9_]*({'|'.join(UNITS_NS)})$"  # for JSON Schema

_DURATION = re.compile(rf"([0-9][0-9_]{{0,17}})({'|'.join(UNITS_NS)})")


def parse_duration(text: str) -> int | None:
    """Return the nanoseconds of `500ms`, `10s`, `5m`, `2h`, `7d`, `2w`; None for other texts and longer times."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        return None
    nanoseconds = int(found[1].replace("_", "")) * UNITS_NS[found[2]]
    return nanoseconds if nanoseconds <= LONGEST_NS else None


def exact_duration(span_ns: int) -> str:
    """Return the shortest exact form, without weeks: 600000000000 is `10m`, two weeks are `14d`, none is `0s`."""
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(span_ns, UNITS_NS[unit])
        if count and not rest:
            return f"{count}{unit}"
    return f"{span_ns / MS_NS:g}ms" if span_ns else "0s"


def rough_duration(span_ns: int) -> str:
    """Return a duration in its two largest units: `45s`, `2m`, `1h 30m`, `3d 4h`; less than a second is `0s`."""
    seconds = max(span_ns, 0) // SECOND_NS
    units = (("d", seconds // 86_400), ("h", seconds // 3_600 % 24), ("m", seconds // 60 % 60), ("s", seconds % 60))
    parts = [f"{count}{unit}" for unit, count in units if count]
    return " ".join(parts[:2]) or "0s"
