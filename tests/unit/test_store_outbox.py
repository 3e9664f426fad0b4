"""The outbox: who is due, in which order, and what becomes of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.incident import Reason
from alerts.notice import Notice
from alerts.routing import Receiver
from alerts.store.cursor import CursorError
from alerts.store.database import Database
from alerts.store.outbox import Outbox, UnknownDeliveryError
from alerts.store.writer import IncidentWriter
from tests.support.history import RECEIVER, SECOND, START, incident, record, told

OTHER = Receiver("other", "https://example.org/other", about="incidents")


names = (f"outbox_{number}" for number in itertools.count())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/history.db"
    else:
        url = request.getfixturevalue("postgres").url(next(names))
    opened = Database.open(url)
    yield opened
    opened.close()


def filled(database: Database, incidents: int = 2, steps: int = 3, *receivers: Receiver) -> list[Notice]:
    """Notices of some incidents, step by step, in the order of the outbox."""
    records = [
        record(incident(n), step, Reason.OPENED if step == 1 else Reason.ESCALATED)
        for step in range(1, steps + 1)
        for n in range(incidents)
    ]
    notices = told(records, *(receivers or (RECEIVER,)))
    IncidentWriter(database).record(records, notices)
    return notices


def due(outbox: Outbox, now_ns: int = START, receiver: str = "team", limit: int = 100) -> list[str]:
    return [delivery.notice.id for delivery in outbox.due(now_ns, receiver, limit)]


def test_what_is_due_comes_in_the_order_of_its_making(database: Database) -> None:
    notices, outbox = filled(database), Outbox(database)
    assert due(outbox) == [notice.id for notice in notices]
    assert due(outbox, limit=2) == [notice.id for notice in notices[:2]]
    assert due(outbox, now_ns=START - 1) == []
    assert due(outbox, receiver="nobody") == []


def test_later_notices_of_an_incident_wait_for_the_retry_of_an_earlier_one_and_others_go_on(
    database: Database,
) -> None:
    notices, outbox = filled(database), Outbox(database)
    of_first = [notice.id for notice in notices if notice.incident_id == notices[0].incident_id]
    others = [notice.id for notice in notices if notice.id not in of_first]
    outbox.failed(of_first[0], "no answer", START + 60 * SECOND)
    assert due(outbox) == others
    assert due(outbox, START + 60 * SECOND) == [notice.id for notice in notices]


def test_a_notice_made_during_the_wait_stays_behind_the_one_that_waits(database: Database) -> None:
    notices, outbox = filled(database, incidents=1, steps=1), Outbox(database)
    outbox.failed(notices[0].id, "no answer", START + 60 * SECOND)
    later = record(incident(0), 2, Reason.ESCALATED)
    IncidentWriter(database).record([later], told([later], now_ns=START + SECOND))
    assert due(outbox, START + 59 * SECOND) == []
    assert due(outbox, START + 60 * SECOND) == [notices[0].id, told([later])[0].id]
    outbox.sent(notices[0].id, 200, START + 60 * SECOND)
    assert due(outbox, START + 60 * SECOND) == [told([later])[0].id]


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.sampled_from(["sent", "failed", "dead", "new"]), st.integers(0, 5), st.integers(-90, 90)),
        max_size=25,
    )
)
def test_an_incident_is_never_told_out_of_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]
) -> None:
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('outbox')}/history.db")
    outbox, now_ns = Outbox(database), START + 1_000 * SECOND
    order = [notice.id for notice in filled(database, incidents=2, steps=2)]
    for number, (event, place, seconds) in enumerate(steps):
        now_ns += seconds * SECOND  # the clock may step back
        ready = due(outbox, now_ns)
        for incident_id in {outbox.one(id_).notice.incident_id for id_ in ready}:
            waiting = [id_ for id_ in order if outbox.one(id_).status == "waiting"]
            mine = [id_ for id_ in waiting if outbox.one(id_).notice.incident_id == incident_id]
            given_out = [id_ for id_ in ready if id_ in mine]
            assert given_out == mine[: len(given_out)]
        if event == "new":
            fresh = record(incident(place % 2), 10 + number, Reason.ESCALATED)
            notices = told([fresh], now_ns=now_ns)
            IncidentWriter(database).record([fresh], notices)
            order.append(notices[0].id)
        elif ready and event == "failed":
            outbox.failed(ready[0], "no answer", now_ns + 30 * SECOND)
        elif ready and event == "sent":
            outbox.sent(ready[0], 204, now_ns)
        elif ready:
            outbox.dead(ready[0], "refused", now_ns, 415)
    database.close()


def test_marks_say_what_happened_and_how_often_it_was_tried(database: Database) -> None:
    notices, outbox = filled(database), Outbox(database)
    outbox.failed(notices[0].id, "connection refused", START + SECOND)
    outbox.failed(notices[0].id, "status 503", START + 2 * SECOND, 503)
    waiting = outbox.one(notices[0].id)
    assert (waiting.status, waiting.attempts, waiting.last_status, waiting.last_error) == (
        "waiting",
        2,
        503,
        "status 503",
    )
    outbox.sent(notices[0].id, 204, START + 3 * SECOND)
    sent = outbox.one(notices[0].id)
    assert (sent.status, sent.attempts, sent.last_status, sent.last_error) == ("sent", 3, 204, None)
    assert sent.settled_ns == START + 3 * SECOND
    outbox.dead(notices[1].id, "x" * 10_000, START)
    assert len(outbox.one(notices[1].id).last_error or "") == 500


def test_what_is_sent_or_given_up_is_marked_no_more(database: Database) -> None:
    notices, outbox = filled(database), Outbox(database)
    outbox.sent(notices[0].id, 200, START)
    outbox.failed(notices[0].id, "too late", START + SECOND)
    outbox.dead(notices[0].id, "too late", START + SECOND)
    assert (outbox.one(notices[0].id).status, outbox.one(notices[0].id).attempts) == ("sent", 1)


def test_a_dead_letter_is_sent_again_under_its_id(database: Database) -> None:
    notices, outbox = filled(database, 1, 2), Outbox(database)
    outbox.dead(notices[0].id, "refused", START, 415)
    assert due(outbox) == [notices[1].id]
    again = outbox.resend(notices[0].id, START)
    assert (again.notice.id, again.status, again.attempts) == (notices[0].id, "waiting", 0)
    assert due(outbox) == [notices[0].id, notices[1].id]
    with pytest.raises(UnknownDeliveryError, match="no delivery 'msg_none'"):
        outbox.resend("msg_none", START)


def test_what_waits_for_a_receiver_that_is_gone_is_given_up_with_the_reason_and_can_be_sent_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerts.store.outbox.PORTION", 4)
    notices, outbox = filled(database, 2, 3, RECEIVER, OTHER), Outbox(database)
    mine = [notice.id for notice in notices if notice.receiver == "team"]
    outbox.sent(mine[0], 200, START)
    outbox.failed(mine[1], "no answer", START + 5 * SECOND)
    assert outbox.give_up(["team", "nobody"], "receiver is gone", START + SECOND) == len(mine) - 1
    assert outbox.counts() == {("team", "dead"): len(mine) - 1, ("other", "waiting"): len(mine)}
    given_up = outbox.one(mine[1])
    assert (given_up.last_error, given_up.attempts, given_up.settled_ns) == ("receiver is gone", 1, START + SECOND)
    assert outbox.one(mine[0]).status == "sent", "what was delivered stays delivered"
    assert outbox.give_up(["team"], "receiver is gone", START) == 0
    assert outbox.resend(mine[1], START + SECOND).status == "waiting"
    assert due(outbox, now_ns=START + SECOND) == [mine[1]]


def test_counts_tell_what_waits_and_what_was_given_up(database: Database) -> None:
    notices, outbox = filled(database, 2, 3, RECEIVER, OTHER), Outbox(database)
    outbox.dead(notices[0].id, "refused", START)
    outbox.sent(notices[1].id, 200, START)
    assert outbox.counts() == {("team", "waiting"): 5, ("team", "dead"): 1, ("other", "waiting"): 5}


def test_pages_go_from_the_newest_on_and_miss_none(database: Database) -> None:
    notices, outbox = filled(database, 5, 3, RECEIVER, OTHER), Outbox(database)
    for number, notice in enumerate(notices):
        if number % 3 == 0:
            outbox.sent(notice.id, 200, START)
        elif number % 3 == 1:
            outbox.dead(notice.id, "refused", START)
    for wanted in ({}, {"receiver": "team"}, {"status": "dead"}, {"receiver": "other", "status": "sent"}):
        cursor, seen = None, []
        while True:
            page = outbox.page(**wanted, limit=4, cursor=cursor)  # type: ignore[arg-type] # a table of arguments
            seen += [row.notice.id for row in page.rows]
            cursor = page.cursor
            if cursor is None:
                break
        fits = [one.id for one in reversed(notices) if wanted.get("receiver") in (None, one.receiver)]
        assert seen == [id_ for id_ in fits if wanted.get("status") in (None, outbox.one(id_).status)]


def test_a_cursor_of_somebody_else_is_refused(database: Database) -> None:
    for cursor in ("", "x", "d", "dz", "i1.0123456789abcdef", "d" + "f" * 17, "d1\n", "d-1", "d1" * 1000):
        with pytest.raises(CursorError, match="not one that a page of deliveries has given"):
            Outbox(database).page(cursor=cursor)
