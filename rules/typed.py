"""Types and arithmetic that rows and measures share.

A tree becomes a `Typed`: its type and a closure from an environment (a batch of rows, or the
cells of measures) to an array or, for constants, one value. What names and functions mean is
the business of a scope. Integers are int64; a division by zero gives 0; the logarithm of what
is not positive is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from rules.syntax import (
    LARGEST,
    Binary,
    Call,
    Constant,
    Expr,
    Literally,
    Logic,
    Member,
    Name,
    Span,
    Unary,
)
from rules.tokens import ExpressionError, Flaw

E = TypeVar("E")
T = TypeVar("T")
U = TypeVar("U")

ValueType = Literal["bool", "int", "float", "text", "prefix", "bytes"]
Evaluate = Callable[[E], Any]  # arrays of several dtypes, or one constant: what NumPy takes

WORDS: dict[ValueType, str] = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "text": "text",
    "prefix": "a prefix",
    "bytes": "bytes",
}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True, slots=True)
class Typed(Generic[E]):
    """A compiled expression. constant: its value when it needs no environment. field: the
    column that it is, when it is nothing else. Text that is no constant has no `run` of its
    own use: comparisons read the column's dictionary instead.
    """

    type: ValueType
    run: Evaluate[E]
    constant: Constant | None = None
    field: str = ""


class Scope(Protocol[E]):
    """The meaning of names, functions and lists; each method raises ExpressionError for an unknown one."""

    def name(self, node: Name) -> Typed[E]:
        """Compile a field or a measure."""
        ...

    def call(self, node: Call) -> Typed[E]:
        """Compile a function."""
        ...

    def member(self, node: Member) -> Typed[E]:
        """Compile a membership in a list."""
        ...

    def compare(self, node: Binary, left: Typed[E], right: Typed[E]) -> Typed[E]:
        """Compile a comparison of two compiled sides."""
        ...


def fail(node: Expr, message: str, hint: str = "") -> ExpressionError:
    """Return an error at a node, for the caller to raise."""
    return ExpressionError(Flaw(node.start, node.end, message, hint))


def gather(parts: Iterable[T], work: Callable[[T], U]) -> list[U]:
    """Apply `work` to every part; the mistakes of all parts are raised together."""
    done: list[U] = []
    flaws: list[Flaw] = []
    for part in parts:
        try:
            done.append(work(part))
        except ExpressionError as error:
            flaws.extend(error.flaws)
    if flaws:
        raise ExpressionError(*flaws)
    return done


def constant(value: Constant) -> Typed[Any]:
    """Compile a constant."""
    kind: ValueType = "bool"
    if not isinstance(value, bool):
        kind = "int" if isinstance(value, int) else "float" if isinstance(value, float) else "text"
    return Typed(kind, lambda _: value, value)


def compile_tree(tree: Expr, scope: Scope[E]) -> Typed[E]:
    """Check a tree against a scope and turn it into a closure."""
    if isinstance(tree, Literally):
        return constant(tree.value)
    if isinstance(tree, Span):
        raise fail(tree, "a duration cannot be used here", "durations are for options and keys; fields are numbers")
    if isinstance(tree, Name):
        return scope.name(tree)
    if isinstance(tree, Logic):
        return _logic(tree, scope)
    if isinstance(tree, Member):
        return scope.member(tree)
    if isinstance(tree, Call):
        return scope.call(tree)
    if isinstance(tree, Unary):
        return _unary(tree, scope)
    left, right = gather((tree.left, tree.right), lambda part: compile_tree(part, scope))
    return scope.compare(tree, left, right) if tree.op in _COMPARE else arithmetic(tree, left, right)


def truth(tree: Expr, scope: Scope[E]) -> Typed[E]:
    """Compile a tree that must be true or false."""
    typed = compile_tree(tree, scope)
    if typed.type != "bool":
        raise fail(tree, f"expected true or false, found {WORDS[typed.type]}", "compare it with something")
    return typed


def number(tree: Expr, scope: Scope[E]) -> Typed[E]:
    """Compile a tree that must be a number; true and false count as 1 and 0."""
    typed = compile_tree(tree, scope)
    if typed.type not in ("bool", "int", "float"):
        raise fail(tree, f"expected a number, found {WORDS[typed.type]}")
    return typed


def folded(typed: Typed[E], inputs: Iterable[Typed[E]], node: Expr) -> Typed[E]:
    """Evaluate an expression over constants."""
    if any(part.constant is None for part in inputs):
        return typed
    with np.errstate(all="ignore"):
        value = np.asarray(typed.run(None)).item()  # type: ignore[arg-type]  # constants read no environment
    if (isinstance(value, int) and not -LARGEST - 1 <= value <= LARGEST) or math.isnan(value):
        raise fail(node, "the result is out of range")
    return constant(value)


def compare_numbers(node: Binary, left: Typed[E], right: Typed[E]) -> Typed[E]:
    """Compile a comparison of numbers, or the equality of two truths."""
    apply = _COMPARE[node.op]
    equality = node.op in ("==", "!=")
    plain = ("int", "float")
    if not ((left.type in plain and right.type in plain) or (left.type == right.type == "bool" and equality)):
        how = "compare" if left.type != right.type or equality else f"order by '{node.op}'"
        hint = "a truth stands alone or is compared with true or false" if "bool" in (left.type, right.type) else ""
        raise fail(node, f"cannot {how} {WORDS[left.type]} with {WORDS[right.type]}", hint)
    a, b = left.run, right.run
    return folded(Typed("bool", lambda env: apply(a(env), b(env))), (left, right), node)


def divide(above: Any, below: Any) -> Any:
    """Divide, with 0 where the divisor is 0."""
    zero = np.equal(below, 0)
    return np.where(zero, 0.0, np.divide(above, np.where(zero, 1.0, below)))


_NEARLY_LARGEST = 9.2e18  # below 2^63 by more than float64 rounds there
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": divide,
}


def whole(apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the operation on whole numbers; a result beyond 64 bits becomes the largest or least number.

    A peer who chooses both numbers could else make a large one negative, and a rule silent.
    """

    def exact(left: Any, right: Any) -> Any:
        with np.errstate(over="ignore"):
            result = apply(left, right)
        near = apply(np.asarray(left, np.float64), np.asarray(right, np.float64))
        return np.where(np.abs(near) < _NEARLY_LARGEST, result, np.where(near > 0, LARGEST, -LARGEST))

    return exact


def arithmetic(node: Binary, left: Typed[E], right: Typed[E]) -> Typed[E]:
    """Compile arithmetic: `+ - *` keep whole numbers whole, `/` gives a number with a fraction."""
    for part, side in ((left, node.left), (right, node.right)):
        if part.type not in ("bool", "int", "float"):
            raise fail(side, f"cannot calculate with {WORDS[part.type]}")
    kind: ValueType = "int" if node.op != "/" and "float" not in (left.type, right.type) else "float"
    a, b = _as(left, kind), _as(right, kind)
    apply = whole(_ARITHMETIC[node.op]) if kind == "int" else _ARITHMETIC[node.op]
    if kind == "int" and left.constant is not None and right.constant is not None:
        return constant(_exact(node, int(left.constant), int(right.constant)))
    return folded(Typed(kind, lambda env: apply(a(env), b(env))), (left, right), node)


def _exact(node: Binary, left: int, right: int) -> int:
    """Calculate with whole constants, without overflow."""
    value = {"+": left + right, "-": left - right, "*": left * right}[node.op]
    if not -LARGEST - 1 <= value <= LARGEST:
        raise fail(node, "the result is out of range")
    return value


def _as(typed: Typed[E], kind: ValueType) -> Evaluate[E]:
    """Return the closure with its result as int64 or float64."""
    run = typed.run
    if typed.type == kind:
        return run
    dtype = np.int64 if kind == "int" else np.float64
    return lambda env: np.asarray(run(env)).astype(dtype)


def _logic(tree: Logic, scope: Scope[E]) -> Typed[E]:
    """Compile `and` or `or`. A part that settles the answer alone makes mistakes in the others moot:
    that is how `kind == "p2p:addr" and entries > 10` works for kinds without `entries`.
    """
    settles = tree.op == "or"
    parts: list[Typed[E]] = []
    flaws: list[Flaw] = []
    for part in tree.parts:
        try:
            parts.append(truth(part, scope))
        except ExpressionError as error:
            flaws.extend(error.flaws)
    if any(part.constant is settles for part in parts):
        return constant(settles)
    if flaws:
        raise ExpressionError(*flaws)
    runs = [part.run for part in parts if part.constant is None]
    if not runs:
        return constant(not settles)
    if len(runs) == 1:
        return Typed("bool", runs[0])
    apply = np.logical_or if settles else np.logical_and
    first, *rest = runs

    def run(env: E) -> Any:
        result = first(env)
        for each in rest:
            result = apply(result, each(env))
        return result

    return Typed("bool", run)


def _unary(tree: Unary, scope: Scope[E]) -> Typed[E]:
    """Compile `not x` or `-x`."""
    if tree.op == "not":
        inner = truth(tree.operand, scope)
        run = inner.run
        return folded(Typed("bool", lambda env: np.logical_not(run(env))), (inner,), tree)
    inner = number(tree.operand, scope)
    kind: ValueType = "float" if inner.type == "float" else "int"
    run = _as(inner, kind)
    return folded(Typed(kind, lambda env: np.negative(run(env))), (inner,), tree)
