"""Cases and the audit over the API: pages, one case, what operators do, and tokens with names and roles."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from alerts.case.document import stored_cases
from alerts.store.writer import IncidentWriter
from tests.support.case_rig import CaseRig, made_finding
from tests.support.event_loops import scenery
from tests.support.web_view import AUTHORIZED, TOKEN, Client, StoredView, flood, serving
from tests.unit.test_web_openapi import check
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ApiSettings, ApiToken
from watchdog.web.cases import KNOWN
from watchdog.web.openapi import openapi_document

A, B = "91.165.48.111", "217.94.191.240"
ANNA, VERA = "anna-s-own-token-1", "vera-may-only-read"
NAMED = (
    ApiToken("anna", "operator", Secret("test", ANNA)),
    ApiToken("vera", "viewer", Secret("test", VERA)),
)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def with_cases(folder: Path, api: ApiSettings | None = None) -> tuple[StoredView, list[str]]:
    """A view with a case of two parties, and one that is over; the ids, latest first."""
    view = StoredView(folder, api)
    rig = CaseRig()
    rig.burst("ping-flood", ["84.19.3.7"], 0, severity="high")
    rig.say("addr-pattern-2021", [A], 200)
    rig.say("addr-pattern-2021", [B], 201)
    rig.until(210)
    scenery(lambda: IncidentWriter(view.database).record((), (), stored_cases(rig.feed.book)))
    ids = [one["id"] for one in scenery(view.cases.latest)]
    return view, ids


def talk(view: StoredView, conversation: Callable[[Client], Awaitable[None]]) -> None:
    async def hold() -> None:
        async with serving(view) as client:
            await conversation(client)

    asyncio.run(hold())


def test_pages_and_filters(tmp_path: Path) -> None:
    view, ids = with_cases(tmp_path)

    async def conversation(client: Client) -> None:
        first = await (await client.get("/api/v1/cases?limit=1")).json()
        assert [one["id"] for one in first["cases"]] == ids[:1]
        rest = await (await client.get(f"/api/v1/cases?limit=1&cursor={first['cursor']}")).json()
        assert ([one["id"] for one in rest["cases"]], rest["cursor"]) == (ids[1:], None)
        for query, found in (
            ("state=resolved", ids[1:]),
            ("state=open,acknowledged", ids[:1]),
            ("severity=critical", []),
            ("node=alice", ids),
            ("node=bob", []),
            ("since=2100-01-01T00:00:00Z", []),
        ):
            page = await (await client.get(f"/api/v1/cases?{query}")).json()
            assert [one["id"] for one in page["cases"]] == found, query
        wrong = await client.get("/api/v1/cases?state=dead&limit=0&cursor=x&attack=y")
        assert wrong.status == 400
        assert {one["parameter"] for one in (await wrong.json())["errors"]} == {"state", "limit", "cursor", "attack"}

    talk(view, conversation)


def test_an_operator_acts_and_the_answer_and_the_audit_show_it(tmp_path: Path) -> None:
    view, (id_, _) = with_cases(tmp_path)

    async def conversation(client: Client) -> None:
        for verb, body in (
            ("ack", {"who": "bert", "text": "mine"}),
            ("notes", {"text": "a note"}),
            ("split", {"party": B}),
            ("resolve", {}),
        ):
            answer = await client.post(f"/api/v1/cases/{id_}/{verb}", json=body, headers=AUTHORIZED)
            assert answer.status == 202, verb
            assert (await answer.json())["case"] == id_
        case = await (await client.get(f"/api/v1/cases/{id_}")).json()
        assert (case["state"], case["acknowledged_by"], case["split_off"]) == ("resolved", "bert", ["217.94.0.0/16"])
        assert [(one["what"], one["who"]) for one in case["story"]] == [
            ("acknowledged", "bert"),
            ("note", "api"),
            ("split", "api"),
            ("resolved", "api"),
        ]
        again = await client.post(f"/api/v1/cases/{id_}/resolve", json={}, headers=AUTHORIZED)
        assert (await again.json()) == {"case": id_, "action": "resolve", "id": None, "already": "resolved"}
        page = await (await client.get("/api/v1/audit?limit=3")).json()
        assert [one["action"] for one in page["entries"]] == ["resolve", "split", "note"]
        page = await (await client.get(f"/api/v1/audit?cursor={page['cursor']}")).json()
        assert [(one["action"], one["subject"]) for one in page["entries"]] == [("ack", f"case {id_}")]

    talk(view, conversation)


def test_an_incident_names_its_case(tmp_path: Path) -> None:
    view = StoredView(tmp_path)
    incident, alone = (view.tell(flood(peer, node="alice"))[0] for peer in (A, B))
    rig, finding = CaseRig(), made_finding("ping-flood", [A], 0)
    rig.feed.take(finding.time_ns, incident, finding)
    rig.until(5)
    (case,) = stored_cases(rig.feed.book)
    scenery(lambda: view.store_cases([case]))

    async def conversation(client: Client) -> None:
        for id_, cases in ((incident, [{"id": case.id, "headline": case.document["headline"]}]), (alone, [])):
            await check(client, "GET", f"/api/v1/incidents/{id_}", "/api/v1/incidents/{id}")
            assert (await (await client.get(f"/api/v1/incidents/{id_}")).json())["cases"] == cases

    talk(view, conversation)


def test_what_cannot_be_done_is_a_problem(tmp_path: Path) -> None:
    view, (id_, over) = with_cases(tmp_path)

    async def conversation(client: Client) -> None:
        for path, body, status in (
            (f"{over}/ack", {}, 409),
            (f"{id_}/split", {"party": "9.9.9.9"}, 409),
            (f"{id_}/split", {}, 400),
            (f"{id_}/split", {"party": "x" * 101}, 400),
            (f"{id_}/notes", {"text": " "}, 400),
            (f"{id_}/ack", {"party": B}, 400),
            (f"{'0' * 16}/ack", {}, 404),
            ("xyz/ack", {}, 404),
        ):
            answer = await client.post(f"/api/v1/cases/{path}", json=body, headers=AUTHORIZED)
            assert answer.status == status, path
        form = await client.post(f"/api/v1/cases/{id_}/ack", data={"who": "x"}, headers=AUTHORIZED)
        assert form.status == 415, "a form of another site"
        assert (await client.get(f"/api/v1/cases/{'0' * 16}")).status == 404
        case = await (await client.get(f"/api/v1/cases/{id_}")).json()
        assert case["story"] == []

    talk(view, conversation)


def test_answers_are_as_described(tmp_path: Path) -> None:
    view, (id_, over) = with_cases(tmp_path)
    one = "/api/v1/cases/{id}"
    described = openapi_document()["paths"]
    assert isinstance(described, dict)
    assert [each["name"] for each in described["/api/v1/cases"]["get"]["parameters"]] == list(KNOWN)

    async def conversation(client: Client) -> None:
        for verb, body in (("ack", {"text": "x"}), ("notes", {"text": "b"}), ("split", {"party": B}), ("resolve", {})):
            await check(client, "POST", f"/api/v1/cases/{id_}/{verb}", f"{one}/{verb}", body)
            await check(client, "POST", f"/api/v1/cases/{id_}/{verb}", f"{one}/{verb}", {"whom": 1})
        await check(client, "POST", f"/api/v1/cases/{over}/ack", f"{one}/ack", {})
        for id__ in (id_, over, "0" * 16):
            await check(client, "GET", f"/api/v1/cases/{id__}", one)
        for path in ("/api/v1/cases", "/api/v1/audit"):
            await check(client, "GET", f"{path}?limit=1", path)
            await check(client, "GET", f"{path}?limit=x", path)

    talk(view, conversation)


@pytest.mark.parametrize("token", [Secret("test", TOKEN), None])
def test_a_viewer_reads_and_an_operator_acts_under_the_name_of_the_token(tmp_path: Path, token: Secret | None) -> None:
    view, (id_, _) = with_cases(tmp_path, ApiSettings(host="0.0.0.0", token=token, tokens=NAMED))

    async def conversation(client: Client) -> None:
        path = f"/api/v1/cases/{id_}/ack"
        for given, status in ((VERA, 200), (ANNA, 200), ("wrong", 401)):
            assert (await client.get("/api/v1/cases", headers=bearer(given))).status == status
        assert (await client.get("/api/v1/cases", headers=AUTHORIZED)).status == (401 if token is None else 200)
        refused = await client.post(path, json={}, headers=bearer(VERA))
        assert refused.status == 403
        assert (await refused.json())["detail"] == "the token 'vera' may only read: its role is viewer"
        assert (await client.post(path, json={"who": "boss"}, headers=bearer(ANNA))).status == 202
        case = await (await client.get(f"/api/v1/cases/{id_}", headers=bearer(VERA))).json()
        assert case["acknowledged_by"] == "anna", "the name of the token, whatever the body says"
        (incident,) = view.tell(flood())
        noted = await client.post(
            f"/api/v1/incidents/{incident}/notes", json={"who": "boss", "text": "x"}, headers=bearer(ANNA)
        )
        assert noted.status == 202
        page = await (await client.get("/api/v1/audit", headers=bearer(VERA))).json()
        assert [(one["who"], one["subject"]) for one in page["entries"]] == [
            ("anna", f"incident {incident}"),
            ("anna", f"case {id_}"),
        ]

    talk(view, conversation)
