"""Hostile ends of a stream: nonsense, floods, half messages, columns that lie. The other end stays well."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import capnp
import pytest

from tests.support.stream_rig import TIME_NS, Kept, Rig, added, in_loop, served
from tests.support.waiting import reached
from watchdog.core.errors import SourceError
from watchdog.core.where_tree import Apply, FieldValue, WhereTree
from watchdog.stream.client import StreamClient, _Inlet
from watchdog.stream.metered import ALLOWANCE, MeteredSocket
from watchdog.stream.offer import Hello
from watchdog.stream.schema import MESSAGE_WORDS, SCHEMA, WINDOW_BATCHES
from watchdog.stream.server import CONNECTIONS_MOST
from watchdog.stream.session import GREETING_S
from watchdog.stream.where import NODES_MOST
from watchdog.stream.wire import BATCHES_MOST


async def still_serves(rig: Rig) -> None:
    """Assert that an honest reader gets its events."""
    client, kept = await rig.reader("mempool:added")
    rig.server.publish([added(3)], TIME_NS)
    await reached(lambda: kept.column("vsize_vb") == [0, 1, 2])
    client.close()


async def gone(plain: socket.socket) -> None:
    """Wait until the other end has closed a connection."""
    plain.setblocking(False)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        try:
            while await loop.sock_recv(plain, 65_536):
                pass
        except ConnectionError:
            pass
    plain.close()


def framed(words: int) -> bytes:
    """The head of a message with one segment of that many words."""
    return struct.pack("<II", 0, words)


NONSENSE = [
    b"GET / HTTP/1.1\r\n\r\n",
    bytes(64),
    b"\xff" * 4_096,
    framed(2) + b"\xff" * 16,
    framed(MESSAGE_WORDS + 1) + bytes(64),
    framed(1_000) + bytes(80),
    struct.pack("<I", 2**32 - 1) + bytes(64),  # 2**32 segments
]


@pytest.mark.parametrize("sent", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_ends_one_connection(tmp_path: Path, sent: bytes) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            plain = rig.raw()
            plain.sendall(sent)
            plain.shutdown(socket.SHUT_WR)
            await gone(plain)
            await still_serves(rig)

    in_loop(work)


def test_half_a_message_holds_a_place_no_longer_than_the_greeting_may_take(tmp_path: Path) -> None:
    async def work() -> None:
        now_s = [0.0]
        async with served(tmp_path, monotonic=lambda: now_s[0]) as rig:
            plain = rig.raw()
            plain.sendall(framed(1_000) + bytes(80))
            await still_serves(rig)
            now_s[0] = GREETING_S + 1
            await gone(plain)
            await still_serves(rig)

    in_loop(work)


def test_a_thousand_connections_leave_room_once_they_are_over(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            many = []
            for _ in range(1_000):
                many.append(rig.raw())
                await asyncio.sleep(0)
            await reached(lambda: sum(map(is_closed, many)) == 1_000 - CONNECTIONS_MOST)
            for plain in many:
                plain.close()
            await reached(lambda: not rig.connections)
            await still_serves(rig)

    in_loop(work)


def is_closed(plain: socket.socket) -> bool:
    """Whether the other end has closed a connection on which it never sends."""
    try:
        return plain.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_flood_of_calls_that_reads_no_answer_is_cut_off(tmp_path: Path) -> None:
    """Each call asks for an answer; without a bound the server would keep them all."""

    async def work() -> None:
        async with served(tmp_path) as rig:
            plain = rig.raw()
            plain.setblocking(False)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(flood(plain), 100)
            plain.close()
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
            await still_serves(rig)

    in_loop(work)


async def flood(plain: socket.socket) -> None:
    """Ask again and again, and read nothing."""
    number = 0
    while number * len(asking(0)) < 20 * ALLOWANCE:
        await asyncio.get_running_loop().sock_sendall(plain, b"".join(map(asking, range(number, number + 100))))
        number += 100
        await asyncio.sleep(0)


def asking(number: int) -> bytes:
    """A message that asks for the bootstrap object (rpc.capnp: Message.bootstrap is 8 in the union)."""
    struct_of_both = 1 << 32 | 1 << 48  # a pointer to one word of data and one pointer, right behind it
    return framed(5) + struct.pack("<QQQQQ", struct_of_both, 8, struct_of_both, number, 0)


def deep(levels: int) -> WhereTree:
    """A tree of that many levels."""
    tree: WhereTree = Apply("<", (FieldValue("vsize_vb"), 1))
    for _ in range(levels):
        tree = Apply("not", (tree,))
    return tree


@pytest.mark.parametrize(
    "tree",
    [
        deep(31),
        Apply("in", (FieldValue("vsize_vb"), *range(NODES_MOST))),
        Apply("and", tuple(Apply("or", (True,) * 100) for _ in range(10))),
        Apply("==", (FieldValue("vsize_vb"), "x" * 5_000)),
        Apply("explode", ()),
        Apply("in", ()),
        Apply("==", (FieldValue("txid"), "x")),
    ],
    ids=["deep", "many", "wide", "long", "unknown", "empty", "bytes"],
)
def test_a_condition_that_does_not_fit_is_refused(tmp_path: Path, tree: WhereTree) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            client, _ = await rig.greeted()
            with pytest.raises(SourceError, match="the server refuses"):
                await client.subscribe({"mempool:added": tree}, {}, {})
            await still_serves(rig)

    in_loop(work)


def test_a_condition_beyond_the_librarys_own_depth_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        async with served(tmp_path) as rig:
            client, _ = await rig.greeted()
            with pytest.raises(SourceError):
                await client.subscribe({"mempool:added": deep(200)}, {}, {})
            await still_serves(rig)

    in_loop(work)


# ---- a hostile server ----


class Liar(SCHEMA.EventStream.Server):  # type: ignore[misc] # pycapnp makes the class
    """A server whose greeting and deliveries are what the test writes."""

    def __init__(self, deliver: Callable[[Any], None], hello: Callable[[Any], None] | None = None) -> None:
        self._deliver, self._hello = deliver, hello

    async def hello_context(self, context: Any) -> None:
        hello = context.results.init("hello")
        hello.protocol.major = 1
        if self._hello is not None:
            self._hello(hello)

    async def subscribe_context(self, context: Any) -> None:
        request = context.params.subscriber.deliver_request()
        self._deliver(request.init("delivery"))
        self.sent = asyncio.ensure_future(_send(request))


async def _send(request: Any) -> None:
    await request.send()


async def read_from(
    liar: Liar, path: Path, check: Callable[[StreamClient, Hello], Awaitable[None]], receiver: Kept | None = None
) -> None:
    """Connect a client to a lying server."""

    async def serve(stream: Any) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=liar).on_disconnect()

    server = await capnp.AsyncIoStream.create_unix_server(serve, str(path / "liar.sock"))
    client = StreamClient(str(path / "liar.sock"), receiver or Kept(), node="n", source="s")
    try:
        await check(client, await client.open("test"))
    finally:
        client.close()
        server.close()


def one_batch(rows: int = 1, times: bytes = bytes(8), **column: Any) -> Callable[[Any], None]:
    """Return what writes a delivery of one batch, with a column beside its times."""

    def write(delivery: Any) -> None:
        (batch,) = delivery.init("batches", 1)
        batch.kind, batch.rows = "mempool:added", rows
        columns = batch.init("columns", 2)
        columns[0].name, columns[0].type, columns[0].data = "time_ns", "i64", times
        for name, value in {"name": "other", **column}.items():
            setattr(columns[1], name, value)

    return write


def _many(delivery: Any) -> None:
    delivery.init("batches", BATCHES_MOST + 1)


LIES: list[tuple[Callable[[Any], None], str]] = [
    (one_batch(type="u64", data=bytes(7)), "a column of 1 rows has 7 bytes"),
    (one_batch(rows=2**31, type="u64", data=b""), "2,147,483,648 rows"),
    (one_batch(type="bool", data=b"\x02"), "neither 0 nor 1"),
    (one_batch(type="str", data=struct.pack("<I", 1), dictionary=["a"]), "a code outside of its 1 values"),
    (one_batch(type="str", data=struct.pack("<I", 2**32 - 1), dictionary=["a"]), "a code outside of its 1 values"),
    (one_batch(type="bytes", data=b"abc", offsets=struct.pack("<qq", 0, 4)), "offsets that do not fit"),
    (one_batch(type="bytes", data=b"abc", offsets=struct.pack("<qq", -1, 3)), "offsets that do not fit"),
    (one_batch(type="bytes", data=b"abc", offsets=b""), "offsets that do not fit"),
    (one_batch(name="time_ns", type="i64", data=bytes(8)), "the column 'time_ns' twice"),
    (one_batch(name="x" * 201, type="u64", data=bytes(8)), "a name has 201 characters"),
    (one_batch(times=b"", rows=0, type="str", dictionary=["x"] * 2_000), "2,000 distinct texts"),
    (_many, "2,001 batches"),
]  # fmt: skip


@pytest.mark.parametrize(("lie", "said"), LIES, ids=range(len(LIES)))
def test_a_column_that_lies_is_named(tmp_path: Path, lie: Callable[[Any], None], said: str) -> None:
    async def work() -> None:
        async def check(client: StreamClient, _hello: Hello) -> None:
            await client.subscribe({}, {}, {})
            with pytest.raises(SourceError, match="the server sent nonsense") as caught:
                await asyncio.wait_for(client.ended(), 60)
            assert said in str(caught.value)

        await read_from(Liar(lie), tmp_path, check)

    in_loop(work)


class Broken(Kept):
    """A receiver that fails on what the server sent."""

    async def deliver(self, *_: Any) -> None:
        raise IndexError("no such row")


def test_events_that_the_reader_fails_on_end_the_connection_and_are_heard(tmp_path: Path) -> None:
    async def check(client: StreamClient, _: Hello) -> None:
        await client.subscribe({"mempool:added": None}, {}, {})
        with pytest.raises(SourceError, match="nonsense: no such row"):
            await asyncio.wait_for(client.ended(), 60)

    in_loop(lambda: read_from(Liar(one_batch()), tmp_path, check, Broken()))


class Blocked(Kept):
    """A receiver that never returns from a delivery."""

    async def deliver(self, *_: object) -> None:
        """Wait for ever."""
        await asyncio.Event().wait()


def test_a_server_that_ignores_the_window_is_given_up(tmp_path: Path) -> None:
    async def work() -> None:
        class Flood(Liar):
            async def subscribe_context(self, context: Any) -> None:
                subscriber = context.params.subscriber
                self.calls = []
                for _ in range(3 * WINDOW_BATCHES):
                    request = subscriber.deliver_request()
                    one_batch(type="u64", data=bytes(8))(request.init("delivery"))
                    self.calls.append(asyncio.ensure_future(_send(request)))

        async def check(client: StreamClient, _hello: Hello) -> None:
            await client.subscribe({}, {}, {})
            with pytest.raises(SourceError, match="does not wait for acknowledgements"):
                await asyncio.wait_for(client.ended(), 60)
            assert client.silent_s == 0.0  # it is this end that has not returned

        flood = Flood(lambda _: None)
        await read_from(flood, tmp_path, check, Blocked())
        await asyncio.gather(*flood.calls, return_exceptions=True)

    in_loop(work)


def test_a_server_that_reads_no_acknowledgement_is_given_up() -> None:
    """The library would keep them all; here the other end of the socket is never read, and nothing is even sent."""

    async def work() -> None:
        near, far = socket.socketpair()
        with MeteredSocket(near) as metered, far:
            inlet = _Inlet(Kept(), metered, "n", "s")

            async def beat() -> None:
                for _ in range(100_000):
                    await inlet.take_beat(SCHEMA.Heartbeat.new_message(untilNs=1).as_reader())

            with pytest.raises(SourceError, match="does not read what it is sent"):
                await beat()

    in_loop(work)


def test_what_is_unknown_is_passed_over(tmp_path: Path) -> None:
    """A later minor protocol has kinds, fields and types that this reader does not know."""

    async def work() -> None:
        def hello(target: Any) -> None:
            target.protocol.minor = 99
            (kind,) = target.init("kinds", 1)
            kind.name = "future:kind"
            (field,) = kind.init("fields", 1)
            field.name, field.type = "what", "i128"

        async def check(client: StreamClient, hello: Hello) -> None:
            assert hello.kinds[0].fields == (("what", "i128", ""),)
            await client.subscribe({}, {}, {})
            kept = client._receiver
            assert isinstance(kept, Kept)
            await reached(lambda: bool(kept.batches))
            assert list(kept.batches[0].columns) == ["time_ns"]

        await read_from(Liar(one_batch(type="i128", data=bytes(16)), hello), tmp_path, check)

    in_loop(work)


def test_another_major_protocol_is_refused_on_both_sides(tmp_path: Path) -> None:
    async def work() -> None:
        def hello(target: Any) -> None:
            target.protocol.major = 2

        async def check(_client: StreamClient, _hello: Hello) -> None:
            raise AssertionError("it was accepted")

        with pytest.raises(SourceError, match="the server speaks protocol 2, this reader 1"):
            await read_from(Liar(lambda _: None, hello), tmp_path, check)
        async with served(tmp_path) as rig:
            stream = await capnp.AsyncIoStream.create_unix_connection(rig.path)
            server = capnp.TwoPartyClient(stream).bootstrap().cast_as(SCHEMA.EventStream)
            request = server.hello_request()
            request.protocol.major = 2
            assert (await request.send()).refusal == "this server speaks protocol 1, the reader 2"

    in_loop(work)


def test_a_server_that_says_nothing_and_one_that_is_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchdog.stream.client.ANSWER_S", 0.3)

    async def work() -> None:
        path = str(tmp_path / "mute.sock")
        client = StreamClient(path, Kept(), node="n", source="s")
        with pytest.raises(SourceError, match="no such file or directory"):
            await client.open("test")
        with socket.socket(socket.AF_UNIX) as mute:
            mute.bind(path)
            mute.listen()
            with pytest.raises(SourceError, match="does not answer"):
                await client.open("test")
        client.close()

    in_loop(work)
