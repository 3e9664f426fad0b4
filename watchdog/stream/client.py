"""The end of the stream that reads: connects, greets, subscribes, and passes on what comes.

A server may be hostile: messages are bounded by the library's own limit and checked column by column, and a server that
does not read the acknowledgements is given up. Everything runs in the thread of an asyncio loop, inside
`capnp.kj_loop()`.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import capnp

from watchdog.core.batch import Batch
from watchdog.core.errors import SourceError
from watchdog.core.text import printable
from watchdog.core.where_tree import WhereTree
from watchdog.stream.metered import MeteredSocket
from watchdog.stream.offer import Hello, OfferedField, OfferedKind
from watchdog.stream.schema import FAULTS, MAJOR, MESSAGE_WORDS, MINOR, SCHEMA, WINDOW_BATCHES
from watchdog.stream.wire import (
    BATCHES_MOST,
    KINDS_MOST,
    StreamFaultError,
    decode_batch,
    read_kinds,
    write_condition,
    write_fields,
)

_UNKNOWN_CALL: Final = "UNIMPLEMENTED"  # the type of a KjException where the other end has no such method
_IPC_HINT: Final = "the IPC socket of a node is read by ipc:SOCKET"
ANSWER_S: Final = 10.0
"""A server that needs longer for an answer is given up."""
GAUGES_MOST: Final = 100
_RETURN_BYTES: Final = 16  # at least, of the return of a call
_UNREAD_MOST: Final = 1 << 20  # bytes of such returns that wait in this process
_ANYTHING: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class StreamLoss:
    """Events of one kind that the server dropped; times of the first and the last, ns."""

    kind: str
    events: int
    from_ns: int
    to_ns: int


class StreamReceiver(Protocol):
    """What a client calls, one call after the other; the return of `deliver` acknowledges."""

    async def deliver(self, losses: Sequence[StreamLoss], batches: Sequence[Batch], until_ns: int) -> None:
        """Take events; losses come before them. until_ns: 0 where more of the same time follows, or the watermark."""
        ...

    async def heartbeat(self, losses: Sequence[StreamLoss], until_ns: int, health: Mapping[str, float]) -> None:
        """Take a heartbeat."""
        ...


class StreamClient:
    """One connection to a server. node, source: the names that batches get.

    Every method raises SourceError with one line when the server cannot be reached, refuses, or breaks the protocol.
    """

    def __init__(self, path: str, receiver: StreamReceiver, *, node: str, source: str) -> None:
        self._path, self._receiver, self._node, self._source = path, receiver, node, source
        self._inlet: _Inlet | None = None
        self._stream: Any = None
        self._rpc: Any = None
        self._server: Any = None

    async def open(self, reader: str) -> Hello:
        """Connect and greet; return what the server offers. reader: program and version of this end."""
        loop = asyncio.get_running_loop()
        plain = socket.socket(socket.AF_UNIX)
        plain.setblocking(False)
        try:
            await asyncio.wait_for(loop.sock_connect(plain, self._path), ANSWER_S)
        except (OSError, TimeoutError, ValueError) as error:
            plain.close()
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or "no answer"
            raise SourceError(f"cannot connect to '{printable(self._path)}': {why.lower()}") from None
        metered = MeteredSocket(plain, _ANYTHING)
        self._inlet = _Inlet(self._receiver, metered, self._node, self._source)
        self._stream = await capnp.AsyncIoStream.create_unix_connection(sock=metered)
        self._rpc = capnp.TwoPartyClient(self._stream, traversal_limit_in_words=MESSAGE_WORDS, nesting_limit=64)
        self._server = self._rpc.bootstrap().cast_as(SCHEMA.EventStream)
        request = self._server.hello_request()
        request.protocol.major, request.protocol.minor, request.reader = MAJOR, MINOR, reader
        return _hello(await self._answer(request))

    async def subscribe(
        self,
        kinds: Mapping[str, WhereTree | None],
        payloads: Mapping[str, int],
        tracepoints: Mapping[str, Sequence[OfferedField]],
    ) -> tuple[OfferedKind, ...]:
        """Subscribe, once; return the kinds that will come. tracepoints: `provider:name` -> fields without time."""
        assert self._inlet is not None
        request = self._server.subscribe_request()
        subscription = request.init("subscription")
        for place, (kind, tree) in zip(subscription.init("kinds", len(kinds)), kinds.items(), strict=True):
            place.kind = kind
            if tree is not None:
                write_condition(place.init("where"), tree)
        for place, (type_, size) in zip(subscription.init("payloads", len(payloads)), payloads.items(), strict=True):
            place.type, place.bytes = type_, size
        for place, (name, fields) in zip(
            subscription.init("tracepoints", len(tracepoints)), tracepoints.items(), strict=True
        ):
            place.provider, _, place.name = name.partition(":")
            write_fields(place.init("fields", len(fields)), fields)
        request.subscriber = _Ear(self._inlet)
        answer = await self._answer(request)
        try:
            return read_kinds(answer.kinds)
        except FAULTS:
            raise StreamFaultError("the answer to the subscription cannot be read") from None

    async def ended(self) -> str:
        """Wait until nothing follows; return why, in words of the server, when no events will ever follow.

        SourceError: the connection is over, and the server may be there again.
        """
        assert self._inlet is not None
        over = self._inlet.over
        gone = asyncio.ensure_future(self._rpc.on_disconnect())
        try:
            await asyncio.wait([over, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if not over.done():
            raise SourceError("the connection ended")
        return over.result()

    @property
    def silent_s(self) -> float:
        """Seconds without a call from the server; 0.0 while this end has not returned from one."""
        return 0.0 if self._inlet is None else self._inlet.silent_s

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        rpc, stream = self._rpc, self._stream
        self._rpc = self._stream = self._server = None
        if rpc is not None:
            rpc.close()
        if stream is not None:
            stream.close()

    async def _answer(self, request: Any) -> Any:
        """Return the answer to a call that may be refused."""
        try:
            answer = await asyncio.wait_for(_sent(request), ANSWER_S)
            refusal = str(answer.refusal)
        except TimeoutError:
            raise SourceError("the server does not answer") from None
        except FAULTS as error:
            if getattr(error, "type", "") == _UNKNOWN_CALL:
                raise SourceError(f"another program answers there; {_IPC_HINT}") from None
            raise SourceError(f"the server failed: {_first_line(error)}") from None
        if refusal:
            raise SourceError(f"the server refuses: {printable(refusal, 500)}")
        return answer


class _Inlet:
    """What has come from a server, in order. over: done when nothing follows; an error: it broke the protocol."""

    def __init__(self, receiver: StreamReceiver, connection: MeteredSocket, node: str, source: str) -> None:
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.over.add_done_callback(lambda over: over.cancelled() or over.exception())  # a closed client asks no more
        self._receiver, self._socket, self._node, self._source = receiver, connection, node, source
        self._handled = self._waiting = 0
        self._heard_s = time.monotonic()
        self._turn = asyncio.Lock()

    @property
    def silent_s(self) -> float:
        """See `StreamClient.silent_s`."""
        return 0.0 if self._waiting else time.monotonic() - self._heard_s

    async def take(self, context: Any) -> None:
        """Pass a delivery on, once those before it were taken."""
        delivery = context.params.delivery
        if len(delivery.batches) > BATCHES_MOST:
            raise StreamFaultError(f"a delivery has {len(delivery.batches):,} batches")
        batches = [decode_batch(one, self._node, self._source) for one in delivery.batches]
        losses, until_ns = _losses(delivery.lost), delivery.untilNs
        context.release_params()
        await self._in_turn(self._receiver.deliver(losses, batches, until_ns))

    async def take_beat(self, beat: Any) -> None:
        """Pass a heartbeat on, once the deliveries before it were taken."""
        if len(beat.health) > GAUGES_MOST:
            raise StreamFaultError(f"a heartbeat has {len(beat.health):,} numbers")
        health = {printable(one.name, 80): one.value for one in beat.health}
        await self._in_turn(self._receiver.heartbeat(_losses(beat.lost), beat.untilNs, health))

    async def finish(self, reason: str, *, final: bool) -> None:
        """Note that nothing follows, as the server says, once all before it was taken."""
        async with self._turn:
            pass
        if not self.over.done():
            text = printable(reason, 500)
            if final:
                self.over.set_result(text)
            else:
                self.over.set_exception(SourceError(text or "the server ends"))

    def fail(self, error: Exception) -> None:
        """Note that the server broke the protocol."""
        if not self.over.done():
            line = error.in_one_line() if isinstance(error, SourceError) else _first_line(error)
            self.over.set_exception(StreamFaultError(f"the server sent nonsense: {line}"))

    async def _in_turn(self, taking: Coroutine[Any, Any, None]) -> None:
        """Wait for a receiver; a server that sends on beyond its window breaks the protocol."""
        self._waiting += 1
        self._heard_s = time.monotonic()
        try:
            if self._waiting > 2 * WINDOW_BATCHES:
                raise StreamFaultError("the server does not wait for acknowledgements")
            async with self._turn:
                await taking
        finally:
            taking.close()  # where it never began
            self._waiting -= 1
            self._heard_s = time.monotonic()
        self._handled += 1
        if self._handled * _RETURN_BYTES - self._socket.sent > _UNREAD_MOST:
            raise StreamFaultError("the server does not read what it is sent")


class _Ear(SCHEMA.Subscriber.Server):  # type: ignore[misc] # pycapnp makes the class
    """The object that the server calls."""

    def __init__(self, inlet: _Inlet) -> None:
        self._inlet = inlet

    async def deliver_context(self, context: Any) -> None:
        """Take events."""
        try:
            await self._inlet.take(context)
        except Exception as error:  # noqa: BLE001 - the library would answer it to the server, and lose the events unheard
            self._inlet.fail(error)

    async def heartbeat_context(self, context: Any) -> None:
        """Take a heartbeat."""
        try:
            await self._inlet.take_beat(context.params.beat)
        except Exception as error:  # noqa: BLE001 - as above
            self._inlet.fail(error)

    async def end_context(self, context: Any) -> None:
        """Hear the end."""
        try:
            await self._inlet.finish(str(context.params.reason), final=bool(context.params.final))
        except FAULTS as error:
            self._inlet.fail(error)


async def _sent(request: Any) -> Any:
    return await request.send()


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return printable(lines[0] if lines else type(error).__name__, 300)


def _losses(lost: Any) -> list[StreamLoss]:
    if len(lost) > KINDS_MOST:
        raise StreamFaultError(f"losses of {len(lost):,} kinds")
    return [StreamLoss(printable(one.kind, 200), one.events, one.fromNs, one.toNs) for one in lost]


def _hello(answer: Any) -> Hello:
    try:
        hello = answer.hello
        major = hello.protocol.major
        if major != MAJOR:
            raise SourceError(f"the server speaks protocol {major}, this reader {MAJOR}")
        kinds = read_kinds(hello.kinds)
        return Hello(printable(hello.producer), printable(hello.node), hello.bootNs, kinds)
    except FAULTS:
        raise StreamFaultError("the server's greeting cannot be read") from None
