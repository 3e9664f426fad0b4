"""Server-sent events: what comes live, after a break, after a gap, and to those who do not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientResponse, web

from tests.support.waiting import reached
from tests.support.web_view import HOSTILE, Client, StoredView, flood, serving
from watchdog.service.hub import MOST_WATCHERS, Hub
from watchdog.web import stream
from watchdog.web.stream import KEPT, EventStream

Talk = Callable[[Client], Awaitable[None]]
PATH = "/api/v1/events/stream"
WAIT_S = 60.0


@pytest.fixture
def view(tmp_path: Path) -> StoredView:
    return StoredView(tmp_path)


def talk(view: StoredView, conversation: Talk, heartbeat_s: float = 15.0) -> None:
    async def hold() -> None:
        async with serving(view, heartbeat_s=heartbeat_s) as client, asyncio.timeout(4 * WAIT_S):
            await conversation(client)

    asyncio.run(hold())


async def block(answer: ClientResponse) -> dict[str, str]:
    """The next event, by field; a comment has the field ''."""
    async with asyncio.timeout(WAIT_S):
        text = (await answer.content.readuntil(b"\n\n")).decode("ascii")
    return dict(line.partition(": ")[::2] for line in text.strip().split("\n"))


async def hello(answer: ClientResponse) -> bool:
    found = await block(answer)
    assert (found["event"], found["retry"]) == ("hello", "2000")
    resumed: bool = json.loads(found["data"])["resumed"]
    return resumed


def test_a_change_arrives_with_the_incident_as_it_is_now(view: StoredView) -> None:
    async def conversation(client: Client) -> None:
        answer = await client.get(PATH)
        assert answer.content_type == "text/event-stream"
        assert not await hello(answer)
        (id_,) = view.tell(flood(summary=HOSTILE))
        found = await block(answer)
        incident = json.loads(found["data"])
        assert (found["event"], incident["id"], incident["change"]["reason"]) == ("incident", id_, "opened")
        assert not set("\x1b\u202e") & set(incident["summary"])
        assert "evidence" not in incident

    talk(view, conversation)


def test_a_client_that_comes_back_gets_what_it_missed_once_and_in_order(view: StoredView) -> None:
    async def conversation(client: Client) -> None:
        answer = await client.get(PATH)
        await hello(answer)
        view.hub.announce("delivery", {"n": 1})
        last = (await block(answer))["id"]
        answer.close()
        for number in (2, 3):
            view.hub.announce("delivery", {"n": number})
        again = await client.get(PATH, headers={"Last-Event-ID": last})
        assert await hello(again)
        view.hub.announce("delivery", {"n": 4})
        assert [json.loads((await block(again))["data"])["n"] for _ in range(3)] == [2, 3, 4]

    talk(view, conversation)


@pytest.mark.parametrize("last", ["00000000-1", "nonsense", "-1", "0000000g-1", "00000000-" + "9" * 30])
def test_an_id_of_another_run_or_an_unknown_one_restarts_the_stream(view: StoredView, last: str) -> None:
    async def conversation(client: Client) -> None:
        view.hub.announce("delivery", {"n": 1})
        answer = await client.get(PATH, headers={"Last-Event-ID": last})
        assert not await hello(answer)
        view.hub.announce("delivery", {"n": 2})
        assert json.loads((await block(answer))["data"]) == {"n": 2}

    talk(view, conversation)


def test_one_who_was_away_for_longer_than_is_remembered_is_told_to_read_again(view: StoredView) -> None:
    view.hub = Hub(2 * KEPT)

    async def conversation(client: Client) -> None:
        answer = await client.get(PATH)
        await hello(answer)
        view.hub.announce("delivery", {"n": 1})
        last = (await block(answer))["id"]
        answer.close()
        for number in range(KEPT + 1):
            view.hub.announce("delivery", {"n": number})
        again = await client.get(PATH, headers={"Last-Event-ID": last})
        assert not await hello(again)

    talk(view, conversation)


def test_nobody_is_announced_to_until_somebody_watches_nor_long_after(
    view: StoredView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "LINGER_S", 0.0)

    async def conversation(client: Client) -> None:
        assert view.hub.watchers == 0
        answer = await client.get(PATH)
        await hello(answer)
        assert view.hub.watchers == 2, "the client and the memory"
        view.hub.announce("delivery", {"n": 1})
        last = (await block(answer))["id"]
        answer.close()
        await reached(lambda: not view.hub.watchers)
        again = await client.get(PATH, headers={"Last-Event-ID": last})
        assert not await hello(again), (
            "what happened meanwhile has no numbers, so nothing can prove that it was nothing"
        )

    talk(view, conversation, heartbeat_s=0.02)


def test_silence_is_broken_by_comments(view: StoredView) -> None:
    async def conversation(client: Client) -> None:
        answer = await client.get(PATH)
        await hello(answer)
        assert await block(answer) == {"": "nothing new"}

    talk(view, conversation, heartbeat_s=0.05)


def test_one_too_many_is_told_to_come_later(view: StoredView) -> None:
    async def conversation(client: Client) -> None:
        taken = [view.hub.join() for _ in range(MOST_WATCHERS)]
        answer = await client.get(PATH)
        assert (answer.status, answer.content_type) == (503, "application/problem+json")
        assert answer.headers["Retry-After"] == "5"
        assert any(taken)

    talk(view, conversation)


def test_one_whose_queue_is_full_is_let_go_and_its_place_is_free(view: StoredView) -> None:
    view.hub = Hub(1)

    async def conversation(client: Client) -> None:
        answer = await client.get(PATH)
        await hello(answer)
        for number in range(3):  # no step of the loop between them: the queue of one is full at the second
            view.hub.announce("delivery", {"n": number})
        async with asyncio.timeout(WAIT_S):
            rest = await answer.content.read()
        assert b'"n":2' not in rest
        assert view.hub.dropped >= 1

    talk(view, conversation)


def test_one_who_never_reads_is_cut_off(view: StoredView) -> None:
    view.hub = Hub(100_000)

    async def conversation() -> None:
        events = EventStream(view, write_s=0.1)
        app = web.Application()
        app.router.add_get(PATH, events.get)
        app.on_shutdown.append(events.end)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        reader, writer = await asyncio.open_connection(host, port, limit=1)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

        def cut_off() -> bool:
            for _ in range(10):
                view.hub.announce("delivery", {"much": "x" * 4_000})
            return view.hub.watchers < 2

        await reached(lambda: view.hub.watchers == 2)  # the client and the memory
        await reached(cut_off)
        assert view.hub.dropped == 0, "the write gave up, not the queue"
        writer.close()
        await runner.cleanup()
        assert reader is not None

    asyncio.run(conversation())
    view.database.close()


def test_the_end_of_the_service_does_not_wait_for_watchers(view: StoredView) -> None:
    async def hold() -> None:
        async with serving(view) as client:
            answer = await client.get(PATH)
            await hello(answer)
            async with asyncio.timeout(WAIT_S):
                await client.server.close()

    asyncio.run(hold())
    assert view.hub.watchers == 0
