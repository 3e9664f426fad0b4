"""Servers that repeat what they were sent: no secret comes back with it into an error."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from alerts.delivery.client import WebhookClient
from alerts.delivery.secrets import secrets_of
from alerts.routing import Receiver
from tests.support import fake_node
from tests.support.fake_node import FakeNode, v30
from watchdog.core.text import HIDDEN, without_secrets
from watchdog.sources.rpc import errors
from watchdog.sources.rpc.client import RpcClient
from watchdog.sources.rpc.credentials import PasswordCredentials

KEY, TOKEN, PASSWORD = "T0AB/B0CD/x7Yq93kLm", "s3cr3t-Token/with=signs", "corr3ct horse"
PIECES = (KEY, "x7Yq93kLm", TOKEN, "sig=9aa8bb7cc6", "9aa8bb7cc6")


async def _page(request: web.Request) -> web.Response:
    """What a server in development answers: the path, the query and the headers, several times over."""
    headers = json.dumps(dict(request.headers)).replace("/", "\\/")
    text = f"Cannot POST {request.path_qs} ({quote(request.path_qs)}) {headers} {dict(request.headers)}"
    return web.Response(status=404, text=text)


async def _answered(form: str) -> str:
    app = web.Application()
    app.router.add_post("/{tail:.*}", _page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver = Receiver(
        "ops",
        f"http://127.0.0.1:{port}/services/{KEY}?sig=9aa8bb7cc6",
        format=form,  # type: ignore[arg-type] # a literal of the parameters
        allow_private=True,
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    try:
        async with WebhookClient() as client:
            return (await client.post(receiver, "msg_1", 1_770_000_000, b"{}")).error
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("form", ["webhook", "slack", "alertmanager-webhook"])
def test_an_error_page_that_repeats_the_request_shows_no_secret(form: str) -> None:
    error = asyncio.run(_answered(form))
    assert error.startswith("answered 404: Cannot POST")
    assert HIDDEN in error
    assert not [piece for piece in PIECES if piece in error]


def test_words_of_a_path_are_no_secrets() -> None:
    found = secrets_of(Receiver("ops", "https://example.org/hooks/watchdog/"))
    assert found == {"/hooks/watchdog/"}


@pytest.mark.parametrize("status", [200, 500, 503])
@pytest.mark.parametrize("form", ["{}", '{{"result":null,"error":{{"code":-1,"message":"{}"}}}}', '{{"error":"{}"}}'])
def test_a_server_that_is_no_node_and_repeats_the_credentials(tmp_path: Path, status: int, form: str) -> None:
    coded = b64encode(f"watchdog:{PASSWORD}".encode()).decode()
    page = form.format(f"POST / authorization: Basic {coded} (watchdog:{PASSWORD})")
    with FakeNode(tmp_path, v30()) as node:
        node.passwords["watchdog"] = PASSWORD
        node.behave("*", fake_node.status(status, page.encode()))
        client = RpcClient(node.url, PasswordCredentials("watchdog", lambda: PASSWORD))
        with pytest.raises(errors.RpcError) as caught:
            client.ask("uptime")
    assert HIDDEN in str(caught.value)
    assert coded not in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_a_short_secret_is_left_and_the_longest_goes_first() -> None:
    assert without_secrets("a b abcdef abcdefgh", ["a", "abcdef", "abcdefgh"]) == f"a b {HIDDEN} {HIDDEN}"
