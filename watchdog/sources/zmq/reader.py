"""Messages of a node's ZMQ publishers as events, with the gaps that their counters prove. Pure: no socket, no clock.

Events have the time of their arrival, as the messages hold none. Hashes arrive in the order of bytes in which people
read them (Bitcoin Core doc/zmq.md), and are turned into the internal order of all other kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.errors import PositionError
from watchdog.sources.zmq.counters import (
    ADDED,
    CONNECTED,
    DISCONNECTED,
    MOST,
    REMOVED,
    CounterStep,
    MempoolCounter,
    TopicCounter,
)
from watchdog.sources.zmq.endpoints import HASHBLOCK, KINDS_OF_TOPIC, SEQUENCE

HASH: Final = 32
BLOCK, CHANGE = HASH + 1, HASH + 9
"""Bytes of a message of `sequence`: a hash and a label, and for the mempool eight bytes of its number."""
SIGNED: Final = 128
"""Last bytes from here on make a mempool number of 2^63 or more, which no node reaches."""
LOST, MEMPOOL_LOST, UNREADABLE, AWAY, RESTARTED = (
    "zmq-counter",
    "zmq-mempool-sequence",
    "zmq-unreadable",
    "zmq-not-connected",
    "node-restart",
)
"""Reasons of gap events."""
STEPS_MOST: Final = 16
"""Gaps of one topic in one look. A node that was restarted gives one; each gap is a batch of its own."""
SETTLE_NS: Final = 10_000_000_000
"""A block explains missing mempool numbers within this time: Core queues its message in the same call."""


@dataclass(slots=True)
class Drained:
    """What one look at the sockets gave, by topic and in order. unreadable: messages that are none of Core's.

    counters: of all messages, 4 bytes each; bodies: of those in a form of their topic.
    """

    bodies: dict[str, list[bytes]] = field(default_factory=dict)
    counters: dict[str, list[bytes]] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)

    def add(self, frames: Sequence[bytes], topics: frozenset[str]) -> None:
        """Sort one message in. Total: whatever the frames hold."""
        topic = frames[0].decode("ascii", "replace") if frames else ""
        known = topic if topic in topics else ""
        counted = bool(known) and len(frames) == 3 and len(frames[2]) == 4
        if counted:
            self.counters.setdefault(known, []).append(frames[2])
        if counted and _is_form(known, frames[1]):
            self.bodies.setdefault(known, []).append(frames[1])
        else:
            self.unreadable[known] = self.unreadable.get(known, 0) + 1


class TopicState(msgspec.Struct):
    """What is known of one topic. time_ns: arrival of its latest message, 0 before the first."""

    counter: TopicCounter = msgspec.field(default_factory=TopicCounter)
    time_ns: int = 0


class ZmqPosition(msgspec.Struct):
    """All that a later run needs to continue. until_ns: the watermark, 0 before the first connection."""

    topics: dict[str, TopicState] = msgspec.field(default_factory=dict)
    mempool: MempoolCounter = msgspec.field(default_factory=MempoolCounter)
    until_ns: int = 0


class Reader:
    """Turns drained messages into batches; belongs to the producer's thread.

    Times never fall: `now_ns` below an earlier one counts as that, since the watermark promised it. position: changes
    of topics that nothing reads make no checkpoint, so the first jump of such a topic after a start proves no loss.
    """

    def __init__(self, name: str, node: str, wants: Callable[[str], bool], position: ZmqPosition) -> None:
        self.position, self.unreadable = position, 0
        self._name, self._node, self._wants = name, node, wants
        self._owed_since_ns: int | None = None
        self._stale = {topic for topic in position.topics if not any(map(wants, KINDS_OF_TOPIC[topic]))}

    def read(self, drained: Drained, now_ns: int) -> tuple[Batch, ...]:
        """Return the events of messages that arrived at this time, gaps first; the watermark moves there."""
        now_ns = self.position.until_ns = max(now_ns, self.position.until_ns)
        before_ns = self._topic(SEQUENCE).time_ns or now_ns
        gaps: list[Batch] = []
        started = False
        for topic in KINDS_OF_TOPIC:
            steps = _bounded(self._count(topic, drained.counters.get(topic, [])))
            gaps += [self._step_gap(topic, step, now_ns) for step in steps if step.lost]
            started |= any(step.restarted for step in steps)
            if topic in drained.counters:
                self._topic(topic).time_ns = now_ns
        for topic, count in sorted(drained.unreadable.items()):
            self.unreadable += count
            gaps.append(self._gap(topic, now_ns, now_ns, count, UNREADABLE))
        tips = self._tips(drained.bodies.get(HASHBLOCK, []), now_ns)
        changes = self._sequence(drained.bodies.get(SEQUENCE, []), before_ns, now_ns)
        return (*gaps, *([self._started(now_ns)] if started else []), *tips, *changes)

    def away(self, since_ns: Mapping[str, int], now_ns: int) -> tuple[Batch, ...]:
        """Return the gaps of topics to which there was no connection, by the time from which there was none."""
        now_ns = self.position.until_ns = max(now_ns, self.position.until_ns)
        return tuple(self._gap(topic, from_ns, now_ns, 0, AWAY) for topic, from_ns in sorted(since_ns.items()))

    def advance(self, now_ns: int) -> tuple[Batch, ...]:
        """Move the watermark while connected; return the gap of mempool numbers that no block has explained."""
        now_ns = self.position.until_ns = max(now_ns, self.position.until_ns)
        since_ns = self._owed_since_ns
        if not self.position.mempool.owed or since_ns is None or now_ns - since_ns < SETTLE_NS:
            return ()
        return (self._gap(SEQUENCE, since_ns, now_ns, self.position.mempool.settle(), MEMPOOL_LOST),)

    def _topic(self, topic: str) -> TopicState:
        return self.position.topics.setdefault(topic, TopicState())

    def _count(self, topic: str, counters: Sequence[bytes]) -> list[CounterStep]:
        """Take the counters of a topic; a restart of the node is one for all topics, so it is reported once."""
        if not counters:
            return []
        steps = self._topic(topic).counter.note(np.frombuffer(b"".join(counters), "<u4").astype(np.int64))
        if topic == SEQUENCE and steps:
            self.position.mempool.reset()
        if topic in self._stale:
            self._stale.discard(topic)
            steps = [step for step in steps if step.restarted]
        if any(step.restarted for step in steps):
            self.position.mempool.reset()
            for other in self.position.topics:
                if other != topic:
                    self._topic(other).counter.last = -1  # the new process counts every topic from 0
        return steps

    def _tips(self, bodies: Sequence[bytes], now_ns: int) -> tuple[Batch, ...]:
        if not bodies or not self._wants("zmq:tip"):
            return ()
        hashes = np.frombuffer(b"".join(bodies), np.uint8).reshape(-1, HASH)
        return (self._batch("zmq:tip", now_ns, len(hashes), {"hash": _internal(hashes)}),)

    def _sequence(self, bodies: Sequence[bytes], before_ns: int, now_ns: int) -> tuple[Batch, ...]:
        if not bodies:
            return ()
        joined = b"".join(body.ljust(CHANGE, b"\0") for body in bodies)
        table = np.frombuffer(joined, np.uint8).reshape(-1, CHANGE)
        labels, numbers = table[:, HASH], table[:, BLOCK:].copy().view("<u8").ravel()
        owed = self.position.mempool.owed
        lost = self.position.mempool.note(labels, numbers)
        if not owed or not self.position.mempool.owed:
            self._owed_since_ns = before_ns if self.position.mempool.owed else None
        gaps = [self._gap(SEQUENCE, before_ns, now_ns, lost, MEMPOOL_LOST)] if lost else []
        blocks = (labels == CONNECTED) | (labels == DISCONNECTED)
        return (
            *gaps,
            *self._chosen("zmq:block", now_ns, blocks, table, {"connected": labels == CONNECTED}),
            *self._chosen(
                "zmq:mempool", now_ns, ~blocks, table, {"added": labels == ADDED, "mempool_sequence": numbers}
            ),
        )

    def _chosen(
        self,
        kind: str,
        now_ns: int,
        rows: NDArray[np.bool_],
        table: NDArray[np.uint8],
        columns: Mapping[str, NDArray[np.generic]],
    ) -> tuple[Batch, ...]:
        """Return the rows of one kind, none where nothing reads it."""
        if not rows.any() or not self._wants(kind):
            return ()
        name = "hash" if kind == "zmq:block" else "txid"
        hashes = _internal(table[rows, :HASH])
        own: dict[str, Column] = {name: hashes, **{field: column[rows] for field, column in columns.items()}}
        return (self._batch(kind, now_ns, int(rows.sum()), own),)

    def _batch(self, kind: str, now_ns: int, rows: int, columns: Mapping[str, Column]) -> Batch:
        times: dict[str, Column] = {"time_ns": np.full(rows, now_ns, np.int64)}
        return Batch(kind, self._node, self._name, {**times, **columns})

    def _started(self, now_ns: int) -> Batch:
        columns: dict[str, Column] = {"reason": Strings.of([LOST]), "version": Strings.of([""])}
        return self._batch("node:started", now_ns, 1, columns)

    def _step_gap(self, topic: str, step: CounterStep, now_ns: int) -> Batch:
        from_ns = self._topic(topic).time_ns or now_ns
        return self._gap(topic, from_ns, now_ns, step.lost, RESTARTED if step.restarted else LOST)

    def _gap(self, topic: str, from_ns: int, to_ns: int, lost: int, reason: str) -> Batch:
        """Return a gap of the kinds of a topic; of all kinds for a message of no known topic."""
        kinds = ",".join(KINDS_OF_TOPIC.get(topic, ()))
        return self._batch(
            "source:gap",
            to_ns,
            1,
            {
                "from_ns": np.array([min(from_ns, to_ns)], np.int64),
                "to_ns": np.array([to_ns + 1], np.int64),
                "lost": np.array([min(lost, MOST)], np.uint64),
                "reason": Strings.of([reason]),
                "kinds": Strings.of([kinds]),
            },
        )


def position_from(saved: Mapping[str, object] | None, believed_ns: int) -> ZmqPosition:
    """Return the position of a checkpoint; a fresh one without any. Times after `believed_ns` are dropped.

    Raises PositionError when it is damaged.
    """
    if not saved:
        return ZmqPosition()
    try:
        position = msgspec.convert(saved, ZmqPosition)
    except msgspec.ValidationError as error:
        raise PositionError(f"zmq: the position is damaged: {error}") from None
    position.topics = {topic: state for topic, state in position.topics.items() if topic in KINDS_OF_TOPIC}
    for state in position.topics.values():
        state.time_ns = state.time_ns if 0 <= state.time_ns <= believed_ns else 0
    position.until_ns = position.until_ns if 0 <= position.until_ns <= believed_ns else 0
    return position


def _bounded(steps: list[CounterStep]) -> list[CounterStep]:
    """Return the steps of one look, joined to one where a publisher sends counters without any order."""
    if len(steps) <= STEPS_MOST:
        return steps
    return [CounterStep(sum(step.lost for step in steps), any(step.restarted for step in steps))]


def _is_form(topic: str, body: bytes) -> bool:
    if topic == HASHBLOCK:
        return len(body) == HASH
    if len(body) == BLOCK:
        return body[HASH] in {CONNECTED, DISCONNECTED}
    return len(body) == CHANGE and body[HASH] in {ADDED, REMOVED} and body[-1] < SIGNED


def _internal(hashes: NDArray[np.uint8]) -> Blobs:
    data = np.ascontiguousarray(hashes[:, ::-1]).reshape(-1)
    return Blobs(np.arange(0, len(data) + 1, HASH, dtype=np.int64), data)
