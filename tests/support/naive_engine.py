"""The engine's promise in the plainest possible Python: every pane, every key, every row again.

Slow on purpose; the real engine must say the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class NaiveRule:
    """A rule as plain functions: `measure` gives named numbers for the rows in a window."""

    name: str
    where: Callable[[Row], bool]
    by: str | None
    measure: Callable[[list[Row]], dict[str, float]]
    fire: Callable[[dict[str, float]], bool]
    clear: Callable[[dict[str, float]], bool] | None
    over: int  # panes
    pane: int  # seconds
    hold: int = 0  # panes


def verdicts(rule: NaiveRule, rows: Sequence[Row], until: int) -> list[tuple[int, str, str]]:
    """(time in seconds, key, fire or clear) of a rule, up to `until` seconds."""
    mine = [row for row in rows if rule.where(row)]
    keys = sorted({_key(rule, row) for row in mine})
    found: list[tuple[int, str, str]] = []
    for key in keys:
        own = [row for row in mine if _key(rule, row) == key]
        found += _follow(rule, key, own, until)
    return sorted(found)


def _key(rule: NaiveRule, row: Row) -> str:
    return str(row[rule.by]) if rule.by else ""


def _follow(rule: NaiveRule, key: str, rows: list[Row], until: int) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = []
    since: int | None = None
    active, held = False, 0  # held: panes in which `fire` was true
    for pane in range(until // rule.pane):
        inside = [row for row in rows if pane - rule.over < int(row["t"]) // rule.pane <= pane]
        values = rule.measure(inside)
        fires = bool(inside) and rule.fire(values)
        clears = not inside or (not fires and (rule.clear is None or rule.clear(values)))
        if fires and since is None:
            since, held = pane, 0
        elif clears and not fires:
            if active:
                found.append(((pane + 1) * rule.pane, key, "clear"))
            since, active = None, False
        if fires and not active and held >= rule.hold:
            active = True
            found.append(((pane + 1) * rule.pane, key, "fire"))
        held += fires
    return found


def entropy(values: Sequence[Any]) -> float:
    """Shannon entropy in bits."""
    total = len(values)
    return -sum(n / total * math.log2(n / total) for n in Counter(values).values()) if total else 0.0


def top_share(values: Sequence[Any]) -> float:
    """Share of the most frequent value."""
    return max(Counter(values).values()) / len(values) if values else 0.0


def quantile(values: Sequence[int], share: float) -> int:
    """The least value that at least this share of the values does not exceed, 0 without values."""
    return sorted(values)[max(math.ceil(round(len(values) * share, 9)), 1) - 1] if values else 0
