"""What the JSON API answers, and how it says no."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from yarl import URL

from tests.support.web_view import AUTHORIZED, HOSTILE, SECOND, START_NS, Client, StoredView, flood, serving
from watchdog.core.errors import StoreError, StoreUnavailableError
from watchdog.service.view import Check
from watchdog.web.answer import harmless
from watchdog.web.incidents import read_filter
from watchdog.web.problem import ProblemError

Talk = Callable[[Client], Awaitable[None]]
UNSAFE = set("\x00\x1b\u202e\u2066\u200b")


@pytest.fixture
def view(tmp_path: Path) -> StoredView:
    return StoredView(tmp_path)


def talk(view: StoredView, conversation: Talk) -> None:
    async def hold() -> None:
        async with serving(view) as client:
            await conversation(client)

    asyncio.run(hold())


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [one for pair in value.items() for part in pair for one in strings(part)]
    if isinstance(value, list):
        return [one for part in value for one in strings(part)]
    return [value] if isinstance(value, str) else []


def test_the_list_is_latest_opened_first_and_pages_meet_without_gap_or_repetition(view: StoredView) -> None:
    for second in range(7):
        view.tell(flood(f"10.0.0.{second}", second))

    async def conversation(client: Client) -> None:
        seen: list[str] = []
        cursor = ""
        while True:
            page = await (await client.get("/api/v1/incidents", params={"limit": 3, "cursor": cursor})).json()
            seen += [one["entities"][0] for one in page["incidents"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert seen == [f"10.0.0.{second}" for second in reversed(range(7))]

    talk(view, conversation)


def test_a_severity_lists_itself_and_those_above_and_states_may_be_several(view: StoredView) -> None:
    for second, severity in enumerate(("info", "warning", "high", "critical")):
        view.tell(flood(f"10.0.0.{second}", second, severity=severity))

    async def conversation(client: Client) -> None:
        async def severities(query: str) -> list[str]:
            page = await (await client.get(f"/api/v1/incidents?{query}")).json()
            return [one["severity"] for one in page["incidents"]]

        assert await severities("severity=high") == ["critical", "high"]
        assert await severities("severity=info&state=open,acknowledged") == ["critical", "high", "warning", "info"]
        assert await severities("state=resolved") == []
        assert await severities("attack=eclipse") == []
        assert await severities("node=node-1&limit=1") == ["critical"]
        assert await severities(f"since={START_NS // SECOND + 2}") == ["critical", "high"]
        assert await severities("since=2026-01-12T10:00:03Z") == ["critical"]

    talk(view, conversation)


def test_all_mistakes_of_a_query_come_in_one_problem_document(view: StoredView) -> None:
    async def conversation(client: Client) -> None:
        answer = await client.get(
            "/api/v1/incidents?sevrity=x&limit=0&since=noon&state=opne&attack=a&attack=b&cursor=zz"
        )
        assert (answer.status, answer.content_type) == (400, "application/problem+json")
        found = await answer.json()
        assert found["title"] == "Bad Request"
        assert found["instance"] == "/api/v1/incidents"
        wrong = {one["parameter"]: one["detail"] for one in found["errors"]}
        assert set(wrong) == {"sevrity", "limit", "since", "state", "attack", "cursor"}
        assert "did you mean 'severity'?" in wrong["sevrity"]
        assert wrong["cursor"] == "cursor 'zz': not one that a page of incidents has given"
        assert found["detail"] == "7 parameters are wrong"

    talk(view, conversation)


def test_all_mistakes_of_a_query_of_deliveries_come_together(view: StoredView) -> None:
    async def conversation(client: Client) -> None:
        answer = await client.get("/api/v1/deliveries?status=gone&cursor=zz&limit=0")
        assert answer.status == 400
        assert [one["parameter"] for one in (await answer.json())["errors"]] == ["status", "limit", "cursor"]

    talk(view, conversation)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_text_that_no_database_holds_finds_nothing(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = None if kind == "sqlite" else request.getfixturevalue("postgres").url("api_odd_texts")
    view = StoredView(tmp_path, database=url)
    view.tell(flood())

    async def conversation(client: Client) -> None:
        for path in ("incidents?node=%00", "incidents?node=%ff", "deliveries?receiver=%00", "deliveries?incident=a%00"):
            answer = await client.get(URL(f"/api/v1/{path}", encoded=True))
            assert answer.status == 200, path
            assert (await answer.json())[path.partition("?")[0]] == []

    talk(view, conversation)


@pytest.mark.parametrize("cursor", ["x", "i0", "d12", "i" + "f" * 17 + ".0123456789abcdef", "\x00", "i1.é"])
def test_a_cursor_that_no_page_gave_is_named(view: StoredView, cursor: str) -> None:
    async def conversation(client: Client) -> None:
        answer = await client.get("/api/v1/incidents", params={"cursor": cursor})
        assert answer.status == 400
        assert [one["parameter"] for one in (await answer.json())["errors"]] == ["cursor"]

    talk(view, conversation)


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        ("1768212000", START_NS),
        ("1768212000.000000001", START_NS + 1),
        ("2026-01-12T10:00:00Z", START_NS),
        ("2026-01-12T11:00:00+01:00", START_NS),
        ("2026-01-12T11:00:00 01:00", START_NS),  # the plus, read as a space by a decoder of the address
        ("0", 0),
    ],
)
def test_times_are_unix_seconds_or_rfc_3339(value: str, ns: int) -> None:
    assert read_filter([("since", value)])[0].since_ns == ns


@pytest.mark.parametrize(
    "value", ["2026-01-12T10:00:00", "1e9", "nan", "inf", "9" * 12, "0x10", "١٢", "0001-01-01T00:00+23:59"]
)
def test_other_times_are_refused(value: str) -> None:
    with pytest.raises(ProblemError) as caught:
        read_filter([("since", value)])
    assert caught.value.parameters[0][0] == "since"


def test_one_incident_holds_evidence_changes_notes_and_deliveries(view: StoredView) -> None:
    (id_,) = view.tell(flood())

    async def conversation(client: Client) -> None:
        await client.post(f"/api/v1/incidents/{id_}/notes", json={"who": "anna", "text": "seen"}, headers=AUTHORIZED)
        found = await (await client.get(f"/api/v1/incidents/{id_}")).json()
        assert found["evidence"][0]["fields"] == {"peer": "217.94.191.240", "entries": 1000, "solicited": False}
        assert [one["reason"] for one in found["changes"]] == ["opened"]
        assert [(one["who"], one["text"]) for one in found["notes"]] == [("anna", "seen")]
        assert [(one["receiver"], one["status"]) for one in found["deliveries"]] == [("chat", "waiting")]

    talk(view, conversation)


def test_what_peers_sent_arrives_escaped_in_every_string(view: StoredView) -> None:
    event = flood().evidence[0]
    hostile = flood(
        HOSTILE,
        summary=f"agent {HOSTILE}",
        node=HOSTILE,
        evidence=(type(event)(event.time_ns, "p2p:version", {HOSTILE: HOSTILE}),),
    )
    (id_,) = view.tell(hostile)

    async def conversation(client: Client) -> None:
        for path in (f"/api/v1/incidents/{id_}", "/api/v1/incidents", f"/api/v1/{HOSTILE}"):
            text = await (await client.get(path)).text()
            assert text.isascii()
            found = strings(json.loads(text))
            assert not any(UNSAFE & set(one) for one in found)
        whole = await (await client.get(f"/api/v1/incidents/{id_}")).json()
        assert "\\u{202e}" in whole["summary"]
        assert "<script>" in whole["summary"], "escaping is for what steers; markup is text, and stays readable"

    talk(view, conversation)


def test_shown_makes_what_is_no_json_to_text() -> None:
    assert harmless({"a": (1, None, True), "b": Path("x"), "c": frozenset({"\x1b"})}) == {
        "a": [1, None, True],
        "b": "x",
        "c": ["\\x1b"],
    }


def test_operators_act_through_the_api(view: StoredView) -> None:
    (id_,) = view.tell(flood())

    async def conversation(client: Client) -> None:
        base = f"/api/v1/incidents/{id_}"
        answer = await client.post(f"{base}/ack", json={"who": "anna"}, headers=AUTHORIZED)
        assert (answer.status, (await answer.json())["action"]) == (202, "ack")
        found = await (await client.get(base)).json()
        assert (found["state"], found["acknowledged_by"]) == ("acknowledged", "anna")
        again = await client.post(f"{base}/ack", json={"who": "anna"}, headers=AUTHORIZED)
        said = {"incident": id_, "action": "ack", "id": None, "already": "acknowledged by anna"}
        assert (again.status, await again.json()) == (202, said)
        assert await (await client.get(base)).json() == found
        empty = await client.post(
            f"{base}/resolve", data=b"", headers={**AUTHORIZED, "Content-Type": "application/json"}
        )
        assert empty.status == 202
        found = await (await client.get(base)).json()
        assert (found["state"], found["actions"][-1]["who"]) == ("resolved", "api")
        again = await client.post(f"{base}/ack", json={}, headers=AUTHORIZED)
        assert (again.status, again.content_type) == (409, "application/problem+json")

    talk(view, conversation)


@pytest.mark.parametrize(
    ("body", "kind", "status", "named"),
    [
        (b'{"text": "x"}', "text/plain", 415, []),
        (b"text=x", "application/x-www-form-urlencoded", 415, []),
        (b"{", "application/json", 400, []),
        (b"[]", "application/json", 400, []),
        (b"[" * 50_000, "application/json", 400, []),
        (b"\xff", "application/json", 400, []),
        (b'{"text": 1, "whom": "x"}', "application/json", 400, ["whom", "text"]),
        (b'{"text": "  "}', "application/json", 400, ["text"]),
        (b'{"text": "x", "who": "' + b"y" * 101 + b'"}', "application/json", 400, ["who"]),
        (b'{"text": "' + b"x" * 70_000 + b'"}', "application/json", 413, []),
    ],
)
def test_a_wrong_body_changes_nothing(view: StoredView, body: bytes, kind: str, status: int, named: list[str]) -> None:
    (id_,) = view.tell(flood())

    async def conversation(client: Client) -> None:
        headers = {**AUTHORIZED, "Content-Type": kind}
        answer = await client.post(f"/api/v1/incidents/{id_}/notes", data=body, headers=headers)
        assert (answer.status, answer.content_type) == (status, "application/problem+json")
        assert [one["parameter"] for one in (await answer.json()).get("errors", [])] == named
        assert (await (await client.get(f"/api/v1/incidents/{id_}")).json())["notes"] == []

    talk(view, conversation)


def test_what_is_not_there_is_a_problem_document_too(view: StoredView) -> None:
    async def conversation(client: Client) -> None:
        absent, delivery = "0" * 16, "msg_" + "0" * 32
        for method, path, status in (
            ("GET", "/api/v1/incidents/" + absent, 404),
            ("GET", "/api/v1/incidents/..%2f..", 404),
            ("GET", "/nothing", 404),
            ("GET", "/static/..%2fapp.py", 404),
            ("GET", "/static/index.html", 404),
            ("POST", f"/api/v1/incidents/{absent}/ack", 404),
            ("POST", f"/api/v1/deliveries/{delivery}/resend", 404),
            ("DELETE", "/api/v1/incidents", 405),
        ):
            answer = await client.request(method, path, json={} if method == "POST" else None, headers=AUTHORIZED)
            assert (answer.status, answer.content_type) == (status, "application/problem+json"), path
            assert (await answer.json())["status"] == status

    talk(view, conversation)


def test_deliveries_are_listed_filtered_and_sent_again(view: StoredView) -> None:
    for second in range(3):
        view.tell(flood(f"10.0.0.{second}", second))
    first = view.outbox.page().rows[-1].notice
    view.outbox.dead(first.id, f"HTTP 500 {HOSTILE}", START_NS, 500)

    async def conversation(client: Client) -> None:
        page = await (await client.get("/api/v1/deliveries?limit=2")).json()
        assert len(page["deliveries"]) == 2
        rest = await (await client.get("/api/v1/deliveries", params={"cursor": page["cursor"]})).json()
        assert [one["id"] for one in rest["deliveries"]] == [first.id]
        dead = (await (await client.get("/api/v1/deliveries?status=dead&receiver=chat")).json())["deliveries"]
        assert [one["last_status"] for one in dead] == [500]
        assert not UNSAFE & set(dead[0]["last_error"])
        answer = await client.post(f"/api/v1/deliveries/{first.id}/resend", json={}, headers=AUTHORIZED)
        assert answer.status == 202
        assert (await (await client.get("/api/v1/deliveries?status=dead")).json())["deliveries"] == []
        assert (await client.get("/api/v1/deliveries?status=lost")).status == 400

    talk(view, conversation)


def test_health_readiness_and_metrics_are_what_the_service_says(view: StoredView) -> None:
    async def conversation(client: Client) -> None:
        for path in ("/healthz", "/readyz"):
            answer = await client.get(path)
            assert (answer.status, (await answer.json())["checks"]) == (
                200,
                [{"name": "loop", "ok": True, "text": "beats"}],
            )
        view.checks.append(Check("database", ok=False, text="locked"))
        answer = await client.get("/readyz")
        assert (answer.status, (await answer.json())["ok"]) == (503, False)
        metrics = await client.get("/metrics")
        assert metrics.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "watchdog_up 1" in await metrics.text()

    talk(view, conversation)


def test_the_status_counts_what_is_not_resolved_by_severity(view: StoredView) -> None:
    for second, severity in enumerate(("high", "high", "critical")):
        view.tell(flood(f"10.0.0.{second}", second, severity=severity))

    async def conversation(client: Client) -> None:
        found = (await (await client.get("/api/v1/status")).json())["incidents"]
        assert found["open"] == {"info": 0, "warning": 0, "high": 2, "critical": 1}
        assert sum(found["acknowledged"].values()) == 0

    talk(view, conversation)


def failing(error: Exception) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreUnavailableError("database 'secret place': locked"), 503),
        (StoreError("database 'secret place': damaged"), 500),
        (RuntimeError("secret place"), 500),
    ],
)
def test_a_failure_inside_is_logged_and_not_told(
    view: StoredView,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
) -> None:
    monkeypatch.setattr(view.queries, "counts", failing(error))

    async def conversation(client: Client) -> None:
        answer = await client.get("/api/v1/status")
        assert (answer.status, answer.content_type) == (status, "application/problem+json")
        assert ("Retry-After" in answer.headers) == (status == 503)
        assert "secret place" not in await answer.text()

    talk(view, conversation)
    assert "secret place" in caplog.text


def test_a_browser_at_an_unknown_path_gets_a_page_with_the_way_back_and_programs_json(view: StoredView) -> None:
    asked = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    async def conversation(client: Client) -> None:
        shown = await client.get("/foo<b>", headers=asked)
        assert (shown.status, shown.content_type, shown.headers["Vary"]) == (404, "text/html", "Accept")
        text = await shown.text()
        assert "<h1>Not Found</h1>" in text
        assert '<a href="/">' in text
        assert "<b>" not in text
        assert "script" not in text
        assert "Content-Security-Policy" in shown.headers
        foreign = await client.get("/", headers=asked | {"Host": "<script>.example"})
        assert foreign.status == 421
        assert "host &#x27;&lt;script&gt;.example&#x27;" in await foreign.text()
        for path, headers in (("/foo", {}), ("/foo", {"Accept": "*/*"}), ("/api/v1/foo", asked)):
            found = await client.get(path, headers=headers)
            assert (found.status, found.content_type) == (404, "application/problem+json"), path
        posted = await client.post("/foo", headers=asked | AUTHORIZED)
        assert posted.content_type == "application/problem+json"

    talk(view, conversation)
