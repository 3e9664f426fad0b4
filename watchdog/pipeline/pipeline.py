"""The course of events through engine and incident books: slices in, changes of incidents out.

Replay and service both go through here, so they say the same of the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from alerts.books import IncidentBooks
from alerts.incident import IncidentChange, Reason
from watchdog.core.batch import Slice
from watchdog.core.durations import SECOND_NS
from watchdog.core.finding import Finding
from watchdog.engine.parted import PartedEngine
from watchdog.pipeline.checkpoint import Checkpoint

OWN_PART = "own"  # the name of its book in checkpoints; names of parts are JSON
BACKWARD_NS = SECOND_NS  # clocks are slewed by less
Tell = Callable[[Sequence[IncidentChange]], None]
Before = Callable[[int, int, bool], None]


class Pipeline:
    """Engine and books together, and how far they came.

    tell: hears of the changes of incidents as they happen. before: called before the book of a part (its number) goes
    on to a time (ns); the third says whether all sources of the part have ended, so that no later time will come.
    own: ids of findings by the wall clock, which have a book of their own behind those of the parts.
    """

    def __init__(
        self,
        engine: PartedEngine,
        tell: Tell | None = None,
        before: Before | None = None,
        own: Collection[str] = (),
    ) -> None:
        self.engine, self._own = engine, tuple(own)
        self.books = IncidentBooks(self._parts)
        self._listener, self._before = tell, before
        self.positions: dict[str, Mapping[str, object]] = {}
        self.events = 0
        self.first_event_ns: int | None = None
        self.last_event_ns: int | None = None
        self.opened = 0  # incidents so far
        self.begun_anew = 0  # times that a part dropped its state, since a clock was set right

    def take(self, slice_: Slice) -> None:
        """One slice of one source through engine and books."""
        for batch in slice_.batches:
            if batch.rows:
                self.events += batch.rows
                first_ns, last_ns = int(batch.time_ns.min()), int(batch.time_ns.max())
                self.first_event_ns = min(first_ns, self.first_event_ns or first_ns)
                self.last_event_ns = max(last_ns, self.last_event_ns or last_ns)
        findings = self.engine.process(slice_)
        self._begin_anew()
        self._follow(findings)
        if slice_.position:  # a source that has given nothing has no position
            self.positions[slice_.source] = slice_.position

    def finish(self) -> None:
        """The input has ended: close what is open in the engine. What is quiet but not yet due stays open."""
        self._follow(self.engine.finish())
        for part in range(len(self.engine.parts)):
            self._tell(self.books[part].drain())

    def checkpoint(self, rules: str, sources: Sequence[str], asmap: str) -> Checkpoint:
        """Everything that is needed to go on exactly here. rules: their digest; sources and asmap: as given."""
        return Checkpoint(
            rules=rules,
            sources=tuple(sources),
            node=self.engine.node,
            asmap=asmap,
            positions=dict(self.positions),
            engine=self.engine.snapshot(),
            book=self.books.snapshot(),
            events=self.events,
            first_event_ns=self.first_event_ns,
            last_event_ns=self.last_event_ns,
        )

    def resume(self, saved: Checkpoint) -> frozenset[str]:
        """Go on from a checkpoint; the ids of the rules that start without a past, as they or their sources changed.

        StateError when it is damaged or of another version.
        """
        self.books = IncidentBooks.restore(saved.book, self._parts)
        self.opened = len(self.books.incidents())
        self.positions = {name: position for name, position in saved.positions.items() if position}
        self.events, self.first_event_ns, self.last_event_ns = saved.events, saved.first_event_ns, saved.last_event_ns
        return self.engine.restore(saved.engine)

    def change_engine(self, engine: PartedEngine) -> frozenset[str]:
        """Go on with other rules, and the past of this engine; the ids of those that start without one.

        The incidents stay where they are until `move_books`.
        """
        anew = engine.restore(self.engine.snapshot())
        self.engine = engine
        return anew

    def move_books(self) -> None:
        """Put each incident into the book of the part that has its rule now."""
        self.books = IncidentBooks.restore(self.books.snapshot(), self._parts)

    def _begin_anew(self) -> None:
        """Take the books of parts that a clock was set right for to where those begin anew."""
        begun, self.engine.begun_anew = self.engine.begun_anew, []
        for part, from_ns in begun:
            self.last_event_ns = min(from_ns, self.last_event_ns or from_ns)
            self._tell(self.books[part].rewind(from_ns))
        self.begun_anew += len(begun)

    @property
    def _parts(self) -> dict[str, tuple[str, ...]]:
        parts = {part.name: part.rules for part in self.engine.parts}
        return parts | {OWN_PART: self._own} if self._own else parts

    @property
    def own_part(self) -> int:
        """The number of the book of findings by the wall clock; no book has it when there are none."""
        return len(self.engine.parts)

    def note_own(self, findings: Sequence[Finding]) -> None:
        """Take findings by the wall clock; `advance_own` applies them, and until then a checkpoint holds them."""
        for finding in findings:
            self._tell(self.books[self.books.number_of(finding.rule)].apply(finding))

    def advance_own(self, now_ns: int) -> None:
        """The wall clock is here; after a step back its book goes back too, and keeps what fires."""
        if now_ns < self.books[self.own_part].now_ns - BACKWARD_NS:
            self._tell(self.books[self.own_part].rewind(now_ns, clears=False))
        self._tell(self.books[self.own_part].advance(now_ns))

    def _follow(self, findings: Sequence[Finding]) -> None:
        """Findings into the books; then each book goes on to what its part knows."""
        for finding in findings:
            part, until_ns = self.books.number_of(finding.rule), finding.time_ns - 1
            if self.books[part].now_ns < until_ns:  # one of many at this time takes the book there
                self._advance(part, until_ns, ended=False)
            self._tell(self.books[part].apply(finding))
        for part in range(
            len(self.engine.parts)
        ):  # a silent promise is time that passed; beyond the last event nothing is
            self._advance(part, self.engine.moment_ns(part), ended=self.engine.ended(part))

    def _advance(self, part: int, time_ns: int, *, ended: bool) -> None:
        if self._before is not None:
            self._before(part, time_ns, ended)
        self._tell(self.books[part].advance(time_ns))

    def _tell(self, changes: Sequence[IncidentChange]) -> None:
        self.opened += sum(change.reason is Reason.OPENED for change in changes)
        if changes and self._listener is not None:
            self._listener(changes)
