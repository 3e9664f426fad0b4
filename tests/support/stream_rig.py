"""A stream's server and readers of it, in one event loop over a real Unix socket."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import capnp
import numpy as np

from watchdog.core.batch import Batch, Blobs
from watchdog.stream.client import StreamClient, StreamLoss
from watchdog.stream.offer import Demand, Hello, OfferedKind, catalogue_kind
from watchdog.stream.schema import SCHEMA
from watchdog.stream.server import StreamServer
from watchdog.stream.wire import decode_batch

TIME_NS = 1_750_000_000 * 10**9
ADDED = catalogue_kind("mempool:added")


def added(rows: int, first: int = 0) -> Batch:
    """Events mempool:added whose `vsize_vb` counts from `first`, a microsecond apart."""
    numbers = np.arange(first, first + rows)
    return Batch(
        "mempool:added",
        "theirs",
        "extract",
        {
            "time_ns": TIME_NS + numbers * 1_000,
            "txid": Blobs.of([int(number).to_bytes(32, "little") for number in numbers]),
            "vsize_vb": numbers.astype(np.int32),
            "fee_sat": numbers.astype(np.int64) * 10,
        },
        boot_ns=TIME_NS - 5,
    )


@dataclass
class Kept:
    """A receiver that keeps all that it gets."""

    batches: list[Batch] = field(default_factory=list)
    losses: list[StreamLoss] = field(default_factory=list)
    story: list[str] = field(default_factory=list)  # in the order of arrival
    until_ns: int = 0
    health: dict[str, float] = field(default_factory=dict)
    beats: int = 0

    async def deliver(self, losses: Sequence[StreamLoss], batches: Sequence[Batch], until_ns: int) -> None:
        """Keep events."""
        self._note(losses, until_ns)
        self.batches += batches
        self.story += ["events"] if batches else []

    async def heartbeat(self, losses: Sequence[StreamLoss], until_ns: int, health: Mapping[str, float]) -> None:
        """Keep a heartbeat."""
        self._note(losses, until_ns)
        self.health, self.beats = dict(health), self.beats + 1
        self.story.append("heartbeat")

    def _note(self, losses: Sequence[StreamLoss], until_ns: int) -> None:
        self.losses += losses
        self.story += ["lost"] if losses else []
        self.until_ns = max(self.until_ns, until_ns)

    def column(self, name: str) -> list[int]:
        """All values of a column of numbers, in the order of arrival."""
        return [value for batch in self.batches for value in batch.numbers(name).tolist()]


@dataclass
class SlowReader:
    """A subscriber whose calls return only once `free` is set."""

    kept: Kept
    free: asyncio.Event
    rpc: Any
    stream: Any

    def ear(self) -> Any:
        """The object that the server calls."""
        outer = self

        class Ear(SCHEMA.Subscriber.Server):  # type: ignore[misc] # pycapnp makes the class
            async def deliver_context(self, context: Any) -> None:
                delivery = context.params.delivery
                losses = [StreamLoss(one.kind, one.events, one.fromNs, one.toNs) for one in delivery.lost]
                batches = [decode_batch(one, "ours", "slow") for one in delivery.batches]
                await outer.kept.deliver(losses, batches, delivery.untilNs)
                await outer.free.wait()

            async def heartbeat_context(self, context: Any) -> None:
                await outer.kept.heartbeat([], context.params.beat.untilNs, {})
                await outer.free.wait()

            async def end_context(self, context: Any) -> None:
                outer.kept.story.append("end")

        return Ear()


@dataclass
class Rig:
    """A server that runs, and what it was asked for."""

    path: str
    server: StreamServer
    demands: list[Demand]
    clients: list[StreamClient] = field(default_factory=list)

    async def reader(self, *kinds: str, payloads: Mapping[str, int] | None = None) -> tuple[StreamClient, Kept]:
        """Return a client that has subscribed to whole kinds."""
        client, kept = await self.greeted()
        await client.subscribe(dict.fromkeys(kinds), payloads or {}, {})
        return client, kept

    async def greeted(self) -> tuple[StreamClient, Kept]:
        """Return a client that has said hello."""
        kept = Kept()
        client = StreamClient(self.path, kept, node="ours", source="stream:test")
        self.clients.append(client)
        await client.open("test")
        return client, kept

    async def slow_reader(self, *kinds: str) -> SlowReader:
        """Return a reader that acknowledges nothing until it is set free."""
        stream = await capnp.AsyncIoStream.create_unix_connection(self.path)
        rpc = capnp.TwoPartyClient(stream)
        reader = SlowReader(Kept(), asyncio.Event(), rpc, stream)
        request = rpc.bootstrap().cast_as(SCHEMA.EventStream).subscribe_request()
        for place, kind in zip(request.subscription.init("kinds", len(kinds)), kinds, strict=True):
            place.kind = kind
        request.subscriber = reader.ear()
        answer = await request.send()
        assert not answer.refusal
        return reader

    @property
    def connections(self) -> int:
        """Open connections of the server."""
        return len(self.server._members.sessions)

    @property
    def unacknowledged(self) -> int:
        """Deliveries on their way to any reader."""
        return sum(len(one.window.sent) for one in self.server._members.sessions)

    def raw(self) -> socket.socket:
        """Return a plain connection, for what no client of this program does."""
        plain = socket.socket(socket.AF_UNIX)
        plain.setblocking(False)
        plain.connect(self.path)
        return plain


@asynccontextmanager
async def served(
    folder: Path,
    kinds: Sequence[OfferedKind] = (ADDED,),
    on_demand: Callable[[Demand], None] | None = None,
    monotonic: Callable[[], float] | None = None,
) -> AsyncIterator[Rig]:
    """Run a server at a socket in this folder."""
    path = str(folder / "stream.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    demands: list[Demand] = []
    hello = Hello("test 1", "theirs", TIME_NS - 5, tuple(kinds))
    server = StreamServer(listener, hello, on_demand or demands.append, monotonic=monotonic or time.monotonic)
    running = asyncio.get_running_loop().create_task(server.serve())
    rig = Rig(path, server, demands)
    try:
        yield rig
    finally:
        for client in rig.clients:
            client.close()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def in_loop(work: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine in a loop of Cap'n Proto's."""

    async def whole() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(capnp.run(whole()))
