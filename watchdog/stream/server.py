"""The end of the stream that has the events: it gathers batches and sends each subscriber what it wants.

    publish --> [ gathered for FLUSH_S, or until FLUSH_ROWS ] --> each subscriber's rows, payloads --> window --> socket

A subscriber that does not keep up loses events, which are counted and reported to it, and holds up no other. Everything
runs in the thread of an asyncio loop inside `capnp.kj_loop()`; that loop is never uvloop's, with which pycapnp's server
crashes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from watchdog.core.batch import Batch
from watchdog.core.column_join import joined
from watchdog.stream.membership import Membership
from watchdog.stream.offer import Demand, Hello
from watchdog.stream.schema import SUBSCRIBERS_MOST
from watchdog.stream.session import ReaderSession
from watchdog.stream.window import size_of

FLUSH_S: Final = 0.25
"""How long events wait for others: a call carries many, a reader decodes them together, a window lasts 2 s at least.

Decoding 500 messages a second takes a reader 0.7 % of a core then, and 2.1 % with a fifth of it.
"""
FLUSH_ROWS: Final = 4_000
FLUSH_BYTES: Final = 1 << 20
CONNECTIONS_MOST: Final = 2 * SUBSCRIBERS_MOST
"""Open connections, those included that have not subscribed; a further one is closed at once."""
TICK_S: Final = 1.0
_LOG = logging.getLogger("watchdog.stream")


class StreamServer:
    """Serves the subscribers of one listening Unix socket.

    listener: bound and listening; the server closes it. hello: what it offers. on_demand: called in the loop's thread
    whenever what the subscribers together want has changed; a WatchdogError from it refuses the subscriber that came.
    """

    def __init__(
        self,
        listener: socket.socket,
        hello: Hello,
        on_demand: Callable[[Demand], None],
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener, self._wall_ns, self._monotonic = listener, wall_ns, monotonic
        self._members = Membership(hello, on_demand, self.flush)
        self.introduce = self._members.introduce
        self._tasks: set[asyncio.Task[None]] = set()
        self._gathered: list[Batch] = []
        self._rows = self._bytes = 0
        self._until_ns = 0
        self._flush_later: asyncio.TimerHandle | None = None
        self._refused = 0

    @property
    def subscribers(self) -> int:
        """How many there are."""
        return sum(session.wish is not None for session in self._members.sessions)

    async def serve(self) -> None:
        """Accept connections until cancelled; the caller's task runs within `capnp.kj_loop()`."""
        self._listener.setblocking(False)
        loop = asyncio.get_running_loop()
        watch = loop.create_task(self._watch())
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except OSError as error:  # no descriptors left: the connection waits in the listener's queue
                    _LOG.warning("stream: cannot accept a reader: %s", error.strerror)
                    await asyncio.sleep(TICK_S)
                    continue
                self._admit(connection)
        finally:
            watch.cancel()
            self.close()

    def publish(self, batches: Sequence[Batch], until_ns: int) -> None:
        """Send events; no event before `until_ns` follows. Never blocks: a subscriber without room loses them."""
        self._until_ns = max(self._until_ns, until_ns)
        for batch in batches:
            if batch.rows and batch.kind in self._members.demand.kinds:
                self._gathered.append(batch)
                self._rows += batch.rows
                self._bytes += size_of(batch)
        if self._rows >= FLUSH_ROWS or self._bytes >= FLUSH_BYTES:
            self.flush()
        elif self._gathered and self._flush_later is None:
            self._flush_later = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Send what was gathered, now."""
        if self._flush_later is not None:
            self._flush_later.cancel()
            self._flush_later = None
        gathered, self._gathered = self._gathered, []
        self._rows = self._bytes = 0
        if not gathered:
            return
        batches = _side_by_side(gathered)
        for session in tuple(self._members.sessions):
            session.send(batches, self._until_ns)

    def heartbeat(self, until_ns: int, health: Mapping[str, float]) -> None:
        """Report to all subscribers how far the events have come and how the server is; to be called each second.

        `sent_s` (wall clock) and `lost_by_reader` (events that this subscriber lost) are added to `health`.
        """
        self._until_ns = max(self._until_ns, until_ns)
        self.flush()
        for session in tuple(self._members.sessions):
            own = {"sent_s": self._wall_ns() / 1e9, "lost_by_reader": float(session.window.lost_events)}
            session.beat(self._until_ns, {**health, **own})

    async def offer(self, batches: Sequence[Batch], until_ns: int) -> None:
        """Send events as `publish`, but wait until each subscriber has room: for a source that can wait."""
        self.flush()
        until_ns = max(self._until_ns, until_ns)
        wanted = [batch for batch in batches if batch.rows and batch.kind in self._members.demand.kinds]
        sessions = tuple(self._members.sessions)
        await asyncio.gather(*(session.offer(wanted, until_ns) for session in sessions))
        self._until_ns = until_ns  # not before: heartbeats go out meanwhile

    async def end(self, reason: str, *, final: bool = False) -> None:
        """Report to all subscribers that nothing follows, when they have taken all that came.

        final: no events will ever follow, so that a source which reads them ends; otherwise readers connect again.
        """
        self.flush()
        await asyncio.gather(*(session.end(reason, final=final) for session in tuple(self._members.sessions)))

    def close(self) -> None:
        """Close the listener and all connections; a second call does nothing."""
        self._listener.close()
        for session in tuple(self._members.sessions):
            session.close("")
        for task in self._tasks:
            task.cancel()

    def _admit(self, connection: socket.socket) -> None:
        if len(self._members.sessions) >= CONNECTIONS_MOST:
            connection.close()
            self._refused += 1
            if self._refused & (self._refused - 1) == 0:  # the 1st, 2nd, 4th, ...: a flood fills no log
                _LOG.warning("stream: %d connections refused; %d are open", self._refused, CONNECTIONS_MOST)
            return
        session = ReaderSession(self._members, monotonic=self._monotonic)
        self._members.sessions.add(session)
        task = asyncio.get_running_loop().create_task(self._run(session, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, session: ReaderSession, connection: socket.socket) -> None:
        try:
            await session.run(connection)
        except OSError as error:
            _LOG.warning("stream: a reader failed: %s", error.strerror)
        finally:
            self._members.sessions.discard(session)

    async def _watch(self) -> None:
        """Close connections that do not do their part."""
        while True:
            await asyncio.sleep(TICK_S)
            for session in tuple(self._members.sessions):
                if fault := session.fault:
                    session.close(fault)


def _side_by_side(batches: list[Batch]) -> list[Batch]:
    """Join batches of the same kind, process and columns, in the order in which they first came."""
    found: dict[tuple[str, int, tuple[str, ...]], list[Batch]] = {}
    for batch in batches:
        found.setdefault((batch.kind, batch.boot_ns, tuple(batch.columns)), []).append(batch)
    return [
        parts[0] if len(parts) == 1 else replace(parts[0], columns=joined([part.columns for part in parts]))
        for parts in found.values()
    ]
