"""The send window: what a subscriber has not acknowledged yet, and what it lost because that was too much."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.stream.schema import WINDOW_BATCHES, WINDOW_BYTES


@dataclass(slots=True)
class Lost:
    """Dropped events of one kind: their number, and the times of the first and the last, ns."""

    events: int
    from_ns: int
    to_ns: int


@dataclass(slots=True)
class SendWindow:
    """Deliveries on their way: bytes and time (monotonic, s) of each, the oldest first; losses not reported yet."""

    sent: deque[tuple[int, float]] = field(default_factory=deque)
    sent_bytes: int = 0
    lost: dict[str, Lost] = field(default_factory=dict)
    lost_events: int = 0  # since the subscription began

    def has_room(self, size: int) -> bool:
        """Return whether a delivery of that many bytes may be sent; any one may be when nothing is on its way."""
        return not self.sent or (len(self.sent) < WINDOW_BATCHES and self.sent_bytes + size <= WINDOW_BYTES)

    def send(self, size: int, now_s: float) -> None:
        """Count a delivery as on its way."""
        self.sent.append((size, now_s))
        self.sent_bytes += size

    def acknowledge(self) -> None:
        """Take the oldest delivery as received: calls on one object return in their order."""
        size, _ = self.sent.popleft()
        self.sent_bytes -= size

    def drop(self, batches: Iterable[Batch]) -> None:
        """Count events that do not fit."""
        for batch in batches:
            times = batch.time_ns
            first_ns, last_ns = int(times.min()), int(times.max())
            loss = self.lost.setdefault(batch.kind, Lost(0, first_ns, last_ns))
            loss.events += batch.rows
            loss.from_ns, loss.to_ns = min(loss.from_ns, first_ns), max(loss.to_ns, last_ns)
            self.lost_events += batch.rows

    def report(self, target: Any) -> None:
        """Write the losses into a message with a list `lost`, and forget them."""
        lost, self.lost = self.lost, {}
        for place, (kind, loss) in zip(target.init("lost", len(lost)), lost.items(), strict=True):
            place.kind, place.events, place.fromNs, place.toNs = kind, loss.events, loss.from_ns, loss.to_ns


def size_of(batch: Batch) -> int:
    """Return about how many bytes a batch takes on the wire."""
    return sum(_column_bytes(column) for column in batch.columns.values())


def _column_bytes(column: Column) -> int:
    if isinstance(column, Strings):
        return column.codes.nbytes + 16 * len(column.values) + len("".join(column.values))
    if isinstance(column, Blobs):
        return column.offsets.nbytes + int(column.offsets[-1] - column.offsets[0])
    return column.nbytes


def portions(batches: Sequence[Batch], most: int = WINDOW_BYTES) -> Iterator[tuple[list[Batch], int]]:
    """Yield batches in portions of at most `most` bytes, and their bytes; a batch that is larger is divided by rows."""
    portion: list[Batch] = []
    total = 0
    for batch in batches:
        for piece, size in _pieces(batch, most):
            if portion and total + size > most:
                yield portion, total
                portion, total = [], 0
            portion.append(piece)
            total += size
    if portion:
        yield portion, total


def _pieces(batch: Batch, most: int) -> Iterator[tuple[Batch, int]]:
    """Yield a batch in halves of halves, until each fits or has one row, and the bytes of each."""
    size = size_of(batch)
    if batch.rows <= 1 or size <= most:
        yield batch, size
        return
    middle = batch.rows // 2
    yield from _pieces(batch.slice(0, middle), most)
    yield from _pieces(batch.slice(middle, batch.rows), most)
