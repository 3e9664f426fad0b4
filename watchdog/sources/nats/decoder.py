"""From the bytes of messages to batches: what `nats:` and `peer-observer:` share. No socket, no file, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from watchdog.core.batch import Batch, Column, Strings
from watchdog.core.enrich import Enricher
from watchdog.core.errors import PositionError
from watchdog.core.moments import IMPLAUSIBLE, is_plausible
from watchdog.core.source import SourceOptions
from watchdog.sources.nats import node_rows, polled
from watchdog.sources.nats.envelope import OTHER, Opened, ProtocolFinder
from watchdog.sources.nats.messages import MessageColumns
from watchdog.sources.nats.offered import KINDS
from watchdog.sources.nats.peers import ConnectionBook
from watchdog.sources.rpc import node_state
from watchdog.sources.rpc.peers_diff import PeerMark
from watchdog.sources.rpc.reporter import Memory
from watchdog.sources.wire.decode import KNOWN_TYPES, kinds_from

UNREADABLE, CONTENT, INCOMPLETE = "not-an-event", "content-left-out", "field-left-out"
"""Reasons of gaps: bytes that fit no envelope, messages without their whole content, events without a needed field."""
SUBJECTS_MOST: Final = 64  # counted apart: with a wildcard publishers choose their names


class DecoderMemory(Memory, kw_only=True):
    """What a position holds. latest_ns: the latest event time. connections: see `peers`."""

    latest_ns: int = 0
    connections: list[list[Any]] = msgspec.field(default_factory=list)
    last_peers: list[PeerMark] | None = None


class EventDecoder:
    """Turns messages into batches. finder: which form they have. untrue: messages whose time cannot be true.

    counts: messages read and unread by the subject they came on.
    """

    def __init__(self, name: str, options: SourceOptions, position: Mapping[str, object] | None, protocol: str) -> None:
        """Take over the state in a position, None for none. PositionError when it is damaged."""
        self._name, self._options = name, options
        self._memory = _memory(name, position, options.believed_ns)
        enricher = Enricher(options.asmap_path, options.lists)
        self._book = ConnectionBook()
        self._book.restore(self._memory.connections, options.believed_ns // 1_000)
        self._messages = MessageColumns(name, options, enricher, self._book)
        self._rows = node_rows.NodeRows(name, options, enricher, self._book)
        self._polled = polled.PolledAnswers(name, options, enricher, self._memory, self._memory.last_peers)
        self.finder = ProtocolFinder(name, protocol)
        self.untrue = 0
        self.others = 0  # events that nothing reads
        self.counts: dict[str, tuple[int, int]] = {}
        self._lost: Counter[tuple[str, str]] = Counter()

    @property
    def latest_ns(self) -> int:
        """The latest event time so far, 0 before the first."""
        return self._memory.latest_ns

    def read(self, messages: Iterable[tuple[str, bytes]], at_ns: int) -> list[Batch]:
        """Return the events of messages, each with the subject that it came on, gaps last.

        at_ns: time of a gap while no event time is known; 0 to wait for one.
        """
        for subject, raw in messages:
            good = self._take(raw)
            named = subject if subject in self.counts or len(self.counts) < SUBJECTS_MOST else OTHER
            read, unread = self.counts.get(named, (0, 0))
            self.counts[named] = (read + good, unread + (not good))
        batches = [*self._messages_taken(), *self._rows.take(), *self._polled.take()]
        return [*batches, *self._gaps(self._memory.latest_ns or at_ns)]

    def gap(self, from_ns: int, to_ns: int, reason: str, *, lost: int = 0, kinds: str = "") -> Batch:
        """Return a gap of this source; kinds: as in the catalogue, "" for all."""
        columns: dict[str, Column] = {
            "time_ns": np.array([to_ns], np.int64),
            "from_ns": np.array([min(from_ns, to_ns)], np.int64),
            "to_ns": np.array([to_ns + 1], np.int64),
            "lost": np.array([lost], np.uint64),
            "reason": Strings.of([reason]),
            "kinds": Strings.of([kinds]),
        }
        return Batch("source:gap", self._options.node, self._name, columns)

    def missed(self, now_ns: int) -> None:
        """Forget what connections had said: messages between were lost."""
        self._book.unsettle(now_ns // 1_000)

    def connections(self) -> list[list[object]]:
        """Return the state of all connections for a position, JSON-able."""
        return self._book.saved()

    def state(self, connections: list[list[object]] | None = None) -> dict[str, object]:
        """Return the state for a position, JSON-able. connections: an earlier state of theirs, to save the work."""
        self._memory.connections = []
        self._memory.last_peers = self._polled.known_peers()
        state: dict[str, object] = msgspec.to_builtins(self._memory)
        return {**state, "connections": self.connections() if connections is None else connections}

    def _take(self, raw: bytes) -> bool:
        """Take one message; return whether it could be read."""
        opened = self.finder.open(raw)
        if opened is None:
            self._lost[UNREADABLE, ""] += 1
            return False
        if not is_plausible(opened.time_ns, self._options.latest_ns()):
            self.untrue += 1
            self._lost[IMPLAUSIBLE, ""] += 1
            return True
        self._memory.latest_ns = max(self._memory.latest_ns, opened.time_ns)
        if opened.branch == OTHER:
            self.others += 1
            return True
        return self._event(opened)

    def _event(self, opened: Opened) -> bool:
        branch, body, time_us = opened.branch, opened.body, opened.time_ns // 1_000
        if branch == "message":
            if not self._messages.add(body, time_us):
                self._lost[UNREADABLE, "net:,p2p:"] += 1
                return False
        elif branch == "rpc":
            if self._polled.add(body, opened.time_ns):
                self._book.clear()
        elif not self._rows.add(branch, body, time_us):
            self._lost[INCOMPLETE, _KINDS_OF_BRANCH[branch]] += 1
            return False
        return True

    def _messages_taken(self) -> list[Batch]:
        for type_, lost in self._messages.lost.items():
            kinds = kinds_from(type_ if type_ in KNOWN_TYPES else "")
            given = ",".join(kind for kind in kinds if kind in KINDS)
            if given:
                self._lost[CONTENT, given] += lost
        return self._messages.take()

    def _gaps(self, at_ns: int) -> list[Batch]:
        if not at_ns:
            return []  # no time is known yet: they are reported with the first event
        lost, self._lost = self._lost, Counter()
        if not self._options.wants("source:gap"):
            return []
        return [
            self.gap(at_ns, at_ns, reason, lost=many, kinds=kinds) for (reason, kinds), many in sorted(lost.items())
        ]


_KINDS_OF_BRANCH: Final = {
    "connection": "net:",
    "mempool": "mempool:",
    "validation": "validation:",
    "addrman": "addrman:",
}


def _memory(name: str, position: Mapping[str, object] | None, believed_ns: int) -> DecoderMemory:
    if not position:
        return DecoderMemory()
    try:
        memory = msgspec.convert(position, DecoderMemory)
    except msgspec.ValidationError as error:
        raise PositionError(f"{name}: cannot resume: the position is of another form: {str(error).lower()}") from None
    if memory.latest_ns > believed_ns:
        memory.latest_ns = 0
        node_state.forget_after(memory.node, believed_ns)
        memory.peers.time_ns = min(memory.peers.time_ns, believed_ns)
    return memory
