"""`entropy(x)`: how the rows are spread over values, in bits."""

from __future__ import annotations

from detectors.shares import entropy_bits
from watchdog.engine.measures.measure import CellRows, Column, MeasureKind
from watchdog.engine.measures.value_counts import Spread


class Entropy(Spread):
    """Shannon entropy of the counts; 0 in an empty window."""

    def cells(self, rows: CellRows) -> Column:
        """Return the entropy of each slot."""
        return entropy_bits(rows.values[:, 0], rows.values[:, 1])


KIND = MeasureKind("entropy", lambda _plan, width: Entropy(width), fraction=True)
