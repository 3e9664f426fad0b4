"""The rival of stream: one call for each event, over the same kind of socket, in the same event loop.

Why this is the best form that we know: typed arguments, no struct around them, the handler reads each field as an
attribute and keeps nothing. `in_flight`: calls that wait for their return at one time; 1 is what a producer does that
knows what its reader has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import capnp

_SCHEMA: Any = capnp.load(str(Path(__file__).with_name("one_call.capnp")))  # no types: pycapnp's own


class _Sink(_SCHEMA.Sink.Server):  # type: ignore[misc] # pycapnp makes the class
    def __init__(self) -> None:
        self.count = 0

    async def event_context(self, context: Any) -> None:
        """Touch every field."""
        event = context.params
        _ = event.timeNs, event.conn, event.peer, event.type, event.size, event.known
        self.count += 1


class _Source(_SCHEMA.Source.Server):  # type: ignore[misc] # pycapnp makes the class
    def __init__(self) -> None:
        self.subscribed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def subscribe_context(self, context: Any) -> None:
        """Keep the sink."""
        self.subscribed.set_result(context.params.sink)


async def send(path: str, rows: Sequence[Sequence[Any]], in_flight: int) -> int:
    """Send events from one end to the other; return how many arrived."""
    source, sink = _Source(), _Sink()

    async def serve(stream: Any) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=source).on_disconnect()

    server = await capnp.AsyncIoStream.create_unix_server(serve, path)
    client = capnp.TwoPartyClient(await capnp.AsyncIoStream.create_unix_connection(path))
    await client.bootstrap().cast_as(_SCHEMA.Source).subscribe(sink)
    remote = await source.subscribed
    for start in range(0, len(rows), in_flight):
        await asyncio.gather(*(_call(remote, row) for row in rows[start : start + in_flight]))
    client.close()
    server.close()
    return sink.count


async def _call(remote: Any, row: Sequence[Any]) -> None:
    time_ns, conn, peer, type_, size, known = row
    await remote.event(timeNs=time_ns, conn=conn, peer=peer, type=type_, size=size, known=known)
