"""`anomalous(value, option=...)`: its options, their defaults, and the baseline plan they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from rules.cells import CellFormula
from rules.syntax import Call, Expr, Literally, Span
from rules.typed import fail
from watchdog.core.durations import HOUR_NS, MINUTE_NS, exact_duration
from watchdog.core.plan import BaselinePlan, Direction
from watchdog.located_yaml.suggest import did_you_mean

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
_CHOICES = [f'"{one}"' for one in DIRECTIONS]

# option: default, meaning with unit. Six deviations: a stabilised count is nearly normal but has a
# heavier tail, and a rule is judged once a minute for each key.
OPTIONS: Mapping[str, tuple[str, str]] = {
    "floor": ("0", "least difference from the expectation that counts, in the unit of the value"),
    "direction": ('"up"', f"which side counts: {', '.join(_CHOICES[:-1])} or {_CHOICES[-1]}"),
    "threshold": ("6", "standard deviations of the stabilised series"),
    "half_life": ("6h", "event time after which an old sample weighs half"),
    "warmup": ("30m", "event time without verdicts after a key is first seen"),
    "step": ("1m", "event time between samples; rounded up to whole panes when left out"),
}


def baseline(name: str, call: Call, value: CellFormula, pane_ns: int) -> BaselinePlan:
    """Return the plan of an `anomalous` call. Raises ExpressionError for wrong options."""
    given = _given(call)
    step = _duration(given, "step", MINUTE_NS)
    if "step" not in given:
        step = -(-step // pane_ns) * pane_ns
    elif step % pane_ns:
        raise fail(given["step"], f"step must be a multiple of the pane, {exact_duration(pane_ns)}")
    return BaselinePlan(
        name=name,
        value=value,
        direction=_direction(given),
        threshold=_number(given, "threshold", 6.0, least=0.5),
        floor=_number(given, "floor", 0.0, least=0.0),
        half_life_ns=_duration(given, "half_life", 6 * HOUR_NS),
        warmup_ns=_duration(given, "warmup", 30 * MINUTE_NS),
        step_ns=step,
    )


def _given(call: Call) -> dict[str, Expr]:
    """Return the options by name, each known and given once."""
    given: dict[str, Expr] = {}
    if call.where is not None:
        raise fail(call.where, "'anomalous' takes no filter", "put it into the measure")
    for name, value in call.options:
        if name.name not in OPTIONS:
            hint = did_you_mean(name.name, OPTIONS, "options")
            raise fail(name, f"unknown option '{name.name}' of anomalous", hint)
        if name.name in given:
            raise fail(name, f"option '{name.name}' is given twice")
        given[name.name] = value
    return given


def _duration(given: Mapping[str, Expr], name: str, default: int) -> int:
    """Return a duration option in nanoseconds, more than zero."""
    node = given.get(name)
    if node is None:
        return default
    if not isinstance(node, Span):
        raise fail(node, f"'{name}' must be a duration", "as in 30m or 6h")
    if node.nanoseconds <= 0 and name != "warmup":
        raise fail(node, f"'{name}' must be more than zero")
    return node.nanoseconds


def _number(given: Mapping[str, Expr], name: str, default: float, least: float) -> float:
    """Return a number option, checked against its least value."""
    node = given.get(name)
    if node is None:
        return default
    if not isinstance(node, Literally) or isinstance(node.value, (bool, str)):
        raise fail(node, f"'{name}' must be a number")
    if node.value < least:
        raise fail(node, f"'{name}' must be at least {least:g}")
    return float(node.value)


def _direction(given: Mapping[str, Expr]) -> Direction:
    """Return the direction option."""
    node = given.get("direction")
    if node is None:
        return "up"
    chosen = next((one for one in DIRECTIONS if isinstance(node, Literally) and one == node.value), None)
    if chosen is None:
        raise fail(node, f"'direction' must be one of {', '.join(_CHOICES)}")
    return chosen
