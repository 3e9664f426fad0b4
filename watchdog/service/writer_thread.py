"""The writer's thread: stores changes with their notices, then checkpoints. It skips nothing.

It retries a database that fails for as long as the service runs: changes wait here, then in the queue, then as events
in their files. A failure that waiting cannot heal (`StoreError`) ends this thread, and so the service. A checkpoint is
written only when every change before it is stored.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from alerts.case.change import DRILL, CaseChange, event_of
from alerts.case.document import StoredCase
from alerts.decide import ENDINGS, Decision, case_notices, decide, decide_case, notices
from alerts.notice import ChangeRecord, Notice
from alerts.routing import Receiver
from alerts.store.case_decisions import MadeDecision
from alerts.store.writer import Written
from watchdog.core.episode import Episode
from watchdog.core.errors import StoreError, StoreUnavailableError
from watchdog.pipeline.checkpoint import Checkpoint, write_checkpoint
from watchdog.pipeline.clock import Clock
from watchdog.service.engine_thread import Bundle
from watchdog.service.fleet_order import FleetOrder
from watchdog.service.incident_log import IncidentLog
from watchdog.service.stored_positions import StoredPositions
from watchdog.service.worker import Worker

MOST_RECORDS = 500  # in one transaction
IDLE_S = 1.0  # between two beats without work
END_LOOK_S = 0.05  # the same once all engines have ended
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 15.0
_LOG = logging.getLogger("watchdog.writer")


class Recorder(Protocol):
    """Stores changes; implemented by `alerts.store.writer.IncidentWriter`."""

    def record(
        self,
        records: Sequence[ChangeRecord],
        notices: Sequence[Notice],
        cases: Sequence[StoredCase],
        decisions: Sequence[MadeDecision],
        /,
    ) -> Written:
        """Store all of it in one transaction. StoreUnavailableError to be tried again; StoreError for good."""
        ...


@dataclass(frozen=True, slots=True)
class Routes:
    """The receivers, and the addresses of the pages of an incident and a case; a reload replaces all together.

    held: a decision that holds a change of a case back from every receiver that would get it (`decide_case`), such as
    in a window of maintenance; None: nothing does. Its receiver and type are filled in. Called with the wall clock, ns.
    """

    receivers: Sequence[Receiver]
    url_of: Callable[[str], str]
    case_url_of: Callable[[str], str | None] = lambda _id: None
    held: Callable[[CaseChange, int], Decision | None] = lambda _change, _now_ns: None


@dataclass(slots=True)
class _Work:
    """What one transaction stores: changes, rows of cases, and notices of these."""

    records: list[ChangeRecord]
    cases: list[StoredCase]
    changes: list[CaseChange]

    @classmethod
    def of(cls, bundle: Bundle) -> _Work:
        return cls(list(bundle.records), list(bundle.cases), list(bundle.notices))

    def add(self, bundle: Bundle) -> None:
        self.records += bundle.records
        self.cases += bundle.cases
        self.changes += bundle.notices

    def __len__(self) -> int:
        return len(self.records) + len(self.changes)


class _Decided(NamedTuple):
    """A change of a case with the decisions on it."""

    change: CaseChange
    decisions: Sequence[Decision]

    def beside(self, before: _Decided) -> _Decided:
        """Return what is sent by these decisions and was not by earlier ones."""
        return _Decided(self.change, [one for one in self.decisions if not one.held and one not in before.decisions])


def _decided(
    changes: Sequence[CaseChange], escalated: Mapping[str, Collection[str]], routes: Routes, now_ns: int
) -> list[_Decided]:
    """Decide on changes of cases. escalated: by root, those who must hear when a case is taken on or over."""
    found = []
    for change in changes:
        names = {name for root in (change.root, *change.merged) for name in escalated.get(root, ())}
        found.append(_Decided(change, decide_case(change, routes.receivers, routes.held(change, now_ns), names)))
    return found


@dataclass(slots=True)
class WriterCounts:
    """Counts of the writer's thread; written there, read anywhere. error: why it waits, empty when not.

    since_s: monotonic time at which it took the changes that it has not stored yet; None without any. storing: whether
    it waits for the database with them, for an answer or for the next try. decisions: by `Decision.labels`, of changes
    that were stored. case_notices: notices of cases by receiver and event type; drill_notices: those of drills.
    """

    since_s: float | None = None
    storing: bool = False
    records: int = 0
    fresh: int = 0
    notices: int = 0
    case_changes: int = 0
    decisions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    case_notices: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: int = 0
    busy_s: float = 0.0
    checkpoint_failures: int = 0
    error: str = ""
    checkpoint_error: str = ""
    drill_notices: Counter[tuple[str, str]] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, decisions: Iterable[Decision], made: Iterable[Notice]) -> None:
        """Count decisions, and those of these notices that are about cases. From any thread."""
        with self.lock:
            self.decisions.update(one.labels for one in decisions)
            self.case_notices.update((one.receiver, one.type) for one in made if one.case_id)

    def add_drill(self, made: Iterable[Notice]) -> None:
        """Count notices of drills, which are not counted as real ones. From any thread."""
        with self.lock:
            self.drill_notices.update((one.receiver, one.type) for one in made)


class WriterLoop(Worker):
    """One thread between the engines' queue and the database; ends after the last bundle, or after `finish`.

    checkpoint: the file for the state of a node, by its name. stored: called from this thread with changes that are in
    the database, as the history shows them; cases_stored: the same for cases, set before the start. fleet: checkpoints
    of nodes wait for that of the fleet. escalated: the receivers to which cases have escalated, by root.
    """

    def __init__(
        self,
        recorder: Recorder,
        bundles: queue.Queue[Bundle],
        routes: Routes,
        *,
        checkpoint: Callable[[str], Path],
        clock: Clock,
        wall_ns: Callable[[], int],
        stored: Callable[[Sequence[ChangeRecord]], None],
        on_disk: StoredPositions | None = None,
        fleet: bool = False,
        escalated: Callable[[Collection[str]], Mapping[str, Collection[str]]] = lambda _roots: {},
    ) -> None:
        super().__init__("writer", clock)
        self._order = FleetOrder() if fleet else None
        self.routes, self.counts, self.opened = routes, WriterCounts(), IncidentLog()
        self.failure: StoreError | None = None  # why the thread ended early
        self._recorder, self._bundles, self._checkpoint = recorder, bundles, checkpoint
        self._wall_ns, self._stored = wall_ns, stored
        self.cases_stored: Callable[[Sequence[StoredCase]], None] = lambda _cases: None
        self._escalated = escalated
        self._on_disk = on_disk or StoredPositions()
        self._database, self._keeping = Episode(), Episode()
        self._finishing = threading.Event()

    @property
    def waits_s(self) -> float:
        """How long changes have waited to be stored, in a call that hangs or over many tries; 0 without any."""
        since_s = self.counts.since_s
        return 0.0 if since_s is None else max(0.0, self._clock.monotonic() - since_s)

    def finish(self) -> None:
        """End once the queue is empty: all engines have ended. From any thread."""
        self._finishing.set()
        with suppress(queue.Full):  # then it does not wait, and sees the event when the queue is empty
            self._bundles.put_nowait(Bundle(last=True))

    def _run(self) -> None:
        try:
            self._take_all()
        except StoreError as error:
            _LOG.error("%s; a restart computes again what is not stored", error)
            self.failure = error

    def _take_all(self) -> None:
        last = False
        while not last and not self._giving_up.is_set():
            self._beat()
            try:
                bundle = self._bundles.get(timeout=END_LOOK_S if self._finishing.is_set() else IDLE_S)
            except queue.Empty:
                if self._finishing.is_set():
                    return
                if self._database.over(self._clock.monotonic()):
                    _LOG.info("changes are stored again")
                continue
            self.counts.since_s = self._clock.monotonic()
            work = _Work.of(bundle)
            while not (bundle.checkpoint or bundle.forget or bundle.last) and len(work) < MOST_RECORDS:
                try:
                    bundle = self._bundles.get_nowait()
                except queue.Empty:
                    break
                work.add(bundle)
            if self._store(work):
                self._after(bundle)
            self.counts.since_s = None
            last = bundle.last

    def _after(self, bundle: Bundle) -> None:
        """Save or remove the state of a node; its changes are stored."""
        if bundle.checkpoint is not None:
            self._keep(bundle.checkpoint)
        if bundle.forget:
            if self._order is not None:
                self._order.forget(bundle.forget)
            self._try_file(self._checkpoint(bundle.forget), lambda path: path.unlink(missing_ok=True))

    def _store(self, work: _Work) -> bool:
        """Store changes and cases, retrying until it works; False when giving up. StoreError when it never will."""
        if not work and not work.cases:
            return not self._giving_up.is_set()
        routes, now_ns = self.routes, self._wall_ns()
        decisions: list[Decision] = []
        due: list[Notice] = []
        for record in work.records:
            own = decide(record, routes.receivers)
            decisions += own
            due += notices(record, own, routes.url_of, now_ns)
        decided = _decided(work.changes, self._escalated_to(work.changes), routes, now_ns)
        if not self._kept(work, due, decided, routes, now_ns):
            return False
        self.counts.case_changes += len(work.changes)
        self.counts.add(decisions, ())
        # An escalation may have been stored while these were decided; once they are stored, none can be.
        again = _decided(work.changes, self._escalated_to(work.changes), routes, now_ns)
        late = [after.beside(before) for before, after in zip(decided, again, strict=True) if before != after]
        return not late or self._kept(_Work([], [], []), [], late, routes, now_ns)

    def _kept(
        self, work: _Work, due: Sequence[Notice], decided: Sequence[_Decided], routes: Routes, now_ns: int
    ) -> bool:
        """Store changes of cases as decided, with their notices, and what else there is; False when giving up."""
        made = [MadeDecision(one.change, each, now_ns) for one in decided for each in one.decisions]
        url_of = routes.case_url_of
        own = [note for one in decided for note in case_notices(one.change, one.decisions, url_of, now_ns)]
        self.counts.storing = True
        try:
            stored = self._tried(work, [*due, *own], made)
        finally:
            self.counts.storing = False
        if stored:
            real = [one.decision for one in made if not one.change.document.get(DRILL)]
            self.counts.add(real, (one for one in own if not one.body.get(DRILL)))
            self.counts.add_drill(one for one in own if one.body.get(DRILL))
        return stored

    def _escalated_to(self, changes: Sequence[CaseChange]) -> Mapping[str, Collection[str]]:
        """Return to whom those cases have escalated that end or are taken on, by root."""
        ending = [one for one in changes if ENDINGS.intersection(map(event_of, one.reasons))]
        roots = {root for one in ending for root in (one.root, *one.merged)}
        wait_s = FIRST_RETRY_S
        while roots and not self._giving_up.is_set():
            try:
                return self._escalated(roots)
            except StoreUnavailableError as error:
                self._failed(str(error))
                self._giving_up.wait(wait_s)
                wait_s = min(wait_s * 2, LAST_RETRY_S)
        return {}

    def _tried(self, work: _Work, due: Sequence[Notice], made: Sequence[MadeDecision]) -> bool:
        """Retry with growing waits."""
        wait_s = FIRST_RETRY_S
        while not self._giving_up.is_set():
            begun = self._beat()
            try:
                written = self._recorder.record(work.records, due, work.cases, made)
            except StoreUnavailableError as error:
                self._failed(str(error))
                self._giving_up.wait(wait_s)
                wait_s = min(wait_s * 2, LAST_RETRY_S)
                continue
            self.counts.busy_s += self._clock.monotonic() - begun
            self._succeeded(written, len(work.records), len(due))
            return True
        return False

    def _failed(self, text: str) -> None:
        self.counts.failures += 1
        if self._database.failed(text):
            _LOG.error("%s; changes wait, retrying", text)
        self.counts.error = text

    def _succeeded(self, written: Written, records: int, notices_: int) -> None:
        self.counts.error = ""
        if self._database.worked(self._clock.monotonic()):
            _LOG.info("changes are stored again")
        self.counts.records += records
        self.counts.fresh += written.new
        if written.new:  # else a restart has emitted changes again that were reported before
            self.opened.note(written.shown)
        self.counts.notices += notices_
        self._stored(written.shown)
        self.cases_stored(written.cases)

    def _keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint. A failure costs time at the next start, but no events."""
        for due in [checkpoint] if self._order is None else self._order.due(checkpoint):
            if self._try_file(self._checkpoint(due.node), partial(write_checkpoint, checkpoint=due)):
                self._on_disk.note(due)

    def _try_file(self, path: Path, work: Callable[[Path], None]) -> bool:
        """Return whether it worked; a failure is logged once."""
        try:
            work(path)
        except OSError as error:
            self.counts.checkpoint_failures += 1
            text = f"checkpoint '{path}': {(error.strerror or 'cannot be written').lower()}"
            if self._keeping.failed(text):
                _LOG.error("%s; the previous checkpoint remains", text)
            self.counts.checkpoint_error = text
            return False
        self.counts.checkpoint_error = ""
        if self._keeping.worked(self._clock.monotonic()):
            _LOG.info("checkpoints are written again")
        return True
