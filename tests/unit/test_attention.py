"""Reminders and escalations over a real history: stored once, whatever restarts, kills and set clocks."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from alerts.case.notice import CaseReason
from alerts.decide import Decision, HeldReason, decide_case
from alerts.delivery.message import message_of
from alerts.escalation import AttentionPlan, Escalation
from alerts.routing import DEFAULT_CASE_EVENTS, Receiver
from alerts.store.case_acts import CaseActs
from alerts.store.case_decisions import decisions_of
from alerts.store.case_fates import fates_of
from alerts.store.cases import CaseQueries
from alerts.store.database import Database, stored_json
from alerts.store.outbox import Outbox
from alerts.store.schema import case_clocks, cases
from alerts.store.timed_notices import TimedNotices
from tests.support.case_story import NOW_NS, PEER_A, PEER_B, CaseStory, merged_cases
from tests.support.postgres import Server
from watchdog.core.durations import HOUR_NS, MINUTE_NS, SECOND_NS
from watchdog.service.attention import CATCH_UP_S, Attention
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.writer_thread import Routes, WriterCounts

NUMBERS = itertools.count()
TEAM = Receiver("team", "https://example.org/hook", events=(*DEFAULT_CASE_EVENTS, "case.reminder"))
LEAD = Receiver("lead", "https://example.org/lead", severity="critical")
PLAN = AttentionPlan((Escalation("warning", 10 * MINUTE_NS, ("lead",), "watchdog.yaml:7"),), {"warning": HOUR_NS})


class Machine:
    """A service's attention to one database, with clocks that a test moves. A new one is a restart."""

    def __init__(self, database: Database, now_ns: int = NOW_NS, *, caught_up: bool = True) -> None:
        self.now_ns, self.passed_s, self.counts = now_ns, 1_000.0, WriterCounts()
        self.routes = Routes((TEAM, LEAD), lambda id_: id_, lambda id_: f"http://page/cases/{id_}")
        self.plan = PLAN
        self._executor = BoundedExecutor("test")
        self._attention = Attention(
            TimedNotices(database),
            self._executor,
            self.counts,
            plan=lambda: self.plan,
            routes=lambda: self.routes,
            wall_ns=lambda: self.now_ns,
            caught_up=lambda: caught_up,
            elapsed=lambda: self.passed_s,
        )
        self.look()

    def look(self) -> int:
        """Look once."""
        return asyncio.run(self._attention.look())

    def after(self, span_ns: int) -> int:
        """Let time pass, then look."""
        self.now_ns += span_ns
        self.passed_s += span_ns / SECOND_NS
        return self.look()


@pytest.fixture(params=["file", "server"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty history, in SQLite and in PostgreSQL."""
    if request.param == "file":
        found = Database.open(f"sqlite:///{tmp_path / 'h.db'}")
    else:
        server: Server = request.getfixturevalue("postgres")
        found = Database.open(server.url(f"attention_{next(NUMBERS)}"))
    yield found
    found.close()


@pytest.fixture
def story(database: Database) -> CaseStory:
    """A case that was just reported, and fires."""
    found = CaseStory(database, TEAM, LEAD)
    found.rig.say("ping-flood", [PEER_A], 0)
    assert len(found.until(4)) == 1
    return found


def made(database: Database) -> Counter[tuple[str, str]]:
    """What was made for whom."""
    rows = Outbox(database).page(limit=1_000).rows
    return Counter((one.notice.type, one.notice.receiver) for one in rows)


def test_it_escalates_once_and_reminds_each_hour(database: Database, story: CaseStory) -> None:
    machine = Machine(database)
    assert machine.after(10 * MINUTE_NS - 1) == 0
    assert machine.after(1) == 1
    assert [machine.after(HOUR_NS) for _ in range(3)] == [1, 1, 1]
    assert made(database) == {("case.opened", "team"): 1, ("case.escalated", "lead"): 1, ("case.reminder", "team"): 3}
    assert machine.counts.case_notices == {("lead", "case.escalated"): 1, ("team", "case.reminder"): 3}
    escalated = next(
        one for one in Outbox(database).due(machine.now_ns, "lead", 10) if one.notice.type == "case.escalated"
    )
    body = escalated.notice.body
    (opened,) = story.changes
    assert (body["root"], body["url"]) == (opened.root, f"http://page/cases/{opened.case_id}")
    change = body["change"]
    assert isinstance(change, dict)
    assert (change["type"], change["reason"], change["waited"]) == ("case.escalated", "escalated", 600.0)
    assert change["parties"] == opened.facts["parties"]
    assert "advice" in body
    assert "claims" not in body


def test_a_night_switched_off(database: Database, story: CaseStory) -> None:
    machine = Machine(database)
    machine.after(MINUTE_NS)
    waking = Machine(database, machine.now_ns + 9 * HOUR_NS)
    assert made(database)["case.escalated", "lead"] == 1
    assert made(database)["case.reminder", "team"] == 1
    assert waking.after(MINUTE_NS) == 0
    assert Machine(database, waking.now_ns + 1).after(MINUTE_NS) == 0
    assert story.changes


def test_a_start_waits_until_what_happened_meanwhile_is_read(database: Database, story: CaseStory) -> None:
    waking = Machine(database, NOW_NS + 9 * HOUR_NS, caught_up=False)
    assert waking.after(int(CATCH_UP_S - 1) * SECOND_NS) == 0
    assert waking.after(2 * SECOND_NS) == 2
    assert story.changes


def test_an_acknowledged_case_says_why_it_was_held_back(database: Database, story: CaseStory) -> None:
    machine = Machine(database)
    case = story.changes[0].case_id
    CaseActs(database).act(case, "ack", "anna", "", NOW_NS)
    assert machine.after(2 * HOUR_NS) == 0
    assert machine.after(2 * HOUR_NS) == 0
    held = [one for one in decisions_of(database, case) if one["reason"] == "acknowledged"]
    assert {(one["type"], one["receiver"]) for one in held} == {("case.escalated", "lead"), ("case.reminder", "team")}
    assert {one["detail"] for one in held} == {"acknowledged by anna"}
    assert made(database) == {("case.opened", "team"): 1}
    fates = fates_of(database, case, "lead")
    assert fates is not None
    assert {one["type"] for one in fates.decisions} == {"case.opened", "case.escalated", "case.reminder"}
    CaseActs(database).act(case, "resolve", "anna", "", NOW_NS)
    assert machine.after(HOUR_NS) == 0


def test_why_not_finds_the_notice_of_an_escalation(database: Database, story: CaseStory) -> None:
    Machine(database).after(HOUR_NS)
    fates = fates_of(database, story.changes[0].case_id, "lead")
    assert fates is not None
    sent = next(one for one in fates.decisions if one["type"] == "case.escalated")
    assert (sent["status"], sent["place"]) == ("waiting", "watchdog.yaml:7")
    assert sent["delivery"] in {one.notice.id for one in Outbox(database).page().rows}


def test_maintenance_holds_it_back_until_it_is_over(database: Database, story: CaseStory) -> None:
    machine = Machine(database)
    held = Decision("", HeldReason.MAINTENANCE, "patch-day until 04:00", "watchdog.yaml:3")
    machine.routes = replace(machine.routes, held=lambda _change, _now_ns: held)
    assert machine.after(30 * MINUTE_NS) == 0
    assert machine.after(MINUTE_NS) == 0
    found = [one for one in decisions_of(database, story.changes[0].case_id) if one["reason"] == "maintenance"]
    assert [(one["type"], one["receiver"], one["place"]) for one in found] == [
        ("case.escalated", "lead", "watchdog.yaml:3")
    ]
    machine.routes = replace(machine.routes, held=lambda _change, _now_ns: None)
    assert machine.after(MINUTE_NS) == 1
    assert made(database)["case.escalated", "lead"] == 1


def test_a_case_whose_claims_are_all_silenced_says_so(database: Database, story: CaseStory) -> None:
    machine = Machine(database)
    case = story.changes[0].case_id
    whole = CaseQueries(database).one(case)
    assert whole is not None
    for claim in whole["claims"]:
        claim["silenced"] = "silenced by anna until 2027-01-01: our crawler"
    fresh = update(cases).where(cases.c.id == case)
    database.write(lambda connection: connection.execute(fresh.values(document=stored_json(whole))))
    assert machine.after(HOUR_NS) == 0
    held = [one for one in decisions_of(database, case) if one["reason"] == "silenced"]
    assert {(one["type"], one["receiver"]) for one in held} == {("case.escalated", "lead"), ("case.reminder", "team")}
    assert held[0]["detail"] == "silenced by anna until 2027-01-01: our crawler"
    whole["claims"][0].pop("silenced")
    database.write(lambda connection: connection.execute(fresh.values(document=stored_json(whole))))
    assert machine.after(MINUTE_NS) == 2


def test_the_message_says_how_long_it_waited(database: Database, story: CaseStory) -> None:
    machine = Machine(database)
    machine.after(12 * MINUTE_NS)
    due = Outbox(database).due(machine.now_ns, "lead", 10)
    message = message_of(next(one.notice.body for one in due if one.notice.type == "case.escalated"))
    assert "not acknowledged: " in message.first
    assert any("No one has acknowledged this case in 12m, so it comes to you." in one for one in message.parts)
    assert story.changes


@pytest.mark.parametrize("step_ns", [48 * HOUR_NS, -48 * HOUR_NS])
def test_a_step_of_the_clock_makes_no_storm(database: Database, story: CaseStory, step_ns: int) -> None:
    machine = Machine(database)
    assert machine.after(5 * MINUTE_NS) == 0
    machine.now_ns += step_ns
    assert machine.look() == 0
    assert machine.after(4 * MINUTE_NS) == 0
    assert machine.after(MINUTE_NS) == 1
    assert [machine.after(49 * MINUTE_NS), machine.after(MINUTE_NS)] == [0, 1]
    assert story.changes


def test_a_clock_that_was_set_back_while_the_service_was_down(database: Database, story: CaseStory) -> None:
    waking = Machine(database, NOW_NS - 48 * HOUR_NS)
    assert waking.after(9 * MINUTE_NS) == 0
    assert waking.after(MINUTE_NS) == 1
    assert story.changes


def test_nothing_is_done_twice_when_a_restart_repeats_its_changes(database: Database, story: CaseStory) -> None:
    machine = Machine(database)
    machine.after(HOUR_NS)
    before = made(database)
    story.store(story.changes, machine.now_ns)
    waking = Machine(database, machine.now_ns)
    assert waking.after(MINUTE_NS) == 0
    assert made(database) == before


def test_cases_that_became_one_have_one_clock(database: Database) -> None:
    story = merged_cases(database)
    count = select(func.count()).select_from(case_clocks)
    assert database.read(lambda one: one.execute(count).scalar()) == 1
    machine = Machine(database)
    machine.after(11 * MINUTE_NS)
    assert made(database)["case.escalated", "lead"] == 1
    (escalated,) = [one for one in Outbox(database).page().rows if one.notice.type == "case.escalated"]
    assert escalated.notice.case_id == story.changes[0].root


def test_a_case_that_went_quiet_reminds_no_one(database: Database) -> None:
    story = CaseStory(database, TEAM, LEAD)
    story.rig.burst("ping-flood", [PEER_B], 0, 5)
    story.until(10)
    story.keep()
    machine = Machine(database)
    machine.after(2 * HOUR_NS)
    assert made(database)["case.reminder", "team"] == 0
    assert CaseQueries(database).latest()[0]["state"] == "open"


def test_those_who_were_called_hear_the_end(database: Database) -> None:
    story = CaseStory(database, TEAM, LEAD)
    story.rig.burst("ping-flood", [PEER_A], 0, 5)
    (opened,) = story.until(4)
    assert TimedNotices(database).escalated({opened.root}) == {}
    Machine(database).after(10 * MINUTE_NS)
    escalated = TimedNotices(database).escalated({opened.root, "f" * 16})
    assert escalated == {opened.root: frozenset({"lead"})}
    (resolved,) = [one for one in story.until(60) if one.reasons == (CaseReason.RESOLVED,)]
    sent = {one.receiver: one.held for one in decide_case(resolved, (TEAM, LEAD), None, escalated[opened.root])}
    assert sent == {"team": None, "lead": None}
    assert {one.receiver: one.held for one in decide_case(resolved, (TEAM, LEAD))}["lead"] is HeldReason.FLOOR


def test_without_a_plan_nothing_is_made(database: Database, story: CaseStory) -> None:
    machine = Machine(database)
    machine.plan = AttentionPlan()
    assert machine.after(100 * HOUR_NS) == 0
    machine.plan = PLAN  # a reload
    assert machine.look() == 2
    assert story.changes
