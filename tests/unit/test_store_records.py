"""What the writer stores: together, once, and never an older picture over a newer one. On SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Connection, func, select, update
from sqlalchemy import text as sql

from alerts.decide import decide, notices
from alerts.incident import IncidentState, Reason
from alerts.incident_table import IncidentError, UnknownIncidentError
from alerts.notice import ChangeRecord, event_type, notice_id
from alerts.routing import Receiver
from alerts.store.actions import TEXT_LIMIT, WHO_LIMIT, Action, Actions, Done, Verb, _act
from alerts.store.database import Database
from alerts.store.incidents import IncidentFilter, IncidentQueries
from alerts.store.outbox import Outbox, UnknownDeliveryError
from alerts.store.retention import DELIVERY_BATCH, remove_resolved, remove_settled
from alerts.store.schema import incident_changes, incident_pictures, incidents, outbox
from alerts.store.writer import KEPT_STEPS, IncidentWriter
from tests.support.history import RECEIVER, SECOND, START, incident, record, told
from tests.support.postgres import Server
from watchdog.core.errors import StoreError

names = (f"records_{number}" for number in itertools.count())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/history.db"
    else:
        url = request.getfixturevalue("postgres").url(next(names))
    opened = Database.open(url)
    yield opened
    opened.close()


def acted(queries: IncidentQueries, id_: str, verb: Verb, who: str, text: str, at_ns: int) -> int:
    """The id of an action that is stored."""
    done = queries.act(id_, verb, who, text, at_ns)
    assert done.id is not None
    assert done.already == ""
    return done.id


def count(database: Database) -> dict[str, int]:
    """Rows by table."""
    tables = (incidents, incident_pictures, incident_changes, outbox)
    return {
        table.name: database.read(lambda one, t=table: one.execute(select(func.count()).select_from(t)).scalar_one())  # type: ignore[misc] # a lambda's default
        for table in tables
    }


def test_a_change_is_stored_with_its_notices_and_read_back_whole(database: Database) -> None:
    one = incident()
    stored = IncidentWriter(database).record([record(one)], told([record(one)])).new
    assert stored == 1
    found = IncidentQueries(database).one(one.id)
    assert found is not None
    assert found["summary"] == one.summary
    assert found["evidence"] == [
        {"time": one.opened_ns / 1e9, "kind": "p2p:addr", "fields": {"peer_addr": "136.43.1.1", "entries": 1000}}
    ]
    (delivery,) = Outbox(database).due(START, "team", 10)
    assert delivery.notice == told([record(one)])[0]


def test_the_same_again_stores_nothing_and_sends_nothing_twice(database: Database) -> None:
    records = [record(incident(n)) for n in range(5)]
    writer = IncidentWriter(database)
    assert writer.record(records, told(records)).new == 5
    before = count(database)
    assert writer.record(records, told(records, now_ns=START + SECOND)).new == 0
    assert count(database) == before
    assert before == {"incidents": 5, "incident_pictures": 5, "incident_changes": 5, "outbox": 5}


def test_a_run_that_goes_on_from_before_never_puts_an_old_picture_over_a_newer_one(database: Database) -> None:
    writer, queries = IncidentWriter(database), IncidentQueries(database)
    old, new = incident(summary="old"), incident(summary="new", severity="high")
    writer.record([record(old), record(new, 2, Reason.ESCALATED)], [])
    writer.record([record(old)], [])
    found = queries.one(old.id)
    assert found is not None
    assert (found["summary"], found["severity"]) == ("new", "high")
    assert queries.page(IncidentFilter()).rows[0]["summary"] == "new"


def test_nothing_is_stored_when_a_part_of_it_cannot_be(database: Database) -> None:
    stranger = told([record(incident(99))])
    with pytest.raises(StoreError):
        IncidentWriter(database).record([record(incident())], stranger)
    assert set(count(database).values()) == {0}


def test_odd_texts_of_peers_are_stored_as_text(database: Database) -> None:
    odd = "<b>\0\x1b[31m%s\udcff\u202e'; DROP TABLE incidents; --"
    one = incident(summary=odd, node=odd, key={"peer": odd}, entities=(odd,))
    IncidentWriter(database).record([record(one)], told([record(one)]))
    found = IncidentQueries(database).one(one.id)
    assert found is not None
    assert found["summary"] == odd
    (row,) = IncidentQueries(database).page(IncidentFilter()).rows
    assert row["summary"] == "<b>\\x00\x1b[31m%s\\udcff\u202e'; DROP TABLE incidents; --"
    assert row["key"] == {"peer": odd}
    assert Outbox(database).due(START, "team", 1)[0].notice.body["summary"] == odd


def test_an_incident_that_changes_for_weeks_does_not_fill_the_disk(database: Database) -> None:
    one = incident()
    steps = [record(one, n, Reason.UPDATED) for n in range(2, KEPT_STEPS + 50)]
    late = record(incident(severity="high"), KEPT_STEPS + 50, Reason.ESCALATED)
    IncidentWriter(database).record([record(one), *steps, late], [])
    assert count(database)["incident_changes"] == KEPT_STEPS + 1
    found = IncidentQueries(database).one(one.id)
    assert found is not None
    assert found["severity"] == "high"


def test_an_acknowledgement_is_seen_at_once_and_the_service_adds_nothing_to_it(database: Database) -> None:
    writer, queries, one = IncidentWriter(database), IncidentQueries(database), incident()
    writer.record([record(one)], [])
    action = acted(queries, one.id, "ack", "ana", "on it", one.opened_ns + SECOND)
    (row,) = queries.page(IncidentFilter(states=(IncidentState.ACKNOWLEDGED,))).rows
    assert row["acknowledged_by"] == "ana"
    applied = record(
        replace(one, state=IncidentState.ACKNOWLEDGED, acknowledged_by="ana"), 1, Reason.ACKNOWLEDGED, action=action
    )
    assert writer.record([applied], told([applied])).new == 0
    assert [row.notice.type for row in Outbox(database).page().rows] == ["incident.acknowledged"]
    found = queries.one(one.id)
    assert found is not None
    assert [(done["who"], done["text"]) for done in cast("list[dict[str, object]]", found["actions"])] == [
        ("ana", "on it")
    ]


def test_what_was_under_way_while_an_operator_acted_does_not_take_it_back(database: Database) -> None:
    writer, queries, one = IncidentWriter(database), IncidentQueries(database), incident()
    writer.record([record(one, taken=0)], [])
    seen: list[tuple[object, object]] = []

    def look() -> None:
        found = queries.one(one.id)
        (row,) = queries.page(IncidentFilter()).rows
        assert found is not None
        assert [found[name] for name in ("state", "acknowledged_by")] == [row["state"], row["acknowledged_by"]]
        seen.append((row["state"], row["acknowledged_by"]))

    at_ns = one.opened_ns + 30 * SECOND
    action = acted(queries, one.id, "ack", "ana", "", at_ns)
    look()
    behind = replace(one, severity="high", updated_ns=one.opened_ns + 10 * SECOND)  # the book knows of no action yet
    written = writer.record([record(behind, 2, Reason.ESCALATED, taken=action - 1)], [])
    look()
    assert [row.incident.state for row in written.shown] == [IncidentState.ACKNOWLEDGED], "live pages show it too"
    known = replace(behind, state=IncidentState.ACKNOWLEDGED, acknowledged_by="ana")
    writer.record([record(known, 2, Reason.ACKNOWLEDGED, action=action, taken=action)], [])
    look()
    assert seen == [("acknowledged", "ana")] * 3
    again = replace(one, updated_ns=at_ns + 60 * SECOND)  # resolved and reopened since: it has no owner now
    writer.record([record(again, 5, Reason.REOPENED, acted=1, taken=action)], [])
    look()
    assert seen[-1] == ("open", None)


@pytest.mark.parametrize("verb", ["ack", "resolve"])
def test_an_action_on_top_of_a_change_looks_as_if_it_had_come_after_it(database: Database, verb: Verb) -> None:
    writer, queries, one = IncidentWriter(database), IncidentQueries(database), incident()
    other = incident(2, id="f" * 16)
    for two in (one, other):
        writer.record([record(two, taken=0)], [])
    later = [
        record(replace(two, severity="high", updated_ns=two.opened_ns + 5 * SECOND), 2, Reason.ESCALATED, taken=0)
        for two in (one, other)
    ]
    at_ns = one.opened_ns + 9 * SECOND
    queries.act(one.id, verb, "ana", "", at_ns)
    queries.act(one.id, "note", "ana", "a note changes nothing", at_ns)
    writer.record(later[:1], [])
    writer.record(later[1:], [])
    queries.act(other.id, verb, "ana", "", at_ns)
    own = ("id", "opened", "fingerprint", "actions", "notes", "evidence", "changes", "deliveries")
    shown = [{**found, **dict.fromkeys(own)} for id_ in (one.id, other.id) if (found := queries.one(id_)) is not None]
    assert shown[0] == shown[1]
    heads = [{**row, **dict.fromkeys(own)} for row in queries.page(IncidentFilter()).rows]
    assert heads[0] == heads[1]
    steps = [
        [(step["reason"], step["text"]) for step in cast("list[dict[str, object]]", found["changes"])]
        for id_ in (one.id, other.id)
        if (found := queries.one(id_)) is not None
    ]
    assert steps[0] == steps[1]


def test_an_action_and_a_change_of_the_same_moment_end_alike_whoever_comes_first(database: Database) -> None:
    writer, queries = IncidentWriter(database), IncidentQueries(database)
    with ThreadPoolExecutor(2) as pool:
        for number in range(30):
            one = incident(number)
            writer.record([record(one, taken=0)], [])
            taken = Actions(database).last_id()
            later = record(replace(one, severity="high"), 2, Reason.ESCALATED, taken=taken)
            together = threading.Barrier(2)

            def store(later: ChangeRecord = later, together: threading.Barrier = together) -> None:
                together.wait(60)
                writer.record([later], [])

            def act(id_: str = one.id, together: threading.Barrier = together) -> None:
                together.wait(60)
                queries.act(id_, "ack", "ana", "", START)

            for done in (pool.submit(store), pool.submit(act)):
                done.result(60)
            found = queries.one(one.id)
            assert found is not None
            assert (found["state"], found["severity"]) == ("acknowledged", "high")
            changes = cast("list[dict[str, object]]", found["changes"])
            assert [change["reason"] for change in changes].count("acknowledged") == 1


def test_on_a_server_too_no_action_is_seen_before_one_with_a_lower_id(postgres: Server) -> None:
    database = Database.open(postgres.url("in_order"))
    IncidentWriter(database).record([record(incident(1)), record(incident(2))], [])
    queries, acting, go_on = IncidentQueries(database), threading.Event(), threading.Event()

    def slow(connection: Connection) -> Done:
        done = _act(connection, Action(0, incident(1).id, "note", "ana", "first", START))
        acting.set()
        assert go_on.wait(60)
        return done

    waits = sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(database.write, slow)
        assert acting.wait(60)
        second = pool.submit(queries.act, incident(2).id, "note", "bob", "second", START)
        while not second.done() and not database.read(lambda one: one.execute(waits).scalar_one()):
            threading.Event().wait(0.01)
        early = Actions(database).after(0)
        go_on.set()
        ids = [first.result(60).id, second.result(60).id]
    assert early == []
    assert [action.id for action in Actions(database).after(0)] == ids
    assert ids == [1, 2]
    database.close()


def test_an_acknowledgement_that_came_too_late_for_the_book_stays_without_effect(database: Database) -> None:
    writer, queries, one = IncidentWriter(database), IncidentQueries(database), incident()
    writer.record([record(one, taken=0)], [])
    action = acted(queries, one.id, "ack", "ana", "", one.opened_ns + 60 * SECOND)
    over = replace(one, state=IncidentState.RESOLVED, resolved_ns=one.opened_ns + 50 * SECOND)
    writer.record([record(over, 2, Reason.RESOLVED, taken=action - 1)], [])
    (row,) = queries.page(IncidentFilter()).rows
    assert row["state"] == "resolved"
    writer.record([record(one, 3, Reason.REOPENED, taken=action)], [])  # taken, and refused
    (row,) = queries.page(IncidentFilter()).rows
    assert (row["state"], row["acknowledged_by"]) == ("open", None)


def test_an_operator_resolves_without_a_service_and_the_picture_says_so(database: Database) -> None:
    queries, one = IncidentQueries(database), incident()
    IncidentWriter(database).record([record(one)], [])
    queries.act(one.id, "resolve", "ana", "", one.opened_ns + 60 * SECOND)
    found = queries.one(one.id)
    assert found is not None
    assert (found["state"], found["resolved"]) == ("resolved", one.opened_ns / 1e9 + 60)
    changes = cast("list[dict[str, object]]", found["changes"])
    assert [change["reason"] for change in changes] == ["opened", "resolved by operator"]
    with pytest.raises(IncidentError, match="is resolved: it cannot be acknowledged"):
        queries.act(one.id, "ack", "ana", "", START)


def test_actions_that_cannot_be_are_refused_and_leave_no_trace(database: Database) -> None:
    queries = IncidentQueries(database)
    IncidentWriter(database).record([record(incident())], [])
    for id_, who, text, said in (
        ("0" * 16, "ana", "x", "no incident"),
        (incident().id, " ", "x", "a name is needed"),
        (incident().id, "ana", "  ", "a note needs a text"),
        (incident().id, "ana", "x" * (TEXT_LIMIT + 1), "text of 2001 characters: at most 2000"),
        (incident().id, "a" * (WHO_LIMIT + 1), "x", "name of 101 characters: at most 100"),
    ):
        with pytest.raises(IncidentError, match=said):
            queries.act(id_, "note", who, text, START)
    assert Actions(database).last_id() == 0


def test_what_is_already_so_is_said_and_stored_only_for_its_text(database: Database) -> None:
    queries, actions, id_ = IncidentQueries(database), Actions(database), incident().id
    IncidentWriter(database).record([record(incident())], [])
    at_ns = incident().opened_ns + SECOND
    acted(queries, id_, "ack", "ana", "", at_ns)
    before, changes = queries.one(id_), count(database)
    assert queries.act(id_, "ack", "ana", " ", at_ns + SECOND) == Done(None, "acknowledged by ana")
    assert queries.one(id_) == before
    assert queries.act(id_, "ack", "ana", "still on it", at_ns + SECOND) == Done(2, "acknowledged by ana")
    acted(queries, id_, "ack", "bob", "", at_ns)  # takes over
    acted(queries, id_, "resolve", "bob", "", at_ns)
    before = queries.one(id_)
    assert queries.act(id_, "resolve", "ana", "", at_ns + SECOND) == Done(None, "resolved")
    assert queries.one(id_) == before
    assert [(one.verb, one.who, one.text) for one in actions.of(id_)] == [
        ("ack", "ana", ""),
        ("ack", "ana", "still on it"),
        ("ack", "bob", ""),
        ("resolve", "bob", ""),
    ]
    assert count(database)["incident_changes"] == changes["incident_changes"] + 2


@pytest.mark.parametrize("odd", ["\0", "a\0b", "\udcff"])
def test_texts_that_no_database_holds_find_nothing(database: Database, odd: str) -> None:
    queries, outbox_ = IncidentQueries(database), Outbox(database)
    IncidentWriter(database).record([record(incident())], told([record(incident())]))
    assert queries.page(IncidentFilter(node=odd)).rows == ()
    assert outbox_.page(receiver=odd).rows == ()
    assert outbox_.page(incident=odd).rows == ()
    assert queries.one(odd) is None
    assert queries.completed(odd) == []
    with pytest.raises(UnknownDeliveryError):
        outbox_.one(odd)
    with pytest.raises(UnknownIncidentError):
        queries.act(odd, "note", "ana", "text", START)


def test_a_service_reads_the_actions_that_it_has_not_applied(database: Database) -> None:
    queries, actions = IncidentQueries(database), Actions(database)
    IncidentWriter(database).record([record(incident())], [])
    ids = [acted(queries, incident().id, "note", "ana", f"note {n}", START) for n in range(3)]
    assert [action.id for action in actions.after(ids[0])] == ids[1:]
    assert actions.last_id() == ids[-1]


def test_retention_takes_what_was_resolved_long_ago_and_nothing_else(database: Database) -> None:
    resolved = {"state": IncidentState.RESOLVED, "resolved_ns": START + 100 * SECOND}
    old = [incident(n, **resolved) for n in range(3)]
    young = incident(3, state=IncidentState.RESOLVED, resolved_ns=START + 900 * SECOND)
    running, undelivered = incident(4), incident(5, **resolved)
    records = [record(one) for one in (*old, young, running, undelivered)]
    IncidentWriter(database).record(records, told([records[0], records[-1]]))
    Outbox(database).sent(told(records[:1])[0].id, 200, START)
    gone = remove_resolved(database, START + 500 * SECOND, pause=lambda _: None)
    assert gone == 3
    left = {row["id"] for row in IncidentQueries(database).page(IncidentFilter()).rows}
    assert left == {young.id, running.id, undelivered.id}
    assert count(database) == {"incidents": 3, "incident_pictures": 3, "incident_changes": 3, "outbox": 1}


def test_retention_works_in_batches_and_stops_when_told(database: Database) -> None:
    records = [record(incident(n, state=IncidentState.RESOLVED, resolved_ns=START + n)) for n in range(450)]
    IncidentWriter(database).record(records, [])
    pauses: list[float] = []
    stopping = remove_resolved(database, START + SECOND, stopped=lambda: len(pauses) == 1, pause=pauses.append)
    assert stopping == 200
    assert remove_resolved(database, 1 << 70, pause=pauses.append) == 250


def test_retention_takes_settled_deliveries_and_no_waiting_one(database: Database) -> None:
    records = [record(incident(n)) for n in range(5)]
    notices = told(records)
    IncidentWriter(database).record(records, notices)
    old, dead, young, again, waiting = (one.id for one in notices)
    rows = Outbox(database)
    rows.sent(old, 200, START + SECOND)
    rows.dead(dead, "gone", START + 2 * SECOND)
    rows.sent(young, 200, START + 500 * SECOND)
    rows.sent(again, 200, START + SECOND)
    rows.resend(again, START + 600 * SECOND)
    assert remove_settled(database, START + 500 * SECOND, pause=lambda _: None) == 2
    assert {row.notice.id for row in rows.page().rows} == {young, again, waiting}
    assert len(IncidentQueries(database).page(IncidentFilter()).rows) == 5, "the incidents stay"
    assert remove_settled(database, 1 << 70, pause=lambda _: None) == 1


def test_retention_of_deliveries_works_in_batches_and_stops_when_told(database: Database) -> None:
    records = [record(incident(n)) for n in range(DELIVERY_BATCH + 100)]
    notices = told(records)
    IncidentWriter(database).record(records, notices)
    settled = update(outbox).values(status="sent", settled_ns=START)
    database.write(lambda connection: connection.execute(settled))
    pauses: list[float] = []
    stopped = remove_settled(database, START + 1, stopped=lambda: len(pauses) == 1, pause=pauses.append)
    assert stopped == DELIVERY_BATCH
    assert count(database)["outbox"] == 100
    assert remove_settled(database, START + 1, pause=pauses.append) == 100
    assert len(pauses) == 1


def test_notices_have_one_id_for_each_change_and_receiver() -> None:
    first, second = record(incident()), record(incident(), 2, Reason.UPDATED)
    acknowledged = record(incident(), 2, Reason.ACKNOWLEDGED, action=2)
    ids = {notice_id(one, name) for one in (first, second, acknowledged) for name in ("a", "b")}
    assert len(ids) == 6
    assert all(re.fullmatch("msg_[0-9a-f]{32}", id_) for id_ in ids)
    assert notice_id(first, "a") == notice_id(record(incident()), "a")


def test_receivers_hear_what_they_asked_for() -> None:
    floor = Receiver("floor", "", about="incidents", severity="high")
    off = Receiver("off", "", about="incidents", enabled=False)
    one = record(incident())
    assert [notice.receiver for notice in notices(one, decide(one, (floor, off, RECEIVER)), lambda _: None, 0)] == [
        "team"
    ]
    higher = record(incident(severity="high"), 2, Reason.ESCALATED)
    (told_floor, told_team) = notices(higher, decide(higher, (floor, off, RECEIVER)), lambda _: "http://page", 7)
    assert (told_floor.type, told_floor.severity, told_floor.created_ns) == ("incident.escalated", "high", 7)
    assert told_floor.body is told_team.body
    assert told_floor.body["url"] == "http://page"
    json.dumps(told_floor.body, allow_nan=False)


def test_every_reason_has_a_type_and_operators_changes_need_their_action() -> None:
    assert None not in {event_type(reason) for reason in Reason}
    change = record(incident(), 1, Reason.ACKNOWLEDGED).change
    with pytest.raises(ValueError, match="do not fit"):
        ChangeRecord(incident(), change, "")
    with pytest.raises(ValueError, match="do not fit"):
        ChangeRecord(incident(), record(incident()).change, "", action=3)
