"""Opens `stream:SOCKET`: an event loop of its own that reads a typed stream into the inbox of a live source.

The server sends no more than a window without acknowledgements, so a full inbox makes it keep or count what follows,
and nothing is lost here. The watermark is the server's. Without a connection, or while the server's time does not
advance, it follows the clock after `DOWN_S`, and the time is reported as gaps: no server holds up the rules.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from watchdog.core.declared import declared
from watchdog.core.episode import Episode
from watchdog.core.errors import SourceError
from watchdog.core.payload_columns import MESSAGES
from watchdog.core.source import SourceOptions
from watchdog.core.text import printable
from watchdog.sources.live.inbox import Inbox, Limits
from watchdog.sources.live.runners import LoopRunner, Runner
from watchdog.sources.live.source import LiveSource
from watchdog.sources.stream.intake import Intake
from watchdog.sources.stream.subscription import DECODED, check_stream, known_kinds, stream_kinds, subscription_to
from watchdog.stream.client import StreamClient
from watchdog.stream.offer import Hello
from watchdog.stream.schema import kj_loop

READER: Final = "bitcoin-watchdog"
PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0)
"""Between tries to connect; the last one repeats."""
SILENT_S: Final = 30.0
"""A server that sends neither events nor a heartbeat for so long is left; heartbeats come each second."""
DOWN_S: Final = 30.0
"""As long as the feed waits for a source that is down (`watchdog.service.feed`), so that no rule waits longer."""
GAP_STEP_NS: Final = 10_000_000_000
"""Between two gaps while there is no connection."""
SLOWEST: Final = 0.1
"""Seconds of a server's time in a second: slower counts as stopped. A replay may be slow; no extractor is."""
GREETING_S: Final = 1.0
"""The opener waits so long for the kinds of a server, where its reader goes by the open source."""
_LOG = logging.getLogger("watchdog.sources")


class StreamSource(LiveSource):
    """A stream of another program; see `watchdog.core.source.Source`. The registry's opener makes it."""

    def __init__(self, place: str, options: SourceOptions) -> None:
        """Start to read. SourceError for a path that no socket can have, PositionError for a damaged position."""
        check_stream(place, {})
        name = f"stream:{place}"
        self._listed = options.listed
        self._producer = _StreamReading(place, name, options)

        def start(inbox: Inbox, position: Mapping[str, object] | None) -> Runner:
            self._producer.intake = Intake(inbox, options, position)
            return LoopRunner(self._producer, inbox)

        super().__init__(name, stream_kinds(), start, options, policy="wait", limits=Limits(wait_s=0.0))
        if not self._listed:
            self._producer.answered.wait(GREETING_S)

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that the server offers, those that are decoded here, and declared ones.

        Before the server is known: `stream_kinds`.
        """
        offered = self._producer.offered
        if self._listed or offered is None:
            return stream_kinds()
        own = {one.kind_name for one in declared()} | {"source:gap"}
        return (offered & known_kinds()) | own | (DECODED if offered >= MESSAGES else frozenset())

    @property
    def trouble(self) -> str:
        """Why the server gives nothing now; empty while it does. See `watchdog.core.source.Troubled`."""
        return self._producer.trouble

    @property
    def counters(self) -> Mapping[str, int]:
        """Those of a live source; events that the server dropped; payloads that could not be decoded, and why."""
        intake = self._producer.intake
        assert intake is not None
        cut, unreadable = intake.payload_faults
        return {
            **super().counters,
            "lost_by_server": intake.lost,
            "untrue_times": intake.untrue,
            "payloads_cut": cut,
            "payloads_unreadable": unreadable,
            "tracepoints_refused": self._producer.refused,
        }

    @property
    def untrue_times(self) -> int:
        """Events left out because of their time; see `watchdog.core.source.Dated`."""
        return 0 if self._producer.intake is None else self._producer.intake.untrue

    @property
    def server_health(self) -> Mapping[str, float]:
        """What the server says of itself: numbers of its last heartbeat, by name."""
        return {} if self._producer.intake is None else dict(self._producer.intake.health)


class _StreamReading:
    """The work of the loop. trouble, offered, answered, refused: read by other threads."""

    def __init__(self, place: str, name: str, options: SourceOptions) -> None:
        self.intake: Intake | None = None
        self.offered: frozenset[str] | None = None  # kinds of the last server
        self.answered = threading.Event()  # the first try to connect is over, well or not
        self.trouble = ""
        self._place, self._name, self._options = place, name, options
        self._episode = Episode()
        self._down_since_s, self._base_ns = time.monotonic(), options.wall_ns()  # of the same moment
        self._given_ns = 0  # the server's time then
        self._tries = 0
        self.refused = 0  # tracepoints that the configuration declares and this node does not have so
        self._refusing_boot_ns: int | None = None

    async def __call__(self, inbox: Inbox) -> None:
        """Read one connection after the other until asked to end, or the server says that nothing follows."""
        assert self.intake is not None
        async with kj_loop():
            while not inbox.closed:
                try:
                    if await self._connection(self.intake):
                        await self.intake.end()
                        return
                except SourceError as error:
                    self._failed(error.in_one_line())
                finally:
                    self.answered.set()
                await self._pause(self.intake)

    async def _connection(self, intake: Intake) -> bool:
        """Read from one connection; return whether the server's events have ended. SourceError: it is lost."""
        client = StreamClient(self._place, intake, node=self._options.node, source=self._name)
        try:
            hello = await client.open(READER)
            await self._subscribe(client, intake, hello)
            self._connected()
            ended = asyncio.ensure_future(client.ended())
            try:
                return await self._watched(client, intake, ended)
            finally:
                ended.cancel()
                self._note_time(intake)  # one that only greets and hangs up is as good as none
        finally:
            client.close()

    async def _subscribe(self, client: StreamClient, intake: Intake, hello: Hello) -> None:
        self.offered = frozenset(kind.name for kind in hello.kinds)
        where = self._options.where
        allowed = stream_kinds() if self._options.listed else known_kinds()
        chosen = subscription_to(hello, self._options.wants, allowed, self._options.payloads)
        intake.begin(chosen)
        self.answered.set()
        if hello.boot_ns == self._refusing_boot_ns:
            chosen = replace(chosen, kinds=chosen.kinds - chosen.tracepoints.keys(), tracepoints={})
        kinds = {kind: None if chosen.decodes_from(kind) else where.get(kind) for kind in sorted(chosen.kinds)}
        try:
            await client.subscribe(kinds, chosen.payloads, chosen.tracepoints)
        except SourceError as error:
            if chosen.tracepoints:  # one that does not fit this node must not take everything else away
                self._refusing_boot_ns, self.refused = hello.boot_ns, len(chosen.tracepoints)
                what = "declared tracepoints are not read until the node starts again"
                _LOG.error("source %s: %s: %s", printable(self._name), what, error.in_one_line())
            raise
        if chosen.tracepoints:
            self.refused = 0

    async def _watched(self, client: StreamClient, intake: Intake, ended: asyncio.Future[str]) -> bool:
        """Wait for the end; return whether the events have ended. SourceError: the connection is over, or silent."""
        while not intake.closed:
            done, _ = await asyncio.wait([ended], timeout=1.0)
            if done:
                _LOG.info("source %s: ended: %s", printable(self._name), ended.result())
                return True
            if client.silent_s > SILENT_S:
                raise SourceError(f"neither events nor a heartbeat for {SILENT_S:.0f} s")
            self._note_time(intake)
            if not await self._reported(intake):
                self.trouble = ""
                self._worked()
            elif not self.trouble:
                self._failed(f"the server's time has not advanced for {DOWN_S:.0f} s")
        return False

    def _note_time(self, intake: Intake) -> None:
        """Note whether the server's time has advanced. While the inbox is full, the server waits for this end."""
        now_s = time.monotonic()
        self._down_since_s = max(self._down_since_s, intake.full_s)
        gain_ns = intake.given_ns - self._given_ns
        if gain_ns > 0 and gain_ns >= (now_s - self._down_since_s) * SLOWEST * 1e9:
            self._given_ns, self._down_since_s, self._base_ns = intake.given_ns, now_s, intake.until_ns

    async def _reported(self, intake: Intake) -> bool:
        """Return whether the time of the server counts as unseen; report it as gaps, and do not hold up rules."""
        down_s = time.monotonic() - self._down_since_s
        to_ns = self._base_ns + int(down_s * 1e9)
        if intake.away_from_ns is None and down_s >= DOWN_S:
            intake.away_from_ns = max(self._base_ns, intake.until_ns)
        if down_s >= DOWN_S and to_ns - (intake.away_from_ns or 0) >= GAP_STEP_NS:
            await intake.missed(to_ns)
        return down_s >= DOWN_S

    def _connected(self) -> None:
        if self._tries:
            _LOG.info("source %s: connected", printable(self._name))
        self._tries, self.trouble = 0, ""

    def _worked(self) -> None:
        if self._episode.worked(time.monotonic()):
            _LOG.info("source %s: connected again", printable(self._name))

    def _failed(self, text: str) -> None:
        if self._episode.failed(text):
            _LOG.warning("source %s: %s; retrying", printable(self._name), printable(text, 500))
        self.trouble = printable(text, 500)

    async def _pause(self, intake: Intake) -> None:
        """Wait before the next try; after DOWN_S, report the time without a connection and do not hold up rules."""
        if intake.away_from_ns is None:
            intake.away_from_ns = max(self._base_ns, intake.until_ns)
        pause_s = PAUSES_S[min(self._tries, len(PAUSES_S) - 1)]
        self._tries += 1
        await asyncio.sleep(pause_s)
        await self._reported(intake)
