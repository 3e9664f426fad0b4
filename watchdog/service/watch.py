"""Engine and incident books of a running service: slices and operators' actions in, records of changes out.

An action is applied when the event time of its incident's part reaches the time at which it was made: after every
finding of the part up to then, and before all later ones. So a run that goes on after a kill applies it at the same
moment again. Which part that is may not be known before: then the incident opens again on the way there.
"""

from __future__ import annotations

import logging
from bisect import insort
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from alerts.book import IncidentError
from alerts.books import IncidentBooks
from alerts.incident import Incident, IncidentChange
from alerts.notice import ChangeRecord
from alerts.store.actions import Action
from rules.load import RuleSet
from watchdog.core.batch import Slice
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding
from watchdog.core.text import printable
from watchdog.engine.parted import PartedEngine
from watchdog.engine.parts import Kinds
from watchdog.service.checkpoint import Checkpoint

ACTION_AHEAD_NS = (
    600_000_000_000  # an action that is further ahead of event time belongs to an old recording: it is applied now
)
NAMED = 10  # rules, in one line of the log
_LOG = logging.getLogger("watchdog.engine")


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """An action that waits for event time; parts: those in which that time has not come yet."""

    at_ns: int
    id: int
    action: Action = field(compare=False)
    parts: set[int] = field(compare=False)


class Watch:
    """Engine, books and positions; belongs to the engine's thread. sources: the kinds that each can give, by name."""

    def __init__(self, rules: RuleSet, node: str, sources: Mapping[str, Kinds]) -> None:
        self.rules, self._node, self._sources = rules, node, dict(sources)
        self.engine = PartedEngine(rules.plans, sources, node=node)
        self.books = IncidentBooks(self._parts)
        self.positions: dict[str, Mapping[str, object]] = {}
        self.events = 0
        self.first_event_ns: int | None = None
        self.last_event_ns: int | None = None
        self.last_action = 0
        self.seen: Counter[tuple[str, str]] = Counter()  # events by kind and source, since the start
        self.refused = 0  # actions that no incident could take
        self.started_anew: frozenset[str] = frozenset()  # rules that the last change or start left without a past
        self._titles = {plan.id: plan.title for plan in rules.plans}
        self._due: list[_Due] = []  # in the order of their times
        self._acted_early: set[int] = set()  # actions applied before one that was made earlier and still waits

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
        for part in range(len(self.books)):
            records += self._records(self.books.drain(part))
        return records + self.hurry()

    def act(self, action: Action) -> list[ChangeRecord]:
        """Apply an action once event time is there; at once when it has passed, or with `hurry`."""
        self.last_action = max(self.last_action, action.id)
        if action.id in self._acted_early:
            return []
        holder = self.books.holder(action.incident_id)
        parts = set(range(len(self.books))) if holder is None else {holder}
        times = {part: self.books.now_ns(part) for part in parts if not self.engine.ended(part)}
        waiting = {part for part, now_ns in times.items() if now_ns < action.at_ns}
        if waiting and (self.last_event_ns is None or action.at_ns - max(times.values()) <= ACTION_AHEAD_NS):
            insort(self._due, _Due(action.at_ns, action.id, action, waiting))
            return []
        return self._acted(action)

    def forget_actions(self, last_id: int) -> None:
        """The database has actions up to this id: ids of a fresh one begin anew."""
        self.last_action = min(self.last_action, last_id)
        self._acted_early = {id_ for id_ in self._acted_early if id_ <= last_id}

    @property
    def waiting(self) -> int:
        """Actions whose time has not come."""
        return len(self._due)

    @property
    def taken(self) -> int:
        """The books have taken every action up to this id."""
        return min((waiting.id for waiting in self._due), default=self.last_action + 1) - 1

    def hurry(self) -> list[ChangeRecord]:
        """Apply all actions that wait: no event comes that would bring their time."""
        records: list[ChangeRecord] = []
        while self._due:
            records += self._acted(self._due.pop(0).action)
        return records

    def change_rules(self, rules: RuleSet, promises: Sequence[Slice]) -> list[ChangeRecord]:
        """Go on with other rules and the same incidents. Parts whose rules are the same go on as they are.

        Other rules start without a past and do not know what fires, so everything of theirs is taken for cleared now:
        what goes on fires again and its incident stays, what does not is resolved after its `resolve_after`.
        """
        before = self.engine.snapshot()
        self.engine = PartedEngine(rules.plans, self._sources, node=self._node)
        self.rules = rules
        self._titles |= {plan.id: plan.title for plan in rules.plans}
        records = self._start_anew(self.engine.restore(before))
        self.books = IncidentBooks.restore(self.books.snapshot(), self._parts)
        for waiting in self._due:  # parts have other numbers now; which have passed its time is soon found again
            waiting.parts.update(range(len(self.books)))
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
            book=self.books.snapshot(),
            events=self.events,
            first_event_ns=self.first_event_ns,
            last_event_ns=self.last_event_ns,
            last_action=self.taken,
            acted=tuple(sorted(id_ for id_ in self._acted_early if id_ > self.taken)),
        )

    def resume(self, saved: Checkpoint) -> list[ChangeRecord]:
        """Go on from a checkpoint; rules that are others, or have other sources, go on without a past.

        StateError when it is damaged or of another version.
        """
        self.books = IncidentBooks.restore(saved.book, self._parts)
        self.positions = {name: saved.positions[name] for name in self._sources if name in saved.positions}
        self.events, self.last_action = saved.events, saved.last_action
        self.first_event_ns, self.last_event_ns = saved.first_event_ns, saved.last_event_ns
        self._acted_early = set(saved.acted)
        return self._start_anew(self.engine.restore(saved.engine))

    @property
    def _parts(self) -> dict[str, tuple[str, ...]]:
        return {part.name: part.rules for part in self.engine.parts}

    def _tell(self, findings: Sequence[Finding]) -> list[ChangeRecord]:
        records: list[ChangeRecord] = []
        for finding in findings:
            records += self._advance(self.books.number_of(finding.rule), finding.time_ns - 1)
            records += self._records(self.books.apply(finding))
        for part in range(len(self.books)):
            records += self._advance(part, self.engine.moment_ns(part), ended=self.engine.ended(part))
        return records

    def _advance(self, part: int, time_ns: int, *, ended: bool = False) -> list[ChangeRecord]:
        """A part knows everything up to this time: actions up to then, then the book's own timers."""
        records: list[ChangeRecord] = []
        for waiting in [one for one in self._due if part in one.parts and (ended or one.at_ns <= time_ns)]:
            records += self._records(self.books.advance(part, min(waiting.at_ns, time_ns)))
            waiting.parts.discard(part)
            if self.books.holder(waiting.action.incident_id) == part or not waiting.parts:
                self._due.remove(waiting)
                records += self._acted(waiting.action)
        return records + self._records(self.books.advance(part, time_ns))

    def _acted(self, action: Action) -> list[ChangeRecord]:
        """Apply an action to the incident as it stands."""
        records: list[ChangeRecord] = []
        self._acted_early = {id_ for id_ in self._acted_early | {action.id} if id_ > self.taken}
        try:
            if action.verb == "ack":
                changes = self.books.acknowledge(action.incident_id, action.who, action.at_ns)
            elif action.verb == "resolve":
                changes = self.books.resolve(action.incident_id, action.who, action.at_ns)
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
                pictures[change.id] = self.books.incident(change.id)
            picture = pictures[change.id]
            if picture is not None:
                records.append(ChangeRecord(picture, change, self._titles.get(picture.rule, ""), action, taken))
        return records

    def _start_anew(self, anew: frozenset[str]) -> list[ChangeRecord]:
        """What follows from rules that start without a past, and from those that are gone."""
        if anew:
            _LOG.warning("%s", anew_text(anew))
        self.started_anew = anew
        return self._records(self.books.clear_others({plan.id for plan in self.rules.plans} - anew))


def anew_text(rules: Collection[str]) -> str:
    """Which rules start without a past, for people; nothing for none."""
    if not rules:
        return ""
    names = sorted(rules)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    who = "1 rule starts" if len(names) == 1 else f"{len(names)} rules start"
    return f"{who} without a past, open incidents are kept: {', '.join(names[:NAMED])}{more}"


def check_fits(saved: Checkpoint, node: str, place: str) -> None:
    """StateError when a checkpoint is of another node: its incidents would carry the wrong name."""
    if saved.node != node:
        raise StateError(
            f"checkpoint '{place}': was made with node {saved.node!r}, now {node!r}; remove it to start anew"
        )
