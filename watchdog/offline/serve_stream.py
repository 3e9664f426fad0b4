"""Serve sources to other programs over the typed stream.

    sources --thread--> slices --loop--> StreamServer ==Unix socket==> subscribers

Nothing is read while no one has subscribed. When what the subscribers want changes, the sources are closed and opened
again at their positions, for the kinds and payloads that are wanted now. A reader that is slow makes the sources wait.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from watchdog.core.errors import SourceError
from watchdog.core.kinds import any_kinds
from watchdog.core.release import VERSION
from watchdog.core.source import SourceOptions
from watchdog.offline.read_once import finite
from watchdog.pipeline.clock import Clock, Pace, SystemClock
from watchdog.pipeline.scheduler import IDLE_S, merged
from watchdog.sources.registry import open_sources
from watchdog.stream.listener import listen_at
from watchdog.stream.offer import Demand, Hello, catalogue_kind
from watchdog.stream.schema import HEARTBEAT_S, kj_loop
from watchdog.stream.server import StreamServer

NO_PROMISE_NS: Final = 1
"""The watermark before every source has one: 0 would mean that more of the same time follows."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What a stream is served with.

    socket: where. group: whose members may connect, empty for the user's own group. node: the name that the server
    gives to the node. speed: seconds of event time in a real second, None for as fast as the readers are. follow: wait
    for more at the end of files.
    """

    socket: Path
    group: str = ""
    node: str = "node"
    speed: float | None = None
    follow: bool = False
    asmap: str | None = None


@dataclass(slots=True)
class Served:
    """What was served. faults: lines of damage of the input."""

    events: int = 0
    readers: int = 0  # the most at one time
    faults: list[str] = field(default_factory=list)


def serve_stream(
    sources: Sequence[str],
    options: ServeOptions,
    *,
    ready: Callable[[int], None] = lambda _kinds: None,
    stopping: threading.Event | None = None,
    kinds: frozenset[str] | None = None,
    clock: Clock | None = None,
) -> Served:
    """Serve sources until they have ended and every reader has all, or until `stopping` is set.

    ready: called with the number of offered kinds once readers can connect. kinds: those that may be offered, None
    for all. SourceError: a source cannot be opened, or the socket cannot be served.
    """
    offered = _offered(sources, options)
    if kinds is not None:
        offered &= kinds
    if not offered:
        raise SourceError("the sources give no events")
    listener = listen_at(options.socket, options.group)
    server = _Server(sources, options, offered, stopping or threading.Event(), clock or SystemClock())
    try:
        return asyncio.run(server.run(listener, ready))
    finally:
        listener.close()
        options.socket.unlink(missing_ok=True)


def _opening(options: ServeOptions, wanted: frozenset[str], **more: Any) -> SourceOptions:
    """Return options of the sources; more: further fields of them, each of its own type."""
    return SourceOptions(options.node, wanted, options.follow, asmap_path=options.asmap, **more)


def _offered(sources: Sequence[str], options: ServeOptions) -> frozenset[str]:
    """Return the kinds that the sources give; SourceError when one cannot be opened."""
    opened = open_sources(sources, _opening(options, any_kinds()))
    try:
        return frozenset(kind for source in opened for kind in source.kinds & any_kinds())
    finally:
        for source in opened:
            source.close()


class _EndedError(Exception):
    """Reading ends while no source has anything new."""


class _Server:
    """One run of `serve_stream`, in an event loop."""

    def __init__(
        self,
        sources: Sequence[str],
        options: ServeOptions,
        offered: frozenset[str],
        stopping: threading.Event,
        clock: Clock,
    ) -> None:
        self._sources, self._options, self._offered, self._stopping = sources, options, offered, stopping
        self._clock, self._served = clock, Served()
        self._changed = asyncio.Event()
        self._demand = Demand()
        self._until_ns = NO_PROMISE_NS
        self._reading = threading.Event()  # set: the reading thread should end
        self._positions: dict[str, Mapping[str, object]] = {}

    async def run(self, listener: socket.socket, ready: Callable[[int], None]) -> Served:
        """Serve until the end."""
        kinds = tuple(catalogue_kind(name) for name in sorted(self._offered))
        hello = Hello(f"bitcoin-watchdog {VERSION}", self._options.node, 0, kinds)
        async with kj_loop():
            server = StreamServer(listener, hello, self._on_demand)
            serving = asyncio.create_task(server.serve())
            beating = asyncio.create_task(self._beat(server))
            ready(len(kinds))
            try:
                await self._read(server)
                if not self._stopping.is_set():
                    await server.end("the sources have ended", final=True)
            finally:
                beating.cancel()
                serving.cancel()
                await asyncio.gather(serving, beating, return_exceptions=True)
        return self._served

    def _on_demand(self, demand: Demand) -> None:
        self._demand = demand
        self._reading.set()
        self._changed.set()

    async def _beat(self, server: StreamServer) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if self._stopping.is_set():
                server.close()  # a producer that waits for a slow reader stops waiting
                return
            server.heartbeat(self._until_ns, {"events": float(self._served.events)})

    async def _read(self, server: StreamServer) -> None:
        """Read for what is wanted now, again and again, until the sources have ended or a stop."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            if not self._demand.kinds:
                self._changed.clear()
                await self._wait_for_change()
                continue
            self._reading = threading.Event()
            if await loop.run_in_executor(None, self._reader, loop, server, self._demand, self._reading):
                return

    async def _wait_for_change(self) -> None:
        """Wait until someone subscribes, or for a moment: `stopping` comes from elsewhere."""
        try:
            await asyncio.wait_for(self._changed.wait(), IDLE_S)
        except TimeoutError:
            return

    def _reader(
        self, loop: asyncio.AbstractEventLoop, server: StreamServer, demand: Demand, ending: threading.Event
    ) -> bool:
        """Read in a thread until the sources have ended (True), or something else is wanted."""
        options = _opening(
            self._options, demand.kinds, position=self._positions or None, payloads=demand.payloads, at_once=True
        )
        inputs = finite(open_sources(self._sources, options, torn_later=True))
        marks = dict.fromkeys((source.name for source in inputs), NO_PROMISE_NS)
        pace = Pace(self._options.speed, self._clock)

        def interrupted() -> bool:
            return self._stopping.is_set() or ending.is_set()

        def idle(seconds: float) -> None:
            if interrupted():
                raise _EndedError
            ending.wait(seconds)

        try:
            for piece in merged(inputs, idle):
                pace.wait(piece.until_ns, interrupted)
                if interrupted():  # the piece is read again at its position
                    return False
                marks[piece.source] = piece.until_ns
                until_ns = max(self._until_ns, min(marks.values()))
                asyncio.run_coroutine_threadsafe(server.offer(piece.batches, until_ns), loop).result()
                self._until_ns = until_ns
                self._positions[piece.source] = piece.position
                self._served.readers = max(self._served.readers, server.subscribers)
                self._served.events += sum(batch.rows for batch in piece.batches)
        except _EndedError:
            return False
        else:
            return True
        finally:
            self._served.faults = [line for source in inputs for line in source.faults]
            for source in inputs:
                source.close()
