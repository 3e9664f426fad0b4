"""Row expressions by use: filters, sums and counts of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rules.canonical import Lists, canonical, conjuncts
from rules.catalogue import PSEUDO, shared_fields, storage_type
from rules.impossible import check_together, row_truth
from rules.rows import Row, RowScope
from rules.syntax import Binary, Expr, Literally, Logic, Name
from rules.tokens import ExpressionError, Flaw
from rules.typed import Typed, compile_tree, fail, number, truth
from watchdog.core.batch import Batch

Use = Literal["filter", "number", "amount", "identity"]
MOST = 1 << 42  # of one event in a sum: two million events of it stay within 64 bits, and 50 days in microseconds


class RowFormula:
    """A checked row expression of a rule: `watchdog.core.plan.RowExpression`.

    use: `filter` gives bool; `number` gives int64, `amount` such of at most MOST; `identity` gives
    int64 that are equal exactly when the values are (text by a 64-bit hash). Works on a batch of any
    kind: it is compiled for a kind when first called. Where a filter that goes with it is false for the
    whole kind, columns that the kind lacks count as 0.
    """

    __slots__ = ("_divides", "_dtype", "_kinds", "_lists", "_runs", "_tree", "equals", "text", "use")

    def __init__(self, tree: Expr, kinds: Sequence[str], lists: Lists, use: Use) -> None:
        self._tree = tree
        self._kinds = tuple(kinds)
        self._lists = lists
        self._runs: dict[str, Callable[[Batch], Any]] = {}
        self.use = use
        text = canonical(tree, lists)
        # identities of wide numbers and of text are other values than the numbers: equal text, equal meaning
        self.text = f"identity({text})" if use == "identity" else text
        self._divides = "/" in self.text  # only then can floats overflow; the guard costs as much as a small batch
        self._dtype = np.dtype(np.bool_ if use == "filter" else np.int64)
        self.equals = _equals(tree, kinds) if use == "filter" else ()

    def __call__(self, batch: Batch) -> NDArray[Any]:
        """Return one value a row, bool or int64."""
        run = self._runs.get(batch.kind)
        if run is None:
            run = self._runs[batch.kind] = self._compiled(batch.kind)
        if self._divides:
            with np.errstate(all="ignore"):
                values = run(batch)
        else:
            values = run(batch)
        if isinstance(values, np.ndarray) and values.ndim and values.dtype == self._dtype:
            return values
        return np.broadcast_to(np.asarray(values, self._dtype), (batch.rows,))

    @property
    def tree(self) -> Expr:
        """Return the tree as it was parsed."""
        return self._tree

    def without(self, field: str, value: str) -> RowFormula | None:
        """Return the filter for rows that are known to fulfil `field == value`; None if nothing else is required."""
        known = ((field, value),)
        parts = tuple(part for part in conjuncts(self._tree) if _equals(part, self._kinds) != known)
        if not parts:
            return None
        tree = parts[0]
        if len(parts) > 1:
            depth = 1 + max(part.depth for part in parts)
            tree = Logic("and", parts, parts[0].start, parts[-1].end, depth)
        return RowFormula(tree, self._kinds, self._lists, self.use)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowFormula) and (self.use, self.text) == (other.use, other.text)

    def __hash__(self) -> int:
        return hash((self.use, self.text))

    def __repr__(self) -> str:
        return f"RowFormula({self.text!r}, {self.use!r})"

    def _compiled(self, kind: str) -> Callable[[Batch], Any]:
        try:
            return compile_row(self._tree, RowScope(kind, self._kinds, self._lists), self.use).run
        except ExpressionError:
            if self.use == "filter":
                raise
            return lambda _: 0  # checked at load: a kind that never passes the filter

    def constant_for(self, kind: str) -> bool | None:
        """Return the answer of a filter for every row of a kind; None if it depends on the row."""
        typed = compile_row(self._tree, RowScope(kind, self._kinds, self._lists), self.use)
        return None if typed.constant is None else bool(typed.constant)


def compile_row(tree: Expr, scope: RowScope, use: Use) -> Row:
    """Compile a tree for one kind. Raises ExpressionError when it does not fit its use."""
    if use == "filter":
        return truth(tree, scope)
    if use == "identity":
        return _identity(tree, scope)
    typed = number(tree, scope)
    if typed.type == "float":
        hint = "sums are exact; compare it instead, as in count(x > 0.5)"
        raise fail(tree, "expected a whole number, found a number with a fraction", hint)
    if use == "number" or typed.type == "bool" or _is_narrow(scope, typed):
        return typed
    return Typed("int", lambda batch: np.clip(typed.run(batch), -MOST, MOST))


def _identity(tree: Expr, scope: RowScope) -> Row:
    """Return any value as an int64 that distinguishes it from others."""
    typed = compile_tree(tree, scope)
    if typed.constant is not None:
        raise fail(tree, "a constant has only one value to count", "name a field")
    name = typed.field
    if typed.type == "prefix" or (typed.type == "int" and name and _is_u64(scope, name)):
        return Typed("int", lambda batch: batch.numbers(name).view(np.int64))
    if typed.type == "float":
        return Typed("int", lambda batch: np.asarray(typed.run(batch), np.float64).view(np.int64))
    return Typed("int", typed.run)


def _is_u64(scope: RowScope, name: str) -> bool:
    return name not in PSEUDO and storage_type(scope.kind, name) == "u64"


def _is_narrow(scope: RowScope, typed: Row) -> bool:
    """Return whether it is a field that cannot hold more than MOST."""
    name = typed.field
    return bool(name) and name not in PSEUDO and storage_type(scope.kind, name) not in ("u64", "i64")


def _equals(tree: Expr, kinds: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the conjuncts `field == "text"` on columns that all of the kinds have."""
    shared: Mapping[str, str] = shared_fields(kinds)
    found = set()
    for part in conjuncts(tree):
        if not isinstance(part, Binary) or part.op != "==":
            continue
        sides = (part.left, part.right) if isinstance(part.left, Name) else (part.right, part.left)
        name, value = sides
        if not (isinstance(name, Name) and isinstance(value, Literally) and isinstance(value.value, str)):
            continue
        if name.name not in PSEUDO and shared.get(name.name) == "text":
            found.add((name.name, value.value))
    return tuple(sorted(found))


def check_row(tree: Expr, kinds: Sequence[str], lists: Lists, use: Use, where: RowFormula | None = None) -> None:
    """Check a tree for all kinds of a rule; raises ExpressionError with each mistake once.

    where: a filter that goes with it; kinds that it keeps out entirely are not checked.
    """
    flaws: dict[tuple[int, int], Flaw] = {}
    for kind in kinds:
        try:
            if where is not None and where.constant_for(kind) is False:
                continue
            compile_row(tree, RowScope(kind, kinds, lists), use)
        except ExpressionError as error:
            for flaw in error.flaws:
                flaws.setdefault((flaw.start, flaw.end), flaw)
    if flaws:
        raise ExpressionError(*flaws.values())
    if use == "filter":
        check_together(tree)
        if row_truth(tree, kinds) is False:
            raise fail(tree, "this is never true")
