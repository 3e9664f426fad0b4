"""The bounded queue between a producer (thread, event loop, reader of a child's pipe) and the engine's thread.

    producer --put--> [ batches, at most `Limits` ] --take--> engine
                        |
                        +-- full: `wait` makes the producer wait; `drop` counts the newest batch by kind and drops it

Dropped events are reported as `source:gap` events, one for each kind, with the times of the first and the last of them.
A gap leaves the inbox in the place of the first dropped batch, so it never overtakes events that came earlier.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from watchdog.core.batch import Batch, Blobs, Column, Slice, Strings
from watchdog.core.errors import SourceError

Policy = Literal["wait", "drop"]
"""wait: the input can be read again, so a full inbox makes its producer wait. drop: it cannot, so batches are lost."""
DROPPED: Final = "inbox-full"  # reason of the gap events
GAP: Final = "source:gap"
_COLUMN_BYTES: Final = 8  # what a text costs beside its characters, about: its place in the dictionary


@dataclass(frozen=True, slots=True)
class Limits:
    """What an inbox holds at most; one batch that is larger than both limits still fits into an empty inbox.

    size_bytes, rows: of all waiting batches together. wait_s: how long `put` may block under the policy `wait`.
    """

    size_bytes: int = 64 << 20
    rows: int = 200_000
    wait_s: float = 1.0


@dataclass(slots=True)
class Counts:
    """What an inbox counted since it was made. high_bytes: the most bytes that waited at one time."""

    batches: int = 0
    rows: int = 0
    waits: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # events by kind
    high_bytes: int = 0


@dataclass(slots=True)
class _Loss:
    """Dropped events of one kind: how many, and the times of the first and the last."""

    rows: int
    from_ns: int
    to_ns: int


@dataclass(slots=True)
class _Item:
    """What one `put` or `heartbeat` brought: batches, the watermark after them, and where to resume."""

    batches: tuple[Batch, ...]
    until_ns: int
    position: Mapping[str, object] | None
    size_bytes: int = 0
    rows: int = 0
    losses: dict[str, _Loss] = field(default_factory=dict)


def size_of(batch: Batch) -> int:
    """Return about how many bytes a batch occupies: its arrays, and the characters of its dictionaries."""
    return sum(_column_bytes(column) for column in batch.columns.values())


def _column_bytes(column: Column) -> int:
    if isinstance(column, Strings):
        return column.codes.nbytes + sum(len(value) + _COLUMN_BYTES for value in column.values)
    if isinstance(column, Blobs):
        return column.offsets.nbytes + column.data.nbytes
    return column.nbytes


class Inbox:
    """Hands batches from one producer to one consumer; `put`, `heartbeat`, `fail` and `end` are the producer's.

    name, node: of the source, for gap events. position: where the producer resumes; slices repeat it until the producer
    hands over another one. All methods may be called from any thread.
    """

    def __init__(
        self,
        name: str,
        node: str,
        *,
        policy: Policy,
        limits: Limits | None = None,
        position: Mapping[str, object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.policy, self.limits, self.counts = name, policy, limits or Limits(), Counts()
        self._node, self._monotonic = node, monotonic
        self._items: deque[_Item] = deque()
        self._size_bytes = self._rows = 0
        self._until_ns = 0
        self._position = position
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._error: str | None = None

    def put(self, batches: Sequence[Batch], until_ns: int, position: Mapping[str, object] | None = None) -> bool:
        """Hand over batches; `until_ns`: no event before that time follows. position: where to resume after them.

        Returns False when the inbox did not keep them: under `wait`, no room within `Limits.wait_s` (call again with
        the same batches); under `drop`, they were counted and dropped (do not call again); once it is closed, always.
        """
        item = _Item(
            tuple(batch for batch in batches if batch.rows),
            until_ns,
            position,
            sum(map(size_of, batches)),
            sum(batch.rows for batch in batches),
        )
        if not item.batches:
            self._advance(until_ns, position)
            return not self._closed
        with self._changed:
            if self.policy == "wait" and not self._has_room(item):
                self.counts.waits += 1
                self._changed.wait_for(lambda: self._closed or self._has_room(item), self.limits.wait_s)
            if self._closed:
                return False
            if self._has_room(item):
                self._keep(item)
                return True
            if self.policy == "drop":
                self._drop(item)
            return False

    def heartbeat(self, until_ns: int) -> None:
        """Promise that no event before `until_ns` follows, though none came. Never blocks and never drops anything."""
        self._advance(until_ns, None)

    def fail(self, error: str) -> None:
        """End a producer that cannot continue; the consumer gets what waits, then a SourceError with this line."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def end(self) -> None:
        """End the input: nothing follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self) -> Slice | None:
        """Return the oldest batches, or None when nothing waits. Never blocks.

        Raises SourceError once the producer has failed and all that it handed over is taken.
        """
        with self._changed:
            if not self._items:
                if self._error is not None and not self._closed:
                    raise SourceError(self._error)
                return None
            item = self._items.popleft()
            self._size_bytes -= item.size_bytes
            self._rows -= item.rows
            self._until_ns = max(self._until_ns, item.until_ns)
            self._position = self._position if item.position is None else item.position
            caught_up = not self._items
            self._changed.notify_all()
        gaps = tuple(self._gap(kind, loss) for kind, loss in sorted(item.losses.items()))
        return Slice(self.name, (*item.batches, *gaps), self._until_ns, self._position or {}, caught_up)

    def close(self) -> None:
        """Wake a waiting producer; every later `put` returns False and keeps nothing."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._size_bytes = self._rows = 0
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether the producer has ended and everything was taken."""
        with self._changed:
            return self._ended and not self._items and self._error is None

    @property
    def closed(self) -> bool:
        """Whether the consumer wants nothing more; a producer that sees this returns."""
        return self._closed

    @property
    def waiting(self) -> tuple[int, int]:
        """Bytes and rows that wait now."""
        with self._changed:
            return self._size_bytes, self._rows

    def _advance(self, until_ns: int, position: Mapping[str, object] | None) -> None:
        """Move the watermark; waiting batches take it along, so that idle producers fill nothing."""
        with self._changed:
            if self._closed:
                return
            if not self._items:
                self._items.append(_Item((), until_ns, position))
                return
            last = self._items[-1]
            last.until_ns = max(last.until_ns, until_ns)
            last.position = last.position if position is None else position

    def _has_room(self, item: _Item) -> bool:
        if self._closed:
            return False
        if not self._rows:
            return True
        return (
            self._size_bytes + item.size_bytes <= self.limits.size_bytes and self._rows + item.rows <= self.limits.rows
        )

    def _keep(self, item: _Item) -> None:
        self._items.append(item)
        self._size_bytes += item.size_bytes
        self._rows += item.rows
        self.counts.batches += len(item.batches)
        self.counts.rows += item.rows
        self.counts.high_bytes = max(self.counts.high_bytes, self._size_bytes)

    def _drop(self, item: _Item) -> None:
        """Count what is dropped; the watermark and the position move on, as reading it again is impossible."""
        if not self._items or not self._items[-1].losses:
            self._items.append(_Item((), item.until_ns, item.position))
        last = self._items[-1]
        last.until_ns = max(last.until_ns, item.until_ns)
        last.position = last.position if item.position is None else item.position
        for batch in item.batches:
            times = batch.time_ns
            self.counts.dropped[batch.kind] = self.counts.dropped.get(batch.kind, 0) + batch.rows
            loss = last.losses.setdefault(batch.kind, _Loss(0, int(times.min()), int(times.max())))
            loss.rows += batch.rows
            loss.from_ns, loss.to_ns = min(loss.from_ns, int(times.min())), max(loss.to_ns, int(times.max()))

    def _gap(self, kind: str, loss: _Loss) -> Batch:
        columns: dict[str, Column] = {
            "time_ns": np.array([loss.from_ns], np.int64),
            "from_ns": np.array([loss.from_ns], np.int64),
            "to_ns": np.array([loss.to_ns + 1], np.int64),
            "lost": np.array([loss.rows], np.uint64),
            "reason": Strings.of([DROPPED]),
            "kinds": Strings.of([kind]),
        }
        return Batch(GAP, self._node, self.name, columns)
