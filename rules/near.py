"""Hints: the name that was probably meant, and the names that there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 40  # names listed in a hint
LONGEST_NAME = 64  # longer input is no typing mistake and not worth comparing


def did_you_mean(name: str, choices: Iterable[str], what: str = "") -> str:
    """`did you mean 'x'? <what>: a, b, c`; either half is left out when it is empty."""
    known = sorted(set(choices))
    parts = []
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6) if len(name) <= LONGEST_NAME else []
    if close:
        parts.append(f"did you mean '{close[0]}'?")
    if what and known:
        more = ", ..." if len(known) > MOST_NAMES else ""
        parts.append(f"{what}: {', '.join(known[:MOST_NAMES])}{more}")
    return " ".join(parts)
