"""Proxies, client certificates, apprise: what lies between a channel and its service."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alerts.delivery.answers import Response
from alerts.delivery.courier import Courier
from alerts.delivery.formats import notice_bodies
from alerts.routing import Receiver, TlsFiles
from tests.support.channels import HOSTILE, START_NS, case_notice, channel, hostile_notice, service
from tests.support.parts import program


async def send(receiver: Receiver) -> Response:
    """One notice."""
    async with Courier() as courier:
        return await courier.send(receiver, "msg_1", 0, notice_bodies(case_notice(), receiver, START_NS))


def accept(_: web.Request, __: Any) -> web.Response:
    """Take everything."""
    return web.Response()


@asynccontextmanager
async def proxy(seen: list[str], status: int = 200) -> AsyncIterator[str]:
    """An HTTP proxy that answers itself, as if it had reached the target."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.decode())
        writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    running = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://anna:hunter2@127.0.0.1:{running.sockets[0].getsockname()[1]}"
    finally:
        running.close()
        await running.wait_closed()


def test_a_proxy_is_asked_for_the_target_and_its_password_stays_with_it() -> None:
    seen: list[str] = []

    async def story() -> tuple[Response, Response]:
        async with proxy(seen) as place, proxy(seen, 502) as broken:
            plain = replace(channel("slack", "http://chat.example.org/hook"), allow_private=False, proxy=place)
            fine = await send(plain)
            through = replace(channel("slack", "https://chat.example.org/hook"), allow_private=False, proxy=broken)
            return fine, await send(through)

    fine, refused = asyncio.run(story())
    assert fine.error == ""
    assert seen[0].startswith("POST http://chat.example.org/hook HTTP/1.1")
    assert "Proxy-Authorization: Basic " in seen[0]
    assert seen[1].startswith("CONNECT chat.example.org:443")
    assert refused.error == "the proxy answered 502"
    literal = replace(channel("slack", "http://10.0.0.1/"), allow_private=False, proxy="http://127.0.0.1:1")
    assert asyncio.run(send(literal)).error.startswith("target refused: 10.0.0.1 is private")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("pem")
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    more = ["-subj", "/CN=house", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([program("openssl"), *words, *more], check=True, capture_output=True)
    return certificate, key


def test_a_receiver_may_have_its_own_authority_and_ask_for_a_certificate(pem: tuple[str, str], tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pem[0])
    tls.load_cert_chain(*pem)
    tls.verify_mode = ssl.CERT_REQUIRED

    async def story() -> list[str]:
        app = web.Application()
        app.router.add_post("/", answer)
        running = web.AppRunner(app, shutdown_timeout=0.1)
        await running.setup()
        site = web.TCPSite(running, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        there = channel("webhook", f"https://127.0.0.1:{running.addresses[0][1]}/")
        files = (TlsFiles(*pem[:1], *pem), TlsFiles(pem[0]), TlsFiles(), TlsFiles(str(tmp_path / "none")))
        try:
            return [(await send(replace(there, tls=one))).error for one in files]
        finally:
            await running.cleanup()

    known, nameless, stranger, missing = asyncio.run(story())
    assert known == ""
    assert nameless != ""
    assert stranger == "tls: self-signed certificate"
    assert missing == "tls: the files of 'tls' cannot be read: no such file or directory"


def test_apprise_sends_by_its_own_url_and_says_no_more_than_no(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("apprise")

    async def story() -> tuple[list[dict[str, Any]], Response, Response]:
        async with service(accept) as there:
            place = there.url.removeprefix("http://")
            receiver = channel("apprise", f"json://anna:hunter2@{place}/")
            taken = await send(receiver)
            async with Courier() as courier:
                await courier.send(receiver, "m", 0, notice_bodies(hostile_notice(), receiver, START_NS))
            there.instead = [web.Response(status=500)]
            return there.accepted, taken, await send(receiver)

    accepted, taken, refused = asyncio.run(story())
    assert (taken.status, taken.error) == (None, "")
    assert accepted[0]["type"] == "failure"
    assert accepted[0]["title"].startswith("HIGH alice: ")
    assert HOSTILE not in accepted[1]["message"]
    assert refused.error == "apprise did not deliver it"
    assert "hunter2" not in caplog.text
