"""The routes of silences: the list, adding one, one about a party of a case, and ending one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import jsonschema
import pytest

from alerts.case.document import StoredCase, stored_cases
from alerts.silence import ClaimSilence
from tests.support.case_rig import CaseRig
from tests.support.event_loops import scenery
from tests.support.web_view import AUTHORIZED, START_NS, Client, StoredView, serving
from watchdog.core.durations import DAY_NS, HOUR_NS
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ApiSettings, ApiToken
from watchdog.web.openapi import openapi_document

A, B = "91.165.48.111", "217.94.191.240"
BASE = "/api/v1/silences"
COMMENT = "our crawler"


def during(folder: Path, story: Callable[[StoredView, Client], Awaitable[None]]) -> None:
    """Serve a view during the story."""

    async def run() -> None:
        view = StoredView(folder)
        async with serving(view) as client:
            await story(view, client)

    asyncio.run(run())


async def post(client: Client, path: str, body: Mapping[str, object], status: int = 201) -> dict[str, object]:
    async with client.post(path, json=body, headers=AUTHORIZED) as response:
        found: dict[str, object] = await response.json()
        assert response.status == status, found
        return found


async def listed(client: Client, query: str = "") -> list[dict[str, object]]:
    async with client.get(BASE + query) as response:
        found: list[dict[str, object]] = (await response.json())["silences"]
        return found


def case_of(view: StoredView) -> str:
    """Store a case of one party; return its id."""
    rows = scenery(one_case)
    scenery(lambda: view.store_cases(rows))
    return rows[0].id


def one_case() -> list[StoredCase]:
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    rig.until(5)
    return stored_cases(rig.feed.book)


def test_a_silence_is_added_listed_and_expired(tmp_path: Path) -> None:
    async def story(view: StoredView, client: Client) -> None:
        one = (await post(client, BASE, {"party": A, "for": "4h", "who": "anna", "comment": COMMENT}))["silence"]
        assert isinstance(one, dict)
        assert (one["id"], one["state"], one["author"], one["party"]) == ("1", "active", "anna", A)
        assert one["until"] == (START_NS + 4 * HOUR_NS) / 1e9
        assert await listed(client) == [one]
        view.now_ns += HOUR_NS
        ended = (await post(client, f"{BASE}/1/expire", {"who": "ben"}, 200))["silence"]
        assert isinstance(ended, dict)
        assert (ended["state"], ended["changed_by"], ended["expired"]) == ("expired", "ben", view.now_ns / 1e9)
        assert await listed(client) == []
        assert await listed(client, "?state=all") == [ended]
        await post(client, f"{BASE}/1/expire", {}, 409)
        await post(client, f"{BASE}/2/expire", {}, 404)

    during(tmp_path, story)


def test_those_of_the_configuration_are_listed_first(tmp_path: Path) -> None:
    async def story(view: StoredView, client: Client) -> None:
        await post(client, BASE, {"rule": "ping-flood", "until": "2026-01-20T00:00:00Z", "comment": COMMENT})
        times = (0, START_NS + 400 * DAY_NS)
        view.standing = [ClaimSilence("file:01234567", *times, "anna", "x", party=B, place="watchdog.yaml:3")]
        found = await listed(client)
        assert [(one["id"], one["place"], one["author"]) for one in found] == [
            ("file:01234567", "watchdog.yaml:3", "anna"),
            ("1", None, "api"),
        ]
        schema = {**openapi_document()["components"]["schemas"]["Silence"]}  # type: ignore[index]
        for one in found:
            jsonschema.validate(one, schema)

    during(tmp_path, story)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"party": A, "for": "4h"}, "comment"),
        ({"party": A, "comment": "x"}, "until"),
        ({"party": A, "for": "4h", "until": 1, "comment": "x"}, "until"),
        ({"party": A, "for": "soon", "comment": "x"}, "for"),
        ({"party": A, "until": "soon", "comment": "x"}, "until"),
        ({"party": A, "until": True, "comment": "x"}, "until"),
        ({"party": A, "until": [], "comment": "x"}, "until"),
        ({"party": A, "for": "31d", "comment": "x"}, "silence"),
        ({"party": A, "until": 1, "comment": "x"}, "silence"),
        ({"party": "x" * 101, "for": "4h", "comment": "x"}, "party"),
        ({"party": 7, "for": "4h", "comment": "x"}, "party"),
        ({"party": "nowhere", "for": "4h", "comment": "x"}, "silence"),
        ({"for": "4h", "comment": "x"}, "silence"),
        ({"rule": "a", "technique": "b", "for": "4h", "comment": "x"}, "silence"),
        ({"partie": A, "for": "4h", "comment": "x"}, "partie"),
        ({"party": A, "for": "4h", "comment": "x" * 2_001}, "comment"),
    ],
)
def test_a_wrong_body_is_named_and_stores_nothing(tmp_path: Path, body: Mapping[str, object], wrong: str) -> None:
    async def story(_view: StoredView, client: Client) -> None:
        found = await post(client, BASE, body, 400)
        assert isinstance(found["errors"], list)
        assert [one["parameter"] for one in found["errors"]] == [wrong]
        assert await listed(client, "?state=all") == []

    during(tmp_path, story)


def test_changes_need_the_token_and_a_body_of_json(tmp_path: Path) -> None:
    async def story(_view: StoredView, client: Client) -> None:
        body = {"party": A, "for": "4h", "comment": COMMENT}
        for path in (BASE, f"{BASE}/1/expire", "/api/v1/cases/0123456789abcdef/silences"):
            async with client.post(path, json=body) as response:
                assert response.status == 401
            async with client.post(path, data=body, headers=AUTHORIZED) as response:
                assert response.status in (404, 415)
        async with client.get(f"{BASE}?state=none") as response:
            assert response.status == 400

    during(tmp_path, story)


def test_a_party_of_a_case_is_silenced_at_its_node(tmp_path: Path) -> None:
    async def story(view: StoredView, client: Client) -> None:
        path = f"/api/v1/cases/{case_of(view)}/silences"
        body = {"for": "4h", "comment": COMMENT}
        for party in (A, "91.165.48.0/24", "91.165.0.0/16"):
            one = (await post(client, path, {**body, "party": party}))["silence"]
            assert isinstance(one, dict)
            assert (one["party"], one["node"]) == (party, "alice")
        everywhere = (await post(client, path, {**body, "party": A, "node": None}))["silence"]
        assert isinstance(everywhere, dict)
        assert everywhere["node"] is None
        for party in ("", B, "91.0.0.0/8", "nowhere"):
            found = await post(client, path, {**body, "party": party}, 400)
            assert isinstance(found["errors"], list)
            assert found["errors"][0]["parameter"] == "party"
        await post(client, "/api/v1/cases/0123456789abcdef/silences", {**body, "party": A}, 404)

    during(tmp_path, story)


ANNA, VERA = ({"Authorization": f"Bearer {name}-s-own-token-1"} for name in ("anna", "vera"))
NAMED = (
    ApiToken("anna", "operator", Secret("test", "anna-s-own-token-1")),
    ApiToken("vera", "viewer", Secret("test", "vera-s-own-token-1")),
)


def test_the_author_is_the_name_of_the_token_whatever_the_body_says(tmp_path: Path) -> None:
    async def run() -> None:
        view = StoredView(tmp_path, ApiSettings(host="0.0.0.0", tokens=NAMED))
        case = case_of(view)
        async with serving(view) as client:
            told = {"party": A, "for": "4h", "who": "boss", "comment": COMMENT}
            for path in (BASE, f"/api/v1/cases/{case}/silences"):
                answer = await client.post(path, json=told, headers=ANNA)
                assert (await answer.json())["silence"]["author"] == "anna"
            answer = await client.post(f"{BASE}/1/expire", json={"who": "boss"}, headers=ANNA)
            assert (await answer.json())["silence"]["changed_by"] == "anna"
            page = await (await client.get("/api/v1/audit", headers=VERA)).json()
            assert {one["who"] for one in page["entries"]} == {"anna"}

    asyncio.run(run())


def test_a_viewer_can_change_nothing_on_any_route(tmp_path: Path) -> None:
    async def run() -> None:
        view = StoredView(tmp_path, ApiSettings(host="0.0.0.0", tokens=NAMED))
        async with serving(view) as client:
            assert client.app is not None
            changing = {(one.method, one.resource) for one in client.app.router.routes()}
            changing = {(method, resource) for method, resource in changing if method not in {"GET", "HEAD"}}
            assert len(changing) > 10
            for method, resource in changing:
                assert resource is not None
                path = resource.canonical.replace("{id}", "0" * 16)
                answer = await client.request(method, path, json={}, headers=VERA)
                assert answer.status == 403, (method, path)

    asyncio.run(run())
