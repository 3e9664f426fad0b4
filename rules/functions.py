"""Functions of numbers: min, max, abs, log2, if."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeVar

import numpy as np

from rules.syntax import LARGEST, Call
from rules.typed import Scope, Typed, ValueType, compile_tree, fail, folded, gather, number, truth

E = TypeVar("E")

NUMERIC = ("abs", "if", "log2", "max", "min")


def numeric_call(node: Call, scope: Scope[E]) -> Typed[E]:
    """Compile a call of a function of NUMERIC. Raises ExpressionError for wrong arguments."""
    if node.where is not None:
        raise fail(node.where, f"'{node.name}' takes no filter")
    if node.options:
        raise fail(node, f"'{node.name}' has no option '{node.options[0][0].name}'")
    if node.name == "if":
        return _choice(node, scope)
    if node.name in ("min", "max"):
        return _extreme(node, scope)
    count_arguments(node, 1)
    inner = number(node.args[0], scope)
    run = inner.run
    if node.name == "log2":
        return folded(Typed("float", lambda env: log2(run(env))), (inner,), node)
    kind: ValueType = "float" if inner.type == "float" else "int"
    return folded(Typed(kind, lambda env: magnitude(widened(run(env), kind))), (inner,), node)


def count_arguments(node: Call, wanted: int) -> None:
    """Raise ExpressionError unless the call has as many arguments as wanted."""
    if len(node.args) != wanted:
        plural = "argument" if wanted == 1 else "arguments"
        raise fail(node, f"'{node.name}' takes {wanted} {plural}, found {len(node.args)}")


def log2(values: Any) -> Any:
    """Return the base-2 logarithm, and 0 for values that are not positive."""
    positive = np.greater(values, 0)
    return np.where(positive, np.log2(np.where(positive, values, 1)), 0.0)


def magnitude(values: Any) -> Any:
    """Return the absolute value; the least int64, which has no counterpart, becomes the largest."""
    size = np.abs(values)
    return np.where(size < 0, LARGEST, size)


def widened(values: Any, kind: ValueType) -> Any:
    """Return the values as int64 or float64."""
    return np.asarray(values).astype(np.int64 if kind == "int" else np.float64, copy=False)


def _extreme(node: Call, scope: Scope[E]) -> Typed[E]:
    """Compile the least or greatest of two or more numbers."""
    if len(node.args) < 2:
        raise fail(node, f"'{node.name}' takes two or more arguments here", "with one it is a measure over a field")
    parts = gather(node.args, lambda arg: number(arg, scope))
    kind: ValueType = "float" if any(part.type == "float" for part in parts) else "int"
    apply: Callable[[Any, Any], Any] = np.minimum if node.name == "min" else np.maximum
    runs = [part.run for part in parts]
    typed: Typed[E] = Typed(kind, lambda env: reduce(apply, (widened(run(env), kind) for run in runs)))
    return folded(typed, parts, node)


def _choice(node: Call, scope: Scope[E]) -> Typed[E]:
    """Compile `if(cond, a, b)`; only the chosen side when the condition is constant."""
    count_arguments(node, 3)
    condition = truth(node.args[0], scope)
    if condition.constant is not None:
        return compile_tree(node.args[1] if condition.constant else node.args[2], scope)
    yes, no = gather(node.args[1:], lambda arg: number(arg, scope))
    kind: ValueType = "float" if "float" in (yes.type, no.type) else "bool" if yes.type == no.type == "bool" else "int"
    test, a, b = condition.run, yes.run, no.run
    if kind == "bool":
        return Typed(kind, lambda env: np.where(test(env), a(env), b(env)))
    return Typed(kind, lambda env: np.where(test(env), widened(a(env), kind), widened(b(env), kind)))
