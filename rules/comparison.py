"""`unlike_others(a floor 3, b floor 21, ..., option=value)`: its options, and the plan that they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from rules.budget import Budget, budget_option
from rules.cells import CellFormula
from rules.detector import given_options
from rules.syntax import Binary, Call, Expr, Literally, Name
from rules.typed import fail
from watchdog.core.plan import ComparisonPlan

FLOOR: Final = "floor"  # the word between a value and the difference below which it hardly counts
PARTS: Final = ("measure", "value", "median", "peers", "score")
"""What NAME_... of a comparison gives beside its verdict."""
OPTIONS: Mapping[str, tuple[str, str]] = {
    "among": (
        "all keys",
        "text field with known values, such as direction: keys that share its value are compared",
    ),
    "least": ("8", "keys that must be there: with fewer nothing is compared"),
    "budget": ('"1 per 30d"', "false findings that the rule may report at one node"),
    "threshold": ("by the budget", "deviations above the median, instead of a budget"),
}
MOST_VALUES: Final = 64


class Tail(NamedTuple):
    """How the worst key of quiet panes is distributed: peaks in panes above `above`, exponential with mean `excess`."""

    above: float
    excess: float
    peaks: int
    panes: int


# Measured in 513 quiet panes of a minute of a real node (19 and 10 peaks, more than 10 minutes apart).
_PEERS, _GROUPS = Tail(4.14, 0.34, 19, 513), Tail(4.03, 0.28, 10, 513)
_PANE_NS: Final = 60_000_000_000
_BY_PEER: Final = frozenset({"conn", "peer", "peer_addr"})


def comparison(
    name: str,
    call: Call,
    value: Callable[[Expr], CellFormula],
    among: Callable[[Expr], CellFormula],
    *,
    by: tuple[str, ...],
    default: Budget,
) -> ComparisonPlan:
    """Return the plan of an `unlike_others` call. value, among: compile a value and the option. by: the rule's key.
    default: what it may spend when it names no budget.

    Raises ExpressionError for wrong arguments and options.
    """
    given = given_options(call, OPTIONS)
    if not call.args:
        raise fail(call, "'unlike_others' compares values", "as in unlike_others(pings floor 3, sent floor 20)")
    if len(call.args) > MOST_VALUES:
        raise fail(call, f"'unlike_others' takes {MOST_VALUES} values at most, found {len(call.args)}")
    if not by:
        raise fail(call, "'unlike_others' compares keys, and this rule has none", "write 'by', as in by: [conn]")
    values = tuple(_floored(arg, value) for arg in call.args)
    threshold, budget, tail = _threshold(given, by, default)
    return ComparisonPlan(
        name=name,
        values=values,
        among=among(given["among"]) if "among" in given else None,
        least=_whole(given["least"], "least", 3) if "least" in given else 8,
        threshold=threshold,
        budget=budget.text if budget else "",
        every_ns=budget.every_ns if budget else 0,
        tail=(tail.above, tail.excess, tail.peaks, tail.panes * _PANE_NS),
    )


def _floored(arg: Expr, value: Callable[[Expr], CellFormula]) -> tuple[str, CellFormula, float]:
    """Return the name, the formula and the floor of one value."""
    if not isinstance(arg, Binary) or arg.op != FLOOR or not isinstance(arg.right, Literally):
        raise fail(arg, "a value needs its floor", "as in pings floor 3: differences below it hardly count")
    if not isinstance(arg.left, Name):
        raise fail(arg.left, "name the measure first, and compare it by its name", "the summary shows the name")
    floor = arg.right.value
    if isinstance(floor, (bool, str)) or floor <= 0:
        raise fail(arg.right, "a floor is a number above 0")
    formula = value(arg.left)
    if formula.type == "bool":
        raise fail(arg.left, "expected a number, found true or false")
    return arg.left.name, formula, float(floor)


def _threshold(given: Mapping[str, Expr], by: tuple[str, ...], default: Budget) -> tuple[float, Budget | None, Tail]:
    """Return the deviations from which a key is odd, the budget that they keep, and the shipped tail."""
    budget, node = budget_option(given, default), given.get("threshold")
    tail = _GROUPS if _BY_PEER.isdisjoint(by) else _PEERS
    if node is not None:
        if not isinstance(node, Literally) or isinstance(node.value, (bool, str)) or node.value < 1:
            raise fail(node, "'threshold' must be a number, 1 or more")
        return float(node.value), None, tail
    expected = tail.peaks / tail.panes * budget.every_ns / _PANE_NS
    return max(tail.above, tail.above + tail.excess * math.log(expected)), budget, tail


def _whole(node: Expr, name: str, least: int) -> int:
    if not isinstance(node, Literally) or not isinstance(node.value, int) or isinstance(node.value, bool):
        raise fail(node, f"'{name}' must be a whole number")
    if node.value < least:
        raise fail(node, f"'{name}' must be at least {least}")
    return node.value
