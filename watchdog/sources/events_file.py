"""`events:FILE`: recordings of our own format, as a source.

A file replays as the sources that it was recorded from. Each is a source of its own here, with its kinds, watermark,
gaps and position, so rules judge as they would have judged over the sources. Each reads the file for itself and passes
over the slices of the others, so none waits for another, in whatever order sessions were appended. A file of an older
version, or without names, is one source: its watermark is the least of all recorded ones, and it never goes back.

Batches come as they were recorded, with their own node and source names. Events whose time cannot be true are left out
and reported as lost; a recorded watermark that cannot be true counts as the first event time of its slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from watchdog.archive.codec import Original
from watchdog.archive.index import NEVER_NS
from watchdog.archive.reader import EventsFile, Torn
from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.batch_form import adapted
from watchdog.core.column_join import joined
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.kinds import FINDING_KINDS, FLEET_KINDS, KINDS, any_kinds
from watchdog.core.moments import EARLIEST_NS, IMPLAUSIBLE, clock_reset_ns, plausible
from watchdog.core.source import END_OF_TIME_NS, Source, SourceOptions
from watchdog.sources.faults import SourceFaults
from watchdog.sources.scheme import position_of

JOINED_SLICES, JOINED_ROWS = 1_000, 20_000  # of one slice, where no reader waits for a single one
PATIENCE = 8  # polls after which a damaged frame in a growing file is no longer taken for one that is being written


class EventsFileSource:
    """An events file as a source.

    path: the file. original: the recorded source that is read; None: all, as one. known: names of all recorded sources
    that are read, if this one is to look out for further ones. options.wanted: blocks of other kinds
    are not even unpacked. options.follow: wait for more at the end. start_ns: leave out events before that time. Kinds
    that this version does not know are passed over; `torn_at` says where the file was torn.
    SourceError: the file cannot be read, the position does not fit it, or none of its events has a plausible time.
    """

    def __init__(
        self,
        path: str,
        options: SourceOptions,
        start_ns: int | None = None,
        original: Original | None = None,
        *,
        known: frozenset[str] = frozenset(),
    ) -> None:
        self._path, self._original, self._known_names = f"events:{path}", original, known
        self.name = self._path if original is None else f"{self._path}#{original.name}"
        self.torn_at: Torn | None = None
        self.faults = SourceFaults()  # where a file that is not followed was torn
        self._options = options
        self._start_ns = start_ns
        self._file = EventsFile(path, options.wanted, source=None if original is None else original.name)
        self._marks: dict[str, int] = {}
        self._until_ns = NEVER_NS
        self._seen_ns = NEVER_NS  # latest event time so far
        self.untrue_times = 0  # events left out because of their time; see `core.source.Dated`
        self._early = 0  # events without plausible time before the first that has one
        self._ended = False
        self._node = options.node
        self._tears, self._torn_size = 0, 0
        self._joins = options.at_once and not options.follow
        self._held: Slice | None = None  # read, but behind what the slice before it promised
        self._offset = self._file.offset
        try:
            if options.position is not None:
                self._resume(options.position)
            elif start_ns is not None:
                self._file.seek(start_ns)
                self._offset = self._file.offset
        except SourceError:
            self._file.close()
            raise

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds recorded of its source; all kinds where the file does not list them."""
        listed = None if self._original is None else self._original.kinds
        return any_kinds() if listed is None else listed & any_kinds()

    @property
    def ended(self) -> bool:
        """Whether the last slice was given; never while the file is followed."""
        return self._ended

    @property
    def progress(self) -> float:
        """Share of the file that was read."""
        return 1.0 if self._ended else min(1.0, self._file.offset / max(1, self._file.size))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def poll(self) -> Slice | None:
        """Return the next recorded slice, or None; the last one has the watermark END_OF_TIME_NS."""
        if self._ended:
            return None
        if self._joins:
            return self._joined() or self._last()
        found = self._next()
        if found is not None:
            self._tears = 0
            return self._slice(found.batches, found)
        if self._options.follow:
            self.torn_at = self._file.torn_at
            self._wait()
            return None
        return self._last()

    def _joined(self) -> Slice | None:
        """Join recorded slices: a followed recording has one for each poll, and closing panes has a price."""
        pieces: list[Slice] = []
        rows, offset = 0, self._offset
        while len(pieces) < JOINED_SLICES and rows < JOINED_ROWS and (found := self._next()) is not None:
            reset = clock_reset_ns(found.batches) is not None
            late = any(int(batch.time_ns.min()) < self._until_ns for batch in found.batches if batch.rows)
            if pieces and (late or reset):
                self._held, self._offset = found, offset  # only a slice of its own can be late, or reset the engine
                break
            pieces.append(self._slice(found.batches, found))
            if reset:
                break
            rows, offset = rows + sum(batch.rows for batch in pieces[-1].batches), self._offset
        if not pieces[1:]:
            return pieces[0] if pieces else None
        batches = _side_by_side([batch for piece in pieces for batch in piece.batches])
        return Slice(self.name, batches, self._until_ns, self._position())

    def _next(self) -> Slice | None:
        """Return the next recorded slice; `_offset` is behind it."""
        found, self._held = self._held or self._file.next_slice(), None
        further = set(self._file.sources) - self._known_names if self._known_names else ()
        if further:
            raise SourceError(
                f"{self._path}: {min(further)!r} was appended since the file was opened; start again to read it"
            )
        self._offset = self._file.offset
        return found

    def _last(self) -> Slice:
        left = self._file.rest()
        self._offset = self._file.offset
        self.torn_at = self._file.torn_at
        if self.torn_at is not None:
            self.faults.note(self._path, f"{self._path}: torn at byte {self.torn_at.offset}: {self.torn_at.reason}")
        batches = left.batches if left is not None else ()
        made = self._slice(batches).batches
        if self._early:
            raise SourceError(
                f"{self.name!r}: none of its {self._early:,} events has a time between 2009 and tomorrow; "
                "is the clock of this machine right?"
            )
        if self.torn_at is not None and self._options.wants("source:gap"):
            latest = [int(batch.time_ns.max()) for batch in made if batch.rows]
            reason = f"recording torn at byte {self.torn_at.offset}"
            made += self._gap(max([self._until_ns, *latest]), 0, reason)
        self._until_ns = END_OF_TIME_NS
        self._ended = True
        return Slice(self.name, made, END_OF_TIME_NS, self._position())

    def _slice(self, batches: tuple[Batch, ...], found: Slice | None = None) -> Slice:
        """Return a slice with the batches that are kept. found: the slice that they make up, if it is whole."""
        latest_ns = self._options.latest_ns()
        known = [batch for batch in map(self._known, batches) if batch is not None and batch.rows]
        sound = [plausible(batch.time_ns, latest_ns) for batch in known]
        lost = sum(len(rows) - int(rows.sum()) for rows in sound)
        self.untrue_times += lost
        if lost:
            known = [batch.take(np.flatnonzero(rows)) for batch, rows in zip(known, sound, strict=True) if rows.any()]
        if known:
            self._node = known[-1].node
        first_ns = min((int(batch.time_ns.min()) for batch in known), default=NEVER_NS)
        told = self._quarantined(lost, first_ns) if lost or self._early else ()
        if found is not None:
            if (reset_ns := clock_reset_ns(known)) is not None:  # as the recorded source, it restarts
                self._until_ns = NEVER_NS
                self._marks = _until(self._marks, reset_ns)
            self._advance(found.source, found.until_ns, first_ns, latest_ns)
        self._seen_ns = max([self._seen_ns, *(int(batch.time_ns.max()) for batch in known)])
        return Slice(self.name, (*known, *told), self._until_ns, self._position())

    def _quarantined(self, lost: int, first_ns: int) -> tuple[Batch, ...]:
        """Report events that were left out, not before the promised time; they wait while no time is known."""
        at_ns = max(self._seen_ns, self._until_ns)
        self._early += lost
        at_ns = first_ns if at_ns < EARLIEST_NS else at_ns
        if at_ns == NEVER_NS:
            return ()
        lost, self._early = self._early, 0
        return self._gap(at_ns, lost, IMPLAUSIBLE) if self._options.wants("source:gap") else ()

    def _advance(self, source: str, until_ns: int, first_ns: int, latest_ns: int) -> None:
        """Advance to the recorded watermark; of several sources, to the least of those not ended, once all have one."""
        if latest_ns < until_ns < END_OF_TIME_NS:
            until_ns = max(first_ns, min(self._marks.get(source, NEVER_NS), latest_ns))
        self._marks[source] = until_ns
        if self._original is None and any(source not in self._marks for source in self._file.sources):
            return
        least = min(self._marks.values())
        if least != END_OF_TIME_NS:  # all recorded sources have ended, but another session may follow
            self._until_ns = max(self._until_ns, least)

    def _known(self, batch: Batch) -> Batch | None:
        """Return the batch with this version's columns, from `start_ns` on; None for a kind that no source gives."""
        kind = KINDS.get(batch.kind)
        if kind is None or batch.kind in FINDING_KINDS or batch.kind in FLEET_KINDS:
            return None
        batch = adapted(batch, kind.fields)
        if self._start_ns is None or not batch.rows or int(batch.time_ns.min()) >= self._start_ns:
            return batch
        return batch.take(np.flatnonzero(batch.time_ns >= self._start_ns))

    def _wait(self) -> None:
        """Go back to the last whole frame; SourceError when the file is damaged rather than unfinished."""
        self._file.rewind()
        if self.torn_at is None:
            self._tears = 0
            return
        size = self._file.size
        if self._tears == 0:
            self._torn_size = size
        if self._tears == 0 or size > self._torn_size:
            self._tears += 1
        if self._tears > PATIENCE:
            raise SourceError(f"{self.name!r}: damaged at byte {self.torn_at.offset}: {self.torn_at.reason}")

    def _gap(self, time_ns: int, lost: int, reason: str) -> tuple[Batch, ...]:
        """Return a loss as an event (lost: 0 when the number is unknown); nothing when no time is known."""
        if time_ns == NEVER_NS:
            return ()
        at = np.array([time_ns], np.int64)
        columns: dict[str, Column] = {
            "time_ns": at,
            "from_ns": at,
            "to_ns": at,
            "lost": np.array([lost], np.uint64),
            "reason": Strings.constant(reason, 1),
            "kinds": Strings.constant("", 1),
        }
        return (Batch("source:gap", self._node, self.name, columns),)

    def _position(self) -> dict[str, object]:
        return {
            "offset": self._offset,
            "until_ns": self._until_ns,
            "marks": dict(self._marks),
            "seen_ns": self._seen_ns,
            "early": self._early,
        }

    def _resume(self, position: Mapping[str, object]) -> None:
        offset, until_ns, marks = (position.get(name) for name in ("offset", "until_ns", "marks"))
        if not isinstance(offset, int) or not isinstance(until_ns, int) or not isinstance(marks, dict):
            raise PositionError(f"{self.name!r}: the position to resume at is not one of this source")
        self._file.resume(offset)
        self._offset = offset
        self._until_ns = NEVER_NS if until_ns == END_OF_TIME_NS else until_ns
        self._marks = {str(source): int(mark) for source, mark in marks.items()}
        seen_ns, early = position.get("seen_ns", self._until_ns), position.get("early", 0)
        self._seen_ns = seen_ns if isinstance(seen_ns, int) else self._until_ns
        self._early = early if isinstance(early, int) else 0
        self._forget_after(self._options.believed_ns)

    def _forget_after(self, believed_ns: int) -> None:
        """Forget watermarks that a wrong clock gave; the place in the file stays."""
        if max(self._until_ns, self._seen_ns) > believed_ns:
            self._until_ns, self._seen_ns = NEVER_NS, min(self._seen_ns, believed_ns)
            self._marks = _until(self._marks, believed_ns)


def _until(marks: Mapping[str, int], most_ns: int) -> dict[str, int]:
    """Return watermarks by source, none later than this; a source that has ended stays so."""
    return {name: mark if mark == END_OF_TIME_NS else min(mark, most_ns) for name, mark in marks.items()}


def _side_by_side(batches: list[Batch]) -> tuple[Batch, ...]:
    """Join batches of the same kind, node, source and process, in the order in which they first came."""
    found: dict[tuple[str, str, str, int], list[Batch]] = {}
    for batch in batches:
        if batch.rows:
            found.setdefault((batch.kind, batch.node, batch.source, batch.boot_ns), []).append(batch)
    return tuple(
        parts[0] if len(parts) == 1 else replace(parts[0], columns=joined([part.columns for part in parts]))
        for parts in found.values()
    )


def open_events(path: str, options: SourceOptions) -> list[Source]:
    """Open the sources that an events file was recorded from, `events:PATH#NAME`; a file without names is one source.

    options.position: of all of them, by the name of the source. SourceError: the file cannot be read.
    """
    with EventsFile(path, ()) as file:
        originals: tuple[Original | None, ...] = file.originals() or (None,)
    sources: list[Source] = []
    try:
        for original in originals:
            name = f"events:{path}" if original is None else f"events:{path}#{original.name}"
            own = replace(options, position=position_of(options, name))
            known = frozenset(one.name for one in originals if one) if not sources else frozenset[str]()
            sources.append(EventsFileSource(path, own, original=original, known=known))
    except SourceError:
        for source in sources:
            source.close()
        raise
    return sources


def is_one_source(path: str) -> bool:
    """Return whether a file replays as one source although several were recorded. SourceError: it is unreadable."""
    with EventsFile(path, ()) as file:
        return not file.originals()
