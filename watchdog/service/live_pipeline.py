"""The course of events in a running service: slices and operators' actions in, records of changes out.

An action is applied when the event time of its incident's part reaches the time at which it was made: after every
finding of the part up to then, and before all later ones. So a run that goes on after a kill applies it at the same
moment again. Which part that is may not be known before: then the incident opens again on the way there.
"""

from __future__ import annotations

import logging
import secrets
from bisect import insort
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from alerts.books import IncidentBooks
from alerts.incident import Incident, IncidentChange
from alerts.incident_table import IncidentError
from alerts.notice import ChangeRecord
from alerts.store.actions import Action
from rules.load import RuleSet
from watchdog.core.batch import Slice
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding
from watchdog.core.own_rules import OWN_RULES
from watchdog.core.source import END_OF_TIME_NS
from watchdog.core.text import printable
from watchdog.engine.parted import PartedEngine
from watchdog.engine.parts import Kinds
from watchdog.pipeline.checkpoint import Checkpoint
from watchdog.pipeline.pipeline import Pipeline
from watchdog.service.first_start import Quiet

ACTION_AHEAD_NS = (
    600_000_000_000  # an action that is further ahead of event time belongs to an old recording: it is applied now
)
SECRET_BYTES = 32
NAMED = 10  # rules, in one line of the log
_LOG = logging.getLogger("watchdog.engine")


@dataclass(frozen=True, slots=True, order=True)
class _Due:
    """An action that waits for event time; parts: those in which that time has not come yet."""

    at_ns: int
    id: int
    action: Action = field(compare=False)
    parts: set[int] = field(compare=False)


class LivePipeline:
    """The course of events, with actions in between; belongs to the engine's thread.

    sources: the kinds that each can give, by name. `quiet` holds back what is old news at a first start.
    """

    def __init__(self, rules: RuleSet, node: str, sources: Mapping[str, Kinds]) -> None:
        self.quiet = Quiet()
        self.rules, self._node, self._sources = rules, node, dict(sources)
        self._course = Pipeline(_engine(rules, sources, node), self._note, self._before, own=OWN_RULES)
        self.last_action = 0
        self.seen: Counter[tuple[str, str]] = Counter()  # events by kind and source, since the start
        self.own_open = False  # something is wrong with our own input
        self.refused = 0  # actions that no incident could take
        self.started_anew: frozenset[str] = frozenset()  # rules that the last change or start left without a past
        self._titles = {plan.id: plan.title for plan in rules.plans}
        self._titles |= {one.id: one.title for one in OWN_RULES.values()}
        self._records: list[ChangeRecord] = []  # since they were last asked for
        self._due: list[_Due] = []  # in the order of their times
        self._acted_early: set[int] = set()  # actions applied before one that was made earlier and still waits

    @property
    def engine(self) -> PartedEngine:
        """What runs the rules in force."""
        return self._course.engine

    @property
    def books(self) -> IncidentBooks:
        """The incidents."""
        return self._course.books

    @property
    def events(self) -> int:
        """How many events were taken."""
        return self._course.events

    @property
    def first_event_ns(self) -> int | None:
        """Earliest event time, None before the first event."""
        return self._course.first_event_ns

    @property
    def last_event_ns(self) -> int | None:
        """Latest event time, None before the first event."""
        return self._course.last_event_ns

    def begin(self, starts: Mapping[str, int]) -> None:
        """Of sources that are read for the first time, what happened before their starts (ns, by name) is old news.

        Sources of an earlier run had told all up to where they had come.
        """
        reached = {name: mark for name, mark in self.engine.marks.items() if 0 < mark < END_OF_TIME_NS}
        told = {name: max(mark, self.quiet.starts.get(name, 0)) for name, mark in reached.items()}
        self.quiet.begin({**told, **starts}, self.engine.parts)

    def take(self, slice_: Slice) -> list[ChangeRecord]:
        """One slice of one source through engine and books."""
        for batch in slice_.batches:
            if batch.rows:
                self.seen[batch.kind, slice_.source] += batch.rows
        begun = self._course.begun_anew
        self._course.take(slice_)
        if self._course.begun_anew > begun:  # the time that actions waited for may be far off now
            return self.hurry()
        return self._told()

    def own_findings(self, ask: Callable[[AbstractSet[tuple[str, str]]], Sequence[Finding]]) -> bool:
        """Take findings by the wall clock, given what fires already; whether there are any. See `advance_own`."""
        found = ask(self.books[self._course.own_part].table.firing)
        self._course.note_own(found)
        return bool(found)

    def advance_own(self, now_ns: int) -> list[ChangeRecord]:
        """What follows from them, and from the time of the wall clock."""
        self._course.advance_own(now_ns)
        self.own_open = bool(self.books[self._course.own_part].table.firing)
        return self._told()

    def finish(self) -> list[ChangeRecord]:
        """All sources have ended: close what is open in the engine. What is quiet but not yet due stays open."""
        self._course.finish()
        return self.hurry()

    def act(self, action: Action) -> list[ChangeRecord]:
        """Apply an action once event time is there; at once when it has passed, or with `hurry`."""
        self.last_action = max(self.last_action, action.id)
        if action.id in self._acted_early:
            return []
        holder = self.books.holder(action.incident_id)
        parts = set(range(len(self.engine.parts))) if holder is None else {holder} - {self._course.own_part}
        times = {part: self.books[part].now_ns for part in parts if not self.engine.ended(part)}
        waiting = {part for part, now_ns in times.items() if now_ns < action.at_ns}
        if waiting and (self.last_event_ns is None or action.at_ns - max(times.values()) <= ACTION_AHEAD_NS):
            insort(self._due, _Due(action.at_ns, action.id, action, waiting))
        else:
            self._act(action)
        return self._told()

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
        while self._due:
            self._act(self._due.pop(0).action)
        return self._told()

    def change_rules(self, rules: RuleSet, promises: Sequence[Slice]) -> list[ChangeRecord]:
        """Go on with other rules and the same incidents. Parts whose rules are the same go on as they are.

        Other rules start without a past and do not know what fires, so everything of theirs is taken for cleared now:
        what goes on fires again and its incident stays, what does not is resolved after its `resolve_after`.
        """
        self.rules = rules
        self._titles |= {plan.id: plan.title for plan in rules.plans}
        self._start_anew(self._course.change_engine(_engine(rules, self._sources, self._node)))
        self._course.move_books()
        self.quiet.divide(self.engine.parts, self.books.holder)
        for waiting in self._due:  # parts have other numbers now; which have passed its time is soon found again
            waiting.parts.update(range(len(self.engine.parts)))
        for promise in promises:
            self._course.take(promise)
        return self._told()

    def checkpoint(self, sources: Sequence[str], asmap: str) -> Checkpoint:
        """Everything that is needed to go on exactly here."""
        return replace(
            self._course.checkpoint(self.rules.hash, sources, asmap),
            last_action=self.taken,
            acted=tuple(sorted(id_ for id_ in self._acted_early if id_ > self.taken)),
            starts=self.quiet.starts,
            held=self.quiet.held(self.books.holder),
        )

    def resume(self, saved: Checkpoint) -> list[ChangeRecord]:
        """Go on from a checkpoint; rules that are others, or have other sources, go on without a past.

        StateError when it is damaged or of another version.
        """
        anew = self._course.resume(saved)
        self.quiet.restore(saved.starts, saved.held, self.engine.parts, self.books.holder)
        kept = self._course.positions
        self._course.positions = {name: kept[name] for name in self._sources if name in kept}
        self.last_action, self._acted_early = saved.last_action, set(saved.acted)
        self._start_anew(anew)
        return self._told()

    def _before(self, part: int, time_ns: int, ended: bool) -> None:
        """A part knows everything up to this time: actions up to then come before the book's own timers."""
        start_ns = self.quiet.due(part, time_ns)
        if start_ns is not None:
            self._note(self.books[part].advance(start_ns - 1))
            self._record(self.quiet.passed(part))
        for waiting in [one for one in self._due if part in one.parts and (ended or one.at_ns <= time_ns)]:
            self._note(self.books[part].advance(min(waiting.at_ns, time_ns)))
            waiting.parts.discard(part)
            if self.books.holder(waiting.action.incident_id) == part or not waiting.parts:
                self._due.remove(waiting)
                self._act(waiting.action)

    def _act(self, action: Action) -> None:
        """Apply an action to the incident as it stands."""
        self._acted_early = {id_ for id_ in self._acted_early | {action.id} if id_ > self.taken}
        try:
            changes = self._changes_by(action)
        except IncidentError as error:
            self.refused += 1
            _LOG.warning("action %d by %s: %s", action.id, printable(action.who), printable(str(error)))
        else:
            self._note(changes, action.id)

    def _changes_by(self, action: Action) -> list[IncidentChange]:
        if action.verb == "note":
            return []
        book = self.books.book_with(action.incident_id)
        act = book.acknowledge if action.verb == "ack" else book.resolve
        return act(action.incident_id, action.who, action.at_ns)

    def _note(self, changes: Sequence[IncidentChange], action: int = 0) -> None:
        """Changes just made, without those that are old news."""
        self._record(self.quiet.news(changes, self.books.holder) if self.quiet else changes, action)

    def _record(self, changes: Sequence[IncidentChange], action: int = 0) -> None:
        """Changes that are told, each with its incident as it stands now."""
        pictures: dict[str, Incident | None] = {}
        taken = self.taken
        for change in changes:
            if change.id not in pictures:
                pictures[change.id] = self.books.incident(change.id)
            picture = pictures[change.id]
            if picture is not None:
                title = self._titles.get(picture.rule, "")
                self._records.append(ChangeRecord(picture, change, title, action, taken))

    def _told(self) -> list[ChangeRecord]:
        """What was noted since this was last asked."""
        told, self._records = self._records, []
        return told

    def _start_anew(self, anew: frozenset[str]) -> None:
        """What follows from rules that start without a past, and from those that are gone."""
        if anew:
            _LOG.warning("%s", anew_text(anew))
        self.started_anew = anew
        self._note(self.books.clear_others(({plan.id for plan in self.rules.plans} - anew) | OWN_RULES.keys()))


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


def _engine(rules: RuleSet, sources: Mapping[str, Kinds], node: str) -> PartedEngine:
    """A new engine with a secret of its own: no peer may work out which of too many findings are kept."""
    return PartedEngine(rules.plans, sources, node=node, secret=secrets.token_bytes(SECRET_BYTES))
