"""Delivery from the database's own outbox: batches, retries, order, clocks that step, and speed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from alerts.delivery.ports import Fate, Outcome
from alerts.delivery.schedule import HORIZON_NS
from alerts.delivery.sender import Sender
from alerts.notice import Notice
from alerts.store.database import Database
from alerts.store.due import StoredOutbox
from alerts.store.outbox import Outbox
from alerts.store.schema import outbox as table
from alerts.store.writer import IncidentWriter
from tests.support.delivery import VirtualClock, running, target, until
from tests.support.delivery_process import receiver_for, story, told
from tests.support.event_loops import scenery

HOUR_NS = 3_600 * 10**9
NOW_NS = VirtualClock().wall


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database in a file."""
    made = Database.open(f"sqlite:///{tmp_path}/watchdog.db")
    yield made
    made.close()


def filled(database: Database) -> list[Notice]:
    """The story's notices, made now."""
    records = story()
    notices = told(records, receiver_for("http://127.0.0.1:1/"), NOW_NS)
    scenery(lambda: IncidentWriter(database).record(records, notices))
    return notices


def retry(one: Notice, at_ns: int) -> Outcome:
    return Outcome(one.id, Fate.RETRY, 503, NOW_NS, "answered 503", at_ns)


def test_outcomes_are_stored_with_their_attempts_and_in_one_go(database: Database) -> None:
    notices, store, view = filled(database), StoredOutbox(database), Outbox(database)
    first, second, third, *_ = notices
    store.settle(
        [
            Outcome(first.id, Fate.SENT, 204, NOW_NS),
            retry(second, NOW_NS + 5),
            Outcome(third.id, Fate.DEAD, 413, NOW_NS, "answered 413"),
        ]
    )
    assert [view.one(one.id).status for one in (first, second, third)] == ["sent", "waiting", "dead"]
    assert [view.one(one.id).attempts for one in (first, second, third)] == [1, 1, 1]
    assert (view.one(second.id).last_error, view.one(second.id).next_ns) == ("answered 503", NOW_NS + 5)
    store.settle([Outcome(first.id, Fate.SENT, 200, NOW_NS + 9)])
    assert view.one(first.id).attempts == 1, "what is settled stays as it is"


@pytest.mark.parametrize("wait_s", [5, 300, 900])
def test_a_clock_that_goes_back_an_hour_strands_no_retry(database: Database, wait_s: int) -> None:
    one, store = filled(database)[0], StoredOutbox(database)
    wait_ns = wait_s * 10**9
    assert one.id in {due.notice.id for due in store.due(NOW_NS, "ops", 500)}
    store.settle([retry(one, NOW_NS + wait_ns)])
    back = NOW_NS - HOUR_NS
    assert one.id not in {due.notice.id for due in store.due(back, "ops", 500)}, "not earlier than planned"
    assert one.id in {due.notice.id for due in store.due(back + wait_ns, "ops", 500)}, "and not later"


def test_a_retry_stored_by_a_clock_that_ran_ahead_is_due_after_a_restart(database: Database) -> None:
    one = filled(database)[0]
    StoredOutbox(database).settle([retry(one, NOW_NS + HORIZON_NS + HOUR_NS)])
    assert one.id in {due.notice.id for due in StoredOutbox(database).due(NOW_NS, "ops", 500)}


def test_a_retry_within_the_horizon_keeps_its_time_over_a_restart(database: Database) -> None:
    one = filled(database)[0]
    StoredOutbox(database).settle([retry(one, NOW_NS + HORIZON_NS - 1)])
    assert one.id not in {due.notice.id for due in StoredOutbox(database).due(NOW_NS, "ops", 500)}


def test_an_hour_of_outage_loses_nothing_and_keeps_order(database: Database) -> None:
    async def run() -> None:
        notices, clock = filled(database), VirtualClock()
        async with (
            target(503) as there,
            running(Sender(StoredOutbox(database), [receiver_for(there.url)], clock), clock),
        ):
            await clock.advance(1_800, step=15)
            clock.step_wall(-3_600)
            await clock.advance(1_800, step=15)
            clock.step_wall(3_600)
            attempts = len(there.seen)
            there.status = 200
            await clock.advance(400)
        assert attempts < 40
        assert sorted(there.accepted) == sorted(one.id for one in notices)
        for incident in {one.incident_id for one in notices}:
            ids = [one.id for one in notices if one.incident_id == incident]
            assert [id_ for id_ in there.accepted if id_ in ids] == ids

    asyncio.run(run())


def test_a_full_outbox_is_sent_whole_and_once(database: Database) -> None:
    async def run() -> None:
        notices = filled(database)
        async with target() as there:
            async with running(Sender(StoredOutbox(database), [receiver_for(there.url)])):
                await until(lambda: len(there.accepted) == len(notices))
            assert len(there.seen) == len(notices)

    asyncio.run(run(), debug=False)  # as the service runs
    left = database.read(
        lambda connection: connection.execute(select(table.c.id).where(table.c.status != "sent")).all()
    )
    assert left == []


def test_the_most_severe_come_first_with_what_must_go_before_them(database: Database) -> None:
    notices, store = filled(database), StoredOutbox(database)
    escalated = {one.incident_id for one in notices if one.severity == "high"}
    calm = notices[0].incident_id
    store.settle(
        [
            Outcome(one.id, Fate.SENT, 204, NOW_NS)
            for one in notices
            if one.incident_id == calm and one.severity == "high"
        ]
    )
    severe = sum(one.incident_id in escalated - {calm} for one in notices)
    found = [due.notice for due in store.due(NOW_NS, "ops", 1_000)]
    assert {one.incident_id for one in found[:severe]} == escalated - {calm}
    assert {one.severity for one in found[:severe]} == {"warning", "high"}
    assert {one.incident_id for one in found[severe:]} == {calm}
    for incident in escalated - {calm}:
        ids = [one.id for one in notices if one.incident_id == incident]
        assert [one.id for one in found if one.incident_id == incident] == ids
