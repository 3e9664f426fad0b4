"""Opens `nats:URL`: an event loop that subscribes to peer-observer's subjects and fills the inbox of a live source.

Core NATS neither stores nor acknowledges: what was published while there was no connection is lost, so a full inbox
drops, and every loss becomes a `source:gap`. Events have the time that the extractor gave them. The watermark follows
the wall clock behind the largest delay of the last minutes, so an extractor whose clock is behind is not late.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from watchdog.core.batch import Batch
from watchdog.core.episode import Episode
from watchdog.core.errors import PositionError
from watchdog.core.source import SourceOptions
from watchdog.core.text import printable
from watchdog.sources.live.inbox import Inbox
from watchdog.sources.live.runners import LoopRunner, Runner
from watchdog.sources.live.source import LiveSource
from watchdog.sources.nats.client import PING_S, PINGS_MOST, Arrivals, NatsSession, SessionError
from watchdog.sources.nats.decoder import EventDecoder
from watchdog.sources.nats.offered import kinds_of_subjects
from watchdog.sources.nats.settings import NatsSettings, NatsUrl, check_nats

STEP_S: Final = 0.1  # messages are collected for this long, so that batches are not tiny
QUIET_S: Final = 0.5  # how often the watermark moves without any message
READ_MOST: Final = 2_000  # messages of one look; then the connection is read again
RETRY_S, RETRY_MOST_S = 0.5, 10.0
DOWN_S: Final = 30.0
"""As long as the feed waits for a source that is down (`watchdog.service.feed`), so that no rule waits longer."""
GAP_STEP_NS: Final = 10_000_000_000
LATENESS_NS: Final = 1_000_000_000  # extractors publish beside each other; a poll of RPCs is dated when it is answered
DELAY_NS: Final = 60_000_000_000  # for how long a delay is remembered, at least
MOST_DELAY_NS: Final = 60_000_000_000  # older events are late: one of the past would hold up all rules otherwise
FIRST_DELAY_NS: Final = 10_000_000_000  # until it is known how far the clock of an extractor is behind
STATE_S: Final = 10.0  # how often the state of connections is saved: after a restart it is not exact anyway
SILENT_NS: Final = PING_S * (PINGS_MOST + 1) * 10**9  # for how long a connection that is lost may look sound
AWAY, SLOW = "nats-not-connected", "nats-slow-consumer"
_LOG = logging.getLogger("watchdog.sources")


class NatsSource(LiveSource):
    """A NATS server; see `watchdog.core.source.Source`. SourceError for a place or settings that cannot be used."""

    def __init__(self, place: str, options: SourceOptions) -> None:
        warning = check_nats(place, options.settings)
        name, url = f"nats:{place}", NatsUrl.of(place)
        if warning:
            _LOG.warning("source %s: %s", printable(name), warning)
        settings = NatsSettings.of(url, options.settings)
        self._producer = _Subscriber(name, url, settings, options)

        def start(inbox: Inbox, _position: Mapping[str, object] | None) -> Runner:
            return LoopRunner(self._producer.run, inbox)

        super().__init__(name, kinds_of_subjects(settings.subjects), start, options, policy="drop")

    @property
    def trouble(self) -> str:
        """Why the server gives nothing now; empty while there is a connection. See `watchdog.core.source.Troubled`."""
        return self._producer.trouble

    @property
    def protocol(self) -> str:
        """The form of the messages in words, empty while it is not found."""
        return self._producer.decoder.finder.found

    @property
    def untrue_times(self) -> int:
        """Events left out because of their time; see `watchdog.core.source.Dated`."""
        return self._producer.decoder.untrue

    @property
    def message_counts(self) -> Mapping[str, tuple[int, int]]:
        """Messages read and unread by subject; see `watchdog.core.source.MessageCounting`."""
        return dict(self._producer.decoder.counts)

    @property
    def counters(self) -> Mapping[str, int]:
        """Those of a live source, messages by outcome, and connections."""
        counts = self.message_counts.values()
        return {
            **super().counters,
            "messages": sum(read for read, _ in counts),
            "unread_messages": sum(unread for _, unread in counts),
            "other_messages": self._producer.decoder.others,
            "slow_consumer": self._producer.slow,
            "connections": self._producer.connections,
        }


class Delay:
    """The largest delay of events in the last one to two minutes, in nanoseconds; never negative."""

    def __init__(self, now_ns: int) -> None:
        self._worst = [FIRST_DELAY_NS, 0]
        self._since_ns = now_ns

    def note(self, delay_ns: int, now_ns: int) -> None:
        """Take the delay of an event: the time of its arrival minus its own."""
        if not 0 <= now_ns - self._since_ns < DELAY_NS:
            self._worst, self._since_ns = [0, self._worst[0]], now_ns
        self._worst[0] = max(self._worst[0], min(delay_ns, MOST_DELAY_NS))

    @property
    def worst_ns(self) -> int:
        """The largest delay."""
        return max(self._worst)


class _Subscriber:
    """The work of the event loop. trouble, decoder, slow, connections: read by other threads."""

    def __init__(self, name: str, url: NatsUrl, settings: NatsSettings, options: SourceOptions) -> None:
        position = dict(options.position or {})
        self._until_ns = _moment(name, position.pop("until_ns", 0), options.believed_ns)
        self._heard_ns = _moment(name, position.pop("heard_ns", self._until_ns), options.believed_ns)
        self.decoder = EventDecoder(name, options, position, settings.protocol)
        self._name, self._url, self._settings, self._options = name, url, settings, options
        self._arrivals, self._delay, self._episode = Arrivals(), Delay(options.wall_ns()), Episode()
        self._away_ns = self._heard_ns  # since when there is no connection, 0 before the first
        self._down_s = time.monotonic()
        self._connections = self.decoder.connections()
        self._state: Mapping[str, object] = self.decoder.state(self._connections)
        self._state_s = time.monotonic()
        self.trouble, self.slow, self.connections = "", 0, 0

    async def run(self, inbox: Inbox) -> None:
        """Connect, read, and connect again, until cancelled or the inbox is closed."""
        pause_s = RETRY_S
        while not inbox.closed:
            session = NatsSession(self._url, self._settings, self._arrivals)
            try:
                await session.begin()
                pause_s = RETRY_S
                await self._read(session, inbox)
            except SessionError as error:
                self._failed(str(error))
            finally:
                await session.end()
            self._missed(inbox)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MOST_S)

    async def _read(self, session: NatsSession, inbox: Inbox) -> None:
        """Read messages until the connection ends. Raise SessionError with the reason."""
        self._connected(inbox)
        while not inbox.closed:
            try:
                await asyncio.wait_for(self._arrivals.news.wait(), QUIET_S)
            except TimeoutError:
                self._heartbeat(inbox)
            else:
                await asyncio.sleep(0 if len(self._arrivals.messages) >= READ_MOST else STEP_S)
                self._look(inbox)
            if self._episode.worked(time.monotonic()):
                _LOG.info("source %s: connected again", printable(self._name))
            if session.ended.is_set() and not self._arrivals.messages:
                # a connection that hangs is found by its pings: what came since the last message may be lost
                self._away_ns = max(self._heard_ns, self._now_ns() - SILENT_NS)
                raise SessionError(session.why)

    def _connected(self, inbox: Inbox) -> None:
        self.connections += 1
        self.trouble = ""
        now_ns = self._now_ns()
        if self._away_ns and self._away_ns < now_ns:
            self.decoder.missed(now_ns)
            self._put(inbox, [self.decoder.gap(self._away_ns, now_ns, AWAY)], now_ns)
        self._away_ns, self._heard_ns = 0, now_ns

    def _failed(self, why: str) -> None:
        """Report that there is no connection: in the log once an episode, to readers after a moment."""
        now_s = time.monotonic()
        if self._away_ns == 0:
            self._away_ns = self._now_ns()
        if not self.trouble and self.connections:
            self._down_s = now_s
        text = printable(f"no connection to {self._url.shown}: {why}")
        if self._episode.failed(text):
            _LOG.warning("source %s: %s; retrying", printable(self._name), text)
        self.trouble = text

    def _missed(self, inbox: Inbox) -> None:
        """Report the time without a connection as gaps while it lasts, once nothing waits for it."""
        now_ns = self._now_ns()
        waits = time.monotonic() - self._down_s < DOWN_S
        if not waits and now_ns - self._away_ns >= GAP_STEP_NS:
            self._put(inbox, [self.decoder.gap(self._away_ns, now_ns, AWAY)], now_ns)
            self._away_ns = now_ns

    def _look(self, inbox: Inbox) -> None:
        """Read what has arrived, and say how far the source has come."""
        now_ns = self._now_ns()
        messages = self._arrivals.take(READ_MOST)
        self._heard_ns = now_ns if messages else self._heard_ns
        batches = self.decoder.read(messages, now_ns)
        times = [int(batch.time_ns.min()) for batch in batches if batch.kind != "source:gap"]
        if times:
            self._delay.note(now_ns - min(times), now_ns)
        if lost := self._arrivals.take_lost():
            self.slow += lost
            batches.append(self.decoder.gap(self._until_ns or now_ns, now_ns, SLOW, lost=lost))
        self._put(inbox, batches, now_ns if not self._arrivals.messages else min(times, default=now_ns))

    def _heartbeat(self, inbox: Inbox) -> None:
        self._put(inbox, [], self._now_ns())

    def _put(self, inbox: Inbox, batches: list[Batch], now_ns: int) -> None:
        """Hand batches over; no event before `now_ns`, less the usual delay, is still to come."""
        self._until_ns = max(self._until_ns, now_ns - self._delay.worst_ns - LATENESS_NS)
        if time.monotonic() - self._state_s >= STATE_S:
            self._connections, self._state_s = self.decoder.connections(), time.monotonic()
        if batches:
            self._state = self.decoder.state(self._connections)
        place = {**self._state, "until_ns": self._until_ns, "heard_ns": max(self._heard_ns, now_ns - SILENT_NS)}
        inbox.put(batches, self._until_ns, place)

    def _now_ns(self) -> int:
        return self._options.wall_ns()


def _moment(name: str, saved: object, believed_ns: int) -> int:
    """Return a time of a position; 0 where a wrong clock gave it. PositionError when it is none."""
    if not isinstance(saved, int) or saved < 0:
        raise PositionError(f"{name}: cannot resume: the position is of another form: it has no times")
    return saved if saved <= believed_ns else 0
