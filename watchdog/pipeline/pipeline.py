"""Events through engine and incident books: slices in, incident changes out.

Replay and service share this module, so they report the same incidents for the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from alerts.books import IncidentBooks
from alerts.case.feed import CaseFeed, NodeCases
from alerts.cases import IssuedNotice
from alerts.incident import IncidentChange, Policy, Reason
from watchdog.core.batch import Slice
from watchdog.core.durations import SECOND_NS
from watchdog.core.finding import Finding
from watchdog.engine.engine import Engine
from watchdog.pipeline.checkpoint import Checkpoint
from watchdog.pipeline.silent_parts import SilentParts

OWN_PART = "own"  # the name of its book in checkpoints; names of parts are JSON
BACKWARD_NS = SECOND_NS  # clocks are slewed by less
Tell = Callable[[Sequence[IncidentChange]], None]
Before = Callable[[int, int, bool], None]
HearCases = Callable[[CaseFeed, Sequence[IssuedNotice]], None]
"""Hears of the notices of cases, with the feed that has them."""
After = Callable[[Slice | None, Sequence[Finding]], None]


class Pipeline:
    """Engine and books together, with their positions and counts.

    Replay and `LivePipeline` call `process` for each slice, and `finish` when all sources have ended. tell: called with
    incident changes as they happen. before: called before the book of a part (its number) advances to a time (ns);
    the third argument is whether all sources of the part have ended, so that no later time will come. own: ids of
    findings by the wall clock; their book follows those of the parts. policy: the bounds of the books.
    after: called after each step of the engine with the slice, None for the end of the input, and the findings.
    cases: take every finding with its incident; None without cases.
    """

    def __init__(
        self,
        engine: Engine,
        tell: Tell | None = None,
        before: Before | None = None,
        own: Collection[str] = (),
        policy: Policy | None = None,
        *,
        cases: NodeCases | None = None,
    ) -> None:
        self.engine, self._own, self._policy = engine, tuple(own), policy
        self.books = IncidentBooks(self._parts, policy)
        self._listener, self._before = tell, before
        self.cases = cases
        self.hear_cases: HearCases | None = None
        self.silent: SilentParts | None = None  # of a service; a replay waits for every part
        self._join_books()
        self.after: After | None = None
        self.positions: dict[str, Mapping[str, object]] = {}
        self.events = 0
        self.first_event_ns: int | None = None
        self.last_event_ns: int | None = None
        self.opened = 0  # incidents so far
        self.restarted = 0  # how often a part dropped its state because a clock was set right

    def process(self, slice_: Slice) -> None:
        """Pass a slice of one source through engine and books, all its parts. The slice is not changed."""
        for part in slice_.parts:
            self._process(part)

    def _process(self, slice_: Slice) -> None:
        for batch in slice_.batches:
            if batch.rows:
                self.events += batch.rows
                first_ns, last_ns = int(batch.time_ns.min()), int(batch.time_ns.max())
                self.first_event_ns = min(first_ns, self.first_event_ns or first_ns)
                self.last_event_ns = max(last_ns, self.last_event_ns or last_ns)
        findings = self.engine.process(slice_)
        self._rewind_books()
        self._follow(findings)
        self._reach()
        if slice_.position:  # a source has none before its first event
            self.positions[slice_.source] = slice_.position
        if self.after is not None:
            self.after(slice_, findings)

    def finish(self) -> None:
        """Close the engine's open panes: the input has ended. Incidents that are not due to resolve stay open."""
        findings = self.engine.finish()
        self._follow(findings)
        for part in range(len(self.engine.groups)):
            self._tell(self.books[part].drain())
        if self.cases is not None:
            self._hear(self.cases.events, self.cases.events.finish(self.last_event_ns or 0))
        if self.after is not None:
            self.after(None, findings)

    def checkpoint(self, rules: str, sources: Sequence[str], asmap: str) -> Checkpoint:
        """Return all that a later run needs to resume here. rules: their digest; sources, asmap: as given."""
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
            cases=(b"", b"") if self.cases is None else self.cases.snapshot(),
        )

    def resume(self, saved: Checkpoint) -> frozenset[str]:
        """Resume from a checkpoint; return ids of changed rules, which restart with empty state.

        StateError when it is damaged or of another version.
        """
        self.books = IncidentBooks.restore(saved.book, self._parts, self._policy)
        if self.cases is not None:
            self.cases.restore(saved.cases)
        self._join_books()
        self.opened = len(self.books.incidents())
        self.positions = {name: position for name, position in saved.positions.items() if position}
        self.events, self.first_event_ns, self.last_event_ns = saved.events, saved.first_event_ns, saved.last_event_ns
        return self.engine.restore(saved.engine)

    def change_engine(self, engine: Engine) -> frozenset[str]:
        """Replace the engine, and give it the state of the old one; return ids of rules that restart with empty state.

        Incidents stay in their books until `move_books`.
        """
        restarted = engine.restore(self.engine.snapshot())
        self.engine = engine
        return restarted

    def move_books(self) -> None:
        """Move each incident into the book of the part that has its rule now."""
        self.books = IncidentBooks.restore(self.books.snapshot(), self._parts, self._policy)
        self._join_books()

    def _join_books(self) -> None:
        """Let the cases hear where each finding goes."""
        for number in range(len(self.books)):
            if self.cases is not None:
                feed = self.cases.clock if number == self.own_part else self.cases.events
                self.books[number].placed = feed.take

    def _reach(self) -> None:
        """Let the cases follow the slowest part that has not ended and, in a service, is not silent."""
        if self.cases is None:
            return
        marks = [self.books[part].now_ns for part in range(len(self.engine.groups))]
        running = [not self.engine.ended(part) for part in range(len(marks))]
        waited = [mark for mark, runs in zip(marks, running, strict=True) if runs]
        if self.silent is not None:
            waited = self.silent.heard(marks, running)
        self._hear(self.cases.events, self.cases.events.reach(marks, waited))

    def _hear(self, feed: CaseFeed, issued: Sequence[IssuedNotice]) -> None:
        if issued and self.hear_cases is not None:
            self.hear_cases(feed, issued)

    def _rewind_books(self) -> None:
        """Rewind the books of parts that restarted because a clock was set right."""
        restarted, self.engine.restarted = self.engine.restarted, []
        for part, from_ns in restarted:
            self.last_event_ns = min(from_ns, self.last_event_ns or from_ns)
            if self.cases is not None:
                self._hear(self.cases.events, self.cases.events.rewind(from_ns))
            self._tell(self.books[part].rewind(from_ns))
        self.restarted += len(restarted)

    @property
    def _parts(self) -> dict[str, tuple[str, ...]]:
        parts = {part.name: part.rules for part in self.engine.groups}
        return parts | {OWN_PART: self._own} if self._own else parts

    @property
    def own_part(self) -> int:
        """Number of the book of findings by the wall clock; no book has it without such findings."""
        return len(self.engine.groups)

    def note_own(self, findings: Sequence[Finding]) -> None:
        """Take in findings by the wall clock; a checkpoint holds them until `advance_own` reports them."""
        for finding in findings:
            self._tell(self.books[self.books.number_of(finding.rule)].apply(finding))

    def advance_own(self, now_ns: int) -> None:
        """Advance the book of own findings to the wall clock; after a step back, rewind it and keep what fires."""
        own = self.books[self.own_part]
        if now_ns < own.now_ns - BACKWARD_NS:
            if self.cases is not None:
                self._hear(self.cases.clock, self.cases.clock.rewind(now_ns))
            self._tell(own.rewind(now_ns, clears=False))
        self._tell(own.advance(now_ns))
        if self.cases is not None:
            self._hear(self.cases.clock, self.cases.clock.reach([now_ns], [now_ns]))

    def _follow(self, findings: Sequence[Finding]) -> None:
        """Apply findings to the books, then advance each book to its part's watermark."""
        for finding in findings:
            part, until_ns = self.books.number_of(finding.rule), finding.time_ns - 1
            if self.books[part].now_ns < until_ns:  # the first finding of this time advances the book
                self._advance(part, until_ns, ended=False)
            self._tell(self.books[part].apply(finding))
        for part in range(len(self.engine.groups)):
            self._advance(part, self.engine.moment_ns(part), ended=self.engine.ended(part))

    def _advance(self, part: int, time_ns: int, *, ended: bool) -> None:
        if self._before is not None:
            self._before(part, time_ns, ended)
        self._tell(self.books[part].advance(time_ns))

    def _tell(self, changes: Sequence[IncidentChange]) -> None:
        self.opened += sum(change.reason is Reason.OPENED for change in changes)
        if changes and self._listener is not None:
            self._listener(changes)
