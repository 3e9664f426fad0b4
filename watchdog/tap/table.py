"""The table of a tap: measures by key, for each interval of event time.

An interval is closed when the watermark of every source has passed its end, so the numbers do not depend on batches.
Keys are text that strangers chose: `MOST_KEYS` bounds them, and what found no room is counted and reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Ints
from watchdog.core.batch import Batch
from watchdog.core.plan import MeasurePlan, as_bool
from watchdog.engine.grouping import Grouping
from watchdog.engine.measures.measure import identities, whole_numbers
from watchdog.tap.measures import Accumulator, accumulator_of
from watchdog.tap.query import TablePlan

MOST_KEYS: Final = 10_000
MOST_OPEN: Final = 64  # intervals at a time; a source whose times jump closes the oldest
_IDENTITIES: Final = frozenset({"distinct", "top_share", "entropy"})


@dataclass(frozen=True, slots=True, eq=False)
class MeasureTable:
    """One table: an interval from `from_ns` to `to_ns` (excluded).

    keys: the texts of `by` for each row. columns: by name, one value a row, or the counts of all bins of a histogram.
    refused: events without a place, because there were too many keys. unmeasured: by measure, rows beyond its room.
    """

    from_ns: int
    to_ns: int
    keys: list[tuple[str, ...]]
    columns: dict[str, NDArray[Any]]
    refused: int
    unmeasured: dict[str, int]


class OpenInterval:
    """The rows of one interval, accumulated."""

    def __init__(self, plan: TablePlan) -> None:
        self._plan = plan
        self._grouping = Grouping(plan.by, (), MOST_KEYS)
        self._accumulators: dict[str, Accumulator] = {each.name: accumulator_of(each) for each in plan.plans}
        self.first_ns, self.last_ns, self._refused = 0, 0, 0

    def add(self, batch: Batch) -> None:
        """Take all rows of a batch, which is not empty."""
        first_ns, last_ns = int(batch.time_ns.min()), int(batch.time_ns.max())
        self.first_ns = min(self.first_ns or first_ns, first_ns)
        self.last_ns = max(self.last_ns, last_ns)
        slots = self._grouping.slots(batch, np.arange(batch.rows)).astype(np.int64)
        room = slots >= 0
        self._refused += int(np.count_nonzero(~room))
        for plan in self._plan.plans:
            keep = room if plan.where is None else room & as_bool(plan.where(batch), batch.rows)
            if keep.any():
                values = _values(plan, batch)
                self._accumulators[plan.name].add(slots[keep], values[keep], batch.time_ns[keep])

    def table(self, from_ns: int, to_ns: int) -> MeasureTable:
        """Return the table, its keys in the order in which they came."""
        count = self._grouping.capacity
        cells = {name: each.cells(count) for name, each in self._accumulators.items()}
        with np.errstate(all="ignore"):
            for name, value in self._plan.values:
                cells[name] = np.broadcast_to(np.asarray(value(cells)), (count,))
        columns = {name: cells[name] for name in self._plan.shown}
        unmeasured = {name: each.refused for name, each in self._accumulators.items() if each.refused}
        return MeasureTable(from_ns, to_ns, self._grouping.texts[:count], columns, self._refused, unmeasured)


def _values(plan: MeasurePlan, batch: Batch) -> NDArray[Any]:
    if plan.op in _IDENTITIES:
        return identities(plan, batch)
    return whole_numbers(plan, batch)


class Intervals:
    """The open intervals of a tap. late: rows that came after their interval was closed."""

    def __init__(self, plan: TablePlan) -> None:
        self._plan = plan
        self._open: dict[int, OpenInterval] = {}
        self._closed = -1  # the latest interval that was closed
        self.late = 0

    def add(self, batch: Batch) -> None:
        """Take the rows of a batch."""
        if not self._plan.every_ns:
            self._interval(0).add(batch)
            return
        numbers: Ints = batch.time_ns // self._plan.every_ns
        on_time = numbers > self._closed
        self.late += batch.rows - int(np.count_nonzero(on_time))
        for number in np.unique(numbers[on_time]).tolist():
            rows = np.flatnonzero(numbers == number)
            self._interval(number).add(batch if len(rows) == batch.rows else batch.take(rows))

    def passed(self, until_ns: int) -> Iterator[MeasureTable]:
        """Yield the tables of the intervals that end up to `until_ns`, and of the oldest when too many are open."""
        every_ns = self._plan.every_ns
        if not every_ns:
            return
        for number in sorted(self._open):
            if (number + 1) * every_ns > until_ns and len(self._open) <= MOST_OPEN:
                return
            self._closed = max(self._closed, number)
            yield self._open.pop(number).table(number * every_ns, (number + 1) * every_ns)

    def rest(self) -> Iterator[MeasureTable]:
        """Yield the tables of what is open; each ends with its last event."""
        for number, interval in sorted(self._open.items()):
            from_ns = number * self._plan.every_ns if self._plan.every_ns else interval.first_ns
            yield interval.table(from_ns, interval.last_ns + 1)
        self._open.clear()

    def _interval(self, number: int) -> OpenInterval:
        if number not in self._open:
            self._open[number] = OpenInterval(self._plan)
        return self._open[number]


def is_histogram(values: NDArray[Any]) -> bool:
    """Return whether a column of a table holds histograms."""
    return values.ndim > 1
