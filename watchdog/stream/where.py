"""Conditions that travel: typed trees over the fields of a kind, evaluated for all rows of a batch at once.

A tree comes from another program, so it is checked against the fields of its kind before it is used, and bounded.
`watchdog/core/schema/stream.capnp` has its form on the wire; text never travels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Flags
from watchdog.core.batch import Batch, Strings
from watchdog.core.errors import WatchdogError
from watchdog.core.text import printable
from watchdog.core.where_tree import Apply, FieldValue, WhereTree

NODES_MOST: Final = 1_000
"""Parts of a tree, the choices of `in` included."""
DEPTH_MOST: Final = 30
"""Operations within operations; pycapnp itself follows no more than 64 pointers."""
TEXT_MOST: Final = 4_096  # characters of one constant

TEXT_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
    "has": lambda value, wanted: wanted in value.split(","),
}
_ORDERS: Final[Mapping[str, Callable[..., Any]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}

Test = Callable[[Batch], Flags]
ValueClass = Literal["flag", "number", "text"]


class ConditionError(WatchdogError):
    """A condition does not fit the fields of its kind, or is too large."""


def compiled(tree: WhereTree, types: Mapping[str, str]) -> Test:
    """Return the test of a condition: whether it holds, for each row of a batch; bool[rows].

    types: of the kind's fields, by name. Raises ConditionError when the tree does not fit them.
    """
    _measure(tree)
    return _Compiler(types).truth(tree)


def _measure(tree: WhereTree, depth: int = 0, before: int = 0) -> int:
    """Return the number of nodes; raises ConditionError beyond the limits."""
    nodes = before + 1
    if nodes > NODES_MOST or depth > DEPTH_MOST:
        raise ConditionError(f"a condition has more than {NODES_MOST:,} parts, or more than {DEPTH_MOST} levels")
    if isinstance(tree, str) and len(tree) > TEXT_MOST:
        raise ConditionError(f"a text in a condition has more than {TEXT_MOST:,} characters")
    if isinstance(tree, Apply):
        for part in tree.parts:
            nodes = _measure(part, depth + 1, nodes)
    return nodes


class _Compiler:
    """Closures for the nodes of a tree over one kind's fields."""

    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = types

    def truth(self, tree: WhereTree) -> Test:
        """Return the test of a node that is true or false."""
        if isinstance(tree, bool):
            return _always(tree)
        if isinstance(tree, FieldValue):
            if self._class(tree) != "flag":
                raise ConditionError(f"'{printable(tree.name, 80)}' is neither true nor false")
            name = tree.name
            return lambda batch: batch.numbers(name).astype(np.bool_)
        if not isinstance(tree, Apply):
            raise ConditionError(f"expected a condition, found {printable(repr(tree), 80)}")
        if tree.name in {"and", "or"}:
            return self._joined(tree)
        if tree.name == "not":
            (part,) = _parts(tree, 1)
            inner = self.truth(part)
            return lambda batch: ~inner(batch)
        if tree.name in _ORDERS:
            return self._comparison(tree)
        if tree.name == "in":
            return self._member(tree)
        if tree.name in TEXT_TESTS:
            return self._text_test(tree)
        raise ConditionError(f"unknown operation '{printable(tree.name, 40)}' in a condition")

    def _class(self, tree: WhereTree) -> ValueClass:
        if isinstance(tree, bool):
            return "flag"
        if isinstance(tree, int | float):
            return "number"
        if isinstance(tree, str):
            return "text"
        if isinstance(tree, FieldValue):
            typ = self._types.get(tree.name)
            if typ is None or typ == "bytes":
                why = "has no field" if typ is None else "cannot be asked for its bytes in"
                raise ConditionError(f"the kind {why} '{printable(tree.name, 80)}'")
            return "text" if typ == "str" else "flag" if typ == "bool" else "number"
        return "flag"  # compiled once, by who uses it: twice at each level would take for ever

    def _joined(self, tree: Apply) -> Test:
        if not tree.parts:
            raise ConditionError(f"'{tree.name}' has no parts")
        tests = [self.truth(part) for part in tree.parts]
        join = np.logical_and if tree.name == "and" else np.logical_or

        def run(batch: Batch) -> Flags:
            answer = tests[0](batch)
            for test in tests[1:]:
                answer = join(answer, test(batch))
            return answer

        return run

    def _comparison(self, tree: Apply) -> Test:
        left, right = _parts(tree, 2)
        op = tree.name
        if not isinstance(left, FieldValue) and isinstance(right, FieldValue):
            left, right, op = right, left, _MIRRORED.get(op, op)
        classes = self._class(left), self._class(right)
        if classes[0] != classes[1] or (classes[0] != "number" and op not in {"==", "!="}):
            raise ConditionError(f"'{op}' cannot compare {classes[0]} with {classes[1]}")
        if classes[0] == "flag":
            a, b = self.truth(left), self.truth(right)
            return (lambda batch: a(batch) == b(batch)) if op == "==" else (lambda batch: a(batch) != b(batch))
        if not isinstance(left, FieldValue):
            raise ConditionError("a comparison has no field")
        if classes[0] == "text":
            return _text_comparison(left.name, right, negated=op == "!=")
        return _number_comparison(left.name, op, right)

    def _member(self, tree: Apply) -> Test:
        if not tree.parts:
            raise ConditionError("'in' has no parts")
        item, choices = tree.parts[0], tree.parts[1:]
        wanted = self._class(item)
        if not isinstance(item, FieldValue) or wanted == "flag":
            raise ConditionError("'in' needs a field of text or numbers")
        if any(isinstance(one, FieldValue | Apply) or self._class(one) != wanted for one in choices):
            raise ConditionError(f"'in' needs constants of {wanted} for '{printable(item.name, 80)}'")
        name = item.name
        if wanted == "text":
            texts = frozenset(str(one) for one in choices)
            return lambda batch: _ask(batch.strings(name), texts.__contains__)
        numbers = [one for one in choices if isinstance(one, int | float)]
        return lambda batch: _is_in(batch.numbers(name), numbers)

    def _text_test(self, tree: Apply) -> Test:
        item, wanted = _parts(tree, 2)
        if not isinstance(item, FieldValue) or self._class(item) != "text" or not isinstance(wanted, str):
            raise ConditionError(f"'{tree.name}' needs a field of text, and text")
        name, test = item.name, TEXT_TESTS[tree.name]
        return lambda batch: _ask(batch.strings(name), lambda value: test(value, wanted))


def _parts(tree: Apply, count: int) -> tuple[WhereTree, ...]:
    if len(tree.parts) != count:
        raise ConditionError(f"'{tree.name}' has {len(tree.parts)} parts, not {count}")
    return tree.parts


def _always(answer: bool) -> Test:
    return lambda batch: np.full(batch.rows, answer)


def _ask(column: Strings, test: Callable[[str], bool]) -> Flags:
    """Apply a test to each distinct text of a column."""
    verdicts = np.fromiter((test(value) for value in column.values), np.bool_, len(column.values))
    answer: Flags = verdicts[column.codes] if len(verdicts) else np.zeros(len(column), np.bool_)
    return answer


def _text_comparison(name: str, right: WhereTree, *, negated: bool) -> Test:
    def run(batch: Batch) -> Flags:
        if isinstance(right, FieldValue):
            other = batch.strings(right.name).tolist()
            same = np.array([a == b for a, b in zip(batch.strings(name).tolist(), other, strict=True)], np.bool_)
        else:
            same = _ask(batch.strings(name), lambda value: value == right)
        return ~same if negated else same

    return run


def _number_comparison(name: str, op: str, right: WhereTree) -> Test:
    order = _ORDERS[op]

    def run(batch: Batch) -> Flags:
        other = batch.numbers(right.name) if isinstance(right, FieldValue) else right
        answer: Flags = order(batch.numbers(name), other)
        return answer

    return run


def _is_in(column: NDArray[np.generic], wanted: Sequence[int | float]) -> Flags:
    """Return which numbers are among others; only those that the column's type can hold are looked up in it."""
    if column.dtype.kind == "f":
        return np.isin(column, np.array(wanted, np.float64))
    limits = np.iinfo(column.dtype.name)
    whole = [int(one) for one in wanted if one == one // 1 and limits.min <= one <= limits.max]
    return np.isin(column, np.array(whole, column.dtype))
