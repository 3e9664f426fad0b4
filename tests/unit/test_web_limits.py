"""Clients that take too long, that are too many, and a system that accepts no more."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.event_loops import scenery
from tests.support.waiting import reached
from watchdog.service.callers import (
    ADDRESS_MOST,
    Callers,
    caller_of,
    connections_most,
    descriptor_limit,
    raise_descriptor_limit,
)
from watchdog.service.exposition import Exposition
from watchdog.web.serving import ConnectionLimits, Listening, listen, mark_endless

QUICK = ConnectionLimits(head_s=1.0, body_s=1.0, idle_s=2.0, take_s=1.0, tick_s=0.02)
PATIENT = ConnectionLimits(head_s=60, body_s=60, idle_s=60, take_s=60, tick_s=0.02)
HEAD = b"GET /small HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BIG = 8_000_000  # more than the kernel's buffers of both sides hold


async def small(_request: web.Request) -> web.Response:
    return web.Response(text="small")


async def big(_request: web.Request) -> web.Response:
    return web.Response(body=bytes(BIG))


async def read(request: web.Request) -> web.Response:
    return web.Response(text=str(len(await request.read())))


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    mark_endless(request)
    await response.prepare(request)
    while True:
        await response.write(bytes(20_000))
        await asyncio.sleep(0.01)


def serve(
    story: Callable[[Listening, Callers], Awaitable[None]],
    limits: ConnectionLimits = QUICK,
    callers: Callers | None = None,
) -> Callers:
    found = callers or Callers()

    async def run() -> None:
        app = web.Application(client_max_size=2 * BIG)
        app.add_routes([web.get("/small", small), web.get("/big", big), web.post("/read", read)])
        app.router.add_get("/stream", stream)
        listening = await listen(app, "127.0.0.1", 0, end_s=0.1, callers=found, limits=limits)
        try:
            async with asyncio.timeout(60):
                await story(listening, found)
                await reached(lambda: not found.open)
        finally:
            await listening.close()

    asyncio.run(run())
    return found


async def drip(listening: Listening, first: bytes, every_s: float = 0.05) -> bytes:
    """Send `first`, then a byte now and then, until the server ends the connection; what it answered."""
    reader, writer = await asyncio.open_connection(*listening.addresses[0])
    writer.write(first)
    ended = asyncio.ensure_future(reader.read())
    while not ended.done():
        writer.write(b"\r\n" if first == b"\r\n" else b"a")
        await asyncio.wait((ended,), timeout=every_s)
    writer.close()
    return b"" if ended.exception() else ended.result()


async def deaf(listening: Listening, request: bytes) -> socket.socket:
    """A client with a small buffer that has asked and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, listening.addresses[0])
    await loop.sock_sendall(client, request)
    return client


def highest_descriptor() -> int:
    return max(int(one.name) for one in scenery(lambda: list(Path("/proc/self/fd").iterdir())))


@pytest.mark.parametrize(
    ("first", "stage"),
    [
        (b"GET /", "head"),
        (HEAD + b"X-Slow: ", "head"),
        (b"\r\n", "head"),
        (HEAD + b"\r\n" + HEAD + b"X-Slow: ", "head"),
        (b"POST /read HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n", "body"),
        (HEAD + b"\r\nPOST /read HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n", "body"),
        (b"POST /read HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n", "body"),
    ],
    ids=["method", "header", "blank", "pipelined", "body", "pipelined-body", "chunk"],
)
def test_dripping_does_not_prolong_a_request(first: bytes, stage: str, caplog: pytest.LogCaptureFixture) -> None:
    async def story(listening: Listening, _callers: Callers) -> None:
        await drip(listening, first)

    with caplog.at_level(logging.INFO):
        callers = serve(story)
    assert dict(callers.overdue) == {stage: 1}
    assert [one.getMessage() for one in caplog.records] == []


def test_a_silent_connection_ends_before_and_after_a_request() -> None:
    async def story(listening: Listening, _callers: Callers) -> None:
        for sent in (b"", HEAD + b"\r\n"):
            reader, writer = await asyncio.open_connection(*listening.addresses[0])
            writer.write(sent)
            assert (await reader.read()).count(b"200 OK") == bool(sent)
            writer.close()

    serve(story)


def test_an_answer_that_is_not_taken_ends_the_connection_and_frees_its_descriptor() -> None:
    many = HEAD.replace(b"/small", b"/big") + b"\r\n"

    async def story(listening: Listening, callers: Callers) -> None:
        requests = (many, many * 20, many.replace(b"1.1\r\n", b"1.1\r\nConnection: close\r\n"))
        for number, request in enumerate(requests, 1):
            client = await deaf(listening, request)
            await reached(lambda number=number: sum(callers.overdue.values()) == number)  # type: ignore[misc]
            await reached(lambda: not callers.open)
            client.close()

    assert dict(serve(story).overdue) == {"answer": 3}


def test_a_stream_ends_when_nothing_of_it_is_taken_only() -> None:
    request = HEAD.replace(b"/small", b"/stream") + b"\r\n"

    async def story(listening: Listening, callers: Callers) -> None:
        loop = asyncio.get_running_loop()
        reading, reads_nothing = await deaf(listening, request), await deaf(listening, request)
        while not callers.overdue:
            assert await loop.sock_recv(reading, 4_096)
        assert callers.open == 1, "the client that reads has been cut as well"
        reading.close()
        reads_nothing.close()

    assert dict(serve(story).overdue) == {"stream": 1}


def test_too_many_connections_are_closed_at_once_and_counted() -> None:
    async def story(listening: Listening, callers: Callers) -> None:
        held = [await asyncio.open_connection(*listening.addresses[0]) for _ in range(3)]
        await reached(lambda: callers.open >= 3)
        for _ in range(5):
            reader, writer = await asyncio.open_connection(*listening.addresses[0])
            assert await reader.read() == b""
            writer.close()
        for _, writer in held:
            writer.close()
        await reached(lambda: not callers.open)
        reader, writer = await asyncio.open_connection(*listening.addresses[0])
        writer.write(HEAD + b"Connection: close\r\n\r\n")
        assert b"200 OK" in await reader.read(), "places are not given back"
        writer.close()

    assert dict(serve(story, PATIENT, Callers(most=3)).refused) == {"full": 5}


def test_one_address_beyond_loopback_has_eight_connections() -> None:
    callers = Callers(most=100)
    assert [callers.admit("192.0.2.7") for _ in range(ADDRESS_MOST + 2)] == [""] * ADDRESS_MOST + ["address"] * 2
    assert [callers.admit(f"2001:db8::{one:x}") for one in range(ADDRESS_MOST + 1)][-2:] == ["", "address"]
    assert [callers.admit("127.0.0.1") for _ in range(50)] == [""] * 50
    assert callers.admit("192.0.2.8") == ""
    callers.leave("192.0.2.7")
    assert callers.admit("::ffff:192.0.2.7") == ""
    assert callers.admit("192.0.2.7") == "address"
    text = Exposition()
    callers.export(text)
    assert 'watchdog_connections_refused_total{reason="address"} 4.0' in text.text()
    assert f"watchdog_connections {callers.open}.0" in text.text()


def test_counts_of_callers_do_not_grow_with_those_who_have_left() -> None:
    callers = Callers(most=10)
    for number in range(1_000):
        assert callers.admit(f"198.51.{number // 250}.{number % 250}") == ""
        callers.leave(f"198.51.{number // 250}.{number % 250}")
    assert (callers.open, len(callers.by_caller)) == (0, 0)


@pytest.mark.parametrize(
    ("host", "caller"),
    [
        ("127.9.9.9", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
    ],
)
def test_who_a_connection_counts_for(host: str, caller: str | None) -> None:
    assert caller_of(host) == caller


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (256, 64), (1024, 256), (65_536, 256)])
def test_the_api_gets_a_quarter_of_the_descriptors(limit: int, most: int) -> None:
    assert connections_most(limit) == most


def test_the_soft_limit_is_raised_and_never_lowered() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
        raised = raise_descriptor_limit()
        assert raised == descriptor_limit() == min(65_536, before[1] if before[1] >= 0 else 65_536)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == before[1]
        assert raise_descriptor_limit() == raised
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_system_that_accepts_no_more_is_logged_once_and_does_not_spin(caplog: pytest.LogCaptureFixture) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def story(listening: Listening, callers: Callers) -> None:
        loop = asyncio.get_running_loop()
        clients = [socket.socket() for _ in range(20)]
        highest = highest_descriptor()
        taken = [os.dup(0) for _ in range(highest)]  # so that no lower descriptor is free
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 1, before[1]))
        try:
            for client in clients:
                client.setblocking(False)
                await loop.sock_connect(client, listening.addresses[0])
            await reached(lambda: callers.accept_errors >= 2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for one in taken:
                os.close(one)
        await reached(lambda: callers.open >= len(clients))
        for client in clients:
            client.close()

    callers = serve(story, PATIENT)
    assert callers.accept_errors < 10, "each try is an error of its own"
    (said,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert said == "connections cannot be accepted: Too many open files; trying again every 1 s"
