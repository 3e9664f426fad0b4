"""A stream's server in a thread of its own, driven by a test from outside: sources have a loop of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until
from watchdog.core.batch import Batch, Slice
from watchdog.core.source import Source
from watchdog.stream.listener import listen_at
from watchdog.stream.offer import Demand, Hello, OfferedKind
from watchdog.stream.schema import kj_loop
from watchdog.stream.server import StreamServer


class StreamService:
    """A server at a path; `stop` ends it as a crash would: without a word to its readers."""

    def __init__(self, path: Path, kinds: Sequence[OfferedKind], boot_ns: int = 0) -> None:
        self.demands: list[Demand] = []
        self._hello = Hello("test 1", "theirs", boot_ns, tuple(kinds))
        self._listener = listen_at(path)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with kj_loop():
            self._server = StreamServer(self._listener, self._hello, self.demands.append)
            serving = asyncio.create_task(self._server.serve())
            self._ready.set()
            await self._over.wait()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    @property
    def subscribers(self) -> int:
        """How many there are now."""
        return self._server.subscribers

    def publish(self, batches: Sequence[Batch], until_ns: int) -> None:
        """Send events, and drop what a reader has no room for."""
        self._call(lambda: self._server.publish(batches, until_ns))
        self._call(self._server.flush)

    def offer(self, batches: Sequence[Batch], until_ns: int) -> None:
        """Send events, and wait for room."""
        asyncio.run_coroutine_threadsafe(self._server.offer(batches, until_ns), self._loop).result(60)

    def beat(self, until_ns: int, **health: float) -> None:
        """Send a heartbeat."""
        self._call(lambda: self._server.heartbeat(until_ns, health))

    def end(self, reason: str = "over", *, final: bool = True) -> None:
        """Say that nothing follows."""
        asyncio.run_coroutine_threadsafe(self._server.end(reason, final=final), self._loop).result(60)

    def stop(self) -> None:
        """Disappear."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(60)
            assert not self._thread.is_alive()

    def _call(self, work: Callable[[], Any]) -> None:
        done = threading.Event()

        def run() -> None:
            work()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(300)


def slices_until(source: Source, enough: Callable[[list[Slice]], bool]) -> list[Slice]:
    """Poll a source until its slices are enough."""
    found: list[Slice] = []

    def polled() -> bool:
        while (piece := source.poll()) is not None:
            found.append(piece)
        return enough(found)

    wait_until(polled, lambda: f"only {sum(len(one.batches) for one in found)} batches came")
    return found


def batches_of(slices: Sequence[Slice], kind: str) -> list[Batch]:
    """The batches of one kind."""
    return [batch for piece in slices for batch in piece.batches if batch.kind == kind]
