"""`anomalous(value, option=...)`: its options, their defaults, and the baseline plan they make."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar, get_args

from rules.budget import Budget, budget_option, surprise_of
from rules.cells import CellFormula
from rules.syntax import Call, Expr, Literally, Span
from rules.typed import fail
from watchdog.core.durations import HOUR_NS, MINUTE_NS, exact_duration
from watchdog.core.plan import BaselinePlan, Direction, LawName
from watchdog.located_yaml.suggest import did_you_mean


def quoted(words: Sequence[str]) -> list[str]:
    """Return the words in quotes."""
    return [f'"{word}"' for word in words]


def choices_text(words: Sequence[str]) -> str:
    """Return the words in quotes as a list in a sentence."""
    *most, last = quoted(words)
    return f"{', '.join(most)} or {last}"


DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
LAWS: tuple[LawName, ...] = get_args(LawName)
Word = TypeVar("Word", bound=str)
LEVEL_THRESHOLD: Final = 5.0
"""Found 45 of 57 labels of the recordings with 2 false episodes in 44 quiet series of 0.55 days; 6 found 41 with 1."""
LEAST_FLOOR: Final = 1e-6  # of a level

# option: default, meaning with unit. A rule is judged once a minute for each key.
OPTIONS: Mapping[str, tuple[str, str]] = {
    "law": ('"level"', f"{choices_text(LAWS)}; `counts` takes whole numbers of events"),
    "floor": ("1", "least difference from the expectation that counts, in the unit of the value"),
    "direction": ('"up"', f"which side counts: {choices_text(DIRECTIONS)}"),
    "threshold": (
        "5",
        "`level`: deviations of the stabilised series; `counts`: -log10 of the chance, 2 or more",
    ),
    "budget": ('"1 per 30d"', "`counts`: false findings that the rule may report at one node, instead of a threshold"),
    "half_life": ("6h", "event time after which an old sample weighs half"),
    "warmup": ("30m", "event time without verdicts after a key is first seen"),
    "step": ("1m", "event time between samples; rounded up to whole panes when left out"),
    "freeze_at_most": ("6h", "event time for which an anomalous key learns nothing; then it learns a new normal"),
}


def baseline(name: str, call: Call, value: CellFormula, pane_ns: int, default: Budget) -> BaselinePlan:
    """Return the plan of an `anomalous` call. default: what it may spend when it names no budget.

    Raises ExpressionError for wrong options.
    """
    given = given_options(call, OPTIONS)
    law, direction = _choice(given, "law", LAWS), _choice(given, "direction", DIRECTIONS)
    threshold, budget = _threshold(given, law, pane_ns, default)
    if budget and direction == "both":
        threshold += math.log10(2)  # each side may spend half
    if law == "counts" and value.type != "int":
        raise fail(call.args[0], 'law="counts" takes whole numbers of events', "as in count(); or leave out the law")
    return BaselinePlan(
        name=name,
        value=value,
        direction=direction,
        threshold=threshold,
        floor=number_option(given, "floor", 1.0, least=LEAST_FLOOR if law == "level" else 0.0),
        half_life_ns=duration_option(given, "half_life", 6 * HOUR_NS),
        warmup_ns=duration_option(given, "warmup", 30 * MINUTE_NS),
        step_ns=step_of(given, pane_ns),
        law=law,
        freeze_ns=duration_option(given, "freeze_at_most", 6 * HOUR_NS),
        budget=budget.text if budget else "",
        every_ns=budget.every_ns if budget else 0,
    )


def _threshold(given: Mapping[str, Expr], law: LawName, pane_ns: int, default: Budget) -> tuple[float, Budget | None]:
    """Return the threshold, and the budget that it follows from: by the law's own tail, for one pane."""
    if law == "level":
        if "budget" in given:
            hint = 'the law "level" gives no chances: write threshold=5, or law="counts" for a count'
            raise fail(given["budget"], "'budget' needs law=\"counts\"", hint)
        return number_option(given, "threshold", LEVEL_THRESHOLD, least=0.5), None
    budget = budget_option(given, default)
    if "threshold" in given:
        return number_option(given, "threshold", 0.0, least=2.0), None
    return surprise_of(budget, pane_ns), budget


def step_of(given: Mapping[str, Expr], pane_ns: int) -> int:
    """Return the event time between samples: whole panes. Raises ExpressionError for another one."""
    step = duration_option(given, "step", MINUTE_NS)
    if "step" not in given:
        return -(-step // pane_ns) * pane_ns
    if step % pane_ns:
        raise fail(given["step"], f"step must be a multiple of the pane, {exact_duration(pane_ns)}")
    return step


def given_options(call: Call, known: Mapping[str, object]) -> dict[str, Expr]:
    """Return the options of a detector by name, each known and given once. Raises ExpressionError for others."""
    given: dict[str, Expr] = {}
    if call.where is not None:
        raise fail(call.where, f"'{call.name}' takes no filter", "put it into the measure")
    for name, value in call.options:
        if name.name not in known:
            hint = did_you_mean(name.name, known, "options")
            raise fail(name, f"unknown option '{name.name}' of {call.name}", hint)
        if name.name in given:
            raise fail(name, f"option '{name.name}' is given twice")
        given[name.name] = value
    return given


def duration_option(given: Mapping[str, Expr], name: str, default: int) -> int:
    """Return a duration option in nanoseconds, more than zero."""
    node = given.get(name)
    if node is None:
        return default
    if not isinstance(node, Span):
        raise fail(node, f"'{name}' must be a duration", "as in 30m or 6h")
    if node.nanoseconds <= 0 and name != "warmup":
        raise fail(node, f"'{name}' must be more than zero")
    return node.nanoseconds


def number_option(given: Mapping[str, Expr], name: str, default: float, least: float) -> float:
    """Return a number option, checked against its least value."""
    node = given.get(name)
    if node is None:
        return default
    if not isinstance(node, Literally) or isinstance(node.value, (bool, str)):
        raise fail(node, f"'{name}' must be a number")
    if node.value < least:
        raise fail(node, f"'{name}' must be at least {least:g}")
    return float(node.value)


def _choice(given: Mapping[str, Expr], name: str, words: tuple[Word, ...]) -> Word:
    """Return an option that is one of these words; the first when it is not given."""
    node = given.get(name)
    if node is None:
        return words[0]
    chosen = next((one for one in words if isinstance(node, Literally) and one == node.value), None)
    if chosen is None:
        raise fail(node, f"'{name}' must be one of {', '.join(quoted(words))}")
    return chosen
