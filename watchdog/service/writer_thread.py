"""The writer's thread: stores changes with their notices, then checkpoints. It skips nothing.

It retries a database that fails for as long as the service runs: changes wait here, then in the queue, then as events
in their files. A failure that waiting cannot heal (`StoreError`) ends this thread, and so the service. A checkpoint is
written only when every change before it is stored.
"""

from __future__ import annotations

import logging
import queue
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from alerts.decide import Decision, decide, notices
from alerts.notice import ChangeRecord, Notice
from alerts.routing import Receiver
from alerts.store.writer import Written
from watchdog.core.episode import Episode
from watchdog.core.errors import StoreError, StoreUnavailableError
from watchdog.pipeline.checkpoint import Checkpoint, write_checkpoint
from watchdog.pipeline.clock import Clock
from watchdog.service.engine_thread import Bundle
from watchdog.service.worker import Worker

MOST_RECORDS = 500  # in one transaction
IDLE_S = 1.0  # between two beats without work
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 15.0
_LOG = logging.getLogger("watchdog.writer")


class Recorder(Protocol):
    """Stores changes; implemented by `alerts.store.writer.IncidentWriter`."""

    def record(self, records: Sequence[ChangeRecord], notices: Sequence[Notice], /) -> Written:
        """Store all of it in one transaction. StoreUnavailableError to be tried again; StoreError for good."""
        ...


@dataclass(frozen=True, slots=True)
class Routes:
    """The receivers, and the address of an incident's page; a reload replaces both together."""

    receivers: Sequence[Receiver]
    url_of: Callable[[str], str]


@dataclass(slots=True)
class WriterCounts:
    """Counts of the writer's thread; written there, read anywhere. error: why it waits, empty when not.

    since_s: monotonic time at which it took the changes that it has not stored yet; None without any. storing: whether
    it waits for the database with them, for an answer or for the next try. decisions: by `Decision.labels`, of changes
    that were stored.
    """

    since_s: float | None = None
    storing: bool = False
    records: int = 0
    fresh: int = 0
    notices: int = 0
    decisions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failures: int = 0
    busy_s: float = 0.0
    checkpoint_failures: int = 0
    error: str = ""
    checkpoint_error: str = ""


class WriterLoop(Worker):
    """One thread between the engine's queue and the database; ends after the engine's last bundle.

    stored: called from this thread with changes that are in the database, as the history shows them.
    """

    def __init__(
        self,
        recorder: Recorder,
        bundles: queue.Queue[Bundle],
        routes: Routes,
        *,
        checkpoint: Path,
        clock: Clock,
        wall_ns: Callable[[], int],
        stored: Callable[[Sequence[ChangeRecord]], None],
    ) -> None:
        super().__init__("writer", clock)
        self.routes, self.counts = routes, WriterCounts()
        self.failure: StoreError | None = None  # why the thread ended early
        self._recorder, self._bundles, self._checkpoint = recorder, bundles, checkpoint
        self._wall_ns, self._stored = wall_ns, stored
        self._database, self._keeping = Episode(), Episode()

    @property
    def waits_s(self) -> float:
        """How long changes have waited to be stored, in a call that hangs or over many tries; 0 without any."""
        since_s = self.counts.since_s
        return 0.0 if since_s is None else max(0.0, self._clock.monotonic() - since_s)

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
                bundle = self._bundles.get(timeout=IDLE_S)
            except queue.Empty:
                if self._database.over(self._clock.monotonic()):
                    _LOG.info("changes are stored again")
                continue
            self.counts.since_s = self._clock.monotonic()
            records = list(bundle.records)
            while bundle.checkpoint is None and not bundle.last and len(records) < MOST_RECORDS:
                try:
                    bundle = self._bundles.get_nowait()
                except queue.Empty:
                    break
                records += bundle.records
            if self._store(records) and bundle.checkpoint is not None:
                self._keep(bundle.checkpoint)
            self.counts.since_s = None
            last = bundle.last

    def _store(self, records: Sequence[ChangeRecord]) -> bool:
        """Store changes, retrying until it works; False when giving up. StoreError when it never will."""
        if not records:
            return not self._giving_up.is_set()
        routes, now_ns = self.routes, self._wall_ns()
        decisions: list[Decision] = []
        due: list[Notice] = []
        for record in records:
            own = decide(record, routes.receivers)
            decisions += own
            due += notices(record, own, routes.url_of, now_ns)
        self.counts.storing = True
        try:
            stored = self._tried(records, due)
        finally:
            self.counts.storing = False
        if stored:
            self.counts.decisions.update(decision.labels for decision in decisions)
        return stored

    def _tried(self, records: Sequence[ChangeRecord], due: Sequence[Notice]) -> bool:
        """Retry with growing waits."""
        wait_s = FIRST_RETRY_S
        while not self._giving_up.is_set():
            begun = self._beat()
            try:
                written = self._recorder.record(records, due)
            except StoreUnavailableError as error:
                self._failed(str(error))
                self._giving_up.wait(wait_s)
                wait_s = min(wait_s * 2, LAST_RETRY_S)
                continue
            self.counts.busy_s += self._clock.monotonic() - begun
            self._succeeded(written, len(records), len(due))
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
        self.counts.notices += notices_
        self._stored(written.shown)

    def _keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint. A failure costs time at the next start, but no events."""
        try:
            write_checkpoint(self._checkpoint, checkpoint)
        except OSError as error:
            self.counts.checkpoint_failures += 1
            text = f"checkpoint '{self._checkpoint}': {(error.strerror or 'cannot be written').lower()}"
            if self._keeping.failed(text):
                _LOG.error("%s; the previous checkpoint remains", text)
            self.counts.checkpoint_error = text
        else:
            self.counts.checkpoint_error = ""
            if self._keeping.worked(self._clock.monotonic()):
                _LOG.info("checkpoints are written again")
