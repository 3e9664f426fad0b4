"""Engine and incident book together: slices in, changes of incidents out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from alerts.book import IncidentBook
from alerts.incident import IncidentChange, Reason
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding


class EngineLike(Protocol):
    """What a replay needs of an engine."""

    @property
    def watermark_ns(self) -> int:
        """No earlier event is expected."""
        ...

    def process(self, slice_: Slice, /) -> list[Finding]:
        """Take events; the verdicts of the panes that they close."""
        ...

    def finish(self) -> list[Finding]:
        """The verdicts of all panes that are still open."""
        ...

    def snapshot(self) -> bytes:
        """The whole state."""
        ...


class Run:
    """Engine and book together, and how far they came. `tell` hears of the changes of incidents as they happen."""

    def __init__(
        self, engine: EngineLike, book: IncidentBook, tell: Callable[[Sequence[IncidentChange]], None] | None = None
    ) -> None:
        self.engine, self.book = engine, book
        self._listener = tell
        self.positions: dict[str, Mapping[str, object]] = {}
        self.events = 0
        self.first_event_ns: int | None = None
        self.last_event_ns: int | None = None
        self.opened = len(book.incidents())  # incidents so far

    def take(self, slice_: Slice) -> None:
        """One slice of one source through engine and book."""
        for batch in slice_.batches:
            if batch.rows:
                self.events += batch.rows
                first_ns, last_ns = int(batch.time_ns.min()), int(batch.time_ns.max())
                self.first_event_ns = min(first_ns, self.first_event_ns or first_ns)
                self.last_event_ns = max(last_ns, self.last_event_ns or last_ns)
        self._tell(self.engine.process(slice_))
        self.positions[slice_.source] = slice_.position

    def finish(self) -> None:
        """The input has ended: close what is open in the engine. What is quiet but not yet due stays open."""
        self._tell(self.engine.finish())
        self._changed(self.book.drain())

    def _tell(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self._changed(self.book.apply(finding))
        if self.last_event_ns is not None:  # beyond the last event nobody knows what happened
            self._changed(self.book.advance(min(self.engine.watermark_ns, self.last_event_ns)))

    def _changed(self, changes: Sequence[IncidentChange]) -> None:
        self.opened += sum(change.reason is Reason.OPENED for change in changes)
        if changes and self._listener is not None:
            self._listener(changes)
