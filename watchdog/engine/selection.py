"""Which rows of a batch a stream wants; rules meet only the rows that can concern them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.ordering import parted
from watchdog.core.batch import Batch, Column, Strings
from watchdog.core.plan import RowExpression, as_bool

RowNumbers = NDArray[np.intp]
SHARED = 4  # filters that ask the same of their partitions, from which on it is asked once


class ChosenColumns(Mapping[str, Column]):
    """Columns of some rows of a batch, taken when they are asked for."""

    def __init__(self, columns: Mapping[str, Column], rows: RowNumbers) -> None:
        self._columns, self._rows = columns, rows
        self._taken: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        taken = self._taken.get(name)
        if taken is None:
            column = self._columns[name]
            taken = column[self._rows] if isinstance(column, np.ndarray) else column.take(self._rows)
            self._taken[name] = taken
        return taken

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


class Selected:
    """Rows of a batch that a stream reads: `view` holds them, made when it is asked for."""

    __slots__ = ("_view", "batch", "rows")

    def __init__(self, batch: Batch, rows: RowNumbers, view: Batch | None = None) -> None:
        self.batch, self.rows, self._view = batch, rows, view

    @property
    def view(self) -> Batch:
        """The rows as a batch."""
        if self._view is None:
            self._view = chosen(self.batch, self.rows)
        return self._view


def chosen(batch: Batch, rows: RowNumbers) -> Batch:
    """Return a view of some rows; nothing is copied before it is read."""
    return Batch(batch.kind, batch.node, batch.source, ChosenColumns(batch.columns, rows), batch.boot_ns)


class Selector:
    """Selects rows of one kind for several filters.

    Filters that demand `field == "constant"` are found by that constant: the batch is
    partitioned by the field once, and each such filter sees its own part only.
    """

    def __init__(self, filters: Sequence[RowExpression | None]) -> None:
        self._filters = list(filters)
        self._rest = list(filters)  # what is left to ask of the rows that a filter is shown
        self._plain: list[int] = []
        self._indexed: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        uses: dict[str, int] = defaultdict(int)
        for expression in self._filters:
            for field, _ in expression.equals if expression else ():
                uses[field] += 1
        for position, expression in enumerate(self._filters):
            equals = dict(expression.equals) if expression else {}
            equals.pop("kind", None)
            if not equals:
                self._plain.append(position)
                continue
            field = max(equals, key=lambda name: (uses[name], name == "type", name))
            self._indexed[field][equals[field]].append(position)
            if expression is not None:  # the partition answers this conjunct
                self._rest[position] = expression.without(field, equals[field])

        # What several partitions still ask is asked of the whole batch once.
        asked = Counter(rest.text for i, rest in enumerate(self._rest) if rest is not None and i not in self._plain)
        first = {rest.text: rest for rest in self._rest if rest is not None}
        self._shared = [first[text] for text, count in asked.items() if count >= SHARED]

    def select(self, batch: Batch) -> list[Selected | None]:
        """Return, for each filter, the rows that it selects of this batch, None without any."""
        selected: list[Selected | None] = [None] * len(self._filters)
        answers = {rest.text: as_bool(rest(batch), batch.rows) for rest in self._shared}
        for position in self._plain:
            selected[position] = self._narrow(Selected(batch, np.arange(batch.rows), batch), position)
        for field, wanted in self._indexed.items():
            column = batch.columns.get(field)
            if not isinstance(column, Strings):
                continue  # such a filter compares a column that all of its kinds have
            for value, rows in parts(column, wanted.keys()):
                part = Selected(batch, rows)
                for position in wanted[value]:
                    rest = self._rest[position]
                    if rest is not None and rest.text in answers:
                        selected[position] = _kept(part, answers[rest.text][rows])
                    else:
                        selected[position] = self._narrow(part, position)
        return selected

    def _narrow(self, part: Selected, position: int) -> Selected | None:
        expression = self._rest[position]
        if expression is None:
            return part if len(part.rows) else None
        return _kept(part, as_bool(expression(part.view), len(part.rows)))


def _kept(part: Selected, passed: NDArray[np.bool_]) -> Selected | None:
    """Return the rows that passed a filter, None without any."""
    rows = part.rows[passed]
    if len(rows) == len(part.rows):
        return part if len(rows) else None
    return Selected(part.batch, rows) if len(rows) else None


def parts(column: Strings, wanted: Container[str]) -> Iterator[tuple[str, RowNumbers]]:
    """Return the rows of each wanted value, in row order; values that do not occur are left out."""
    codes = {value: code for code, value in enumerate(column.values) if value in wanted}
    if not codes:
        return
    if len(codes) == 1:
        value, code = next(iter(codes.items()))
        yield value, np.flatnonzero(column.codes == code)
        return
    order, bounds = parted(column.codes, len(column.values))
    for value, code in codes.items():
        if bounds[code] < bounds[code + 1]:
            yield value, order[bounds[code] : bounds[code + 1]]
