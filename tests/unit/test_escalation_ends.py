"""Those whom an escalation called hear when the case is taken on and when it is over, whatever happens in between."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from alerts.case.acts import CaseAct
from alerts.case.change import CaseChange
from alerts.case.document import StoredCase, stored_cases
from alerts.case.notice import CaseReason
from alerts.escalation import AttentionPlan, Escalation
from alerts.notice import ChangeRecord, Notice
from alerts.store.case_acts import CaseActs
from alerts.store.case_decisions import MadeDecision, decisions_of
from alerts.store.database import Database
from alerts.store.outbox import Outbox
from alerts.store.timed_notices import TimedNotices
from alerts.store.writer import IncidentWriter, Written
from tests.support.case_rig import START_NS
from tests.support.case_story import NOW_NS, PEER_A, PEER_B, CaseStory
from tests.support.event_loops import scenery
from tests.support.postgres import Server
from tests.unit.test_attention import LEAD, TEAM, Machine
from watchdog.core.durations import MINUTE_NS
from watchdog.pipeline.clock import SystemClock
from watchdog.service.engine_thread import Bundle
from watchdog.service.writer_thread import Routes, WriterLoop

NUMBERS = itertools.count()


@pytest.fixture(params=["file", "server"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty history, in SQLite and in PostgreSQL."""
    if request.param == "file":
        found = Database.open(f"sqlite:///{tmp_path / 'h.db'}")
    else:
        server: Server = request.getfixturevalue("postgres")
        found = Database.open(server.url(f"escalation_ends_{next(NUMBERS)}"))
    yield found
    found.close()


class EscalatesFirst:
    """The history, in which another thread stores an escalation just before the writer's transaction."""

    def __init__(self, database: Database, *, escalates: bool = True) -> None:
        self._database, self._writer, self.transactions = database, IncidentWriter(database), 0
        self._escalates = escalates

    def record(
        self,
        records: Sequence[ChangeRecord],
        notices: Sequence[Notice],
        cases: Sequence[StoredCase],
        made: Sequence[MadeDecision],
        /,
    ) -> Written:
        self.transactions += 1
        if self.transactions == 1 and self._escalates:
            assert Machine(self._database).after(10 * MINUTE_NS) == 1
        return self._writer.record(records, notices, cases, made)


def written(database: Database, store: EscalatesFirst, story: CaseStory, changes: Sequence[CaseChange]) -> WriterLoop:
    """Let the service's own writer store changes."""
    bundles = queue.Queue[Bundle](10)
    writer = WriterLoop(
        store,
        bundles,
        Routes((TEAM, LEAD), str, lambda id_: f"http://page/cases/{id_}"),
        checkpoint=Path,
        clock=SystemClock(),
        wall_ns=lambda: NOW_NS + 10 * MINUTE_NS,
        stored=lambda _records: None,
        escalated=TimedNotices(database).escalated,
    )
    bundles.put_nowait(Bundle(cases=stored_cases(story.rig.feed.book), notices=changes))
    writer.finish()
    scenery(writer.start)
    assert writer.join(30)
    assert writer.failure is None
    return writer


def heard(database: Database, receiver: str) -> list[str]:
    """The types of what was made for a receiver, in their order."""
    rows = reversed(Outbox(database).page(receiver=receiver, limit=100).rows)
    return [one.notice.type for one in rows]


def test_an_escalation_that_is_stored_while_the_end_is_decided(database: Database) -> None:
    story = CaseStory(database, TEAM, LEAD)
    story.rig.burst("ping-flood", [PEER_A], 0, 5)
    (opened,) = story.until(4)
    mark_ns = START_NS + 60 * MINUTE_NS
    ended = [one.change for one in story.rig.feed.reach([mark_ns], [mark_ns]) if one.change is not None]
    store = EscalatesFirst(database)
    writer = written(database, store, story, ended)
    assert heard(database, "lead") == ["case.escalated", "case.resolved"]
    assert heard(database, "team") == ["case.opened", "case.resolved"]
    assert (store.transactions, writer.counts.case_notices["lead", "case.resolved"]) == (2, 1)
    assert writer.counts.case_notices["team", "case.resolved"] == 1, "no one is counted twice"
    decided = decisions_of(database, opened.case_id, "lead")
    assert {one["type"]: one["decision"] for one in decided}["case.resolved"] == "sent"


def test_those_called_to_a_case_that_merged_hear_the_end_of_the_survivor(database: Database) -> None:
    story = CaseStory(database, TEAM, LEAD)
    story.rig.burst("ping-flood", [PEER_A], 0, 15)
    story.rig.burst("inv-flood", [PEER_B], 2, 15, severity="high")
    older, younger = (one.root for one in story.until(4))
    machine = Machine(database)
    machine.plan = AttentionPlan((Escalation("high", 10 * MINUTE_NS, ("lead",)),))
    assert machine.after(10 * MINUTE_NS) == 1
    assert TimedNotices(database).escalated({older, younger}) == {younger: {"lead"}}
    story.rig.burst("headers-spam", [PEER_A], 10, 5, key={"conn": "1"})
    story.rig.burst("headers-spam", [PEER_B], 10, 5, key={"conn": "2"})
    (merged,) = story.until(16)
    assert (merged.root, merged.merged) == (older, (younger,))
    assert machine.after(20 * MINUTE_NS) == 0, "no one is called twice to what is one case"
    story.store(story.changes, machine.now_ns)  # as after a kill
    assert TimedNotices(database).escalated({older, younger}) == {older: {"lead"}}
    (ended,) = story.until(60)
    assert heard(database, "lead") == ["case.escalated"]
    written(database, EscalatesFirst(database, escalates=False), story, [ended])
    assert heard(database, "lead") == ["case.escalated", "case.resolved"]


def test_those_called_to_a_case_that_merged_and_ended_at_once_hear_it(database: Database) -> None:
    story = CaseStory(database, TEAM, LEAD)
    story.rig.burst("ping-flood", [PEER_A], 0, 15)
    story.rig.burst("inv-flood", [PEER_B], 2, 15, severity="high")
    older, younger = (one.root for one in story.until(4))
    machine = Machine(database)
    machine.plan = AttentionPlan((Escalation("high", 10 * MINUTE_NS, ("lead",)),))
    assert machine.after(10 * MINUTE_NS) == 1
    story.rig.say("headers-spam", [PEER_A], 4.5, key={"conn": "1"})
    story.rig.say("headers-spam", [PEER_B], 4.5, key={"conn": "2"})
    story.rig.act(older, "resolve", 5)
    mark_ns = START_NS + 6 * MINUTE_NS
    changes = [one.change for one in story.rig.feed.reach([mark_ns], [mark_ns]) if one.change is not None]
    assert [(one.reasons[0], one.merged) for one in changes] == [(CaseReason.RESOLVED, (younger,))]
    written(database, EscalatesFirst(database, escalates=False), story, changes)
    assert heard(database, "lead") == ["case.escalated", "case.resolved"]


def test_who_was_called_before_an_acknowledgement_was_cleared_hears_the_end(database: Database) -> None:
    story = CaseStory(database, TEAM, LEAD)
    story.rig.burst("ping-flood", [PEER_A], 0, 20)
    (opened,) = story.until(4)
    machine = Machine(database)
    assert machine.after(10 * MINUTE_NS) == 1
    CaseActs(database).act(opened.case_id, "ack", "anna", "", START_NS + 6 * MINUTE_NS)
    story.rig.feed.acts.take(CaseAct(1, opened.case_id, "alice", "ack", "anna", "", "", START_NS + 6 * MINUTE_NS))
    story.rig.feed.book.state.acted = 1
    story.until(7)
    story.rig.say("ping-flood", [PEER_A], 10, change="escalate", severity="high")
    story.until(15)
    (now,) = TimedNotices(database).standing()
    assert (now.now.state, now.clock.escalated, now.clock.owed) == ("open", (), frozenset({"lead"}))
    story.until(90)
    assert TimedNotices(database).escalated({opened.root}) == {opened.root: frozenset({"lead"})}
