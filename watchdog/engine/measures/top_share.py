"""`top_share(x)`: the share of rows that have the most frequent value, 0 to 1."""

from __future__ import annotations

import numpy as np

from watchdog.engine.measures.measure import CellRows, Column, MeasureKind
from watchdog.engine.measures.value_counts import Spread


class TopShare(Spread):
    """The largest count over the number of rows; 0 in an empty window."""

    def cells(self, rows: CellRows) -> Column:
        """Return the share of each slot."""
        return self._counts.tops(rows.slots) / np.maximum(rows.values[:, 0], 1)


KIND = MeasureKind("top_share", lambda _plan, width: TopShare(width), fraction=True)
