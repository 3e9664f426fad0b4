"""Tokens, foreign Host headers, and what every answer tells browsers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.web_view import AUTHORIZED, TOKEN, Client, StoredView, flood, serving
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ApiSettings
from watchdog.web.guard import check_host, is_loopback
from watchdog.web.problem import ProblemError

Talk = Callable[[Client], Awaitable[None]]
OPEN_PATHS = (
    "/",
    "/incidents/0123456789abcdef",
    "/cases",
    "/cases/0123456789abcdef",
    "/static/app.js",
    "/healthz",
    "/readyz",
)
READ_PATHS = (
    "/api/v1/incidents",
    "/api/v1/cases",
    "/api/v1/cases/0123456789abcdef",
    "/api/v1/audit",
    "/api/v1/deliveries",
    "/api/v1/rules",
    "/api/v1/status",
    "/api/v1/openapi.json",
    "/api/v1/events/stream",
    "/api/v1/no-such-thing",
    "/metrics",
)


def talk(folder: Path, api: ApiSettings, conversation: Callable[[Client, StoredView], Awaitable[None]]) -> None:
    async def hold() -> None:
        view = StoredView(folder, api)
        async with serving(view) as client:
            await conversation(client, view)

    asyncio.run(hold())


def test_on_loopback_reading_is_free_and_changing_needs_the_token(tmp_path: Path) -> None:
    async def conversation(client: Client, view: StoredView) -> None:
        (id_,) = view.tell(flood())
        assert (await client.get("/api/v1/incidents")).status == 200
        for headers in ({}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer wrong"}):
            answer = await client.post(f"/api/v1/incidents/{id_}/ack", json={}, headers=headers)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="watchdog"'
        assert (await client.post(f"/api/v1/incidents/{id_}/ack", json={}, headers=AUTHORIZED)).status == 202

    talk(tmp_path, ApiSettings(token=Secret("test", TOKEN)), conversation)


@pytest.mark.parametrize("token", [None, Secret("test", "")])
def test_without_a_configured_token_nothing_can_be_changed(tmp_path: Path, token: Secret | None) -> None:
    async def conversation(client: Client, view: StoredView) -> None:
        (id_,) = view.tell(flood())
        for sent in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"Authorization": "Bearer None"}):
            answer = await client.post(f"/api/v1/incidents/{id_}/ack", json={}, headers=sent)
            assert answer.status == (403 if token is None else 401)

    talk(tmp_path, ApiSettings(token=token), conversation)


def test_beyond_loopback_everything_but_the_empty_page_and_probes_needs_the_token(tmp_path: Path) -> None:
    async def conversation(client: Client, _view: StoredView) -> None:
        for path in OPEN_PATHS:
            assert (await client.get(path)).status == 200, path
        assert await (await client.get("/healthz")).json() == {"ok": True}, "no details for strangers"
        assert "checks" in await (await client.get("/healthz", headers=AUTHORIZED)).json()
        for path in READ_PATHS:
            assert (await client.get(path)).status == 401, path
        assert (await client.get("/api/v1/incidents", headers=AUTHORIZED)).status == 200

    talk(tmp_path, ApiSettings(host="0.0.0.0", token=Secret("test", TOKEN)), conversation)


def test_beyond_loopback_without_a_token_nothing_can_be_read(tmp_path: Path) -> None:
    async def conversation(client: Client, _view: StoredView) -> None:
        for path in READ_PATHS:
            assert (await client.get(path, headers={"Authorization": "Bearer "})).status == 403, path

    talk(tmp_path, ApiSettings(host="0.0.0.0"), conversation)


def test_a_foreign_host_header_is_refused_on_loopback(tmp_path: Path) -> None:
    async def conversation(client: Client, _view: StoredView) -> None:
        for path in ("/", "/api/v1/incidents", "/healthz"):
            answer = await client.get(path, headers={"Host": "attacker.example"})
            assert (answer.status, answer.content_type) == (421, "application/problem+json")

    talk(tmp_path, ApiSettings(), conversation)


@pytest.mark.parametrize(
    "header", ["localhost", "LOCALHOST:8380", "127.0.0.1:1", "[::1]:8380", "127.8.8.8", "dog.example"]
)
def test_our_own_names_pass(header: str) -> None:
    check_host(header, ApiSettings(public_url="https://dog.example"))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x.dog.example",
        "127.0.0.1.nip.example",
        "localhost.example",
        "[::1",
        "127.0.0.1@evil",
        "10.0.0.1",
        "0.0.0.0",
    ],
)
def test_other_names_do_not(header: str) -> None:
    with pytest.raises(ProblemError) as caught:
        check_host(header, ApiSettings(public_url="https://dog.example"))
    assert caught.value.status == 421


def test_loopback_is_judged_by_address() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "::1", "[::1]", "127.1.2.3", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.1", "host.example", ""))


def test_every_answer_carries_the_policy_and_none_allows_other_origins(tmp_path: Path) -> None:
    async def conversation(client: Client, _view: StoredView) -> None:
        for path in (*OPEN_PATHS, *READ_PATHS):
            headers = (await client.get(path, headers={"Origin": "https://attacker.example"})).headers
            policy = headers["Content-Security-Policy"].split("; ")
            assert {"default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(
                policy
            )
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Server"] == "watchdog"
            assert not [name for name in headers if name.startswith("Access-Control")]
        assert (await client.options("/api/v1/incidents", headers=AUTHORIZED)).status == 405

    talk(tmp_path, ApiSettings(token=Secret("test", TOKEN)), conversation)
