"""Engine and incident books together: slices in, changes of incidents out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alerts.books import IncidentBooks
from alerts.incident import IncidentChange, Reason
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.engine.parted import PartedEngine


class Run:
    """Engine and books together, and how far they came. `tell` hears of the changes of incidents as they happen.

    books: those of the engine's parts; new ones unless given.
    """

    def __init__(
        self,
        engine: PartedEngine,
        books: IncidentBooks | None = None,
        tell: Callable[[Sequence[IncidentChange]], None] | None = None,
    ) -> None:
        self.engine = engine
        self.books = books or IncidentBooks({part.name: part.rules for part in engine.parts})
        self._listener = tell
        self.positions: dict[str, Mapping[str, object]] = {}
        self.events = 0
        self.first_event_ns: int | None = None
        self.last_event_ns: int | None = None
        self.opened = len(self.books.incidents())  # incidents so far

    def take(self, slice_: Slice) -> None:
        """One slice of one source through engine and books."""
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
        for part in range(len(self.books)):
            self._changed(self.books.drain(part))

    def _tell(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self._changed(self.books.apply(finding))
        for part in range(len(self.books)):  # a silent promise is time that passed; beyond the last event nothing is
            self._changed(self.books.advance(part, self.engine.moment_ns(part)))

    def _changed(self, changes: Sequence[IncidentChange]) -> None:
        self.opened += sum(change.reason is Reason.OPENED for change in changes)
        if changes and self._listener is not None:
            self._listener(changes)
