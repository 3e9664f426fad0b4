"""The measures of the rule language, a row each: what a call takes, and what its value can be.

`watchdog.engine.measures` has a row of the same name for each, which computes it. `mean` is a division of two of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from rules.formula import Use
from rules.impossible import ANY, Bounds
from rules.ranges import COUNT, MAYBE, ZERO, Can, Range
from rules.syntax import Call, Expr, Literally
from rules.typed import fail


@dataclass(frozen=True, slots=True)
class ValueRange:
    """What the values that a measure reads can be; low and high include 0, the value of an empty window."""

    constant: bool
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class MeasureRow:
    """A measure of the rule language.

    use: what a call needs of its value; "filter" for a measure that takes a condition in place of a value. bounds: of
    the measure by those of the field that it reads (ANY for an expression). can: what it can be over some events.
    parameters: how many constants follow the value. fraction: whether it has a fraction.
    """

    use: Use
    bounds: Callable[[Bounds], Bounds]
    can: Callable[[ValueRange], Can]
    parameters: int = 0
    fraction: bool = False


def _any_count(_field: Bounds) -> Bounds:
    return Bounds(0.0, math.inf, whole=True)


def _like_field(field: Bounds) -> Bounds:
    """Return the field's bounds and 0, the value of an empty window."""
    return ANY if field == ANY else Bounds(min(0.0, field.low), max(0.0, field.high), field.whole)


def _like_value(values: ValueRange) -> Can:
    return Range(values.low, values.high)


def _sum_bounds(field: Bounds) -> Bounds:
    return Bounds(0.0, math.inf, field.whole) if field.low >= 0 else ANY


def _sum_can(values: ValueRange) -> Can:
    return Range(-math.inf if values.low < 0 else 0, math.inf if values.high > 0 else 0)


TABLE: Final[Mapping[str, MeasureRow]] = {
    "count": MeasureRow("filter", _any_count, lambda _values: COUNT),
    "sum": MeasureRow("amount", _sum_bounds, _sum_can),
    "min": MeasureRow("number", _like_field, _like_value),
    "max": MeasureRow("number", _like_field, _like_value),
    "last": MeasureRow("number", lambda _field: ANY, _like_value),
    "quantile": MeasureRow("number", _like_field, _like_value, parameters=1),
    "distinct": MeasureRow("identity", _any_count, lambda values: MAYBE if values.constant else COUNT),
    "top_share": MeasureRow("identity", lambda _field: Bounds(0.0, 1.0), lambda _values: MAYBE, fraction=True),
    "entropy": MeasureRow(
        "identity", lambda _field: Bounds(0.0), lambda values: ZERO if values.constant else COUNT, fraction=True
    ),
}
MEAN: Final = "mean"
MEASURES: Final = tuple(sorted((*TABLE, MEAN)))


def parameters_of(call: Call) -> tuple[float, ...]:
    """Return the constants that follow the value of a measure call. ExpressionError unless each is between 0 and 1."""
    return tuple(_share(call.name, argument) for argument in call.args[1:])


def _share(name: str, tree: Expr) -> float:
    value = tree.value if isinstance(tree, Literally) else None
    if isinstance(value, (bool, str)) or value is None or not 0 < value < 1:
        hint = "0.95 asks for the value that 95 of 100 events do not exceed"
        raise fail(tree, f"'{name}' takes a constant between 0 and 1, both excluded", hint)
    return float(value)
