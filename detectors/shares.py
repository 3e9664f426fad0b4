"""How a window's rows are spread over values, for each slot: top share and entropy.

Counts are kept for each (slot, value) pair in a window of their own. Entropy needs only the
sum of c*log2(c), which changes with each count, so it stays exact and invertible as an
integer (fixed point), whatever the order of arrival.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.mixing import Words
from detectors.pair_window import PairWindow
from detectors.state import State
from detectors.windows import Changes, Ints

FIXED_POINT = 1 << 20  # of c*log2(c); 2**30 rows of one value still fit in 63 bits
MAX_PAIRS = 1_000_000


def _weight(counts: Ints) -> Ints:
    return np.rint(counts * np.log2(np.maximum(counts, 1)) * FIXED_POINT).astype(np.int64)


def entropy_bits(total: Ints, weight: Ints) -> NDArray[np.float64]:
    """Return the Shannon entropy in bits from the number of rows and the sum of c*log2(c) in fixed point."""
    rows = np.maximum(total, 1).astype(np.float64)
    return np.maximum(np.where(total > 0, np.log2(rows) - weight / FIXED_POINT / rows, 0.0), 0.0)


class ValueCounts:
    """Counts of each value for each slot over the last `width` panes; at most max_pairs (slot, value) pairs.

    Rows of pairs beyond max_pairs are left out and counted in `refused`.
    """

    def __init__(self, width: int, *, max_pairs: int = MAX_PAIRS) -> None:
        self._pairs = PairWindow(width, max_pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def refused(self) -> int:
        """Values that were not counted because the table was full."""
        return self._pairs.refused

    def next_expiry(self) -> int | None:
        """Return the pane at which the next row leaves, None when the window is empty."""
        return self._pairs.next_expiry()

    def close(self, slots: Ints, panes: Ints, values: Words, start: int, stop: int) -> Changes:
        """Close panes start..stop-1; return the signed changes of (rows, sum of c*log2(c)) for each slot."""
        pairs, _ = self._pairs.assign(slots, values)
        counts = self._pairs.close(pairs, panes, start, stop)
        steps = np.column_stack([counts.after - counts.before, _weight(counts.after) - _weight(counts.before)])
        return Changes(counts.owners, counts.panes, steps)

    def tops(self, slots: Ints) -> Ints:
        """Return the count of each slot's most frequent value, as of the last closed pane."""
        _, owners, counts = self._pairs.of(slots)
        most = np.zeros(int(slots.max(initial=-1)) + 1, np.int64)
        np.maximum.at(most, owners, counts)
        return most[slots]

    def purge(self, slots: Ints) -> None:
        """Forget these slots and all their values."""
        self._pairs.purge(slots)

    def state(self) -> State:
        """Return pairs and their window, as arrays."""
        return self._pairs.state()

    def restore(self, state: State, closed: int | None = None, slots: int | None = None) -> None:
        """Continue from `state`; see `PairWindow.restore`."""
        self._pairs.restore(state, closed, slots)
