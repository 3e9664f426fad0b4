"""A story of cases whose notices and decisions go to a database, as the writer's thread stores them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alerts.case.change import CaseChange
from alerts.case.document import StoredCase, stored_cases
from alerts.case.drawing import change_of
from alerts.decide import case_notices, decide_case
from alerts.routing import Receiver
from alerts.store.case_decisions import MadeDecision
from alerts.store.database import Database
from alerts.store.writer import IncidentWriter
from tests.support.case_rig import START_NS, CaseRig
from tests.support.event_loops import scenery
from watchdog.core.durations import HOUR_NS, MINUTE_NS

PEER_A, PEER_B = "91.165.48.111", "217.94.191.240"
TEAM = Receiver("team", "https://example.org/hook")
NOW_NS = START_NS + 30 * 24 * HOUR_NS


class CaseStory:
    """A rig whose changes go to the database, as the writer's thread stores them. heard: called with stored rows."""

    def __init__(self, database: Database, *receivers: Receiver) -> None:
        self.rig, self._writer, self.receivers = CaseRig(), IncidentWriter(database), receivers or (TEAM,)
        self.rig.feed.book.draw = change_of
        self.changes: list[CaseChange] = []
        self.heard: Callable[[Sequence[StoredCase]], None] = lambda _cases: None

    def until(self, minute: float) -> list[CaseChange]:
        """Let time pass; return and store what changed."""
        mark_ns = START_NS + int(minute * MINUTE_NS) + 1
        changes = [one.change for one in self.rig.feed.reach([mark_ns], [mark_ns]) if one.change is not None]
        self.changes += changes
        self.store(changes)
        return changes

    def store(self, changes: Sequence[CaseChange], now_ns: int = NOW_NS) -> None:
        """Decide and store changes, at a wall clock."""
        made, due = [], []
        for change in changes:
            own = decide_case(change, self.receivers)
            made += [MadeDecision(change, one, now_ns) for one in own]
            due += case_notices(change, own, lambda id_: f"http://page/cases/{id_}", now_ns)
        written = scenery(lambda: self._writer.record((), due, stored_cases(self.rig.feed.book), made))
        self.heard(written.cases)

    def keep(self) -> None:
        """Store the cases as they are, as with a checkpoint."""
        self.heard(scenery(lambda: self._writer.record((), (), stored_cases(self.rig.feed.book))).cases)


def merged_cases(database: Database) -> CaseStory:
    """Two cases with an opening each become one."""
    story = CaseStory(database)
    story.rig.say("ping-flood", [PEER_A], 0)
    story.rig.say("inv-flood", [PEER_B], 2)
    story.until(4)
    story.rig.say("headers-spam", [PEER_A], 10, key={"conn": "1"})
    story.rig.say("headers-spam", [PEER_B], 10, key={"conn": "2"})
    story.until(20)
    return story
