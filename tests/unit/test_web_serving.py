"""What strangers send that is no HTTP: answered shortly, counted, and no flood of the log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from alerts.delivery.inbox import WebhookInbox
from alerts.delivery.ports import SystemDeliveryClock
from tests.support.web_view import StoredView
from watchdog.service.callers import Callers
from watchdog.web.app import make_app
from watchdog.web.problem import CONTENT_TYPE
from watchdog.web.serving import Listening, listen

MALFORMED = {
    "long line": b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 9_000 + b"\r\n\r\n",
    "bad header": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX\x01Y: 1\r\n\r\n",
    "bad length": b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: many\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "bad method": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x1b[31m \r\n\r\n",
    "bad version": b"GET / HTTP/9\r\nHost: 127.0.0.1\r\n\r\n",
}


def serve(app: web.Application, story: Callable[[Listening, Callers], Awaitable[None]]) -> None:
    async def run() -> None:
        callers = Callers()
        listening = await listen(app, "127.0.0.1", 0, end_s=0.5, callers=callers)
        try:
            async with asyncio.timeout(60):
                await story(listening, callers)
        finally:
            await listening.close()

    asyncio.run(run())


async def said_to(listening: Listening, sent: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer; the connection ends behind it."""
    reader, writer = await asyncio.open_connection(*listening.addresses[0])
    writer.write(sent)
    found = await reader.read()
    writer.close()
    head, _, body = found.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_request_gets_a_problem_document_and_one_line_of_debug(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    view = StoredView(tmp_path)

    async def story(listening: Listening, callers: Callers) -> None:
        head, body = await said_to(listening, MALFORMED[name])
        assert head.split(b"\r\n")[0].endswith(b" 400 Bad Request")
        assert f"Content-Type: {CONTENT_TYPE}".encode() in head
        assert b"Server: watchdog" in head.split(b"\r\n")
        assert b"aiohttp" not in head + body
        found = json.loads(body)
        assert (found["status"], found["title"], "that can be read" in found["detail"]) == (400, "Bad Request", True)
        assert callers.malformed == 1

    with caplog.at_level(logging.DEBUG):
        serve(make_app(view), story)
    view.database.close()
    lines = [record.getMessage() for record in caplog.records if record.name != "asyncio"]
    assert len(lines) == 1
    assert lines[0].startswith("request from 127.0.0.1 cannot be read: ")
    assert len(lines[0]) < 200
    assert "\n" not in lines[0]
    assert "\x1b" not in lines[0]
    assert [record.exc_info for record in caplog.records] == [None] * len(caplog.records)
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_good_requests_are_answered_beside_bad_ones_and_say_no_version(tmp_path: Path) -> None:
    view = StoredView(tmp_path)

    async def story(listening: Listening, callers: Callers) -> None:
        host, port = listening.addresses[0]
        async with ClientSession() as session:
            for number in range(5):
                await said_to(listening, MALFORMED["bad header"])
                async with session.get(f"http://{host}:{port}/healthz") as answer:
                    assert (answer.status, answer.headers["Server"]) == (200, "watchdog")
                assert callers.malformed == number + 1

    serve(make_app(view), story)
    view.database.close()


def test_a_receiver_of_webhooks_says_no_version_either() -> None:
    inbox = WebhookInbox((), SystemDeliveryClock(), lambda _: None)

    async def story(listening: Listening, _callers: Callers) -> None:
        host, port = listening.addresses[0]
        async with ClientSession() as session:
            for method in ("POST", "GET"):
                async with session.request(method, f"http://{host}:{port}/", data=b"{}") as answer:
                    assert (method, answer.headers["Server"]) == (method, "watchdog")
        assert b"aiohttp" not in (await said_to(listening, MALFORMED["long line"]))[0]

    serve(inbox.app(), story)


def test_an_error_below_the_application_is_told_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_request: web.Request) -> web.Response:
        raise ValueError("ours")

    app = web.Application()
    app.router.add_get("/", broken)

    async def story(listening: Listening, callers: Callers) -> None:
        head, body = await said_to(listening, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"ours" not in body
        assert not callers.malformed

    serve(app, story)
    (told,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert told.exc_info is not None


def test_an_address_that_is_taken_is_named() -> None:
    async def story(listening: Listening, _callers: Callers) -> None:
        host, port = listening.addresses[0]
        with pytest.raises(OSError, match="in use") as caught:
            await listen(web.Application(), host, port, end_s=0.1)
        assert caught.value.filename == f"{host}:{port}"

    serve(web.Application(), story)
