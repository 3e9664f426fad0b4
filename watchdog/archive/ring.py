"""Rotated events files in one folder, bounded together: the oldest goes first, those of incidents are kept longer.

    00000041_20261128T120000Z_20261128T130000Z.events   closed: number, first and last event
    00000042_20261128T130000Z.events                    written now, or when a process was killed
    kept/4f1c9ba0d1e2a3b4/window                        what is kept for an incident: two times, ns
    kept/4f1c9ba0d1e2a3b4/00000041_....events           hard links to the files of that time
    lock                                                held by the process that writes here

A file that a kill left open is named after its last whole slice at the next start. Names are all that is read then, so
thousands of files cost nothing. What is kept takes at most half of the space; beyond it the oldest incident goes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchdog.archive.ring_files import (
    NAME,
    WINDOW,
    KeptFiles,
    RingFile,
    events_files,
    file_of,
    kept_in,
    marks_of,
    stamp,
    time_of,
)
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Slice
from watchdog.core.durations import SECOND_NS
from watchdog.core.errors import StateError

LONGEST_NS: Final = 3_600 * SECOND_NS  # of event time in one file
ROTATE_LEAST, ROTATE_MOST, ROTATE_SHARE = 1 << 16, 64 << 20, 32
QUIET_NS: Final = 10 * SECOND_NS  # between two slices of one source without events: each takes 200 bytes
MOST_MARKED: Final = 10  # files that are searched for where a source ends in them
MOST_FILES: Final = 10_000
MOST_WINDOWS: Final = 1_000  # incidents whose files are kept
KEPT, LOCK = "kept", "lock"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_INCIDENT = re.compile(r"[0-9a-f]{1,64}")


@dataclass(slots=True)
class _Current:
    """The file that is written, and its events so far."""

    writer: EventsWriter
    number: int
    from_ns: int
    to_ns: int
    slices: int = 0


class TakenError(StateError):
    """Another process records into this folder."""


class Ring:
    """The events files of one folder, opened for writing. Belongs to one thread.

    sources: the kinds of each source that is recorded, by name. keep: bytes of all files together. rotate: bytes of one
    file, None for a share of `keep`. StateError: the folder cannot be written; TakenError: another process has it.
    dropped_incidents: those whose files went early, for want of space. unkept: files that could not be kept.
    """

    def __init__(
        self, folder: Path, sources: Mapping[str, frozenset[str] | None], *, keep: int, rotate: int | None = None
    ) -> None:
        self.folder, self.keep = folder, keep
        self.rotate_bytes = rotate or min(max(keep // ROTATE_SHARE, ROTATE_LEAST), ROTATE_MOST)
        self.files: list[RingFile] = []
        self.kept: dict[str, KeptFiles] = {}
        self.dropped_incidents = self.unkept = 0
        self._written: dict[str, int] = {}  # by source, its watermark in the files
        self._waiting: set[str] = set()  # incidents whose time has not passed
        self._sources = dict(sources)
        self._current: _Current | None = None
        self._next = 1
        self._sums: tuple[int, int] | None = None  # see `_bytes`; None after a change
        self._lock = self._locked()
        try:
            self._recover()
        except OSError as fault:
            os.close(self._lock)
            raise StateError(f"cannot record into '{folder}': {_text(fault)}") from fault

    @property
    def size(self) -> int:
        """Bytes of all files; one with several links counts once."""
        return self._bytes()[0] + (self._current.writer.size if self._current else 0)

    def marks(self) -> dict[str, int]:
        """Return until when each source was recorded before this start, by the latest file that has slices of it."""
        found: dict[str, int] = {}
        for one in reversed(self.files[-MOST_MARKED:]):
            found = marks_of(one.path) | found
            if found.keys() >= self._sources.keys():
                break
        return found

    def write(self, piece: Slice) -> bool:
        """Append a slice; return whether a file was closed before or after it.

        When the disk is full, the oldest files that no incident keeps go first. StateError: it cannot be written all
        the same; the slice is not in any file then.
        """
        rows = any(batch.rows for batch in piece.batches)
        if not rows and piece.until_ns - self._written.get(piece.source, 0) < QUIET_NS:
            return False
        closed = False
        while True:  # each turn removes a file, or ends
            try:
                closed = self._rotated(piece) or closed
                if self._current is None:
                    self._current = self._begun(piece)
                self._current.writer.write(piece)
            except StateError as fault:
                closed = self.close_file() or closed
                if not (_is_full(fault) and self._drop_oldest()):
                    raise
                continue
            self._note(self._current, piece)
            self._written[piece.source] = piece.until_ns
            self._trim()
            return closed

    def close_file(self) -> bool:
        """Close the file that is written, and keep it for the incidents of its time; return whether there was one.

        A file without a whole slice is removed: on a full disk, `write` would else make and remove it forever.
        """
        current, self._current = self._current, None
        if current is None:
            return False
        path = Path(current.writer.path)
        try:
            current.writer.close()
        except StateError as fault:
            if not _is_full(fault):
                raise
        with self._faults():
            if not current.slices:
                path.unlink(missing_ok=True)
                return False
            self._closed(path, current.number, current.from_ns, current.to_ns)
            self._trim()
        return True

    def keep_around(self, incident: str, from_ns: int, to_ns: int, now_ns: int) -> None:
        """Keep the files of this span for an incident, those to come too. ValueError: that is no incident's id.

        Called again for an incident, it widens the span. StateError: the folder cannot be written.
        """
        if not _INCIDENT.fullmatch(incident):
            raise ValueError(f"{incident!r} is no id of an incident")
        known = self.kept.get(incident)
        kept = KeptFiles(from_ns, to_ns, now_ns) if known is None else known
        kept.from_ns, kept.to_ns = min(kept.from_ns, from_ns), max(kept.to_ns, to_ns)
        kept.since_ns = now_ns
        place = self.folder / KEPT / incident
        with self._faults():
            place.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # on a full disk; a start without it takes the times of the files
            (place / WINDOW).write_text(f"{kept.from_ns} {kept.to_ns} {now_ns}\n", encoding="ascii")
        self.kept[incident] = kept
        self._waiting.add(incident)
        for one in tuple(self.files):
            self._link(incident, kept, one)
        self._trim()

    def due(self, time_ns: int) -> bool:
        """Return whether the time of an incident has passed, once each: the file with its end is to be closed."""
        passed = {one for one in self._waiting if one not in self.kept or self.kept[one].to_ns < time_ns}
        self._waiting -= passed
        return bool(passed)

    def expire(self, before_ns: int) -> None:
        """Remove what is kept for incidents to which no file was added since this time of the wall clock."""
        for incident in [name for name, kept in self.kept.items() if kept.since_ns < before_ns]:
            self._forget(incident)

    def close(self) -> None:
        """Close the file that is written, and release the folder; a second call does nothing."""
        if self._lock < 0:
            return
        try:
            self.close_file()
        finally:
            os.close(self._lock)
            self._lock = -1

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise StateError(f"cannot record into '{self.folder}': {_text(fault)}") from fault

    def _locked(self) -> int:
        try:
            self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)  # recordings hold addresses of peers
            lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as fault:
            raise StateError(f"cannot record into '{self.folder}': {_text(fault)}") from fault
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise TakenError(f"cannot record into '{self.folder}': another watchdog records into it") from None
        return lock

    def _recover(self) -> None:
        """Take over what earlier runs left; the system released their lock, however they ended."""
        for path, found in sorted(events_files(self.folder)):
            self._next = max(self._next, int(found[1]) + 1)
            if found[3] is None:
                self._take_open(path, int(found[1]), time_of(found[2]))
            else:
                self.files.append(file_of(path, found))
        for place in sorted((self.folder / KEPT).glob("*")):
            if not _INCIDENT.fullmatch(place.name) or not place.is_dir():
                continue
            files = {path.name: file_of(path, found) for path, found in events_files(place) if found[3]}
            kept = self.kept[place.name] = kept_in(place, files)
            for one in tuple(self.files):
                self._link(place.name, kept, one)
        numbers = [one.number for kept in self.kept.values() for one in kept.files.values()]
        self._next = max([self._next, *(number + 1 for number in numbers)])
        self._trim()

    def _take_open(self, path: Path, number: int, from_ns: int) -> None:
        """Close a file that a kill left open; one without a whole slice is removed."""
        marks = marks_of(path)
        if marks:
            self._closed(path, number, from_ns, max(from_ns, *marks.values()))
        else:
            path.unlink()

    def _begun(self, piece: Slice) -> _Current:
        times = [int(batch.time_ns.min()) for batch in piece.batches if batch.rows]
        from_ns = min(times, default=piece.until_ns)
        path = self.folder / f"{self._next:08d}_{stamp(from_ns)}.events"
        try:
            writer = EventsWriter(path, tuple(self._sources), kinds=self._sources)
        except StateError:
            path.unlink(missing_ok=True)  # not even its head could be written
            raise
        self._next += 1
        return _Current(writer, self._next - 1, from_ns, from_ns)

    def _note(self, current: _Current, piece: Slice) -> None:
        current.slices += 1
        for batch in piece.batches:
            if batch.rows:
                current.from_ns = min(current.from_ns, int(batch.time_ns.min()))
                current.to_ns = max(current.to_ns, int(batch.time_ns.max()))

    def _rotated(self, piece: Slice) -> bool:
        current = self._current
        if current is None:
            return False
        times = [int(batch.time_ns.max()) for batch in piece.batches if batch.rows]
        long = max(times, default=current.to_ns) - current.from_ns > LONGEST_NS
        return (long or current.writer.size >= self.rotate_bytes) and self.close_file()

    def _closed(self, path: Path, number: int, from_ns: int, to_ns: int) -> None:
        """Name a file by its events, and link it to the incidents of its time."""
        name = f"{number:08d}_{stamp(from_ns)}_{stamp(to_ns + SECOND_NS - 1)}.events"
        target = path.with_name(name)
        path.rename(target)
        found = NAME.fullmatch(name)
        assert found is not None
        one = file_of(target, found)
        self.files.append(one)
        self._sums = None
        for incident, kept in self.kept.items():
            self._link(incident, kept, one)

    def _link(self, incident: str, kept: KeptFiles, one: RingFile) -> None:
        if one.path.name in kept.files or not one.meets(kept.from_ns, kept.to_ns):
            return
        place = self.folder / KEPT / incident / one.path.name
        try:
            place.hardlink_to(one.path)
        except OSError:  # a file system without hard links
            self.unkept += not self._moved(one, place)
            return
        kept.files[one.path.name] = RingFile(place, one.number, one.size, one.from_ns, one.to_ns)
        self._sums = None

    def _moved(self, one: RingFile, place: Path) -> bool:
        """Move a file to the incident that asked for it first; return whether that worked."""
        try:
            one.path.rename(place)
        except OSError:
            return False
        self.files.remove(one)
        moved = RingFile(place, one.number, one.size, one.from_ns, one.to_ns)
        self.kept[place.parent.name].files[place.name] = moved
        self._sums = None
        return True

    def _drop_oldest(self) -> bool:
        """Remove the oldest file that no incident keeps; return whether there was one."""
        names = {name for kept in self.kept.values() for name in kept.files}
        one = next((one for one in self.files if one.path.name not in names), None)
        if one is None:
            return False
        one.path.unlink(missing_ok=True)
        self.files.remove(one)
        self._sums = None
        return True

    def _trim(self) -> None:
        """Bring all files together below `keep`."""
        while len(self.kept) > MOST_WINDOWS:
            self._forget_oldest()
        while self.kept and self._bytes()[1] > self.keep // 2:
            self._free_kept()
        while self.files and (self.size > self.keep or len(self.files) > MOST_FILES):
            one, self._sums = self.files.pop(0), None
            one.path.unlink(missing_ok=True)

    def _free_kept(self) -> None:
        """Forget the oldest incident if it has files that the newest one lacks, else the latest file of all.

        A flood opens incidents that share its files, more than there is room for: its beginning must stay.
        """
        newest = max(self.kept, key=lambda name: self.kept[name].since_ns)
        if self.kept[self._oldest()].files.keys() - self.kept[newest].files.keys():
            self._forget_oldest()
            return
        latest = max(name for kept in self.kept.values() for name in kept.files)
        for kept in self.kept.values():
            if one := kept.files.pop(latest, None):
                one.path.unlink(missing_ok=True)
        self._sums = None
        self.unkept += 1

    def _oldest(self) -> str:
        return min(self.kept, key=lambda name: self.kept[name].since_ns)

    def _forget_oldest(self) -> None:
        self._forget(self._oldest())
        self.dropped_incidents += 1

    def _bytes(self) -> tuple[int, int]:
        """Return the bytes of all closed files, and of those that are kept."""
        if self._sums is None:
            kept = {name: one.size for each in self.kept.values() for name, one in each.files.items()}
            every = {one.path.name: one.size for one in self.files} | kept
            self._sums = sum(every.values()), sum(kept.values())
        return self._sums

    def _forget(self, incident: str) -> None:
        kept, self._sums = self.kept.pop(incident), None
        place = self.folder / KEPT / incident
        with self._faults():
            for one in kept.files.values():
                one.path.unlink(missing_ok=True)
            (place / WINDOW).unlink(missing_ok=True)
            if place.is_dir() and not any(place.iterdir()):  # what others put there stays theirs, and stops nothing
                place.rmdir()


def _is_full(fault: StateError) -> bool:
    return isinstance(fault.__cause__, OSError) and fault.__cause__.errno in _FULL


def _text(fault: OSError) -> str:
    return (fault.strerror or str(fault)).lower()
