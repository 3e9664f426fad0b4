"""Operators' acts on cases in the history: seen at once, never undone by a service that lags, moved with merges."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.exc import DBAPIError

from alerts.case.document import stored_cases
from alerts.incident import IncidentState
from alerts.incident_table import IncidentError, UnknownIncidentError
from alerts.store import audit as audit_module
from alerts.store import case_acts as acts_module
from alerts.store.audit import Audit, AuditFullError
from alerts.store.case_acts import CaseActs
from alerts.store.cases import CaseFilter, CaseQueries
from alerts.store.database import Database
from alerts.store.retention import remove_resolved
from alerts.store.schema import audit, case_acts
from alerts.store.writer import IncidentWriter
from rules.load import load_text
from tests.support.case_rig import START_NS, CaseRig
from tests.support.older_database import make_older_database
from tests.support.rulesets import FULL_MEMPOOL
from watchdog.core.durations import MINUTE_NS
from watchdog.core.kinds import ALL_KINDS
from watchdog.service.case_act_fetch import take_case_acts
from watchdog.service.live_pipeline import LivePipeline

A, B = "91.165.48.111", "217.94.191.240"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        found = Database.open(f"sqlite:///{tmp_path / 'h.db'}")
    else:
        found = Database.open(request.getfixturevalue("postgres").url(f"acts_{uuid4().hex}"))
    yield found
    found.close()


class Service:
    """A rig whose rows go to a database, as those of a running service."""

    def __init__(self, database: Database) -> None:
        self.rig, self.database = CaseRig(), database
        self.acts, self.queries = CaseActs(database), CaseQueries(database)

    def store(self, minute: float) -> None:
        """Let time pass and store all cases."""
        self.rig.until(minute)
        IncidentWriter(self.database).record((), (), stored_cases(self.rig.feed.book))

    def fetch(self) -> None:
        """Give the book what the database has."""
        state = self.rig.feed.book.state
        for act in self.acts.after(state.acted):
            state.acted = act.id
            self.rig.feed.acts.take(act)
        self.rig.settle()

    def act(self, case: str, verb: Any, minute: float, *, who: str = "anna", text: str = "", party: str = "") -> Any:
        return self.acts.act(case, verb, who, text, START_NS + int(minute * MINUTE_NS), party=party)

    def case(self) -> dict[str, Any]:
        (found,) = self.queries.latest()
        return found


@pytest.fixture
def service(database: Database) -> Service:
    made = Service(database)
    made.rig.say("ping-flood", [A], 0)
    made.store(5)
    return made


def test_an_act_is_seen_at_once_and_stays_seen_while_the_service_has_yet_to_apply_it(service: Service) -> None:
    id_ = service.case()["id"]
    done = service.act(id_, "ack", 7, text="mine")
    assert (done.id, done.already, done.case) == (1, "", id_)
    service.act(id_, "note", 7.5, text="a crawler")
    for minute, fetch in ((6, False), (6.5, True), (8, True), (9, True)):
        seen = service.case()
        assert (seen["state"], seen["acknowledged_by"]) == ("acknowledged", "anna"), minute
        assert [(one["what"], one["who"], one["text"]) for one in seen["story"]] == [
            ("acknowledged", "anna", "mine"),
            ("note", "anna", "a crawler"),
        ]
        if fetch:
            service.fetch()
        service.store(minute)
    assert [one["reason"] for one in service.case()["notices"]] == ["opened", "acknowledged"]


def test_resolving_ends_the_row_and_a_new_claim_reopens_it(service: Service) -> None:
    id_ = service.case()["id"]
    service.act(id_, "resolve", 7)
    seen = service.case()
    assert (seen["state"], seen["resolved"]) == ("resolved", (START_NS + 7 * MINUTE_NS) / 1e9)
    service.store(6)
    assert service.case()["state"] == "resolved"
    service.fetch()
    service.rig.say("ping-flood", [A], 10, change="escalate", severity="high")
    service.store(20)
    assert (service.case()["state"], service.case()["resolved"]) == ("open", None)


def test_a_service_that_restarts_from_an_older_checkpoint_applies_it_again(service: Service) -> None:
    id_ = service.case()["id"]
    older = service.rig.feed.snapshot()
    service.act(id_, "ack", 7)
    service.fetch()
    service.store(9)
    expected = service.case()
    service.rig.restart()
    service.rig.feed.restore(older)
    service.store(6)
    assert service.case()["state"] == "acknowledged"
    service.fetch()
    service.store(9)
    assert service.case() == expected


def test_a_replay_into_the_same_database_keeps_what_operators_did(service: Service) -> None:
    service.act(service.case()["id"], "note", 7, text="our crawler")
    again = Service(service.database)
    again.rig.say("ping-flood", [A], 0)
    again.store(5)
    assert [one["text"] for one in again.case()["story"]] == ["our crawler"]


def test_what_changes_nothing_is_said_and_stored_for_its_text_only(service: Service) -> None:
    id_ = service.case()["id"]
    service.act(id_, "ack", 7)
    done = service.act(id_, "ack", 8)
    assert (done.id, done.already) == (None, "acknowledged by anna")
    done = service.act(id_, "ack", 8, text="still on it")
    assert (done.id, done.already) == (2, "acknowledged by anna")
    service.act(id_, "resolve", 9)
    assert service.act(id_, "resolve", 9).already == "resolved"
    with pytest.raises(IncidentError, match="is resolved: it cannot be acknowledged"):
        service.act(id_, "ack", 10, who="bert")


@pytest.mark.parametrize(
    ("verb", "more", "error"),
    [
        ("note", {}, "a note needs a text"),
        ("ack", {"who": " "}, "a name is needed"),
        ("ack", {"who": "x" * 101}, "name of 101 characters: at most 100"),
        ("note", {"text": "x" * 2_001}, "text of 2001 characters: at most 2000"),
        ("split", {}, "a split needs a party"),
        ("ack", {"party": A}, "'ack' takes no party"),
        ("split", {"party": "9.9.9.9"}, "has no party '9.9.0.0/16'; there are 91.165.0.0/16"),
        ("split", {"party": A}, "has no other party: there is nothing to split"),
    ],
)
def test_what_cannot_be_done_is_refused_whole(service: Service, verb: str, more: dict[str, str], error: str) -> None:
    with pytest.raises(IncidentError, match=error):
        service.act(service.case()["id"], verb, 7, **more)
    assert service.acts.last_id() == 0
    assert service.case()["story"] == []
    assert Audit(service.database).entries() == 0


def test_no_such_case(service: Service) -> None:
    with pytest.raises(UnknownIncidentError, match="no case '0000000000000000'"):
        service.act("0" * 16, "ack", 7)


def two_parties(database: Database) -> tuple[Service, str, str]:
    """Two cases that a third claim will make one."""
    service = Service(database)
    service.rig.say("ping-flood", [A], 0)
    service.rig.say("inv-flood", [B], 2)
    service.store(4)
    younger, older = (one["id"] for one in service.queries.latest())
    return service, older, younger


def test_acts_move_with_a_merge_and_an_alias_still_takes_some(database: Database) -> None:
    service, older, younger = two_parties(database)
    service.act(younger, "note", 5, text="early")
    service.fetch()
    service.rig.say("headers-spam", [A], 10, key={"conn": "1"})
    service.rig.say("headers-spam", [B], 10, key={"conn": "2"})
    service.store(20)
    assert service.act(younger, "note", 21, text="late").case == older
    case = service.case()
    assert [one["text"] for one in case["story"] if one["what"] == "note"] == ["early", "late"]
    with database.engine.connect() as connection:
        assert set(connection.execute(select(case_acts.c.case_id)).scalars()) == {older}
    assert service.queries.one(younger) == service.queries.one(older) == case


def test_an_act_that_comes_while_its_case_is_merged_is_not_lost(database: Database) -> None:
    service, older, younger = two_parties(database)
    service.rig.say("headers-spam", [A], 10, key={"conn": "1"})
    service.rig.say("headers-spam", [B], 10, key={"conn": "2"})
    service.rig.until(20)
    service.act(younger, "note", 12, text="meanwhile")  # the book has merged them, the database not yet
    service.store(20)
    assert [one["text"] for one in service.case()["story"]][-1] == "meanwhile"
    service.fetch()
    service.store(21)
    assert "meanwhile" in [one["text"] for one in service.case()["story"]]
    assert service.case()["id"] == older


def test_a_split_is_seen_at_once_as_a_line_and_then_as_a_case(database: Database) -> None:
    service = Service(database)
    service.rig.say("addr-pattern-2021", [A], 0)
    service.rig.say("addr-pattern-2021", [B], 1)
    service.store(5)
    id_ = service.case()["id"]
    service.act(id_, "split", 6, party=B, text="a partner")
    assert service.case()["split_off"] == ["217.94.0.0/16"]
    assert service.act(id_, "split", 6, party=B).already == "split"
    service.fetch()
    service.store(10)
    new, old = service.queries.latest()
    assert (old["id"], old["split_off"]) == (id_, ["217.94.0.0/16"])
    assert [one["name"] for one in new["parties"]] == [B]
    assert [one["what"] for one in new["story"]] == ["split"]


def test_acts_go_with_their_case_and_their_ids_are_not_given_again(service: Service) -> None:
    service.act(service.case()["id"], "resolve", 7)
    remove_resolved(service.database, START_NS + 8 * MINUTE_NS)
    assert service.queries.latest() == []
    assert service.acts.after(0) == []
    assert Audit(service.database).entries() == 1, "the audit stays"
    service.rig.say("inv-flood", [B], 60)
    service.rig.until(62)
    service.store(63)
    done = service.act(service.queries.latest()[0]["id"], "note", 64, text="next")
    assert done.id == 2


def test_the_audit_has_each_act_and_takes_no_change(service: Service) -> None:
    id_ = service.case()["id"]
    service.act(id_, "ack", 7, text="mine")
    service.act(id_, "note", 8, who="bert", text="x")
    page = Audit(service.database).page(1)
    assert page.rows[0] == {
        "id": 2,
        "time": (START_NS + 8 * MINUTE_NS) / 1e9,
        "who": "bert",
        "action": "note",
        "subject": f"case {id_}",
        "detail": {"node": "alice", "text": "x"},
    }
    (first,) = Audit(service.database).page(1, page.cursor).rows
    assert (first["who"], first["action"]) == ("anna", "ack")
    changes: list[Callable[[], Any]] = [
        lambda: update(audit).values(who="nobody"),
        lambda: delete(audit),
    ]
    for change in changes:
        with service.database.engine.connect() as connection, pytest.raises(DBAPIError, match="append-only"):
            connection.execute(change())


def test_a_full_audit_refuses_what_it_could_not_show(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = service.case()["id"]
    service.act(id_, "note", 7, text="the last one")
    monkeypatch.setattr(audit_module, "MOST_ENTRIES", 1)
    with pytest.raises(AuditFullError, match="the audit is full"):
        service.act(id_, "ack", 8)
    assert service.case()["state"] == "open"
    assert service.acts.last_id() == 1


def test_pages_walk_all_cases_once_with_filters(database: Database) -> None:
    service = Service(database)
    for number in range(5):
        service.rig.say("ping-flood", [f"{20 + number}.1.1.1"], 200 * number, key={"conn": str(number)})
        service.rig.say(
            "ping-flood", [f"{20 + number}.1.1.1"], 200 * number + 5, change="clear", key={"conn": str(number)}
        )
    service.store(830)
    seen, cursor = [], None
    while True:
        page = service.queries.page(CaseFilter(), 2, cursor)
        seen += [one["id"] for one in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == [one["id"] for one in service.queries.latest()]
    assert len(seen) == 5
    opened = service.queries.page(CaseFilter(states=(IncidentState.OPEN,))).rows
    assert {one["state"] for one in opened} == {"open"}
    assert len(opened) == 1
    assert "claims" not in opened[0]
    assert service.queries.page(CaseFilter(severities=("critical",))).rows == ()
    assert service.queries.page(CaseFilter(node="bob")).rows == ()
    assert len(service.queries.page(CaseFilter(since_ns=START_NS + 350 * MINUTE_NS)).rows) == 3


def test_a_start_takes_all_acts_and_forgets_those_of_another_database(service: Service) -> None:

    watch = LivePipeline(load_text(FULL_MEMPOOL), "alice", {"capture:a": ALL_KINDS})
    service.act(service.case()["id"], "note", 7, text="x")
    take_case_acts(watch.case_rows, service.acts)
    assert (watch.case_rows.acts.taken, watch.case_rows.acts.wait) == (1, True)
    with service.database.engine.begin() as connection:
        connection.execute(text("DELETE FROM case_acts"))
    take_case_acts(watch.case_rows, service.acts)
    assert (watch.case_rows.acts.taken, watch.case_rows.acts.wait) == (0, False)


def test_notes_that_come_while_cases_are_merged_are_all_kept(database: Database) -> None:
    service, older, younger = two_parties(database)
    service.rig.say("headers-spam", [A], 10, key={"conn": "1"})
    service.rig.say("headers-spam", [B], 10, key={"conn": "2"})
    wanted = {f"{case} {number}" for case in (older, younger) for number in range(15)}

    def note(case: str) -> None:
        for number in range(15):
            service.act(case, "note", 5 + number, text=f"{case} {number}")

    threads = [threading.Thread(target=note, args=(case,)) for case in (older, younger)]
    for thread in threads:
        thread.start()
    for minute in range(5, 25):
        service.store(minute)
        service.fetch()
    for thread in threads:
        thread.join(60)
    service.fetch()
    service.store(60)
    case = service.case()
    assert case["id"] == older
    assert {one["text"] for one in case["story"] if one["what"] == "note"} == wanted
    with database.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(case_acts)).scalar() == len(wanted)


def test_acts_on_one_case_are_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = service.case()["id"]
    monkeypatch.setattr(acts_module, "CASE_ACTS", 1)
    service.act(id_, "note", 7, text="the only one")
    with pytest.raises(IncidentError, match="acted on it 1 times"):
        service.act(id_, "note", 8, text="one more")


def test_a_case_of_the_version_before_is_kept_and_takes_acts(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    make_older_database(path, "0009")
    rig = CaseRig()
    rig.say("ping-flood", [A], 0)
    rig.until(5)
    (row,) = stored_cases(rig.feed.book)
    document = {name: value for name, value in row.document.items() if not name.startswith("story")}
    values = (row.id, "alice", row.opened_ns, row.updated_ns, "open", "warning", json.dumps(document))
    columns = "id, node, opened_ns, updated_ns, state, severity, document"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"INSERT INTO cases ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        connection.commit()
    database = Database.open(f"sqlite:///{path}")
    queries = CaseQueries(database)
    assert (queries.one(row.id) or {})["story"] == []
    CaseActs(database).act(row.id, "ack", "anna", "", START_NS + 7 * MINUTE_NS)
    (kept,) = queries.latest()
    assert (kept["state"], [one["what"] for one in kept["story"]]) == ("acknowledged", ["acknowledged"])
    database.close()
