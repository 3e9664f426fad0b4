"""Quantiles of whole numbers for each slot over a sliding window; exact for small values, else within 1 in 128.

Values are counted in bins, as a high dynamic range histogram counts them (G. Tene, HdrHistogram: linear bins within
each power of two). All is integer arithmetic on counts, so the answer does not depend on the order of arrival or on
batches, and expiry takes back exactly what arrived:

    |value|      0 .. 127    128 .. 255    256 .. 511    ...    2**62 .. 2**63 - 1
    bin width    1           2             4                    2**56

A slot has at most 2 * 3,776 bins, however many rows it has. The answer is the middle of the bin.
"""

from __future__ import annotations

import numpy as np

from detectors.pair_window import PairWindow
from detectors.state import State, checked
from detectors.windows import SMALLEST, Ints

EXACT_BITS = 7  # magnitudes below 2**7 have a bin each; above, 2**6 bins divide each power of two
RELATIVE_ERROR = 2.0**-EXACT_BITS  # half a bin's width over its least value
MAX_PAIRS = 1_000_000
_LARGEST = np.iinfo(np.int64).max
_RANK_DIGITS = 9  # 0.07 * 100 is 7.000000000000001 in binary; its rank is 7


def middles(values: Ints) -> Ints:
    """Return the middle of each value's bin, the number that stands for it; the value itself where the bin is exact."""
    size = np.abs(np.maximum(values, -_LARGEST))
    shift = np.maximum(_bit_lengths(size) - EXACT_BITS, 0)
    low = (size >> shift) << shift
    return np.sign(values) * (low + ((np.int64(1) << shift) >> 1))


def _bit_lengths(values: Ints) -> Ints:
    """Return the bit length of each value, which is not negative."""
    lengths = np.zeros(len(values), np.int64)
    left = values.copy()
    for step in (32, 16, 8, 4, 2, 1):
        high = left >> step > 0
        lengths[high] += step
        left[high] >>= step
    return lengths + (left > 0)


class QuantileWindow:
    """The quantile `share` of each slot's values over the last `width` panes.

    The answer is the least value that at least a share of `share` of the rows does not exceed (nearest rank, as
    `numpy.quantile(..., method="inverted_cdf")`), within RELATIVE_ERROR. Rows beyond max_pairs bins for all slots
    together are left out and counted in `refused`.
    """

    def __init__(self, width: int, share: float, *, max_pairs: int = MAX_PAIRS) -> None:
        if not 0.0 < share < 1.0:
            raise ValueError(f"a quantile needs a share between 0 and 1, not {share}")
        self.share = share
        self._pairs = PairWindow(width, max_pairs)
        self._value: Ints = np.zeros(SMALLEST, np.int64)  # by pair: the middle of its bin

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def refused(self) -> int:
        """Rows that were not counted because the table was full."""
        return self._pairs.refused

    def next_expiry(self) -> int | None:
        """Return the pane at which the next row leaves, None when the window is empty."""
        return self._pairs.next_expiry()

    def close(self, slots: Ints, panes: Ints, values: Ints, start: int, stop: int) -> None:
        """Close panes start..stop-1 with these rows; all of them are in these panes."""
        binned = middles(values)
        pairs, first = self._pairs.assign(slots, binned.view(np.uint64))
        if self._pairs.capacity > len(self._value):
            grown = np.zeros(1 << (self._pairs.capacity - 1).bit_length(), np.int64)
            grown[: len(self._value)] = self._value
            self._value = grown
        self._value[pairs[first]] = binned[first]
        self._pairs.close(pairs, panes, start, stop)

    def of(self, slots: Ints) -> Ints:
        """Return the quantile of each slot as of the last closed pane, 0 where the window is empty."""
        pairs, owners, counts = self._pairs.of(slots)
        result = np.zeros(int(slots.max(initial=-1)) + 1, np.int64)
        if not len(pairs):
            return result[slots]
        values = self._value[pairs]
        order = np.lexsort((values, owners))
        owners, values, counts = owners[order], values[order], counts[order]
        heads = np.flatnonzero(np.concatenate(([True], owners[1:] != owners[:-1])))
        below = np.cumsum(counts)
        before = np.concatenate(([0], below))[heads]  # rows of all slots before this one
        totals = np.add.reduceat(counts, heads)
        ranks = np.maximum(np.ceil(np.round(totals * self.share, _RANK_DIGITS)).astype(np.int64), 1)
        result[owners[heads]] = values[np.searchsorted(below, before + ranks)]
        return result[slots]

    def purge(self, slots: Ints) -> None:
        """Forget these slots and all their values."""
        self._pairs.purge(slots)

    def state(self) -> State:
        """Return bins and their counts, as arrays."""
        return {"pairs": self._pairs.state(), "values": self._value[: self._pairs.capacity]}

    def restore(self, state: State, closed: int | None = None, slots: int | None = None) -> None:
        """Continue from `state`; see `PairWindow.restore`."""
        self._pairs.restore(state["pairs"], closed, slots)
        size = self._pairs.capacity
        self._value = np.zeros(max(SMALLEST, 1 << max(size - 1, 0).bit_length()), np.int64)
        self._value[:size] = checked(state, "values", np.int64, size)
