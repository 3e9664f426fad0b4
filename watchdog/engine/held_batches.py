"""Small batches, held until a pane can close.

A live source gives a few rows of a kind in each poll, and what rules do with a batch costs more for its columns than
for its rows. Nothing is judged before a pane closes and results do not depend on batches, so rows wait and are fed
together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from watchdog.core.batch import Batch
from watchdog.core.column_join import alike, joined_batches
from watchdog.core.payload_columns import without_payload

MOST: Final = 1_024
"""Rows of a kind that wait: from there on joining costs a replay more than it saves."""


class HeldBatches:
    """Batches by kind, in order of arrival, at most MOST rows of each. No rule reads payloads, so they are dropped."""

    def __init__(self) -> None:
        self._held: defaultdict[str, list[Batch]] = defaultdict(list)
        self._rows: Counter[str] = Counter()

    def add(self, batch: Batch) -> list[Batch]:
        """Hold a batch; return what is due of its kind, in order: it cannot be joined with what follows."""
        if batch.rows >= MOST:
            return [*self._take(batch.kind), batch]
        batch = without_payload(batch)
        held = self._held[batch.kind]
        fits = not held or (self._rows[batch.kind] + batch.rows <= MOST and alike(held[0], batch))
        due = [] if fits else self._take(batch.kind)
        self._held[batch.kind].append(batch)
        self._rows[batch.kind] += batch.rows
        return due

    def take(self) -> list[Batch]:
        """Return all that is held, a batch for each kind."""
        return [batch for kind in list(self._held) for batch in self._take(kind)]

    def _take(self, kind: str) -> list[Batch]:
        held = self._held.pop(kind, [])
        self._rows[kind] = 0
        return [joined_batches(held)] if held else []
