"""stream: events from one end of our stream to the other, against one call for each event.

Both ends of both sides are in one event loop, over a Unix socket in a temporary folder, and the same six columns
arrive: ours as NumPy columns, checked; the rival's as attributes of each event.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import capnp

from benchmarks.decode_columns import batch_at, plain_rows
from benchmarks.rivals import one_call
from benchmarks.rounds import Row, Settings, by_rate, in_turns
from watchdog.core.batch import Batch
from watchdog.core.kinds import KINDS
from watchdog.stream.client import StreamClient, StreamLoss
from watchdog.stream.listener import listen_at
from watchdog.stream.offer import Hello, OfferedKind
from watchdog.stream.server import StreamServer

NAME = "stream"
GATE = 300.0
KIND = "net:inbound_message"
ROWS = 1_000  # of a batch
BATCHES, QUICK_BATCHES = 2_000, 100
CALLS, QUICK_CALLS = 4_000, 500
IN_FLIGHT = 200


def measure(settings: Settings) -> list[Row]:
    """Return the gated row, and for information the rival with many calls on their way."""
    batches = [batch_at(number, ROWS) for number in range(10)]
    rows = plain_rows(0)[: QUICK_CALLS if settings.quick else CALLS]
    count = QUICK_BATCHES if settings.quick else BATCHES

    def ours(_: int) -> float:
        return count * ROWS / _seconds(lambda path: _streamed(path, batches, count))

    def theirs(_: int) -> float:
        return len(rows) / _seconds(lambda path: one_call.send(path, rows, 1))

    def many(_: int) -> float:
        return len(rows) / _seconds(lambda path: one_call.send(path, rows, IN_FLIGHT))

    one = in_turns(settings.rounds, ours, theirs)
    several = in_turns(settings.rounds, ours, many)
    return [
        by_rate(NAME, one, "events/s", "one call for each event", gate=GATE, note="1,000 rows a batch"),
        by_rate(f"{NAME}-in-flight", several, "events/s", f"the same, {IN_FLIGHT} on their way"),
    ]


class _Counter:
    """A receiver that counts rows."""

    def __init__(self) -> None:
        self.rows = 0

    async def deliver(self, _losses: Sequence[StreamLoss], batches: Sequence[Batch], _until_ns: int) -> None:
        """Count."""
        self.rows += sum(batch.rows for batch in batches)

    async def heartbeat(self, _losses: Sequence[StreamLoss], _until_ns: int, _health: Mapping[str, float]) -> None:
        """Count nothing."""


async def _streamed(path: str, batches: Sequence[Batch], count: int) -> int:
    """Send batches from a server to a client; return how many rows arrived."""
    fields = KINDS[KIND].fields
    kind = OfferedKind(KIND, tuple((name, fields[name].type, fields[name].unit) for name in batches[0].columns))
    server = StreamServer(listen_at(Path(path)), Hello("benchmark", "node", 0, (kind,)), lambda _demand: None)
    serving = asyncio.create_task(server.serve())
    counter = _Counter()
    client = StreamClient(path, counter, node="node", source="stream:x")
    await client.open("benchmark")
    await client.subscribe({KIND: None}, {}, {})
    for number in range(count):
        await server.offer([batches[number % len(batches)]], number + 1)
    await server.end("over", final=True)
    await client.ended()
    client.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return counter.rows


def _seconds(work: Any) -> float:
    """Return how long a coroutine takes in a loop of its own; `work` makes it for the path of a socket."""
    with tempfile.TemporaryDirectory() as folder:

        async def timed() -> None:
            coroutine: Coroutine[Any, Any, int] = work(f"{folder}/s")
            assert await coroutine > 0

        begun = time.perf_counter()
        asyncio.run(capnp.run(timed()))
        return time.perf_counter() - begun
