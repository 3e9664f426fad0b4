"""Engine and incident book of a running service: slices and operators' actions in, records of changes out.

An action is applied when event time reaches the time at which it was made: after every finding up to then, and before
all later ones. So a run that goes on after a kill applies it at the same moment again.
"""

from __future__ import annotations

import heapq
import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from alerts.book import IncidentBook, IncidentError
from alerts.incident import Incident, IncidentChange
from alerts.notice import ChangeRecord
from alerts.store.actions import Action
from rules.load import RuleSet
from watchdog.core.batch import Slice
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding
from watchdog.core.source import END_OF_TIME_NS
from watchdog.core.text import printable
from watchdog.engine.engine import Engine
from watchdog.service.checkpoint import Checkpoint

AHEAD_NS = (
    600_000_000_000  # an action that is further ahead of event time belongs to an old recording: it is applied now
)
_LOG = logging.getLogger("watchdog.engine")


class Watch:
    """Engine, book and positions; belongs to the engine's thread."""

    def __init__(self, rules: RuleSet, node: str, sources: Sequence[str]) -> None:
        self.rules, self._node, self._sources = rules, node, tuple(sources)
        self.engine = Engine(rules.plans, node=node, sources=sources)
        self.book = IncidentBook()
        self.positions: dict[str, Mapping[str, object]] = {}
        self.events = 0
        self.first_event_ns: int | None = None
        self.last_event_ns: int | None = None
        self.last_action = 0
        self.seen: Counter[tuple[str, str]] = Counter()  # events by kind and source, since the start
        self.refused = 0  # actions that no incident could take
        self._titles = {plan.id: plan.title for plan in rules.plans}
        self._latest_finding_ns = 0
        self._due: list[tuple[int, int, Action]] = []

    def take(self, slice_: Slice) -> list[ChangeRecord]:
        """One slice of one source through engine and book."""
        for batch in slice_.batches:
            if batch.rows:
                self.events += batch.rows
                self.seen[batch.kind, slice_.source] += batch.rows
                first_ns, last_ns = int(batch.time_ns.min()), int(batch.time_ns.max())
                self.first_event_ns = min(first_ns, self.first_event_ns or first_ns)
                self.last_event_ns = max(last_ns, self.last_event_ns or last_ns)
        records = self._tell(self.engine.process(slice_))
        self.positions[slice_.source] = slice_.position
        return records

    def finish(self) -> list[ChangeRecord]:
        """All sources have ended: close what is open in the engine. What is quiet but not yet due stays open."""
        records = self._tell(self.engine.finish())
        records += self._records(self.book.drain())
        return records + self._act_until(END_OF_TIME_NS)

    def act(self, action: Action) -> list[ChangeRecord]:
        """Apply an action once event time is there; at once when it has passed, or with `hurry`."""
        self.last_action = max(self.last_action, action.id)
        ahead_ns = action.at_ns - self._now_ns
        if ahead_ns > 0 and (self.last_event_ns is None or ahead_ns <= AHEAD_NS):
            heapq.heappush(self._due, (action.at_ns, action.id, action))
            return []
        return self._acted(action)

    @property
    def waiting(self) -> int:
        """Actions whose time has not come."""
        return len(self._due)

    @property
    def taken(self) -> int:
        """The book has taken every action up to this id."""
        return self.last_action if not self._due else min(id_ for _, id_, _ in self._due) - 1

    def hurry(self) -> list[ChangeRecord]:
        """Apply all actions that wait: no event comes that would bring their time."""
        return self._act_until(END_OF_TIME_NS)

    def change_rules(self, rules: RuleSet, promises: Sequence[Slice]) -> list[ChangeRecord]:
        """Go on with other rules: a new engine without a past, the same incidents.

        The new engine does not know what fires, so everything is taken for cleared now: what goes on fires again
        and its incident stays, what does not is resolved after its `resolve_after`.
        """
        records = self._records(self.book.advance(self._now_ns))
        self.engine = Engine(rules.plans, node=self._node, sources=self._sources)
        self.rules, self._titles = (
            rules,
            {plan.id: plan.title for plan in rules.plans}
            | {name: title for name, title in self._titles.items() if name not in {plan.id for plan in rules.plans}},
        )
        records += self._forget_firing()
        for promise in promises:
            records += self._tell(self.engine.process(promise))
        return records

    def checkpoint(self, sources: Sequence[str], asmap: str) -> Checkpoint:
        """Everything that is needed to go on exactly here."""
        return Checkpoint(
            rules=self.rules.hash,
            sources=tuple(sources),
            node=self._node,
            asmap=asmap,
            positions=dict(self.positions),
            engine=self.engine.snapshot(),
            book=self.book.snapshot(),
            events=self.events,
            first_event_ns=self.first_event_ns,
            last_event_ns=self.last_event_ns,
            last_action=self.taken,
            latest_finding_ns=self._latest_finding_ns,
        )

    def resume(self, saved: Checkpoint) -> list[ChangeRecord]:
        """Go on from a checkpoint; with other rules than it was made with, from its incidents and positions only.

        StateError when it is damaged or of another version.
        """
        self.book = IncidentBook.restore(saved.book)
        self.positions = {name: saved.positions[name] for name in self._sources if name in saved.positions}
        self.events, self.last_action = saved.events, saved.last_action
        self.first_event_ns, self.last_event_ns = saved.first_event_ns, saved.last_event_ns
        self._latest_finding_ns = saved.latest_finding_ns
        if saved.rules == self.rules.hash:
            self.engine.restore(saved.engine)
            return []
        _LOG.warning("the rules have changed: rules start without a past, open incidents are kept")
        return self._forget_firing()

    @property
    def _now_ns(self) -> int:
        """The event time up to which the book has applied every finding."""
        return max(self._known_ns, self._latest_finding_ns - 1)

    @property
    def _known_ns(self) -> int:
        """Until when it is known what happened: never beyond the last event."""
        return 0 if self.last_event_ns is None else min(self.engine.watermark_ns, self.last_event_ns)

    def _tell(self, findings: Sequence[Finding]) -> list[ChangeRecord]:
        records: list[ChangeRecord] = []
        for finding in findings:
            records += self._act_until(finding.time_ns - 1)
            records += self._records(self.book.apply(finding))
            self._latest_finding_ns = max(self._latest_finding_ns, finding.time_ns)
        if self.last_event_ns is not None:  # beyond the last event nobody knows what happened
            records += self._act_until(self._known_ns)
            records += self._records(self.book.advance(self._known_ns))
        return records

    def _act_until(self, time_ns: int) -> list[ChangeRecord]:
        records: list[ChangeRecord] = []
        while self._due and self._due[0][0] <= time_ns:
            records += self._acted(heapq.heappop(self._due)[2])
        return records

    def _acted(self, action: Action) -> list[ChangeRecord]:
        records = self._records(self.book.advance(max(self._now_ns, min(action.at_ns, self._known_ns))))
        try:
            if action.verb == "ack":
                changes = self.book.acknowledge(action.incident_id, action.who, action.at_ns)
            elif action.verb == "resolve":
                changes = self.book.resolve(action.incident_id, action.who, action.at_ns)
            else:
                changes = []
        except IncidentError as error:
            self.refused += 1
            _LOG.warning("action %d by %s: %s", action.id, printable(action.who), printable(str(error)))
            return records
        return records + self._records(changes, action.id)

    def _records(self, changes: Sequence[IncidentChange], action: int = 0) -> list[ChangeRecord]:
        pictures: dict[str, Incident | None] = {}
        records, taken = [], self.taken
        for change in changes:
            if change.id not in pictures:
                pictures[change.id] = self.book.incident(change.id)
            picture = pictures[change.id]
            if picture is not None:
                records.append(ChangeRecord(picture, change, self._titles.get(picture.rule, ""), action, taken))
        return records

    def _forget_firing(self) -> list[ChangeRecord]:
        return self._records(self.book.clear_all(self._now_ns))


def check_fits(saved: Checkpoint, node: str, place: str) -> None:
    """StateError when a checkpoint is of another node: its incidents would carry the wrong name."""
    if saved.node != node:
        raise StateError(
            f"checkpoint '{place}': was made with node {saved.node!r}, now {node!r}; remove it to start anew"
        )
