"""The ends of windows that were not seen whole, as stretches of event time: where silence means nothing.

gap        [=====)                            a window of length over that ends in here is not whole:
disturbed     (=====+over======)              from the event that reports the gap (at its begin or later), to `over`
                                              behind the gap's end
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from watchdog.engine.panes import NEVER


class Disturbed:
    """Open stretches (ns) in which the end of a window must not lie for the window to be whole."""

    def __init__(self, stretches: Iterable[tuple[int, int]]) -> None:
        begins: list[int] = []
        ends: list[int] = []
        for begin, end in sorted(stretches):
            if ends and begin < ends[-1]:
                ends[-1] = max(ends[-1], end)
            elif begin < end:
                begins.append(begin)
                ends.append(end)
        self._begins, self._ends = begins, ends
        self._columns = np.array(begins, np.int64), np.array(ends, np.int64)

    def at(self, end_ns: int) -> bool:
        """Return whether a window that ends then is not whole."""
        stretch = bisect_left(self._begins, end_ns) - 1
        return stretch >= 0 and self._ends[stretch] > end_ns

    def among(self, ends_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the same for many windows."""
        begins, ends = self._columns
        if not len(begins):
            return np.zeros(len(ends_ns), np.bool_)
        stretch = np.searchsorted(begins, ends_ns) - 1
        return (stretch >= 0) & (ends[stretch] > ends_ns)

    def next_change(self, pane: int, pane_ns: int) -> int:
        """Return the first pane from `pane` on whose window may be whole when the one before is not, or vice versa.

        In logarithmic time, however far away it is.
        """
        stretch = bisect_left(self._ends, pane * pane_ns + 1)  # ends at or before this pane's begin are behind it
        if stretch == len(self._ends):
            return int(NEVER)
        begin = self._begins[stretch] // pane_ns  # the first pane that ends behind the begin of the stretch
        return begin if begin >= pane else -(-self._ends[stretch] // pane_ns) - 1
