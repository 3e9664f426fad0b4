"""Rows of cases for the history: new notices at once, the rest with each checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from alerts.book_record import NEVER_NS
from alerts.case.change import CaseChange
from alerts.case.document import StoredCase, stored_cases
from alerts.case.drawing import change_of
from alerts.case.feed import CaseFeed, NodeCases
from alerts.case.life import CaseLife, fires
from alerts.cases import IssuedNotice
from watchdog.core.durations import MINUTE_NS
from watchdog.pipeline.pipeline import Pipeline
from watchdog.service.live_case_acts import LiveCaseActs

MOST_ROWS: Final = 50  # with one checkpoint; the rest follows with the next ones
REFRESH_NS: Final = MINUTE_NS  # of event time: the document of a large case has a megabyte
REMEMBERED: Final = 2_000  # cases whose last stored state is known


@dataclass(frozen=True, slots=True)
class CasesSeen:
    """Counts at one moment; replaced as a whole, so any thread may read them.

    cases: by severity and state. notices: by reason, since the start. bounds: how often each was met.
    """

    cases: Mapping[tuple[str, str], int] = field(default_factory=dict)
    notices: Mapping[str, int] = field(default_factory=dict)
    bounds: Mapping[str, int] = field(default_factory=dict)


class CaseRows:
    """Collects rows in the engine's thread. seen: for other threads. acts: what operators do."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._rows: dict[str, StoredCase] = {}
        self._changes: list[CaseChange] = []
        self._stored: dict[str, tuple[int, bool]] = {}
        self._notices: Counter[str] = Counter()
        self.seen = CasesSeen()
        pipeline.hear_cases = self._note
        self.acts = LiveCaseActs(pipeline, self._note)
        for feed in self._feeds:
            feed.book.draw = change_of

    @property
    def _feeds(self) -> tuple[CaseFeed, ...]:
        cases = self._pipeline.cases
        return () if cases is None else (cases.events, cases.clock)

    def begin(self, start_ns: int) -> None:
        """Notify nothing of the time before a first start (ns; 0: there is none). Called before the first slice.

        Cases that have begun continue: a source that is added later has a past, but they have none to hold back.
        """
        cases = self._pipeline.cases
        if cases is not None and cases.events.book.state.now_ns == NEVER_NS:
            cases.events.book.state.start_ns = start_ns  # what still fires then is notified once

    def take_changes(self) -> list[CaseChange]:
        """Return the notices since the last call, for receivers. Take their rows (`take`) together with them."""
        changes, self._changes = self._changes, []
        return changes

    @property
    def given(self) -> int:
        """Number of notices since the start."""
        return self._notices.total()

    def take(self) -> list[StoredCase]:
        """Return the rows of cases with a new notice, or changed by an operator, since the last call."""
        for feed in self._feeds:
            self._keep(stored_cases(feed.book, feed.acts.take_changed()))
        rows = list(self._rows.values())
        self._rows.clear()
        return rows

    def changed(self) -> list[StoredCase]:
        """Return rows of cases that changed a minute or more after they were last returned, `MOST_ROWS` at most."""
        cases = self._pipeline.cases
        if cases is None:
            return []
        for feed in (cases.events, cases.clock):
            lives = feed.book.state.cases.values()
            due = [one.id for one in lives if self._differs(one)]
            self._keep(stored_cases(feed.book, due[:MOST_ROWS]))
        self.seen = self._counted(cases)
        return self.take()

    def _differs(self, life: CaseLife) -> bool:
        """Return whether the stored row is a minute older, or of a clock that was set back, or wrong about firing.

        Reminders rest on whether a case fires.
        """
        stored_ns, firing = self._stored.get(life.id, (-REFRESH_NS, False))
        age_ns = life.updated_ns - stored_ns
        return age_ns < 0 or age_ns >= REFRESH_NS or firing != fires(life)

    def _counted(self, cases: NodeCases) -> CasesSeen:
        feeds = (cases.events, cases.clock)
        lives = [one for feed in feeds for one in feed.book.state.cases.values()]
        bounds = Counter({"late": sum(feed.late for feed in feeds)})
        for feed in feeds:
            bounds.update(feed.book.state.counters)
        return CasesSeen(Counter((one.severity, one.state.value) for one in lives), dict(self._notices), bounds)

    def close(self) -> None:
        """End all cases: the node is no longer watched."""
        self.acts.hurry()
        self.acts.settle()
        for feed in self._feeds:
            self._note(feed, feed.book.close(feed.book.state.now_ns))

    def _note(self, feed: CaseFeed, issued: Sequence[IssuedNotice]) -> None:
        self._notices.update(one.notice.reason.value for one in issued)
        book = feed.book
        self._changes += [one.change or change_of(book.picture(one.case), one.notice, book.texts) for one in issued]
        self._keep(stored_cases(feed.book, list(dict.fromkeys(one.case.id for one in issued))))

    def _keep(self, rows: Sequence[StoredCase]) -> None:
        for row in rows:
            self._rows[row.id] = row
            self._stored.pop(row.id, None)
            self._stored[row.id] = (row.updated_ns, row.firing)
        while len(self._stored) > REMEMBERED:
            del self._stored[next(iter(self._stored))]
