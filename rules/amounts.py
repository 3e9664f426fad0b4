"""Durations and numbers as people write them."""

from __future__ import annotations

import re

UNITS_NS = {
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
LONGEST_NS = 3660 * UNITS_NS["d"]  # ten years; keeps every sum of two durations within int64

_DURATION = re.compile(r"([0-9][0-9_]{0,17})(ms|s|m|h|d)")
_INTEGER = re.compile(r"[+-]?[0-9][0-9_]{0,24}")


def parse_duration(text: str) -> int | None:
    """Nanoseconds of `500ms`, `10s`, `5m`, `2h`, `7d`; None when it is none or too long."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        return None
    nanoseconds = int(found[1].replace("_", "")) * UNITS_NS[found[2]]
    return nanoseconds if nanoseconds <= LONGEST_NS else None


def show_duration(nanoseconds: int) -> str:
    """The shortest exact form: 600000000000 is `10m`; `0s` for none."""
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(nanoseconds, UNITS_NS[unit])
        if count and not rest:
            return f"{count}{unit}"
    return "0s" if not nanoseconds else f"{nanoseconds / UNITS_NS['ms']:g}ms"


def parse_integer(text: str) -> int | None:
    """A whole number, `_` allowed between digits; None when it is none."""
    found = _INTEGER.fullmatch(text.strip())
    return int(text.strip().replace("_", "")) if found else None
