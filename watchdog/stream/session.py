"""One connection to a server: its greeting, its subscription, and what is sent to it."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import capnp
import numpy as np

from watchdog.core.batch import Batch
from watchdog.core.errors import WatchdogError
from watchdog.core.text import counted, printable
from watchdog.stream.metered import ANSWER_BYTES, MeteredSocket
from watchdog.stream.offer import OfferedField, OfferedKind
from watchdog.stream.payloads import cut_payloads
from watchdog.stream.schema import ACKNOWLEDGE_S, FAULTS, MAJOR, MESSAGE_WORDS, SCHEMA
from watchdog.stream.where import Test, compiled
from watchdog.stream.window import SendWindow, portions
from watchdog.stream.wire import (
    KINDS_MOST,
    StreamFaultError,
    read_condition,
    read_fields,
    read_sizes,
    write_batch,
    write_kinds,
)

GREETING_S: Final = 10.0
"""A connection that has not subscribed by then is closed."""
ARGUMENTS_MOST: Final = 12  # of a tracepoint, as many as the kernel's BPF helpers of libbpf read (bpf_usdt_arg)
_GONE: Final = "DISCONNECTED"  # the type of a KjException where the other end has closed
HELLOS_MOST: Final = 4  # answers to one connection
_LOG = logging.getLogger("watchdog.stream")


@dataclass(frozen=True, slots=True)
class Wish:
    """What one subscriber wants: a test for each kind, None for all rows; see `Demand` for the rest."""

    kinds: Mapping[str, Test | None] = field(default_factory=dict)
    payloads: Mapping[str, int] = field(default_factory=dict)
    tracepoints: Mapping[str, tuple[OfferedField, ...]] = field(default_factory=dict)


class Host(Protocol):
    """The server, as a session sees it."""

    def greet(self, target: Any) -> None:
        """Write the greeting into a message of the struct Hello."""
        ...

    def offered(self, declared: Mapping[str, tuple[OfferedField, ...]]) -> Mapping[str, OfferedKind]:
        """Return all kinds, those that a subscriber declares included; WatchdogError where two contradict."""
        ...

    def joined(self, session: ReaderSession, wish: Wish) -> None:
        """Take a subscriber; WatchdogError when there are too many, or nothing can give what it wants."""
        ...

    def left(self, session: ReaderSession) -> None:
        """Forget a session; a second call does nothing."""
        ...


class _Door(SCHEMA.EventStream.Server):  # type: ignore[misc] # pycapnp makes the class
    """The object that the other end calls. Answers carry refusals: an exception would carry a traceback."""

    def __init__(self, session: ReaderSession) -> None:
        self._session = session

    async def hello_context(self, context: Any) -> None:
        """Greet."""
        self._session.hello(context)

    async def subscribe_context(self, context: Any) -> None:
        """Begin to send."""
        self._session.subscribe(context)


class ReaderSession:
    """A connection. wish: None until it has subscribed. All methods in the loop's thread; none blocks."""

    def __init__(self, host: Host, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.wish: Wish | None = None
        self.window = SendWindow()
        self._host, self._monotonic = host, monotonic
        self._subscriber: Any = None
        self._socket: MeteredSocket | None = None
        self._stream: Any = None
        self._hellos, self._reader = 0, "a reader"
        self._beating_since_s: float | None = None
        self._began_s = monotonic()
        self._calls: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._types: dict[str, Mapping[str, str]] = {}

    async def run(self, connection: socket.socket) -> None:
        """Serve a connection until it ends."""
        self._socket = MeteredSocket(connection)
        self._stream = await capnp.AsyncIoStream.create_unix_connection(sock=self._socket)
        try:
            rpc = capnp.TwoPartyServer(
                self._stream, bootstrap=_Door(self), traversal_limit_in_words=MESSAGE_WORDS, nesting_limit=64
            )
            await rpc.on_disconnect()
        finally:
            self.close("sent more than a reader has to say" if self._socket.left < 0 else "")

    def hello(self, context: Any) -> None:
        """Answer a greeting."""
        self._hellos += 1
        if self._hellos > HELLOS_MOST:
            self.close("greeted again and again")
            return
        try:
            major, reader = int(context.params.protocol.major), str(context.params.reader)
        except FAULTS:
            major, reader = -1, ""
        self._reader = printable(reader, 80) or self._reader
        if major == MAJOR:
            self._host.greet(context.results.init("hello"))
        else:
            context.results.refusal = f"this server speaks protocol {MAJOR}, the reader {major}"

    def subscribe(self, context: Any) -> None:
        """Take a subscription, or say why not."""
        try:
            self._subscribe(context)
        except WatchdogError as error:
            context.results.refusal = printable(error.in_one_line(), 500)
        except FAULTS:
            context.results.refusal = "the subscription is no message of this protocol"

    def _subscribe(self, context: Any) -> None:
        if self.wish is not None:
            raise StreamFaultError("a connection has one subscription")
        subscription, subscriber = context.params.subscription, context.params.subscriber
        declared = _declared(subscription.tracepoints)
        offered = self._host.offered(declared)
        wish = Wish(_tests(subscription.kinds, offered), read_sizes(subscription.payloads), declared)
        self._host.joined(self, wish)
        self.wish, self._subscriber = wish, subscriber
        self._types = {kind: {name: typ for name, typ, _ in offered[kind].fields} for kind in wish.kinds}
        write_kinds(context.results, [offered[kind] for kind in sorted(wish.kinds)])
        _LOG.info("stream: %s subscribed to %s", self._reader, counted(len(wish.kinds), "kind"))

    def send(self, batches: Sequence[Batch], until_ns: int) -> None:
        """Send what of these batches is wanted, in portions; what has no room is dropped and counted."""
        for portion, size, last in self._portions(batches):
            if self.window.has_room(size):
                self._deliver(portion, size, until_ns if last else 0)
            else:
                self.window.drop(portion)

    async def offer(self, batches: Sequence[Batch], until_ns: int) -> None:
        """Send what of these batches is wanted, and wait for room before each portion."""
        for portion, size, last in self._portions(batches):
            while not self.closed and not self.window.has_room(size):
                self._room.clear()
                await self._room.wait()
            if self.closed:
                return
            self._deliver(portion, size, until_ns if last else 0)

    def _portions(self, batches: Sequence[Batch]) -> Iterator[tuple[list[Batch], int, bool]]:
        """Yield what is wanted of some batches in portions, the bytes of each, and whether it is the last one."""
        if self.wish is None or self.closed:
            return
        wanted = [part for batch in batches if (part := self._wanted(self.wish, batch)) is not None]
        several = list(portions(wanted))
        yield from ((portion, size, number == len(several)) for number, (portion, size) in enumerate(several, 1))

    def _deliver(self, portion: Sequence[Batch], size: int, until_ns: int) -> None:
        request = self._subscriber.deliver_request()
        delivery = request.init("delivery")
        self.window.report(delivery)
        for place, batch in zip(delivery.init("batches", len(portion)), portion, strict=True):
            write_batch(place, batch, self._types[batch.kind])
        delivery.untilNs = until_ns
        self.window.send(size, self._monotonic())
        self._call(request, self._acknowledged)

    def beat(self, until_ns: int, health: Mapping[str, float]) -> None:
        """Send a heartbeat, unless the one before has not returned."""
        if self.wish is None or self._beating_since_s is not None:
            return
        self._beating_since_s = self._monotonic()
        request = self._subscriber.heartbeat_request()
        beat = request.init("beat")
        self.window.report(beat)
        beat.untilNs = until_ns
        for place, (name, value) in zip(beat.init("health", len(health)), health.items(), strict=True):
            place.name, place.value = name, float(value)
        self._call(request, self._beaten)

    async def end(self, reason: str, *, final: bool) -> None:
        """Say that nothing follows, once what is on its way was acknowledged; at most ACKNOWLEDGE_S."""
        if self.wish is None:
            return
        try:
            async with asyncio.timeout(ACKNOWLEDGE_S):
                while self.window.sent and not self.closed:
                    self._room.clear()
                    await self._room.wait()
                if self.closed:
                    return
                request = self._subscriber.end_request()
                request.reason, request.final = reason, final
                await request.send()
        except (TimeoutError, capnp.KjException):
            _LOG.info("stream: %s did not hear the end", self._reader)

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self._stream is None

    @property
    def fault(self) -> str:
        """Why the connection should be closed now; empty while it is well."""
        now_s = self._monotonic()
        if self.wish is None:
            return f"did not subscribe within {GREETING_S:.0f} s" if now_s - self._began_s > GREETING_S else ""
        since_s = now_s if self._beating_since_s is None else self._beating_since_s
        oldest = min(self.window.sent[0][1] if self.window.sent else now_s, since_s)
        return f"acknowledged nothing for {ACKNOWLEDGE_S:.0f} s" if now_s - oldest > ACKNOWLEDGE_S else ""

    def close(self, reason: str) -> None:
        """End the connection; a second call does nothing."""
        if self._stream is None:
            return
        if reason:
            _LOG.warning("stream: %s was disconnected: %s", self._reader, printable(reason, 500))
        stream, self._stream = self._stream, None
        self._host.left(self)
        for task in self._calls:
            task.cancel()
        self._room.set()
        # never within a call of its own: the library still holds what closing frees
        asyncio.get_running_loop().call_soon(stream.close)

    def _wanted(self, wish: Wish, batch: Batch) -> Batch | None:
        if batch.kind not in wish.kinds or not batch.rows:
            return None
        test = wish.kinds[batch.kind]
        if test is not None:
            chosen = np.flatnonzero(test(batch))
            if not len(chosen):
                return None
            batch = batch if len(chosen) == batch.rows else batch.take(chosen)
        return cut_payloads(batch, wish.payloads)

    def _call(self, request: Any, returned: Callable[[], None]) -> None:
        """Make a call, and run `returned` at its return; a call that fails ends the session."""
        assert self._socket is not None
        self._socket.left += ANSWER_BYTES
        task = asyncio.get_running_loop().create_task(self._watched(request.send(), returned))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _watched(self, promise: Any, returned: Callable[[], None]) -> None:
        try:
            await promise
        except FAULTS as error:
            if self.closed:
                return
            if str(getattr(error, "type", "")) == _GONE:
                _LOG.info("stream: a reader left")
                self.close("")
            else:
                self.close(f"a delivery failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
        else:
            returned()

    def _acknowledged(self) -> None:
        self.window.acknowledge()
        self._room.set()

    def _beaten(self) -> None:
        self._beating_since_s = None


def _declared(tracepoints: Any) -> dict[str, tuple[OfferedField, ...]]:
    """Read the tracepoints that a subscriber declares, by kind."""
    if len(tracepoints) > KINDS_MOST:
        raise StreamFaultError(f"more than {KINDS_MOST:,} tracepoints are declared")
    declared: dict[str, tuple[OfferedField, ...]] = {}
    for one in tracepoints:
        name = f"{one.provider}:{one.name}"
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,80}:[A-Za-z0-9_.-]{1,80}", name):
            raise StreamFaultError(f"'{printable(name, 200)}' is no name of a tracepoint")
        declared[name] = read_fields(one.fields, ARGUMENTS_MOST)
    return declared


def _tests(wanted: Any, offered: Mapping[str, OfferedKind]) -> dict[str, Test | None]:
    """Return the test of each wanted kind; StreamFaultError for a kind that is not offered."""
    if len(wanted) > KINDS_MOST:
        raise StreamFaultError(f"more than {KINDS_MOST:,} kinds are wanted")
    tests: dict[str, Test | None] = {}
    for one in wanted:
        kind = offered.get(str(one.kind))
        if kind is None:
            raise StreamFaultError(f"the kind '{printable(str(one.kind), 200)}' is not offered")
        tree = read_condition(one.where)
        tests[kind.name] = None if tree is None else compiled(tree, {name: typ for name, typ, _ in kind.fields})
    return tests
