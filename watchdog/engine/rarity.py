"""How rare a finding of a budgeted detector is, for people: in days, capped, and never as a bare chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.tail import DAY_NS
from watchdog.core.plan import BaselinePlan
from watchdog.engine.budgets import RARE_CAP, Budgeted

ONCE: Final = "once_in_days"


class Rarity:
    """The numbers and words of one rule. budgeted: its detectors that keep a budget, by the name that people see."""

    def __init__(self, budgeted: Mapping[str, Budgeted]) -> None:
        self._budgeted = budgeted

    def columns(self, named: Mapping[str, NDArray[Any]], rows: NDArray[np.intp]) -> Iterator[tuple[str, list[float]]]:
        """Yield names and numbers of these rows: `NAME_score` of a baseline, and `NAME_once_in_days`."""
        for name, one in self._budgeted.items():
            baseline = isinstance(one.spec, BaselinePlan)
            column = named.get(f"__score_{one.spec.name}" if baseline else f"{one.spec.name}_score")
            if column is None:
                continue
            scores = column[rows].tolist()
            if name != one.spec.name or baseline:  # those of a named comparison are there
                yield f"{name}_score", [round(score, 6) for score in scores]
            yield f"{name}_{ONCE}", [one.once_in_days(score) for score in scores]

    def text(self, measures: Mapping[str, int | float]) -> str:
        """Return what a summary says of the rarest detector that is over its threshold; empty without one."""
        over = [
            (measures[f"{name}_{ONCE}"], RARE_CAP * one.spec.every_ns / DAY_NS)
            for name, one in self._budgeted.items()
            if measures.get(f"{name}_score", 0.0) > one.tail.threshold
        ]
        if not over:
            return ""
        days, cap = max(over)
        once = f"rarer than once in {cap:g} days" if days >= cap else f"about once in {days_text(days)}"
        return f" ({once} on this node)"


def days_text(days: float) -> str:
    """Return a time in days, hours or minutes, whichever reads best."""
    if days >= 2:
        return f"{days:.0f} days"
    return f"{days * 24:.0f} hours" if days * 24 >= 2 else f"{max(days * 1_440, 1):.0f} minutes"
