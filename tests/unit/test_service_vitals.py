"""What the service says of itself while it cannot do its work: heartbeat, probes, numbers; on a clock that is moved."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from alerts.delivery.ledger import Ledger
from alerts.delivery.ports import Due, Fate, Outcome
from alerts.delivery.sender import Sender
from alerts.routing import Receiver
from tests.support.daemon import MovedClock, configure, hook, serve, until
from tests.support.delivery import START_NS, VirtualClock
from tests.support.event_loops import scenery
from tests.support.postgres import Server
from tests.support.service_process import mempool_line
from watchdog.core.errors import StoreUnavailableError
from watchdog.service.bounded_executor import WAITING_MOST, BoundedExecutor, BusyError
from watchdog.service.daemon import Daemon
from watchdog.service.live_view import LiveView
from watchdog.service.view import Check
from watchdog.service.vitals import Vitals
from watchdog.web.app import make_app

POLLS = "snapshots:polls.jsonl"
RULE = """
  {id}:
    title: Peers come often
    attack: eclipse
    severity: warning
    on: rpc:peer
    by: [{by}]
    measure: {{times: count()}}
    over: 10s
    fire: times > 100
"""


def attack(folder: Path) -> None:
    """The mempool is full from the second poll on."""
    text = "".join(mempool_line(10 * at, size) for at, size in enumerate([10, 600, 600, 600]))
    with (folder / "polls.jsonl").open("a") as file:
        scenery(lambda: file.write(text))
        scenery(file.flush)


def database(daemon: Daemon) -> Check:
    return next(one for one in LiveView(daemon).readiness().checks if one.name == "database")


def value(daemon: Daemon, name: str) -> float:
    """One number of `/metrics`, with its labels as they are written there."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", LiveView(daemon).metrics(), re.MULTILINE)
    assert found, f"no {name}"
    return float(found[1])


def test_what_a_source_cannot_use_is_a_number(tmp_path: Path) -> None:
    configure(tmp_path, sources=POLLS)
    line = mempool_line(0, 1)
    (tmp_path / "polls.jsonl").write_text(line.replace("getmempoolinfo", "getmempool") + line)

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        sample = r'^watchdog_source_counts_total\{source="snapshots:.*",what="unknown_answers"\} 1\.0$'
        told = re.compile(sample, re.MULTILINE)
        await until(lambda: told.search(LiveView(daemon).metrics()) is not None)

    serve(tmp_path, story)


def test_no_heartbeat_while_changes_wait_for_a_locked_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configure(tmp_path, sources=POLLS)
    (tmp_path / "polls.jsonl").write_text("")

    async def story(daemon: Daemon, clock: MovedClock) -> None:
        with closing(sqlite3.connect(tmp_path / "watchdog.db", isolation_level=None)) as other:
            scenery(lambda: other.execute("BEGIN IMMEDIATE"))
            clock.ahead += 60
            await until(lambda: not daemon.vitals.trouble())  # nothing is to be stored
            attack(tmp_path)
            await until(lambda: daemon.writer.counts.storing)
            assert daemon.sign_of_life() is not None, "a database may be locked for a moment"
            clock.ahead += 31
            await until(lambda: daemon.vitals.trouble() == "incident changes cannot be stored")
            assert daemon.sign_of_life() is None
            assert not database(daemon).ok
            assert value(daemon, "watchdog_store_waiting_seconds") > 30
            assert LiveView(daemon).health().ok, "a restart would meet the same lock"
            scenery(lambda: other.execute("ROLLBACK"))
        await until(lambda: daemon.sign_of_life() is not None)
        assert database(daemon) == Check("database", ok=True, text="reachable")
        await until(lambda: value(daemon, "watchdog_store_waiting_seconds") == 0)

    with caplog.at_level(logging.INFO, "watchdog.service"):
        serve(tmp_path, story)
    told = [one.getMessage() for one in caplog.records if "health" in one.getMessage()]
    assert told == [
        "the service is unhealthy, so no heartbeat is sent: incident changes cannot be stored",
        "the service is healthy again",
    ]


def test_a_server_that_hangs_is_not_reachable_and_the_service_not_well_but_alive(
    tmp_path: Path, postgres: Server
) -> None:
    configure(tmp_path, sources=POLLS, database=postgres.url("hanging"))
    (tmp_path / "polls.jsonl").write_text("")

    async def story(daemon: Daemon, clock: MovedClock) -> None:
        await until(lambda: daemon.stored.asked_s is None)
        assert database(daemon).ok
        with postgres.frozen():
            attack(tmp_path)
            await until(lambda: daemon.stored.asked_s is not None)  # since it is frozen
            await until(lambda: daemon.writer.counts.storing)
            clock.ahead += 11
            assert re.fullmatch(r"changes have waited for 1\d s to be stored", database(daemon).text)
            assert value(daemon, "watchdog_database_up") == 0
            assert daemon.sign_of_life() is not None
            clock.ahead += 20
            await until(lambda: "the engine" not in daemon.vitals.trouble())
            assert daemon.vitals.trouble() == "incident changes cannot be stored, the database does not answer"
            assert daemon.sign_of_life() is None
            checks = LiveView(daemon).health().checks
            assert [one.ok for one in checks] == [True, True]
            assert checks[1].text.startswith("waits for the database, for 3")
        await until(lambda: database(daemon).ok and not daemon.vitals.trouble())
        assert value(daemon, "watchdog_database_up") == 1

    serve(tmp_path, story)


def test_a_server_that_hangs_is_missed_though_nothing_is_to_be_stored(tmp_path: Path, postgres: Server) -> None:
    configure(tmp_path, sources="log:debug.log", database=postgres.url("silent"))
    (tmp_path / "debug.log").write_text("")

    async def story(daemon: Daemon, clock: MovedClock) -> None:
        await until(lambda: daemon.stored.asked_s is None)  # so that no answer is on its way
        with postgres.frozen():
            await until(lambda: daemon.stored.asked_s is not None)  # since it is frozen
            clock.ahead += 11
            assert database(daemon).text.startswith("no answer for 1")
            clock.ahead += 20
            await until(lambda: daemon.vitals.trouble() == "the database does not answer")
        await until(lambda: not daemon.vitals.trouble())

    serve(tmp_path, story)


def test_no_heartbeat_while_nobody_can_note_what_was_delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path)
    (tmp_path / "debug.log").write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        free, clock = threading.Event(), VirtualClock()
        ledger = Ledger(Hanging(free), clock)
        running = asyncio.create_task(ledger.run())
        vitals = Vitals(daemon.nodes, daemon.writer, daemon.stored, daemon.clock, unstored_s=lambda: ledger.waits_s)
        ledger.note(Outcome("msg", Fate.SENT, 204, START_NS))
        await clock.advance(30)
        assert not vitals.trouble()
        await clock.advance(1)
        assert vitals.trouble() == "delivery results cannot be stored"
        free.set()
        await until(lambda: not vitals.trouble())
        await ledger.close(running)
        assert daemon.sign_of_life() is not None
        monkeypatch.setattr(Sender, "unstored_s", 31.0)
        assert daemon.sign_of_life() is None

    serve(tmp_path, story)


class Hanging:
    """An outbox whose database takes no outcome before it is free."""

    def __init__(self, free: threading.Event) -> None:
        self.free = free

    def due(self, _now_ns: int, _receiver: str, _limit: int) -> Sequence[Due]:
        raise AssertionError("nobody asked")

    def merge(self, _now_ns: int, _receiver: str, _least: int, _in_hand: Collection[str]) -> int:
        raise AssertionError("nobody asked")

    def firing(self, _receiver: Receiver) -> Sequence[str]:
        raise AssertionError("nobody asked")

    def pictures(self, _receiver: Receiver, _ids: Sequence[str]) -> Sequence[Mapping[str, object]]:
        raise AssertionError("nobody asked")

    def settle(self, _outcomes: Sequence[Outcome]) -> None:
        assert self.free.wait(100)


def asking(story: Callable[[BoundedExecutor, threading.Event], Awaitable[None]], answer_s: float | None = None) -> None:
    """One thread and room for two; the event lets the calls of the story end."""

    async def run() -> None:
        calls, free = BoundedExecutor("test", threads=1, waiting_most=2, answer_s=answer_s), threading.Event()
        try:
            await story(calls, free)
        finally:
            free.set()
            calls.close()

    asyncio.run(run())


def test_as_many_wait_for_the_database_as_may_and_the_next_one_is_told_so() -> None:
    async def story(calls: BoundedExecutor, free: threading.Event) -> None:
        asked = [asyncio.create_task(calls.ask(lambda: free.wait(100))) for _ in range(3)]
        await until(lambda: calls.waiting == 2)
        with pytest.raises(BusyError):
            await calls.ask(lambda: 1)
        assert (calls.waiting, calls.refused) == (2, 1)
        free.set()
        assert await asyncio.gather(*asked) == [True] * 3
        assert (await calls.ask(lambda: 1), calls.waiting) == (1, 0)

    asking(story)


def test_who_gives_up_waiting_takes_no_room_and_a_call_that_hangs_keeps_its_thread() -> None:
    async def story(calls: BoundedExecutor, free: threading.Event) -> None:
        ran: list[int] = []

        def stand(number: int) -> None:
            ran.append(number)
            free.wait(100)

        for number in range(7):  # more than there is room for
            with pytest.raises(Exception, match=r"has not answered within 0\.25 s"):
                await calls.ask(partial(stand, number))
        assert ran == [0], "the others never had a thread"
        assert (calls.waiting, calls.unanswered, calls.refused) == (0, 7, 0)
        free.set()
        await until(lambda: not calls._free.locked())
        assert await calls.ask(lambda: 1) == 1

    asking(story, answer_s=0.25)


def test_a_call_that_fails_when_nobody_waits_any_more_is_no_error_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    def fail(free: threading.Event) -> None:
        free.wait(100)
        raise StoreUnavailableError("database 'x': locked")

    async def story(calls: BoundedExecutor, free: threading.Event) -> None:
        with pytest.raises(StoreUnavailableError, match="has not answered within"):
            await calls.ask(lambda: fail(free))
        free.set()
        await until(lambda: not calls._free.locked())
        gc.collect()

    asking(story, answer_s=0.05)
    assert not [one for one in caplog.records if "never retrieved" in one.getMessage()]


def test_an_error_of_the_call_comes_through_though_it_is_one_of_time() -> None:
    def late() -> None:
        raise TimeoutError("mine")

    async def story(calls: BoundedExecutor, _free: threading.Event) -> None:
        with pytest.raises(TimeoutError, match="mine"):
            await calls.ask(late)

    asking(story, answer_s=100)


def test_a_flood_of_requests_is_answered_with_503_and_the_service_looks_after_itself(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / "debug.log").write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        free = threading.Event()
        await until(lambda: LiveView(daemon).readiness().ok)
        holding = [asyncio.create_task(daemon.ask(lambda: free.wait(100))) for _ in range(WAITING_MOST + 4)]
        await until(lambda: daemon.api_queries.waiting == WAITING_MOST)
        async with TestClient(TestServer(scenery(lambda: make_app(LiveView(daemon))))) as client:
            answer = await client.get("/api/v1/incidents")
            assert (answer.status, answer.content_type) == (503, "application/problem+json")
            assert answer.headers["Retry-After"] == "5"
            before = (daemon.api_queries.waiting, daemon.api_queries.refused)
            assert before == (WAITING_MOST, 1)
            for probe in ("/readyz", "/healthz", "/metrics"):
                assert (await client.get(probe)).status == 200, probe
            assert (daemon.api_queries.waiting, daemon.api_queries.refused) == before, "the probes ask nobody"
        assert value(daemon, 'watchdog_queue_length{queue="requests"}') == WAITING_MOST
        assert value(daemon, 'watchdog_queue_limit{queue="requests"}') == WAITING_MOST
        assert value(daemon, 'watchdog_queue_full_total{queue="requests"}') == 1
        assert (await daemon.reload())[0], "our own calls have threads of their own"
        free.set()
        await asyncio.gather(*holding)

    serve(tmp_path, story)


def test_every_queue_has_its_length_its_limit_its_full_moments_and_a_line_of_the_page(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / "debug.log").write_text("")
    page = (Path(__file__).parents[2] / "docs" / "API.md").read_text(encoding="utf-8")
    table = page.split("The queues, all bounded:")[1].split("\n## ")[0]

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        text = LiveView(daemon).metrics()
        names = {
            what: set(re.findall(rf'^watchdog_queue_{what}{{queue="(\w+)"}} ', text, re.MULTILINE))
            for what in ("length", "limit", "full_total")
        }
        assert (
            names["length"]
            == names["limit"]
            == names["full_total"]
            == set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
        )
        assert len(names["length"]) == 5
        assert "watchers_dropped" not in text, "that is the full moments of 'stream'"

    serve(tmp_path, story)


def test_waits_and_outages_of_receivers_are_told_by_receiver(tmp_path: Path) -> None:
    configure(tmp_path, hook("ops"), hook("team", "other"))
    (tmp_path / "debug.log").write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        await until(lambda: len(daemon.sender.status()) == 2)
        counts = daemon.sender.status()[1].counts
        counts.rate_waits, counts.outages = 7, 2
        for receiver, waits, outages in (("ops", 0, 0), ("team", 7, 2)):
            assert value(daemon, f'watchdog_delivery_rate_waits_total{{receiver="{receiver}"}}') == waits
            assert value(daemon, f'watchdog_delivery_outages_total{{receiver="{receiver}"}}') == outages

    serve(tmp_path, story)


def test_commands_for_an_engine_that_stands_still_are_bounded_and_not_lost(tmp_path: Path) -> None:
    configure(tmp_path)
    (tmp_path / "debug.log").write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        engine, free, standing = daemon.engine, threading.Event(), threading.Event()

        def stand() -> None:
            standing.set()
            free.wait(100)

        engine.orders.put(stand)
        await until(standing.is_set)
        limit = value(daemon, 'watchdog_queue_limit{queue="commands"}')
        taken = [engine.act([]) for _ in range(int(limit) + 2)]
        assert taken == [True] * int(limit) + [False] * 2
        assert value(daemon, 'watchdog_queue_length{queue="commands"}') == limit
        assert value(daemon, 'watchdog_queue_full_total{queue="commands"}') == 2
        ok, text = await daemon.reload()
        assert (ok, "takes no more commands" in text) == (False, True)
        free.set()
        await until(lambda: len(engine.orders) == 0)
        assert (await daemon.reload())[0]

    serve(tmp_path, story)


def test_keys_and_what_became_of_them_are_told_by_rule_and_by_table(tmp_path: Path) -> None:
    configure(tmp_path, sources=POLLS)
    twins = [
        RULE.format(id=id_, by=by) for id_, by in (("first", "user_agent"), ("second", "user_agent"), ("whole", ""))
    ]
    (tmp_path / "rules.yaml").write_text("rules:" + "".join(twins))
    (tmp_path / "polls.jsonl").write_text("")

    async def story(daemon: Daemon, _clock: MovedClock) -> None:
        engines = daemon.engine.watch.engine._engines
        (grouping,) = [one for engine in engines for one in engine.keys.groupings if one.name == "user_agent"]
        grouping.evicted, grouping.table.refused = 7, 3
        for rule in ("first", "second"):
            labels = f'{{key="user_agent",rule="{rule}"}}'
            assert value(daemon, f"watchdog_rule_key_evictions_total{labels}") == 7
            assert value(daemon, f"watchdog_rule_key_refusals_total{labels}") == 3
        assert value(daemon, 'watchdog_rule_key_evictions_total{key="node",rule="whole"}') == 0
        assert value(daemon, 'watchdog_rule_keys{key="node",rule="whole"}') == value(
            daemon, 'watchdog_keys{key="node"}'
        )
        assert value(daemon, 'watchdog_key_evictions_total{key="user_agent"}') == 7, "the table counts once"

    serve(tmp_path, story)
