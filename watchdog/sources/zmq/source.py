"""Opens `zmq:TOPIC=ENDPOINT,...`: a thread that reads a node's ZMQ publishers into the inbox of a live source.

What a publisher sent cannot be read again, so a full inbox drops, and counts. The watermark is the wall clock, and
moves while every endpoint is connected. An endpoint that is down for `DOWN_S` no longer holds it up: the time without a
connection is reported as gaps.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Final

import msgspec
import zmq

from watchdog.core.batch import Batch
from watchdog.core.episode import Episode
from watchdog.core.source import SourceOptions
from watchdog.core.text import printable
from watchdog.sources.live.inbox import Inbox
from watchdog.sources.live.runners import Runner, ThreadRunner
from watchdog.sources.live.source import LiveSource
from watchdog.sources.zmq.endpoints import HASHBLOCK, endpoints_of, kinds_at
from watchdog.sources.zmq.links import PublisherLink
from watchdog.sources.zmq.reader import Drained, Reader, position_from

WAIT_MS: Final = 500
"""Longest wait for a message: how late a disconnection is noticed, and how often the watermark moves without any."""
DOWN_S: Final = 30.0
"""As long as the feed waits for a source that is down (`watchdog.service.feed`), so that no rule waits longer."""
GAP_STEP_NS: Final = 10_000_000_000
"""Between two gaps while an endpoint is down."""
_LOG = logging.getLogger("watchdog.sources")


class ZmqSource(LiveSource):
    """The publishers of a node; see `watchdog.core.source.Source`. The registry's opener makes it.

    SourceError when the place names no endpoint, PositionError for a damaged position.
    """

    def __init__(self, place: str, options: SourceOptions) -> None:
        name = f"zmq:{place}"
        position = position_from(options.position, options.believed_ns)
        self._producer = _Producer(endpoints_of(place), options, Reader(name, options.node, options.wants, position))

        def start(inbox: Inbox, _position: Mapping[str, object] | None) -> Runner:
            return ThreadRunner(self._producer, inbox)

        super().__init__(name, kinds_at(place), start, options, policy="drop")

    @property
    def trouble(self) -> str:
        """Why an endpoint gives nothing now; empty while all are connected. See `watchdog.core.source.Troubled`."""
        return self._producer.trouble


class _Producer:
    """The work of the thread: `ThreadRunner` calls it. trouble: read by other threads."""

    def __init__(self, endpoints: Mapping[str, str], options: SourceOptions, reader: Reader) -> None:
        self._endpoints, self._options, self._reader = endpoints, options, reader
        begun_ns = reader.position.until_ns
        self._away = dict.fromkeys(endpoints, begun_ns) if begun_ns else {}  # topics without a connection: since when
        self._mark_ns = begun_ns
        self._episode, self._down_since_s = Episode(), 0.0
        self._links: list[PublisherLink] = []
        self.trouble = ""

    def __call__(self, inbox: Inbox, stopping: threading.Event) -> None:
        """Read until asked to end. Whatever happens, the sockets are closed: an open one would hold up the process."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._connect(context)
            poller = self._poller()
            while not stopping.is_set() and not inbox.closed:
                poller.poll(WAIT_MS)
                self._look(inbox)
                renewed = [link for link in self._links if link.renew(time.monotonic())]
                poller = self._poller() if renewed else poller
        finally:
            for link in self._links:
                link.close()
            context.term()

    def _connect(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        for endpoint in dict.fromkeys(self._endpoints.values()):
            topics = [topic for topic, own in self._endpoints.items() if own == endpoint]
            self._links.append(PublisherLink(context, endpoint, topics, time.monotonic()))

    def _judge(self, inbox: Inbox, now_s: float) -> bool:
        """Say how the links are, in the log once an episode; return whether all are up."""
        trouble = printable("; ".join(text for link in self._links if (text := link.trouble(now_s))))
        name = printable(inbox.name)
        if trouble and not self.trouble:
            self._down_since_s = now_s
        if trouble and self._episode.failed(trouble):
            _LOG.warning("source %s: %s; retrying", name, trouble)
        up = all(link.up for link in self._links)
        if up and self._episode.worked(now_s):
            _LOG.info("source %s: connected again", name)
        self.trouble = trouble
        return up

    def _missed(self, now_s: float, now_ns: int, *, up: bool) -> tuple[Batch, ...]:
        """Return the gaps of topics without a connection: when all are connected again, and while one stays down."""
        down = [link for link in self._links if link.trouble(now_s)]
        waits = now_s - self._down_since_s < DOWN_S or 0 <= now_ns - self._mark_ns < GAP_STEP_NS
        if not up and (not down or waits):
            return ()
        for link in down:
            self._away = {**dict.fromkeys(link.topics, self._mark_ns or now_ns), **self._away}
        gaps = self._reader.away(self._away, now_ns)
        self._mark_ns = self._reader.position.until_ns
        self._away = {} if up else {topic: self._mark_ns for link in down for topic in link.topics}
        return gaps

    def _poller(self) -> zmq.Poller:
        """Return what wakes at a message or at a change of a connection."""
        poller = zmq.Poller()
        for link in self._links:
            poller.register(link.socket, zmq.POLLIN)
            poller.register(link.monitor, zmq.POLLIN)
        return poller

    def _look(self, inbox: Inbox) -> None:
        """Take what has arrived, and say how far the source has come."""
        now_s, now_ns = time.monotonic(), self._options.wall_ns()
        drained = Drained()
        for link in self._links:
            if link.watch(now_s):
                self._away = {**dict.fromkeys(link.topics, self._reader.position.until_ns), **self._away}
            for frames in link.messages():
                drained.add(frames, frozenset(link.topics))
        up = self._judge(inbox, now_s)
        away = self._missed(now_s, now_ns, up=up)
        batches = (*away, *(self._reader.read(drained, now_ns) if drained.counters or drained.unreadable else ()))
        if drained.bodies.get(HASHBLOCK):
            self._options.tips.ring()
        if up:
            batches = (*batches, *self._reader.advance(now_ns))
            self._mark_ns = self._reader.position.until_ns
        if batches or up:
            inbox.put(batches, self._mark_ns, msgspec.to_builtins(self._reader.position))
