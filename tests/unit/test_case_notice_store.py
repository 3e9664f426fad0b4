"""Notices and decisions of cases in the history: through merges, repeats, retention and migration."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.decide import Decision, HeldReason
from alerts.store.case_decisions import KEPT, MadeDecision, decisions_of
from alerts.store.cases import CaseQueries
from alerts.store.database import Database
from alerts.store.due import StoredOutbox
from alerts.store.outbox import Outbox
from alerts.store.retention import remove_resolved
from alerts.store.schema import incidents
from alerts.store.writer import IncidentWriter
from tests.support import history
from tests.support.case_rig import START_NS
from tests.support.case_story import NOW_NS, PEER_A, TEAM, CaseStory, merged_cases
from tests.support.older_database import make_older_database
from tests.support.postgres import Server
from watchdog.core.durations import HOUR_NS

NUMBERS = itertools.count()


@pytest.fixture(params=["file", "server"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty history, in SQLite and in PostgreSQL."""
    if request.param == "file":
        found = Database.open(f"sqlite:///{tmp_path / 'h.db'}")
    else:
        server: Server = request.getfixturevalue("postgres")
        found = Database.open(server.url(f"notices_{next(NUMBERS)}"))
    yield found
    found.close()


def test_a_merge_loses_no_notice_that_waits_and_no_decision(database: Database) -> None:
    story = merged_cases(database)
    (case,) = CaseQueries(database).latest()
    older, younger, merged = story.changes
    waiting = Outbox(database).due(NOW_NS, "team", 10)
    assert [(one.notice.case_id, one.notice.type) for one in waiting] == [
        (older.root, "case.opened"),
        (younger.root, "case.opened"),
        (older.root, "case.merged"),
    ]
    assert {one["case_id"] for one in decisions_of(database, case["id"])} == {case["id"]}
    assert [(one["root"], one["type"], one["decision"]) for one in decisions_of(database, case["id"])] == [
        (older.root, "case.opened", "sent"),
        (younger.root, "case.opened", "sent"),
        (merged.root, "case.merged", "sent"),
    ]
    for id_ in (case["id"], younger.case_id):
        assert len(Outbox(database).page(case=id_).rows) == 3
    assert len(Outbox(database).page(node="alice").rows) == 3
    assert not Outbox(database).page(node="bob").rows


def test_a_repeated_transaction_changes_nothing(database: Database) -> None:
    story = merged_cases(database)
    before = Outbox(database).page().rows
    decided = decisions_of(database, CaseQueries(database).latest()[0]["id"])
    story.store(story.changes, NOW_NS + 5)
    assert Outbox(database).page().rows == before
    assert decisions_of(database, CaseQueries(database).latest()[0]["id"]) == decided


def test_what_is_sent_later_than_it_was_held_back_is_sent(database: Database) -> None:
    """The configuration changed between a kill and the restart, which decides again."""
    story = CaseStory(database, replace(TEAM, severity="critical"))
    story.rig.say("ping-flood", [PEER_A], 0)
    (change,) = story.until(4)
    (held,) = decisions_of(database, change.case_id)
    assert (held["decision"], held["reason"]) == ("held", "floor")
    story.receivers = (TEAM,)
    story.store([change])
    (sent,) = decisions_of(database, change.case_id)
    assert (sent["decision"], sent["reason"]) == ("sent", "")
    story.receivers = (replace(TEAM, enabled=False),)
    story.store([change])
    assert decisions_of(database, change.case_id) == [sent]
    assert len(Outbox(database).page().rows) == 1


def test_notices_of_a_case_keep_their_order(database: Database) -> None:
    story = merged_cases(database)
    outbox = Outbox(database)
    first = outbox.due(NOW_NS, "team", 10)[0].notice
    outbox.failed(first.id, "answered 503", NOW_NS + 100, 503)
    assert [one.notice.case_id for one in outbox.due(NOW_NS, "team", 10)] == [story.changes[1].root]
    assert [one.notice.type for one in outbox.due(NOW_NS + 100, "team", 10)] == [
        "case.opened",
        "case.opened",
        "case.merged",
    ]


def test_a_case_with_a_waiting_notice_is_kept(database: Database) -> None:
    story = CaseStory(database)
    story.rig.burst("ping-flood", [PEER_A], 0, 5)
    story.until(200)
    remove_resolved(database, START_NS + 1_000 * HOUR_NS)
    assert len(CaseQueries(database).latest()) == 1
    for one in Outbox(database).page().rows:
        Outbox(database).sent(one.notice.id, 204, NOW_NS)
    remove_resolved(database, START_NS + 1_000 * HOUR_NS)
    assert CaseQueries(database).latest() == []
    assert Outbox(database).page().rows == ()


def test_the_decisions_of_a_case_are_bounded(database: Database) -> None:
    story = CaseStory(database)
    story.rig.say("ping-flood", [PEER_A], 0)
    (change,) = story.until(4)
    held = Decision("team", HeldReason.FLOOR, "x", "", "case.stage")
    many = [MadeDecision(replace(change, number=number), held, NOW_NS + number) for number in range(2, KEPT + 50)]
    IncidentWriter(database).record((), (), (), many)
    kept = [one for one in decisions_of(database, change.case_id) if one["decision"] == "held"]
    assert len(kept) <= KEPT
    assert max(one["number"] for one in kept) == KEPT + 49
    assert min(one["number"] for one in kept) > 2


def test_who_was_notified_once_long_ago_still_knows_the_case(database: Database) -> None:
    """An attacker who makes a case change for days must not end the alert at a receiver of openings alone."""
    story = CaseStory(database)
    story.rig.say("ping-flood", [PEER_A], 0)
    (change,) = story.until(4)
    (opened,) = decisions_of(database, change.case_id)
    assert (opened["decision"], opened["receiver"]) == ("sent", "team")
    outbox, sent = StoredOutbox(database), Decision("lead", None, "", "", "case.stage")
    held = Decision("team", HeldReason.EVENTS, "x", "", "case.stage")
    many = [
        MadeDecision(replace(change, number=n), one, NOW_NS + n) for n in range(2, KEPT + 50) for one in (held, sent)
    ]
    IncidentWriter(database).record((), (), (), many)
    kept = decisions_of(database, change.case_id)
    assert len(kept) <= KEPT + 1
    assert [one["number"] for one in kept if (one["receiver"], one["decision"]) == ("team", "sent")] == [1]
    assert outbox.firing(TEAM) == [change.case_id]


def test_the_outbox_of_the_version_before_is_kept(tmp_path: Path) -> None:
    """Rows, their places and what waits survive the new columns; new positions lie behind all old ones."""
    path = tmp_path / "h.db"
    make_older_database(path, "0009")
    one = history.record(history.incident())
    with closing(sqlite3.connect(path)) as raw, raw:
        _old_rows(raw.execute, one.incident.id)
    database = Database.open(f"sqlite:///{path}")
    rows = Outbox(database).page().rows
    assert [(row.position, row.notice.id, row.status, row.notice.subject) for row in rows] == [
        (3, "msg_3", "waiting", one.incident.id),
        (2, "msg_2", "sent", one.incident.id),
    ]
    assert [due.notice.id for due in Outbox(database).due(NOW_NS, "team", 5)] == ["msg_3"]
    notice = history.told([one])[0]
    IncidentWriter(database).record([one], [notice])
    assert Outbox(database).page().rows[0].position == 8  # the highest place ever given was 7
    database.close()


def _old_rows(execute: Callable[[str, Sequence[object]], object], incident: str) -> None:
    names = [column.name for column in incidents.c]
    marks = ", ".join("?" for _ in names)
    head: dict[str, object] = dict.fromkeys(names, 0) | {
        "id": incident,
        "state": "open",
        "severity": "warning",
        "shown": "{}",
    }
    texts = dict.fromkeys(("attack", "node", "rule", "title", "fingerprint", "summary"), "x")
    head |= texts | dict.fromkeys(("cleared_ns", "resolved_ns", "acknowledged_by", "watched", "maturity"))
    execute(f"INSERT INTO incidents ({', '.join(names)}) VALUES ({marks})", [head[name] for name in names])
    for number, status in ((2, "sent"), (3, "waiting"), (7, "gone")):
        execute(
            "INSERT INTO outbox (position, id, receiver, incident_id, type, severity, status, attempts, created_ns, "
            "next_ns, body) VALUES (?, ?, 'team', ?, 'incident.opened', 'warning', ?, 0, 5, 5, '{}')",
            (number, f"msg_{number}", incident, status),
        )
    execute("DELETE FROM outbox WHERE status = 'gone'", ())
