"""What goes first when more waits than a receiver may get: severity decides, and openings of one rule merge."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from alerts.delivery.ports import Fate, Outcome
from alerts.delivery.receiver_queue import HELD_MOST, MERGE_LEAST
from alerts.delivery.sender import Sender
from alerts.incident import IncidentState, Reason
from alerts.notice import MERGED
from alerts.store.database import Database
from alerts.store.due import StoredOutbox
from alerts.store.outbox import Outbox
from tests.support.delivery import Seen, Target, VirtualClock, running, target, until
from tests.support.history import record
from tests.support.told import NOW_NS, hears, incident, opened, store
from tests.support.waiting import reached
from watchdog.core.finding import Severity

SECOND = 10**9


names = (f"severity_{number}" for number in itertools.count())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/watchdog.db"
    else:
        url = request.getfixturevalue("postgres").url(next(names))
    made = Database.open(url)
    yield made
    made.close()


@asynccontextmanager
async def delivering(
    database: Database, there: Target, clock: VirtualClock | None, rate_per_minute: int = 60
) -> AsyncIterator[Sender]:
    """The sender at work from this database."""
    sender = Sender(StoredOutbox(database), [hears(there.url, rate_per_minute=rate_per_minute)], clock)
    async with running(sender, clock):
        yield sender


def bodies(there: Target) -> list[dict[str, Any]]:
    """What was accepted, in the order of arrival."""
    return [json.loads(one.body) for one in there.seen if one.id in there.accepted]


def named(there: Target) -> list[str]:
    """Return the incidents of all openings that were sent, also in merged notices."""
    found = []
    for body in bodies(there):
        if body["type"] == MERGED:
            found += [one["id"] for one in body["data"]["incidents"]]
            assert body["data"]["count"] == len(body["data"]["incidents"])
        elif body["type"] == "incident.opened":
            found.append(body["data"]["id"])
    return found


def test_a_critical_notice_is_the_next_behind_400_high_ones(database: Database) -> None:
    async def story() -> None:
        store(database, opened(range(400)))
        clock = VirtualClock()
        async with (
            target() as there,
            running(sender := Sender(StoredOutbox(database), [hears(there.url)], clock), clock),
        ):
            await until(lambda: len(there.accepted) == 4)
            before = len(there.seen)
            store(database, opened(range(900, 901), "critical", "eclipse"))
            await sender.poke()
            await until(lambda: len(there.accepted) > before)
            after = bodies(there)[before:]
            assert after[0]["data"]["id"] == f"{900:016x}"
            await advanced(clock, lambda: len(named(there)) >= 401)
        assert sorted(named(there)) == sorted(f"{number:016x}" for number in [*range(400), 900])
        assert len(there.seen) < 100, "most openings merged"

    asyncio.run(story())
    assert Outbox(database).counts() == {}


async def advanced(clock: VirtualClock, reached: Callable[[], bool]) -> None:
    """Let virtual time pass until a state is reached: a database takes real time, so a span of it is no measure."""
    for _ in range(2_000):
        if reached():
            return
        await clock.advance(20, step=20)
    raise AssertionError("the state was not reached")


def test_severity_decides_over_age_at_every_level(database: Database) -> None:
    levels: tuple[Severity, ...] = ("info", "warning", "high", "critical")
    for place, severity in enumerate(levels):
        for number in range(place * 100, place * 100 + 30):
            store(database, [record(incident(number, severity, f"rule-{number}"), 1, Reason.OPENED)])

    async def story() -> None:
        clock = VirtualClock()
        async with (
            target() as there,
            running(Sender(StoredOutbox(database), [hears(there.url, rate_per_minute=1)], clock), clock),
        ):
            await advanced(clock, lambda: len(there.seen) >= 120)
        told = [one["data"]["severity"] for one in bodies(there)]
        assert told == [severity for severity in reversed(levels) for _ in range(30)]

    asyncio.run(story())


def test_what_must_go_before_a_critical_notice_goes_with_it_and_memory_stays_bounded(database: Database) -> None:
    rest = [record(incident(number, "high", f"rule-{number}"), 1, Reason.OPENED) for number in range(600)]
    store(database, rest)

    async def story() -> None:
        clock = VirtualClock()
        async with (
            target() as there,
            running(sender := Sender(StoredOutbox(database), [hears(there.url)], clock), clock),
        ):
            await clock.advance(30, step=1)
            late = rest[599].incident
            worse = record(replace(late, severity="critical"), 2, Reason.ESCALATED)
            before = len(there.seen)
            (escalated,) = store(database, [worse])
            await sender.poke()
            await until(lambda: escalated.id in sender._queues["ops"]._chains.held)
            await clock.advance(6, step=1)
            after = [(one["type"], one["data"]["id"]) for one in bodies(there)[before:]]
            assert after[:2] == [("incident.opened", late.id), ("incident.escalated", late.id)]
            assert sender.status()[0].held <= HELD_MOST

    asyncio.run(story())


def test_openings_merge_by_rule_and_severity_and_each_is_recorded_as_merged(database: Database) -> None:
    told = store(database, opened(range(250)))
    store(database, opened(range(300, 300 + MERGE_LEAST - 1), rule="few"))
    outbox, view = StoredOutbox(database), Outbox(database)
    outbox.settle([Outcome(told[0].id, Fate.RETRY, 503, NOW_NS, "answered 503", NOW_NS)])
    assert outbox.merge(NOW_NS, "ops", MERGE_LEAST, frozenset({told[1].id})) == 248
    due = outbox.due(NOW_NS, "ops", 1_000)
    merged = [one for one in due if one.notice.type == MERGED]
    assert [one.notice.body["count"] for one in merged] == [100, 100, 48]
    assert len(due) == 3 + 2 + MERGE_LEAST - 1
    first = merged[0].notice
    assert (first.body["rule"], first.body["severity"], first.severity) == ("flood", "high", "high")
    assert [one["id"] for one in cast("list[dict[str, str]]", first.body["incidents"])] == [
        f"{number:016x}" for number in range(2, 102)
    ]
    member = view.one(told[2].id)
    assert (member.status, member.merged_into) == ("waiting", first.id)
    assert outbox.merge(NOW_NS, "ops", MERGE_LEAST, frozenset()) == 0, "nothing merges twice"
    outbox.settle([Outcome(first.id, Fate.SENT, 204, NOW_NS)])
    member = view.one(told[2].id)
    assert (member.status, member.last_status, member.as_object()["merged_into"]) == ("merged", 204, first.id)
    assert view.one(told[102].id).status == "waiting"
    assert len({one.notice.id for one in due}) == len(due)


def test_later_notices_of_an_incident_wait_for_the_merged_one(database: Database) -> None:
    store(database, opened(range(MERGE_LEAST)))
    outbox = StoredOutbox(database)
    assert outbox.merge(NOW_NS, "ops", MERGE_LEAST, frozenset()) == MERGE_LEAST
    resolved = [
        record(incident(number, "high", "flood", IncidentState.RESOLVED), 2, Reason.RESOLVED)
        for number in range(MERGE_LEAST)
    ]
    store(database, resolved)
    (carrier,) = outbox.due(NOW_NS, "ops", 1_000)
    assert carrier.notice.type == MERGED
    outbox.settle([Outcome(carrier.notice.id, Fate.RETRY, 503, NOW_NS, "answered 503", NOW_NS + SECOND)])
    assert outbox.due(NOW_NS, "ops", 1_000) == []
    assert outbox.due(NOW_NS + SECOND, "ops", 1)[0].notice.id == carrier.notice.id
    outbox.settle([Outcome(carrier.notice.id, Fate.SENT, 204, NOW_NS)])
    assert {one.notice.type for one in outbox.due(NOW_NS, "ops", 1_000)} == {"incident.resolved"}


def test_what_merged_into_a_dead_letter_is_one_too_and_can_be_sent_by_itself(database: Database) -> None:
    told = store(database, opened(range(MERGE_LEAST)))
    outbox, view = StoredOutbox(database), Outbox(database)
    outbox.merge(NOW_NS, "ops", MERGE_LEAST, frozenset())
    (carrier,) = outbox.due(NOW_NS, "ops", 1_000)
    outbox.settle([Outcome(carrier.notice.id, Fate.DEAD, 413, NOW_NS, "answered 413")])
    assert view.counts() == {("ops", "dead"): MERGE_LEAST + 1}
    view.resend(told[3].id, NOW_NS)
    assert [one.notice.id for one in outbox.due(NOW_NS, "ops", 1_000)] == [told[3].id]
    view.resend(carrier.notice.id, NOW_NS)
    outbox.settle([Outcome(one.notice.id, Fate.SENT, 204, NOW_NS) for one in outbox.due(NOW_NS, "ops", 1_000)])
    assert view.counts() == {}


def test_what_a_kill_left_merged_into_nothing_goes_by_itself(database: Database) -> None:
    told = store(database, opened(range(MERGE_LEAST)))
    outbox = StoredOutbox(database)
    outbox.merge(NOW_NS, "ops", MERGE_LEAST, frozenset())
    (carrier,) = outbox.due(NOW_NS, "ops", 1_000)
    database.write(lambda one: one.exec_driver_sql(f"DELETE FROM outbox WHERE id = '{carrier.notice.id}'"))
    assert outbox.due(NOW_NS, "ops", 1_000) == []
    fresh = [one.notice.id for one in StoredOutbox(database).due(NOW_NS, "ops", 1_000)]
    assert fresh == [one.id for one in told]


def test_what_another_sender_had_in_hand_is_sent_under_its_own_id(database: Database) -> None:
    told = store(database, opened(range(2 * MERGE_LEAST)))
    taken = [one.notice.id for one in StoredOutbox(database).due(NOW_NS, "ops", MERGE_LEAST)]
    after = StoredOutbox(database)  # the process before was killed with these, sent or not
    assert after.merge(NOW_NS, "ops", MERGE_LEAST, frozenset()) == MERGE_LEAST
    found = [one.notice for one in after.due(NOW_NS, "ops", 1_000)]
    assert [one.id for one in found if one.type != MERGED] == taken == [one.id for one in told[:MERGE_LEAST]]


def test_a_receiver_without_a_limit_is_told_each_opening_by_itself(database: Database) -> None:
    async def story() -> None:
        told = store(database, opened(range(400)))
        clock = VirtualClock()
        async with (
            target() as there,
            running(Sender(StoredOutbox(database), [hears(there.url, rate_per_minute=0)], clock), clock),
        ):
            await advanced(clock, lambda: len(there.accepted) >= 400)
        assert sorted(there.accepted) == sorted(one.id for one in told)

    asyncio.run(story())


def test_a_receiver_that_answers_slowly_leaves_room_for_a_critical_one(database: Database) -> None:
    async def story() -> None:
        store(database, [record(incident(number, "info", f"r-{number}"), 1, Reason.OPENED) for number in range(40)])
        free = asyncio.Event()

        async def reply(_: web.Request, __: Seen) -> web.Response:
            await free.wait()
            return web.Response()

        everything = {"rate_per_minute": 0}
        async with (
            target(reply=reply) as there,
            running(sender := Sender(StoredOutbox(database), [hears(there.url, **everything)])),
        ):
            await reached(lambda: len(there.seen) >= 16)
            store(database, opened(range(900, 901), "critical", "eclipse"))
            await sender.poke()
            await reached(lambda: len(there.seen) >= 17)
            assert json.loads(there.seen[16].body)["data"]["severity"] == "critical"
            free.set()

    asyncio.run(story())
