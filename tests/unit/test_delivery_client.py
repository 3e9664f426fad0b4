"""One attempt over HTTP: what a receiver can do to us, and what it cannot."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alerts.delivery.answers import Response
from alerts.delivery.client import WebhookClient
from alerts.delivery.formats import ANSWER_BYTES
from alerts.delivery.headers import request_headers
from tests.support.delivery import Reply, Seen, receiver_at, target
from tests.support.parts import program

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that speaks as the test says; the URL's `host:port`."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def posted(url: str, client: WebhookClient | None = None, **other: Any) -> Response:
    """One attempt. `other`: fields of the receiver, of any of their types."""
    async with client or WebhookClient() as mine:
        return await mine.post(receiver_at(url, **other), "msg_1", 1_780_000_000, b"{}")


def answer_to(reply: Reply, **other: Any) -> Response:
    """What an attempt at such a receiver gives."""

    async def story() -> Response:
        async with target(reply=reply) as there:
            return await posted(there.url, **other)

    return asyncio.run(story())


def test_a_receiver_that_does_not_answer_costs_its_timeout_only() -> None:
    async def never(_: web.Request, __: Seen) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    began = time.monotonic()
    answer = answer_to(never, timeout_s=0.2)
    assert (answer.status, answer.error) == (None, "no whole answer in 0.2 s")
    assert time.monotonic() - began < 30


def test_a_body_that_drips_for_ever_is_cut_off_and_a_good_status_counts() -> None:
    def dripping(status: int) -> Reply:
        async def reply(request: web.Request, _: Seen) -> web.StreamResponse:
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            for __ in range(600):
                await response.write(b"x")
                await asyncio.sleep(0.1)
            return response

        return reply

    answer = answer_to(dripping(500), timeout_s=1.5)
    assert (answer.status, answer.error) == (500, "no whole answer in 1.5 s")
    answer = answer_to(dripping(200), timeout_s=1.5)
    assert (answer.status, answer.error) == (200, ""), "it was accepted: sending it again would tell people twice"


def test_an_endless_body_is_read_no_further_than_4_kb() -> None:
    sent = 0

    async def endless(request: web.Request, _: Seen) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)
            sent += 65_536

    began = time.monotonic()
    answer = answer_to(endless, timeout_s=60)
    assert answer.status == 500
    assert answer.error.startswith("answered 500: xxx")
    assert len(answer.error) < 200
    assert time.monotonic() - began < 30
    assert sent < 100 * ANSWER_BYTES * 64


def test_hostile_words_of_a_receiver_arrive_as_one_harmless_line() -> None:
    async def rude(_: web.Request, __: Seen) -> web.Response:
        return web.Response(status=502, body=b"\x1b[2J<script>\r\nlevel=error \xff \xe2\x80\xae%s{0}")

    error = answer_to(rude).error
    assert error == "answered 502: \\x1b[2J<script> level=error \\xff \\u{202e}%s{0}"


def test_retry_after_is_handed_on() -> None:
    async def busy(_: web.Request, __: Seen) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "7"})

    answer = answer_to(busy)
    assert (answer.status, answer.retry_after) == (429, "7")


def test_cookies_are_not_kept() -> None:
    async def story() -> None:
        async def reply(_: web.Request, __: Seen) -> web.Response:
            return web.Response(headers={"Set-Cookie": "a=b"})

        async with target(reply=reply) as there, WebhookClient() as client:
            for _ in range(2):
                await client.post(receiver_at(there.url), "msg_1", 1, b"{}")
            assert all("cookie" not in seen.headers for seen in there.seen)
            assert len(there.connections) == 1, "kept alive"

    asyncio.run(story())


def test_a_reset_connection_is_a_failure_in_words() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def story() -> Response:
        async with raw_server(reset) as place:
            return await posted(f"http://{place}/")

    answer = asyncio.run(story())
    assert (answer.status, answer.error) == (None, "the connection was closed without an answer")


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_http_is_a_failure(said: bytes) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async def story() -> Response:
        async with raw_server(babble) as place:
            return await posted(f"http://{place}/", timeout_s=60)

    answer = asyncio.run(story())
    assert answer.status is None
    assert answer.error.isprintable()
    assert answer.error


def test_nobody_listening_is_a_failure_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = asyncio.run(posted(f"http://127.0.0.1:{taken.getsockname()[1]}/"))
    assert answer.status is None
    assert answer.error.startswith("cannot connect:")


def test_plain_text_where_tls_is_expected_is_a_tls_failure() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()

    async def story() -> Response:
        async with raw_server(plain) as place:
            return await posted(f"https://{place}/", timeout_s=60)

    answer = asyncio.run(story())
    assert answer.status is None
    assert answer.error.startswith("tls: ")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate with its key, for 127.0.0.1."""
    place = tmp_path_factory.mktemp("tls") / "both.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*made, *subject, "-keyout", place, "-out", place.with_suffix(".crt")], check=True, capture_output=True
    )
    return place


def test_a_certificate_that_nobody_vouches_for_is_refused_and_a_known_one_taken(certificate: Path) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate.with_suffix(".crt"), certificate)

    async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    known = ssl.create_default_context(cafile=str(certificate.with_suffix(".crt")))

    async def story() -> tuple[Response, Response]:
        async with raw_server(polite, own) as place:
            refused = await posted(f"https://{place}/")
            return refused, await posted(f"https://{place}/", WebhookClient(known))

    refused, taken = asyncio.run(story())
    assert (refused.status, refused.error) == (None, "tls: self-signed certificate")
    assert (taken.status, taken.error) == (204, "")


def test_a_public_name_that_resolves_to_this_machine_is_refused_at_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        async with target() as there:
            port = int(there.url.split(":")[2].split("/")[0])
            loop = asyncio.get_running_loop()
            asked = 0

            async def rebinding(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
                nonlocal asked
                asked += 1
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

            monkeypatch.setattr(loop, "getaddrinfo", rebinding)
            url = f"http://hooks.example.com:{port}/"
            answer = await posted(url, allow_private=False)
            assert asked == 1
            assert (answer.status, answer.error) == (
                None,
                "target refused: 127.0.0.1 is loopback; 'allow_private: true' would permit it",
            )
            assert there.seen == []
            assert (await posted(url, allow_private=True)).status == 204

    asyncio.run(story())


def test_a_connection_of_a_private_receiver_never_serves_another() -> None:
    async def story() -> None:
        async with target() as there, WebhookClient() as client:
            assert (await client.post(receiver_at(there.url), "msg_1", 1, b"{}")).status == 204
            refused = await client.post(receiver_at(there.url, allow_private=False), "msg_2", 1, b"{}")
            assert refused.error.startswith("target refused: 127.0.0.1 is loopback")
            assert there.ids() == ["msg_1"]

    asyncio.run(story())


def test_a_proxy_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with target() as there, target() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            assert (await posted(there.url)).status == 204
            assert proxy.seen == []

    asyncio.run(story())


def test_own_headers_of_a_receiver_cannot_replace_ours() -> None:
    extra = {"Webhook-Id": "x", "CONTENT-LENGTH": "0", "Host": "x", "X-Team": "ops", "user-agent": "x"}
    headers = request_headers(extra, {"webhook-id": "msg_1"})
    assert {name: value for name, value in headers.items() if name.lower() != "user-agent"} == {
        "X-Team": "ops",
        "Content-Type": "application/json",
        "webhook-id": "msg_1",
    }
    assert headers["User-Agent"].startswith("bitcoin-watchdog/")
