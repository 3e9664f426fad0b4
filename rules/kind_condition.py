"""The condition of an exception for one kind of events, which may lack facts that the connection has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rules.canonical import Lists
from rules.catalogue import field_types
from rules.cells import names_in
from rules.formula import compile_row
from rules.rows import RowScope
from rules.syntax import Binary, Call, Expr, Logic, Member, Name, Unary
from rules.tokens import ExpressionError
from watchdog.core.batch import Batch
from watchdog.core.kinds import FINDING_KINDS, FLEET_KINDS
from watchdog.core.plan import as_bool
from watchdog.core.resolved import RESOLVED, UNKNOWN, hidden


class KindCondition:
    """A condition over rows of one kind. resolved: facts that the engine adds, as the kind lacks them.

    Where a fact is not known the condition is false: an event counts unless it is known not to.
    """

    __slots__ = ("_row", "always", "resolved")

    def __init__(self, tree: Expr, scope: RowScope, resolved: frozenset[str]) -> None:
        self._row = compile_row(tree, scope, "filter")
        self.resolved = resolved
        self.always = self._row.constant is True

    def __call__(self, batch: Batch) -> NDArray[np.bool_]:
        """Return for which rows it holds."""
        for name in self.resolved:
            if hidden(name) not in batch.columns:
                return np.zeros(batch.rows, np.bool_)
        found = as_bool(self._row.run(batch), batch.rows)
        for name in self.resolved:
            column = batch.strings(hidden(name))
            unknown = [code for code, value in enumerate(column.values) if value == UNKNOWN]
            found = found & ~np.isin(column.codes, unknown)
        return found


def conditions_of(tree: Expr, kinds: Iterable[str], lists: Lists) -> Mapping[str, KindCondition]:
    """Return the condition for each kind that has every field, or can have it resolved; flawed ones are left out."""
    names, wanted = names_in(tree), sorted(kinds)
    found: dict[str, KindCondition] = {}
    for kind in wanted:
        fields = field_types(kind).keys()
        lacking = frozenset(names - fields)
        if lacking and not (lacking <= set(RESOLVED) and "conn" in fields and kind not in FINDING_KINDS | FLEET_KINDS):
            continue
        try:
            found[kind] = KindCondition(_renamed(tree, lacking), _Scope(kind, wanted, lists, lacking), lacking)
        except ExpressionError:
            continue  # reported by the check of the condition as it is written
    return found


class _Scope(RowScope):
    """The fields of a kind with the hidden columns that it gets."""

    def __init__(self, kind: str, kinds: list[str], lists: Lists, resolved: Iterable[str]) -> None:
        super().__init__(kind, kinds, lists)
        self.types = {**self.types, **{hidden(name): "text" for name in resolved}}


def _renamed(tree: Expr, names: frozenset[str]) -> Expr:
    """Return a tree that asks hidden columns for these names."""
    if not names:
        return tree
    if isinstance(tree, Name):
        return replace(tree, name=hidden(tree.name)) if tree.name in names else tree
    if isinstance(tree, Logic):
        return replace(tree, parts=tuple(_renamed(part, names) for part in tree.parts))
    if isinstance(tree, Binary):
        return replace(tree, left=_renamed(tree.left, names), right=_renamed(tree.right, names))
    if isinstance(tree, Unary):
        return replace(tree, operand=_renamed(tree.operand, names))
    if isinstance(tree, Member):
        return replace(tree, item=_renamed(tree.item, names))
    if isinstance(tree, Call):
        return replace(tree, args=tuple(_renamed(part, names) for part in tree.args))
    return tree
