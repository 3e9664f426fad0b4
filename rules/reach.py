"""Whether a rule can fire at all when only some kinds of events can come: what its numbers can be, without any event.

A value of an expression is what it can be: a range of numbers (truth is 0 to 1), a text that is known, or anything.
The answer is on the safe side: a rule is said to be unable to fire only where no events of these kinds could make it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import reduce
from typing import Final

from rules.cells import CellFormula
from rules.exceptions import plain_plan
from rules.formula import RowFormula
from rules.measure_table import TABLE, ValueRange
from rules.ranges import COUNT, MAYBE, ZERO, Can, Range
from rules.syntax import Binary, Call, Expr, Literally, Logic, Member, Name, Unary
from watchdog.core.plan import SCORE, CellExpression, MeasurePlan, RowExpression, RulePlan

Fields = Callable[[str], Can]

_COMPARE: Final[Mapping[str, Callable[[Range, Range], tuple[bool, bool]]]] = {  # (always, never)
    "<": lambda a, b: (a.high < b.low, a.low >= b.high),
    "<=": lambda a, b: (a.high <= b.low, a.low > b.high),
    ">": lambda a, b: (a.low > b.high, a.high <= b.low),
    ">=": lambda a, b: (a.low >= b.high, a.high < b.low),
    "==": lambda a, b: (a.only is not None and a == b, a.high < b.low or b.high < a.low),
    "!=": lambda a, b: (a.high < b.low or b.high < a.low, a.only is not None and a == b),
}


def can_fire(plan: RulePlan, kinds: Collection[str], nameless: Callable[[str, str], bool]) -> bool:
    """Return whether events of these kinds can make the rule fire.

    nameless: whether a field (second) of a kind (first) is 0 in every event, as an ASN is without an asmap.
    """
    return _can_fire(plan, [_fields_of(kind, nameless) for kind in plan.kinds if kind in kinds])


def can_fire_over(plan: RulePlan, feeders: Iterable[RulePlan]) -> bool:
    """Return whether findings of these rules can make a rule over findings fire."""
    return _can_fire(plan, [fields for feeder in feeders for fields in _findings_of(feeder, plan)])


def can_feed(feeder: RulePlan, plan: RulePlan) -> bool:
    """Return whether a rule over findings can read any finding of another rule."""
    return any(_passes(plan.where, fields) for fields in _findings_of(feeder, plan))


def _can_fire(plan: RulePlan, events: Sequence[Fields]) -> bool:
    """Return whether a rule can fire, its exceptions aside. events: what the fields of each sort of event can be."""
    plan = plain_plan(plan)
    read = [fields for fields in events if _passes(plan.where, fields)]
    if not read:
        return False
    names: dict[str, Can] = {measure.name: _measured(measure, read) for measure in plan.measures}
    for name, value in plan.values:
        names[name] = _cell(value, names)
    for baseline in plan.baselines:
        watched = _cell(baseline.value, names)
        constant = isinstance(watched, Range) and watched.only is not None
        names[baseline.name] = ZERO if constant else MAYBE  # a constant is never unusual
    for comparison in plan.comparisons:
        names[comparison.name] = MAYBE
    for drift in plan.drifts:
        names[drift.name] = MAYBE
    if plan.model:
        names[SCORE] = Range(-math.inf, math.inf)
    return _possible(_cell(plan.fire, names))


def _possible(value: Can) -> bool:
    return not isinstance(value, Range) or value != ZERO


def _cell(expression: CellExpression, names: Mapping[str, Can]) -> Can:
    return able(expression.tree, names.get) if isinstance(expression, CellFormula) else None


def _fields_of(kind: str, nameless: Callable[[str, str], bool]) -> Fields:
    return lambda name: kind if name == "kind" else ZERO if nameless(kind, name) else None


def _findings_of(feeder: RulePlan, plan: RulePlan) -> list[Fields]:
    """Return what fields can be in the findings of a rule, for each kind of finding that `plan` reads."""
    known: dict[str, Can] = {"rule": feeder.id, "attack": feeder.attack, "maturity": feeder.maturity}
    if not feeder.escalate:
        known["severity"] = feeder.severity
    kinds = (kind for kind in plan.kinds if kind != "finding:escalate" or feeder.escalate)
    return [{**known, "kind": kind}.get for kind in kinds]


def _row(expression: RowExpression, fields: Fields) -> Can:
    return able(expression.tree, fields) if isinstance(expression, RowFormula) else None


def _passes(where: RowExpression | None, fields: Fields) -> bool:
    return where is None or _possible(_row(where, fields))


def _measured(plan: MeasurePlan, events: Sequence[Fields]) -> Can:
    """Return the possible values of a measure over these sorts of events, or over none."""
    counted = [fields for fields in events if _passes(plan.where, fields)]
    if not counted:
        return ZERO
    read = [_row(plan.value, fields) for fields in counted] if plan.value is not None else [None]
    constant = all(isinstance(one, Range) and one.only is not None and one == read[0] for one in read)
    spans = [one if isinstance(one, Range) else Range(-math.inf, math.inf) for one in read]
    low, high = min(0.0, *(span.low for span in spans)), max(0.0, *(span.high for span in spans))
    return TABLE[plan.op].can(ValueRange(constant, low, high))


def able(tree: Expr, name: Callable[[str], Can]) -> Can:
    """Return the possible values of an expression. name: gives those of a name in it."""
    if isinstance(tree, Literally):
        return tree.value if isinstance(tree.value, str) else Range(tree.value, tree.value)
    if isinstance(tree, Name):
        return name(tree.name)
    if isinstance(tree, Logic):
        parts = [_truth(able(part, name)) for part in tree.parts]
        pick: Callable[[float, float], float] = min if tree.op == "and" else max
        return Range(
            reduce(pick, (part_range.low for part_range in parts)),
            reduce(pick, (part_range.high for part_range in parts)),
        )
    if isinstance(tree, Unary):
        inner = able(tree.operand, name)
        if tree.op == "not":
            inner = _truth(inner)
            return Range(1 - inner.high, 1 - inner.low)
        return Range(-inner.high, -inner.low) if isinstance(inner, Range) else None
    if isinstance(tree, Member):
        return _member(tree, able(tree.item, name))
    if isinstance(tree, Call):
        return _call(tree, name)
    if isinstance(tree, Binary):
        left, right = able(tree.left, name), able(tree.right, name)
        return _compared(tree.op, left, right) if tree.op in _COMPARE else _arithmetic(tree.op, left, right)
    return None


def _truth(value: Can) -> Range:
    return value if isinstance(value, Range) and value.low >= 0 and value.high <= 1 else MAYBE


def _compared(op: str, left: Can, right: Can) -> Range:
    if isinstance(left, str) and isinstance(right, str) and op in ("==", "!="):
        return Range(1, 1) if (left == right) == (op == "==") else ZERO
    if not (isinstance(left, Range) and isinstance(right, Range)):
        return MAYBE
    always, never = _COMPARE[op](left, right)
    return Range(1, 1) if always else ZERO if never else MAYBE


def _member(tree: Member, item: Can) -> Range:
    known = item.only if isinstance(item, Range) else item
    if known is None or isinstance(tree.choices, Name):
        return MAYBE
    inside = known in [choice.value for choice in tree.choices]
    return Range(1, 1) if inside != tree.negated else ZERO


def _arithmetic(op: str, left: Can, right: Can) -> Can:
    """Calculate with ranges; a division by zero gives 0, and results that could wrap round are not narrowed."""
    if op in ("*", "/") and ZERO in (left, right):
        return ZERO
    if not (isinstance(left, Range) and isinstance(right, Range)):
        return None
    if op == "+":
        return Range(left.low + right.low, left.high + right.high)
    if op == "-":
        return Range(left.low - right.high, left.high - right.low)
    if op == "*":
        ends = [a * b for a in (left.low, left.high) for b in (right.low, right.high)]
        return None if any(map(math.isnan, ends)) else Range(min(ends), max(ends))
    return COUNT if op == "/" and left.low >= 0 and right.low >= 0 else None


def _call(tree: Call, name: Callable[[str], Can]) -> Can:
    """Apply a function of numbers; the result of any other function is unknown."""
    args = [able(part, name) for part in tree.args]
    if tree.name == "if" and len(args) == 3:
        test = _truth(args[0]).only
        return None if test is None else args[1] if test else args[2]
    numbers = [number for number in args if isinstance(number, Range)]
    if not numbers or len(numbers) < len(args):
        return None
    if tree.name in ("min", "max"):
        pick: Callable[..., float] = min if tree.name == "min" else max
        return Range(
            reduce(pick, (number.low for number in numbers)), reduce(pick, (number.high for number in numbers))
        )
    if tree.name == "abs":
        low, high = numbers[0].low, numbers[0].high
        return Range(0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high)))
    return ZERO if tree.name == "log2" and numbers[0].high <= 1 else None
