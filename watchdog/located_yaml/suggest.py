"""Hints: the name that was probably meant, and the known names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALL_NAMES = 8  # a hint lists up to this many names; of more, only the nearest
NEAREST = 5
ALL_AT_MOST = 40  # when no name is near, a hint lists all names, up to this many
OTHER_WORDS = {
    "average": "mean",
    "avg": "mean",
    "cardinality": "distinct",
    "len": "count",
    "maximum": "max",
    "minimum": "min",
    "nunique": "distinct",
    "regex": "matches",
    "regexp": "matches",
    "total": "sum",
    "uniq": "distinct",
    "unique": "distinct",
}
"""Names that other tools use for our functions."""
LONGEST_NAME = 64  # longer input is no typo


def closest(name: str, choices: Iterable[str]) -> str:
    """Return the choice that was probably meant; empty when none is near."""
    if OTHER_WORDS.get(name.lower()) in set(choices := list(choices)):
        return OTHER_WORDS[name.lower()]
    found = difflib.get_close_matches(name, sorted(set(choices)), n=1, cutoff=0.6) if len(name) <= LONGEST_NAME else []
    return found[0] if found else ""


def did_you_mean(name: str, choices: Iterable[str], what: str = "", see: str = "") -> str:
    """Return `did you mean 'x'? <what>: a, b, c`, without a half that is empty.

    Of many choices the five nearest are named, and how many more there are; `see` says where to find them. All are
    named where none is near and no other place has them.
    """
    known = sorted(set(choices))
    parts = []
    close = closest(name, known)
    if close:
        parts.append(f"did you mean '{close}'?")
    if what and known:
        shown, more = known, ""
        if len(known) > ALL_NAMES:
            if not close and not see and len(known) <= ALL_AT_MOST:
                return f"{what}: {', '.join(known)}"
            shown = difflib.get_close_matches(name[:LONGEST_NAME], known, n=NEAREST, cutoff=0.0)
            more = f" and {len(known) - len(shown)} more" + (f", see '{see}'" if see else "")
        parts.append(f"{what}: {', '.join(shown)}{more}")
    return " ".join(parts)
