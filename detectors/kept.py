"""The samples that a detector of another library has been fed, by slot: its state, without knowing its inside.

What such a detector knows is what it was fed, so a fresh one that is fed the same is the same. Rows are kept, bounded
in number by slot, and slots are bounded as well: a slot beyond them is refused and counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from detectors.state import State, checked
from detectors.windows import Floats, Ints


class KeptRows:
    """Rows of `width` numbers by slot, at most `most` of each, of at most `keys` slots.

    refused: samples of slots beyond `keys`.
    """

    def __init__(self, width: int, most: int, keys: int) -> None:
        if min(width, most, keys) < 1:
            raise ValueError("width, most and keys are at least 1")
        self.width, self.most, self.keys, self.refused = width, most, keys, 0
        self._rows: dict[int, array[float]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def admit(self, slot: int) -> bool:
        """Return whether a slot has a place, which it then keeps until it is dropped."""
        if slot in self._rows:
            return True
        if len(self._rows) >= self.keys:
            self.refused += 1
            return False
        self._rows[slot] = array("d")
        return True

    def rows(self, slot: int) -> Floats:
        """Return a copy of the rows of a slot: rows x width."""
        return np.array(self._rows[slot], np.float64).reshape(-1, self.width)

    def count(self, slot: int) -> int:
        """Return how many rows a slot has."""
        return len(self._rows[slot]) // self.width

    def add(self, slot: int, row: tuple[float, ...]) -> int:
        """Keep one more row; return how many there are now."""
        own = self._rows[slot]
        own.extend(row)
        return len(own) // self.width

    def keep(self, slot: int, last: int) -> None:
        """Forget all rows of a slot but the last ones."""
        own = self._rows[slot]
        del own[: max(len(own) - last * self.width, 0)]

    def drop(self, slot: int) -> None:
        """Forget a slot; its place is free."""
        self._rows.pop(slot, None)

    def state(self, beside: Mapping[str, NDArray[np.generic]]) -> State:
        """Return slots, how many rows each has, and the rows. beside: further columns, by slot in the same order."""
        counts = [len(own) // self.width for own in self._rows.values()]
        flat = np.concatenate([np.zeros(0), *(np.array(own, np.float64) for own in self._rows.values())])
        return {
            "slots": np.array(list(self._rows), np.int64),
            "counts": np.array(counts, np.int64),
            "rows": flat.reshape(-1, self.width),
            **beside,
        }

    def restore(self, state: State) -> Ints:
        """Continue from `state`; return its slots. ValueError for one that no samples give."""
        slots = checked(state, "slots", np.int64, bounds=(0, 1 << 31))
        counts = checked(state, "counts", np.int64, len(slots), (0, self.most + 1))
        rows = checked(state, "rows", np.float64, int(counts.sum()), columns=self.width)
        if len(slots) > self.keys or len(np.unique(slots)) < len(slots) or not np.isfinite(rows).all():
            raise ValueError("a detector keeps samples that it was never fed")
        parts = np.split(rows, np.cumsum(counts)[:-1]) if len(slots) else []
        self._rows = {
            slot: array("d", part.reshape(-1).tolist()) for slot, part in zip(slots.tolist(), parts, strict=True)
        }
        return slots
