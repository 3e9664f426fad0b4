"""`changed(value, option=...)`: its options, their defaults, and the plan that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rules.cells import CellFormula
from rules.detector import LEAST_FLOOR, given_options, number_option, step_of
from rules.syntax import Call
from rules.typed import fail
from watchdog.core.plan import DriftPlan

MOVED: Final = ("old", "new")
"""What NAME_... of a changed() gives beside its verdict: the two levels."""
DELTA: Final = 2.3e-5
"""The chance of one false change in 30 days of minutes. No change was seen in 200,000 samples of a steady series."""
MOST_DELTA: Final = 0.5
# option: default, meaning with unit
OPTIONS: Mapping[str, tuple[str, str]] = {
    "ratio": ("2", "least quotient of the old and the new level, 1 or more"),
    "floor": ("1", "levels below it hardly differ, in the unit of the value"),
    "delta": ("0.000023", "chance of a change that is none, of ADWIN: more finds smaller changes, and false ones"),
    "step": ("1m", "event time between samples; rounded up to whole panes when left out"),
}


def changed(name: str, call: Call, value: CellFormula, pane_ns: int) -> DriftPlan:
    """Return the plan of a `changed` call. Raises ExpressionError for wrong options."""
    given = given_options(call, OPTIONS)
    delta = number_option(given, "delta", DELTA, least=0.0)
    if not 0 < delta <= MOST_DELTA:
        raise fail(given["delta"], f"'delta' must be above 0 and at most {MOST_DELTA}")
    return DriftPlan(
        name=name,
        value=value,
        delta=delta,
        ratio=number_option(given, "ratio", 2.0, least=1.0),
        floor=number_option(given, "floor", 1.0, least=LEAST_FLOOR),
        step_ns=step_of(given, pane_ns),
    )
