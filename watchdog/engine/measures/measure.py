"""The protocol of measures, and what all of them need of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.mixing import text_word
from detectors.state import State
from detectors.windows import Changes, Ints
from watchdog.core.batch import Batch, Blobs, Strings
from watchdog.core.plan import MeasurePlan

Column = NDArray[Any]
Bank = Literal["sum", "distinct"]
"""How a bank of windows follows a measure: it sums the column of the window, or counts distinct values."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a measure holds: the values that it remembers, and those it refused because a table was full."""

    values: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PaneRows:
    """The rows of panes start..stop-1 that count for one measure: slot, pane, time and value of each row."""

    start: int
    stop: int
    slots: Ints
    panes: Ints
    times: Ints
    values: Column

    @property
    def words(self) -> NDArray[np.uint64]:
        """The values as words, for measures over identities."""
        return self.values.astype(np.uint64, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class CellRows:
    """Decided rows: slot, pane, panes with arrivals in its window (0: empty), the measure's columns of the window."""

    slots: Ints
    panes: Ints
    live: Ints
    values: Ints


class Measure(Protocol):
    """The state of one measure in a window that closes pane by pane.

    The window calls `feed` for each batch; then, for panes in order, `close`, `cells` for the rows to decide, `settle`.
    Rows of a pane may come in any order and split into any batches: the cells must not depend on it. `slots` are the
    window's key numbers. What a measure does not need it inherits.
    """

    columns: int = 0
    """Columns of the window's sums that belong to the measure; `close` returns their changes."""
    summed: bool = False
    """Whether the window sums and expires the fed values itself, in the one column of the measure."""

    runs: bool = False
    """Whether `close` and `cells` also take several panes at once, with rows and cells of all of them."""

    timed: bool = False
    """Whether `close` reads the times of the rows; else `PaneRows.times` is empty."""

    def feed(self, plan: MeasurePlan, view: Batch) -> Column:
        """Return the value of each row of a batch, as `close` gets it; the plan's filter is applied by the window."""
        ...

    def close(self, rows: PaneRows) -> Changes | None:  # noqa: ARG002 - the default
        """Take the rows of the closing panes and expire what leaves there.

        Called for every pane in which rows enter or leave, or for several at once where it `runs`.
        Returns signed changes of the measure's columns, or None.
        """
        return None

    def cells(self, rows: CellRows) -> Column:
        """Return the measure of each decided row."""
        ...

    def settle(self, slots: Ints) -> tuple[Ints, Ints] | None:  # noqa: ARG002 - the default
        """Shrink the state of these slots after a pane was decided; return (slots, correction of their column)."""
        return None

    def next_expiry(self) -> int | None:
        """Return the pane at which something leaves that the window's own log does not hold; None without any."""
        return None

    def reserve(self, slots: int) -> None:  # noqa: ARG002 - the default
        """Make room for slots 0..slots-1."""
        return

    def evict(self, slots: Ints) -> None:  # noqa: ARG002 - the default
        """Forget these slots: other keys will use them."""
        return

    def cost(self) -> Cost:
        """Return what the measure holds; the basis of the metrics and of the bounds on memory."""
        return Cost()

    def state(self) -> State:
        """Return what `restore` needs; not called where the window's sums are all there is."""
        return {}

    def restore(self, state: State, closed: int, slots: int) -> None:  # noqa: ARG002 - the default
        """Continue from `state`. closed: panes before it are closed; slots: their number. ValueError on misfits."""
        return


@dataclass(frozen=True, slots=True)
class MeasureKind:
    """A row of the registry.

    make: a measure for a plan and a window width in panes. bank: how a bank of windows follows it, None if it cannot.
    fraction: whether the measure is a number with a fraction; others are whole.
    """

    op: str
    make: Callable[[MeasurePlan, int], Measure]
    bank: Bank | None = None
    fraction: bool = False


def whole_numbers(plan: MeasurePlan, view: Batch) -> Ints:
    """Return the plan's value of each row as int64; 1 for a plan without a value."""
    if plan.value is None:
        return np.broadcast_to(np.int64(1), (view.rows,))
    numbers: Column = np.asarray(plan.value(view))
    if numbers.shape != (view.rows,):  # a constant; broadcast_to costs more than most expressions
        numbers = np.broadcast_to(numbers, (view.rows,))
    return numbers.astype(np.int64, copy=False)


def identities(plan: MeasurePlan, view: Batch) -> NDArray[np.uint64]:
    """Return the plan's value of each row as a 64-bit word; equal words mean equal values."""
    if plan.value is None:
        raise ValueError(f"measure {plan.name!r} needs a value")
    values: object = plan.value(view)
    if isinstance(values, Strings):
        return np.array([text_word(value) for value in values.values], np.uint64)[values.codes]
    if isinstance(values, Blobs):
        return np.array([text_word(blob.hex()) for blob in values.tolist()], np.uint64)
    numbers: Column = np.broadcast_to(np.asarray(values), (view.rows,))
    if numbers.dtype == np.float64:
        return numbers.view(np.uint64)
    return numbers.astype(np.int64).view(np.uint64) if numbers.dtype != np.uint64 else numbers
