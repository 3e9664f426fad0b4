"""Records what the engine of a node takes, in a thread of its own: a ring of events files, kept around incidents.

    engine thread --take--> [ an inbox for each source, bounded ] --> recorder thread --> Ring, links in the database
    writer thread --note--> [ incidents, bounded ] ---------------------^

The engine never waits for the disk: what finds no room is dropped, counted, and a `source:gap` of the recording. While
nothing can be written, the thread tries again every `RETRY_S`; the inboxes hold what they can until then.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np

from alerts.incident import RANK, Incident, Reason
from alerts.notice import ChangeRecord
from alerts.store.recordings import RecordedFile
from rules.row_filter import row_filter
from watchdog.archive.resumed import Resumed
from watchdog.archive.ring import Ring, TakenError
from watchdog.core.batch import Slice
from watchdog.core.episode import Episode
from watchdog.core.errors import StateError, StoreError
from watchdog.core.text import printable
from watchdog.engine.coverage import ALWAYS_WANTED
from watchdog.pipeline.clock import Clock
from watchdog.pipeline.clock_reset import gap_of
from watchdog.service.config.settings import RecorderSettings
from watchdog.sources.live.inbox import Inbox, Limits

UNWRITABLE: Final = "unwritable"  # reason of the gap in place of a slice
RETRY_S, EXPIRE_S, LINK_S = 60.0, 60.0, 5.0
ROUND_S: Final = 1.0
SOON_ROWS: Final = 10_000  # that wait: the thread does not wait for its next round
MOST_INCIDENTS: Final = 1_000  # that wait for the thread
LIMITS: Final = Limits(32 << 20, 200_000)  # of each source
_STARTS: Final = frozenset({Reason.OPENED, Reason.REOPENED, Reason.ESCALATED})
_LOG = logging.getLogger("watchdog.recorder")


class Links(Protocol):
    """Stores which files belong to an incident; `alerts.store.recordings.Recordings`."""

    def replace(self, incident_id: str, files: Sequence[RecordedFile], /) -> bool:
        """Store the files of an incident; return whether the incident is stored. StoreError when that fails."""
        ...


@dataclass(frozen=True, slots=True)
class RecorderStatus:
    """What others see of a recorder. Sizes in bytes; error: why nothing is written, empty while it is."""

    size: int = 0
    kept_size: int = 0
    files: int = 0
    events: int = 0
    errors: int = 0
    incidents_dropped: int = 0
    unkept: int = 0
    error: str = ""


@dataclass(slots=True)
class _Waiting:
    """What the thread has in hand. held: a slice that could not be written. linked: names of files by incident."""

    held: Slice | None = None
    linked: dict[str, frozenset[str]] = field(default_factory=dict)
    retry_s: float = 0.0
    expired_s: float = 0.0
    link_s: float = 0.0
    latest_ns: int = 0


class NodeRecorder:
    """The recorder of one node; `EngineLoop` hands over events, and ends it.

    Building it takes the folder: TakenError when another process records there. Whatever else fails is for the thread
    to report and to try again. sources: the kinds of each, by the names that the engine knows.
    """

    def __init__(
        self,
        node: str,
        settings: RecorderSettings,
        sources: Mapping[str, frozenset[str]],
        links: Links,
        *,
        clock: Clock,
        wall_ns: Callable[[], int],
    ) -> None:
        self.settings: Final = settings
        self.status = RecorderStatus()
        self._node, self._links, self._clock, self._wall_ns = node, links, clock, wall_ns
        self._kinds = settings.kinds | ALWAYS_WANTED
        self._sources = {name: kinds & self._kinds for name, kinds in sources.items()}
        self._passing = row_filter(settings.peers, settings.kinds, others=True) if settings.peers else None
        self._inboxes = {name: Inbox(name, node, policy="drop", limits=LIMITS) for name in sources}
        self._incidents: deque[tuple[str, int]] = deque(maxlen=MOST_INCIDENTS)
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._episode, self._waiting = Episode(), _Waiting()
        self._ring: Ring | None = None
        self._resumed, self._skipped, self._unasked = Resumed({}), 0, 0
        self._thread = threading.Thread(target=self._run, name=f"recorder {node}", daemon=True)
        try:
            self._open()
        except TakenError:
            raise
        except StateError as error:
            self._failed(error)

    @property
    def dropped(self) -> int:
        """Events that were not recorded, since the start."""
        return self._skipped + sum(sum(one.counts.dropped.values()) for one in self._inboxes.values())

    def stop(self, timeout_s: float) -> None:
        """End after what waits is written; wait for that at most this long. Without a thread, release the folder."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                _LOG.warning("the recorder of node %s did not end in time", self._node)
        elif self._ring is not None:
            self._ring.close()

    def take(self, slice_: Slice) -> None:
        """Hand over what the engine took; the first call starts the thread. In the engine's thread; never blocks."""
        if self._thread.ident is None:
            self._thread.start()
        for part in slice_.parts:
            inbox = self._inboxes.get(part.source)
            if inbox is not None:
                inbox.put([batch for batch in part.batches if batch.kind in self._kinds], part.until_ns)
                if inbox.waiting[1] >= SOON_ROWS:
                    self._wake.set()

    def note(self, record: ChangeRecord) -> None:
        """Keep the files around an incident that opens or escalates at severity warning and above. From any thread."""
        if record.change.reason in _STARTS and RANK[record.change.severity] >= RANK["warning"]:
            self._ask_for(record.incident.id, record.change.time_ns)

    def keep_recent(self, incident: Incident) -> None:
        """Keep the files around an incident that opened a moment ago, in an earlier run."""
        since_ns = self._wall_ns() - self.settings.before_ns - self.settings.after_ns
        if RANK[incident.severity] >= RANK["warning"] and incident.opened_ns >= since_ns:
            self._ask_for(incident.id, incident.opened_ns)

    def _ask_for(self, incident: str, time_ns: int) -> None:
        """Queue an incident; the oldest one gives way and is counted, as nothing is kept for it."""
        self._unasked += len(self._incidents) >= MOST_INCIDENTS
        self._incidents.append((incident, time_ns))

    def _run(self) -> None:
        ended = False
        while not ended:
            self._wake.wait(ROUND_S)
            self._wake.clear()
            ended = self._stopping.is_set()
            try:
                self._round(last=ended)
            except StateError as error:
                self._failed(error)
            except Exception as error:  # noqa: BLE001 - recording may stop, watching may not
                self._failed(
                    StateError(f"cannot record into '{self.settings.folder}': {type(error).__name__}: {error}")
                )
        if self._ring is not None:
            try:
                self._ring.close()
                self._link()
            except StateError as error:
                self._failed(error)

    def _open(self) -> Ring:
        settings = self.settings
        ring = self._ring = Ring(settings.folder, self._sources, keep=settings.keep)
        self._resumed = Resumed(ring.marks())
        self._waiting.linked = {name: frozenset(kept.files) for name, kept in ring.kept.items()}
        return ring

    def _round(self, *, last: bool) -> None:
        """Write what waits, keep what incidents ask for, and say how it is."""
        now_s, waiting = self._clock.monotonic(), self._waiting
        if self.status.error and now_s < waiting.retry_s and not last:
            return
        ring = self._ring or self._open()
        self._write_all(ring)
        while self._incidents:
            incident, time_ns = self._incidents[0]
            before_ns, after_ns = time_ns - self.settings.before_ns, time_ns + self.settings.after_ns
            ring.keep_around(incident, before_ns, after_ns, self._wall_ns())
            self._incidents.popleft()
        if ring.due(waiting.latest_ns):
            ring.close_file()
        if now_s - waiting.expired_s >= EXPIRE_S:
            ring.expire(self._wall_ns() - self.settings.keep_incidents_ns)
            waiting.expired_s = now_s
        if now_s - waiting.link_s >= LINK_S or last:
            self._link()
            waiting.link_s = now_s
        self._worked(ring)

    def _write_all(self, ring: Ring) -> None:
        waiting = self._waiting
        if waiting.held is not None:
            self._write(ring, waiting.held)
        for inbox in self._inboxes.values():
            while (found := inbox.take()) is not None:
                piece = self._resumed.rest(self._passed(found))
                if piece is not None:
                    self._write(ring, piece)

    def _write(self, ring: Ring, piece: Slice) -> None:
        """Write a slice; hold it while the disk refuses. What cannot be written for another reason is left out."""
        self._waiting.held = piece
        try:
            ring.write(piece)
        except Exception as error:
            if isinstance(error, StateError) and isinstance(error.__cause__, OSError):
                raise
            place = printable(f"{piece.source}: {type(error).__name__}: {error}")
            if self._episode.failed(place):
                _LOG.error("a slice cannot be recorded and is left out: %s", place)
            piece = self._left_out(piece)
            self._waiting.held = piece
            ring.write(piece)
        self._waiting.held = None
        self._count(piece)

    def _left_out(self, piece: Slice) -> Slice:
        """Count the events of a slice, and return the gap in their place."""
        rows = [batch for batch in piece.batches if batch.rows]
        self._skipped += sum(batch.rows for batch in rows)
        from_ns = min((int(batch.time_ns.min()) for batch in rows), default=piece.until_ns)
        to_ns = max((int(batch.time_ns.max()) + 1 for batch in rows), default=piece.until_ns)
        gap = gap_of(self._node, piece.source, (from_ns, to_ns), UNWRITABLE, from_ns)
        lost = np.array([sum(batch.rows for batch in rows)], np.uint64)
        return replace(piece, batches=(replace(gap, columns={**gap.columns, "lost": lost}),))

    def _passed(self, found: Slice) -> Slice:
        """Return a slice without the rows that `peers` leaves out."""
        passing = self._passing
        if passing is None:
            return found
        given = (one if one.kind in ALWAYS_WANTED else passing(one) for one in found.batches)
        return replace(found, batches=tuple(batch for batch in given if batch is not None))

    def _count(self, piece: Slice) -> None:
        rows = [batch for batch in piece.batches if batch.rows]
        latest = (int(batch.time_ns.max()) for batch in rows)
        self._waiting.latest_ns = max([self._waiting.latest_ns, *latest])
        self.status = replace(self.status, events=self.status.events + sum(batch.rows for batch in rows))

    def _link(self) -> None:
        """Bring the files of each incident into the database where they have changed; later when it does not answer."""
        ring, linked = self._ring, self._waiting.linked
        if ring is None:
            return
        now = {name: frozenset(kept.files) for name, kept in ring.kept.items()}
        for incident in [name for name in {**linked, **now} if linked.get(name) != now.get(name)]:
            kept = ring.kept.get(incident)
            files = [] if kept is None else list(kept.files.values())
            rows = [RecordedFile(str(one.path.absolute()), one.from_ns, one.to_ns, one.size) for one in files]
            try:
                stored = self._links.replace(incident, rows)
            except StoreError as error:
                _LOG.debug("files of incident %s are not linked yet: %s", incident, error)
                return
            if incident in now and stored:
                linked[incident] = now[incident]
            elif incident not in now:
                linked.pop(incident, None)

    def _failed(self, error: StateError) -> None:
        text = printable(error.in_one_line())
        if self._episode.failed(text):
            _LOG.error("%s; nothing is recorded, watching continues", text)
        self._waiting.retry_s = self._clock.monotonic() + RETRY_S
        self.status = replace(self.status, error=text, errors=self.status.errors + 1)

    def _worked(self, ring: Ring) -> None:
        if self._episode.worked(self._clock.monotonic()):
            _LOG.info("node %s is recorded again", self._node)
        kept = {name: one.size for each in ring.kept.values() for name, one in each.files.items()}
        self.status = replace(
            self.status,
            size=ring.size,
            kept_size=sum(kept.values()),
            files=len(ring.files),
            incidents_dropped=ring.dropped_incidents + self._unasked,
            unkept=ring.unkept,
            error="",
        )
