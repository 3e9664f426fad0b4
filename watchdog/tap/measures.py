"""Accumulators of a tap's measures: one number, or one histogram, for each key of an interval.

The windows of the engine hold what they need to take rows back. A tap never takes one back, so an interval of any
length needs memory for its keys and distinct values only. The numbers are those of a rule over the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.mixing import Words, combine
from detectors.quantiles import middles
from detectors.shares import entropy_bits
from detectors.slots import SlotTable
from watchdog.core.arrays import Flags, Ints
from watchdog.core.plan import MeasurePlan

MOST_PAIRS: Final = 1 << 18  # (key, value) pairs of a measure: some 10 MB
_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
_BITS: Final = 64  # bins of either sign: by bit length of the magnitude, 0 to 63, and 2**63
BINS: Final = 2 * _BITS + 1
_FIXED_POINT: Final = 1 << 20  # that of `entropy_bits`


class Accumulator(Protocol):
    """One measure of an interval. refused: rows that found no room."""

    refused: int

    def add(self, slots: Ints, values: NDArray[Any], times: Ints) -> None:
        """Take rows: the slot of the key, the value and the time of each."""
        ...

    def cells(self, slots: int) -> NDArray[Any]:
        """Return the measure of slots 0 to `slots` - 1; a histogram has a row of BINS counts for each."""
        ...


def accumulator_of(plan: MeasurePlan) -> Accumulator:
    """Return an empty accumulator. KeyError: an operation that this module does not know."""
    if plan.op == "quantile":
        return Quantiles(plan.parameters[0])
    return _MAKERS[plan.op]()


def grown(array: NDArray[Any], size: int, fill: int = 0) -> NDArray[Any]:
    """Return the array with room for `size` rows at least."""
    if size <= len(array):
        return array
    more = np.full((1 << (size - 1).bit_length(), *array.shape[1:]), fill, array.dtype)
    more[: len(array)] = array
    return more


class Sums:
    """`sum(x)`; `count()` is a sum of ones."""

    refused = 0

    def __init__(self) -> None:
        self._sums: Ints = np.zeros(16, np.int64)

    def add(self, slots: Ints, values: NDArray[Any], times: Ints) -> None:  # noqa: ARG002 - as all
        """Add the values."""
        self._sums = grown(self._sums, int(slots.max()) + 1)
        np.add.at(self._sums, slots, values)

    def cells(self, slots: int) -> Ints:
        """Return the sums."""
        return grown(self._sums, slots)[:slots]


class ExtremeValues:
    """`min(x)`, `max(x)`; 0 for a key without rows."""

    refused = 0

    def __init__(self, *, least: bool) -> None:
        self._fold = np.minimum if least else np.maximum
        self._start = _MOST if least else _LEAST
        self._values: Ints = np.full(16, self._start, np.int64)
        self._seen: Flags = np.zeros(16, np.bool_)

    def add(self, slots: Ints, values: NDArray[Any], times: Ints) -> None:  # noqa: ARG002 - as all
        """Fold the values."""
        size = int(slots.max()) + 1
        self._values, self._seen = grown(self._values, size, self._start), grown(self._seen, size)
        self._fold.at(self._values, slots, values)
        self._seen[slots] = True

    def cells(self, slots: int) -> Ints:
        """Return the extremes."""
        return np.where(grown(self._seen, slots), grown(self._values, slots, self._start), 0)[:slots]


class LatestValues:
    """`last(x)`: the value of the latest row; of several at one time the greatest."""

    refused = 0

    def __init__(self) -> None:
        self._times: Ints = np.full(16, _LEAST, np.int64)
        self._values: Ints = np.zeros(16, np.int64)

    def add(self, slots: Ints, values: NDArray[Any], times: Ints) -> None:
        """Keep the latest."""
        size = int(slots.max()) + 1
        self._times, self._values = grown(self._times, size, _LEAST), grown(self._values, size)
        order = np.lexsort((values, times, slots))
        ends = np.flatnonzero(np.append(np.diff(slots[order]) != 0, [True]))
        rows = order[ends]
        slot, time, value = slots[rows], times[rows], np.asarray(values)[rows]
        later = (time > self._times[slot]) | ((time == self._times[slot]) & (value > self._values[slot]))
        self._times[slot[later]], self._values[slot[later]] = time[later], value[later]

    def cells(self, slots: int) -> Ints:
        """Return the latest values."""
        return grown(self._values, slots)[:slots]


class CountedValues:
    """Counts of each (key, value) pair, at most `MOST_PAIRS`: the base of distinct, shares, entropy and quantiles."""

    def __init__(self, most: int = MOST_PAIRS) -> None:
        self._table = SlotTable(most)
        self._owner: Ints = np.zeros(64, np.int64)
        self._value: Ints = np.zeros(64, np.int64)
        self._count: Ints = np.zeros(64, np.int64)
        self.refused = 0

    def add(self, slots: Ints, values: NDArray[Any], times: Ints) -> None:  # noqa: ARG002 - as all
        """Count the pairs."""
        words: Words = np.ascontiguousarray(values).view(np.uint64)
        pairs, first = self._table.assign(combine(slots.view(np.uint64), words))
        size = self._table.capacity
        self._owner, self._value = grown(self._owner, size), grown(self._value, size)
        self._count = grown(self._count, size)
        fresh = pairs[first]
        self._owner[fresh], self._value[fresh] = slots[first], words.view(np.int64)[first]
        room = pairs >= 0
        self.refused += int(np.count_nonzero(~room))
        np.add.at(self._count, pairs[room], 1)

    @property
    def pairs(self) -> tuple[Ints, Ints, Ints]:
        """The owner, the value and the count of each pair."""
        size = self._table.capacity
        return self._owner[:size], self._value[:size], self._count[:size]

    def totals(self, slots: int) -> Ints:
        """Return the rows of each slot."""
        owners, _, counts = self.pairs
        return np.bincount(owners, counts, slots).astype(np.int64)[:slots]


class DistinctValues(CountedValues):
    """`distinct(x)`: exact, as long as there is room."""

    def cells(self, slots: int) -> Ints:
        """Return the number of pairs of each slot."""
        return np.bincount(self.pairs[0], minlength=slots).astype(np.int64)[:slots]


class TopValueShare(CountedValues):
    """`top_share(x)`: the share of rows with the most frequent value."""

    def cells(self, slots: int) -> NDArray[np.float64]:
        """Return the share of each slot, 0 without rows."""
        owners, _, counts = self.pairs
        tops = np.zeros(slots, np.int64)
        np.maximum.at(tops, owners, counts)
        return tops / np.maximum(self.totals(slots), 1)


class ValueEntropy(CountedValues):
    """`entropy(x)`, in bits."""

    def cells(self, slots: int) -> NDArray[np.float64]:
        """Return the entropy of each slot."""
        owners, _, counts = self.pairs
        weights = np.rint(counts * np.log2(np.maximum(counts, 1)) * _FIXED_POINT)
        return entropy_bits(self.totals(slots), np.bincount(owners, weights, slots).astype(np.int64)[:slots])


class Quantiles(CountedValues):
    """`quantile(x, share)`: within 1 in 128, exact below 128, as `detectors/quantiles.py` has it."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def add(self, slots: Ints, values: NDArray[Any], times: Ints) -> None:
        """Count the rows in their bins."""
        super().add(slots, middles(np.asarray(values, np.int64)), times)

    def cells(self, slots: int) -> Ints:
        """Return the quantile of each slot, 0 without rows."""
        owners, values, counts = self.pairs
        result = np.zeros(slots, np.int64)
        if not len(owners):
            return result
        order = np.lexsort((values, owners))
        owners, values, counts = owners[order], values[order], counts[order]
        heads = np.flatnonzero(np.diff(owners, prepend=-1))
        below = np.cumsum(counts)
        before = np.concatenate(([0], below))[heads]
        totals = np.add.reduceat(counts, heads)
        ranks = np.maximum(np.ceil(np.round(totals * self._share, 9)).astype(np.int64), 1)
        result[owners[heads]] = values[np.searchsorted(below, before + ranks)]
        return result


class Histogram:
    """`histogram(x)`: rows by power of two. Bin 64 is 0, 64 + n is [2**(n-1), 2**n), 64 - n the same below 0."""

    refused = 0

    def __init__(self) -> None:
        self._counts: Ints = np.zeros((1, BINS), np.int64)

    def add(self, slots: Ints, values: NDArray[Any], times: Ints) -> None:  # noqa: ARG002 - as all
        """Count the rows in their bins."""
        self._counts = grown(self._counts, int(slots.max()) + 1)
        numbers = np.maximum(np.asarray(values, np.int64), -_MOST)
        _, lengths = np.frexp(np.abs(numbers).astype(np.float64))  # the bit length; 2**53 and more may round up
        over = (lengths > 1) & (np.abs(numbers) < np.int64(1) << np.minimum(lengths - 1, 62).astype(np.int64))
        bins = _BITS + np.sign(numbers) * np.minimum(lengths - over, 63)
        np.add.at(self._counts, (slots, bins), 1)

    def cells(self, slots: int) -> Ints:
        """Return the counts of all bins of each slot."""
        return grown(self._counts, slots)[:slots]


def bounds_of(bin_: int) -> tuple[int, int]:
    """Return the least value of a histogram's bin, and the least value beyond it."""
    power = abs(bin_ - _BITS)
    if not power:
        return 0, 1
    low, high = 1 << (power - 1), 1 << power
    return (low, high) if bin_ > _BITS else (-high + 1, -low + 1)


_MAKERS: Final[Mapping[str, Callable[[], Accumulator]]] = {
    "count": Sums,
    "sum": Sums,
    "min": lambda: ExtremeValues(least=True),
    "max": lambda: ExtremeValues(least=False),
    "last": LatestValues,
    "distinct": DistinctValues,
    "top_share": TopValueShare,
    "entropy": ValueEntropy,
    "histogram": Histogram,
}
