"""A `where` outside of a rule: over the batches of several kinds, of which some may lack a field that it names."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rules.catalogue import field_types
from rules.cells import names_in
from rules.formula import RowFormula, check_row
from rules.syntax import parse
from rules.tokens import ExpressionError
from watchdog.core.batch import Batch
from watchdog.core.errors import RuleError
from watchdog.core.plan import as_bool


class RowFilter:
    """Selects rows of the kinds that have every field of an expression. Made by `row_filter`.

    kinds: those. others: whether rows of other kinds pass.
    """

    def __init__(self, formula: RowFormula, kinds: frozenset[str], *, others: bool) -> None:
        self._formula, self.kinds, self._others = formula, kinds, others

    def __call__(self, batch: Batch) -> Batch | None:
        """Return the rows that pass; None without any."""
        if batch.kind not in self.kinds:
            return batch if self._others else None
        passed = as_bool(self._formula(batch), batch.rows)
        if passed.all():
            return batch
        return batch.take(np.flatnonzero(passed)) if passed.any() else None


def row_filter(text: str, kinds: Iterable[str], *, others: bool) -> RowFilter:
    """Check an expression for these kinds. RuleError with every mistake, in one line."""
    wanted = frozenset(kinds)
    try:
        tree = parse(text)
        names = names_in(tree)
        fitting = sorted(kind for kind in wanted if names <= field_types(kind).keys())
        check_row(tree, fitting or sorted(wanted), {}, "filter")
    except ExpressionError as error:
        flaws = (
            f"{flaw.message}{f' ({flaw.hint})' if flaw.hint else ''} at '{text[flaw.start : flaw.end][:80]}'"
            for flaw in error.flaws[:3]
        )
        raise RuleError("; ".join(flaws)) from None
    return RowFilter(RowFormula(tree, fitting, {}, "filter"), frozenset(fitting), others=others)
