"""The latest rows that streams read, kept so that a finding can show what it rests on.

Bounded: of each kind at most ROWS rows behind the watermark, and none older than the longest
window. What a query returns depends on event time only, so it is the same for any batching.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch
from watchdog.core.column_join import alike, joined_batches
from watchdog.core.payload_columns import without_payload

ROWS = 200_000
COMPACT_SHARE = 0.75  # batches of which fewer rows are wanted are copied down to those
JOINED_ROWS = 1_024  # a live source gives batches of a few rows; they are kept joined, up to this many
JOINED_AT_ONCE = 16  # batches: joining them two by two would cost more than what the rules do with them


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A batch, which of its rows each stream read, and the slots of these rows by grouping."""

    batch: Batch
    first_ns: int
    last_ns: int
    streams: Mapping[int, NDArray[np.intp]]
    slots: Mapping[int, NDArray[np.int32]]


@dataclass(frozen=True, slots=True, eq=False)
class FoundRows:
    """Rows of a batch, and their times."""

    batch: Batch
    rows: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Query:
    """Slots, and for each the span of time [begin, end) whose rows are wanted."""

    slots: Sequence[int]
    begins: Sequence[int]
    ends: Sequence[int]


class Lookback:
    """Kept batches by kind, oldest first."""

    def __init__(self, horizon_ns: Mapping[str, int], rows: int = ROWS) -> None:
        self._horizon, self._limit = dict(horizon_ns), rows
        self._kept: dict[str, deque[Kept]] = {kind: deque() for kind in horizon_ns}

    def add(
        self, batch: Batch, streams: Mapping[int, NDArray[np.intp]], slots: Mapping[int, NDArray[np.int32]]
    ) -> None:
        """Keep the rows that streams read; slots are full columns of the batch."""
        if not streams or batch.kind not in self._kept:
            return
        wanted = np.zeros(batch.rows, np.bool_)
        for rows in streams.values():
            wanted[rows] = True
        rows = np.flatnonzero(wanted)
        batch = without_payload(batch)
        if len(rows) < COMPACT_SHARE * batch.rows:
            places = np.cumsum(wanted) - 1
            streams = {name: places[chosen] for name, chosen in streams.items()}
            slots = {name: column[rows] for name, column in slots.items()}
            batch = batch.take(rows)
        times = batch.time_ns
        kept = self._kept[batch.kind]
        kept.append(Kept(batch, int(times.min()), int(times.max()), streams, slots))
        if len(kept) >= JOINED_AT_ONCE:
            tail = [kept[index] for index in range(-JOINED_AT_ONCE, 0)]
            size = sum(entry.batch.rows for entry in tail)
            if size <= JOINED_ROWS and all(_alike(tail[0], entry) for entry in tail[1:]):
                for _ in tail:
                    kept.pop()
                kept.append(_join(tail))

    def trim(self, watermark_ns: int) -> None:
        """Drop the rows that no query can reach."""
        for kind, kept in self._kept.items():
            oldest = watermark_ns - self._horizon[kind]
            while kept and kept[0].last_ns < oldest:
                kept.popleft()
            behind = sum(entry.batch.rows for entry in kept if entry.last_ns < watermark_ns)
            while kept and behind - kept[0].batch.rows >= self._limit and kept[0].last_ns < watermark_ns:
                behind -= kept.popleft().batch.rows

    def find(self, kinds: tuple[str, ...], key: tuple[int, int], query: Query) -> list[list[FoundRows]]:
        """Return, for each query, the rows of its slot with times in its span, in order of arrival.

        key: (stream, grouping). All are found in one walk through what is kept.
        """
        stream, grouping = key
        slots = np.array(query.slots, np.int64)
        place = np.full(int(slots.max(initial=-1)) + 1, -1, np.int64)  # by slot: its place among those of the query
        own = np.unique(slots)
        place[own] = np.arange(len(own))
        first_ns, last_ns = min(query.begins), max(query.ends)
        rows_of: list[list[tuple[Kept, NDArray[np.intp]]]] = [[] for _ in own]
        for kind in kinds:
            for kept in self._kept.get(kind, ()):
                if kept.last_ns >= first_ns and kept.first_ns < last_ns and stream in kept.streams:
                    _sort_out(kept, kept.streams[stream], kept.slots[grouping], place, rows_of)
        spans = zip(place[slots].tolist(), query.begins, query.ends, strict=True)
        return [
            [part for pair in rows_of[index] if (part := _within(*pair, *span)) is not None] for index, *span in spans
        ]

    def forget(self, grouping: int, slots: NDArray[np.int64]) -> None:
        """Detach rows from these slots of a grouping, which other keys will use."""
        for kept in self._kept.values():
            for entry in kept:
                column = entry.slots.get(grouping)
                if column is not None:
                    column[np.isin(column, slots)] = -1

    def batches(self) -> list[Batch]:
        """Return everything kept, for a checkpoint: by kind, oldest first."""
        return [kept.batch for kind in sorted(self._kept) for kept in self._kept[kind]]


def _sort_out(
    kept: Kept,
    rows: NDArray[np.intp],
    slots: NDArray[np.int32],
    place: NDArray[np.int64],
    rows_of: list[list[tuple[Kept, NDArray[np.intp]]]],
) -> None:
    """Give each slot of the query its own of these rows."""
    own = slots[rows]
    known = (own >= 0) & (own < len(place))
    if not known.all():
        rows, own = rows[known], own[known]
    places = place[own]
    wanted = places >= 0
    if not wanted.any():
        return
    rows, places = rows[wanted], places[wanted]
    order = np.argsort(places, kind="stable")
    places, rows = places[order], rows[order]
    heads = np.flatnonzero(np.concatenate(([True], places[1:] != places[:-1]))).tolist()
    for index, start, stop in zip(places[heads].tolist(), heads, [*heads[1:], len(rows)], strict=True):
        rows_of[index].append((kept, rows[start:stop]))


def _within(kept: Kept, rows: NDArray[np.intp], from_ns: int, to_ns: int) -> FoundRows | None:
    """Return the rows with times in a span, None without any."""
    if kept.first_ns < from_ns or kept.last_ns >= to_ns:
        times = kept.batch.time_ns[rows]
        rows = rows[(times >= from_ns) & (times < to_ns)]
        if not len(rows):
            return None
    return FoundRows(kept.batch, rows)


def _alike(first: Kept, other: Kept) -> bool:
    """Return whether both may be parts of one entry."""
    return first.slots.keys() == other.slots.keys() and alike(first.batch, other.batch)


def _join(parts: Sequence[Kept]) -> Kept:
    """Return all as one, rows in order of arrival."""
    streams: dict[int, list[NDArray[np.intp]]] = {}
    before = 0
    for part in parts:
        for name, rows in part.streams.items():
            streams.setdefault(name, []).append(rows + before)
        before += part.batch.rows
    return Kept(
        joined_batches([part.batch for part in parts]),
        min(part.first_ns for part in parts),
        max(part.last_ns for part in parts),
        {name: np.concatenate(rows) for name, rows in streams.items()},
        {name: np.concatenate([part.slots[name] for part in parts]) for name in parts[0].slots},
    )
