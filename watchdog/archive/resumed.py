"""What a source gives again after a restart is not recorded a second time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from watchdog.core.batch import Batch, Slice


class Resumed:
    """Drops rows from before the watermark to which their source is recorded, until the source has passed it.

    marks: these watermarks, by source. Belongs to one thread.
    """

    def __init__(self, marks: Mapping[str, int]) -> None:
        self._marks = dict(marks)

    def rest(self, piece: Slice) -> Slice | None:
        """Return the slice without what is recorded; None when all of it is."""
        mark_ns = self._marks.get(piece.source)
        if mark_ns is None:
            return piece
        given = (_since(batch, mark_ns) for batch in piece.batches if batch.rows)
        batches = tuple(batch for batch in given if batch is not None)
        if piece.until_ns > mark_ns:
            del self._marks[piece.source]
        elif not batches:
            return None
        return replace(piece, batches=batches)


def _since(batch: Batch, mark_ns: int) -> Batch | None:
    new = batch.time_ns >= mark_ns
    if new.all():
        return batch
    return batch.take(np.flatnonzero(new)) if new.any() else None
