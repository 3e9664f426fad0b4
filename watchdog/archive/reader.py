"""Read an events file: slices as they were written, up to the last whole frame.

Bytes come through `os.pread` into a window of our own. A mapping would save a copy, but
touching a mapped page that a crash or another writer cut off kills the process.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from watchdog.archive.codec import Original, decode_block, decode_info, decode_slice_end
from watchdog.archive.frames import (
    BLOCK,
    FILE_HEADER,
    FRAME_HEADER,
    INDEX,
    INFO,
    SLICE_END,
    DamagedFrameError,
    Frame,
    check_file_header,
    new_unpacker,
    read_header,
    source_mark,
    tag_of,
    unpack_payload,
)
from watchdog.archive.index import NEVER_NS, TRAILER, IndexEntries, entries_in, index_offset
from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import SourceError

_WINDOW = 1 << 20  # bytes asked for at once
MAX_SLICE = 256 << 20  # bytes of one slice's blocks, unpacked; a reader holds one slice at a time


@dataclass(frozen=True, slots=True)
class Torn:
    """Where a file stops being readable, and why."""

    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What a walk over all frames found: the end of the last whole slice, and index entries."""

    end: int
    entries: IndexEntries


class EventsFile:
    """An events file, opened for reading.

    path: the file. kinds: kinds to read, None for all; blocks of others are passed over
    unread. source: the recorded source to read, None for all; slices of others are passed over
    unread, and damage within them does not stop the reading. strict: raise SourceError where the
    file is torn instead of stopping there.
    `torn_at` says where and why the last read stopped, unless it stopped at the end.
    `offset` is the byte behind the last slice that was read: the place to resume at.
    `sources` are the sources that feed the file, known from its first frame on. `version` is the file's.
    SourceError: the file cannot be read, or is no events file.
    """

    def __init__(
        self,
        path: str | Path,
        kinds: Collection[str] | None = None,
        *,
        source: str | None = None,
        strict: bool = False,
    ) -> None:
        self.path = str(path)
        self.strict = strict
        self.torn_at: Torn | None = None
        self.sources: tuple[str, ...] = ()
        self.until_ns: dict[str, int] = {}
        self._kinds = None if kinds is None else frozenset(kinds)
        self._tags = None if kinds is None else frozenset(map(tag_of, kinds))
        self._source = source
        self._mark = 0 if source is None else source_mark(source)
        self._unpacker = new_unpacker()
        self._window, self._window_at = b"", 0
        try:
            # A pipe would block here without O_NONBLOCK; its first read fails instead.
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as fault:
            raise self._unreadable(fault) from fault
        try:
            self.version = check_file_header(self._read(0, FILE_HEADER), self.path)
        except SourceError:
            self.close()
            raise
        self._at = self.offset = FILE_HEADER
        self._held: list[Batch] = []
        self._held_bytes = 0
        self._begun = False  # a wanted slice has begun and not ended

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._file).st_size

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def slices(self) -> Iterator[Slice]:
        """Yield all slices from here to the end; blocks behind the last whole slice come as a slice of their own."""
        while (found := self.next_slice()) is not None:
            yield found
        left = self.rest()
        if left is not None:
            yield left

    def next_slice(self) -> Slice | None:
        """Return the next whole slice, or None when the file has no further one yet; `torn_at` is set at a torn end.

        SourceError: the file is torn here and `strict` was asked for.
        """
        self.torn_at = None
        try:
            return self._next_slice()
        except DamagedFrameError as fault:
            self.torn_at = Torn(self._at, str(fault))
            self._window = b""
            if self.strict:
                raise SourceError(f"'{self.path}': torn at byte {self._at}: {fault}") from fault
            return None

    def rest(self) -> Slice | None:
        """Return whole blocks of a slice whose end is missing; their watermark is the one before. None without any.

        Such a file counts as torn, also when it ends at the end of a frame.
        """
        held, begun = self._dropped()
        if begun and self.torn_at is None:
            self.torn_at = Torn(self._at, "the last slice has no end")
        if not held:
            return None
        self.offset = self._at
        return Slice(held[0].source, tuple(held), self.until_ns.get(held[0].source, NEVER_NS))

    def rewind(self) -> None:
        """Drop blocks of a slice without an end: a writer that crashed within it writes the slice again."""
        self._at = self.offset
        self._dropped()
        self._window = b""

    def resume(self, offset: int) -> None:
        """Resume at a byte offset that `offset` returned before; SourceError when no frame begins there."""
        self._read_sources()
        if offset != self.size:
            try:
                self._frame(offset)
            except DamagedFrameError as fault:
                raise SourceError(f"'{self.path}': cannot resume at byte {offset}: {fault}") from fault
        self._at = self.offset = offset
        self._dropped()

    def seek(self, start_ns: int) -> None:
        """Go to a slice boundary from which no event at or after `start_ns` is missed (events before may come)."""
        self._read_sources()
        found = self.whole()
        offset = found.entries.start_for(start_ns)
        self._at = self.offset = found.end if offset is None else offset
        self._dropped()

    def originals(self) -> tuple[Original, ...]:
        """Return the sources that all sessions were recorded from; empty when the file does not keep them apart.

        Reads the header of every frame up to the first damage. A source of several sessions has the kinds of all.
        """
        found: dict[str, Original] = {}
        at = FILE_HEADER if self.version > 1 else self.size
        try:
            while at < self.size:
                frame = self._frame(at)
                if frame.type == INDEX:
                    break
                if frame.type == INFO:
                    for one in decode_info(unpack_payload(frame, self._body(at, frame), self._unpacker)):
                        before = found.get(one.name, Original(one.name, frozenset()))
                        either = None if before.kinds is None or one.kinds is None else before.kinds | one.kinds
                        found[one.name] = Original(one.name, either)
                at += frame.length
        except DamagedFrameError:
            pass
        return tuple(found.values())

    def scan(self) -> Scan:
        """Walk over all frames and check their checksums; the place for reading stays where it is."""
        entries, end, at, latest = IndexEntries(), FILE_HEADER, FILE_HEADER, NEVER_NS
        try:
            while at < self.size:
                frame = self._frame(at)
                if frame.type == INDEX:
                    break
                if zlib.crc32(self._body(at, frame)) != frame.crc:
                    break
                at += frame.length
                if frame.type == BLOCK:
                    latest = max(latest, frame.last_ns)
                elif frame.type == SLICE_END:
                    entries.add(end, latest)
                    end, latest = at, NEVER_NS
                elif end == FILE_HEADER and frame.type == INFO:
                    end = at
        except DamagedFrameError:
            return Scan(end, entries)
        return Scan(end, entries)

    def whole(self) -> Scan:
        """Return the result of `scan`, but from the index when the file was closed properly."""
        return self._stored() or self.scan()

    def _stored(self) -> Scan | None:
        """Return the index at the end of the file; None when it is missing or damaged."""
        size = self.size
        offset = index_offset(self._read(max(0, size - TRAILER), TRAILER))
        if offset is None or not FILE_HEADER <= offset < size:
            return None
        try:
            frame = self._frame(offset)
            if offset + frame.length + TRAILER != size:
                return None
            return Scan(offset, entries_in(frame, self._body(offset, frame)))
        except DamagedFrameError:
            return None

    def _read_sources(self) -> None:
        try:
            frame = self._frame(FILE_HEADER)
            if frame.type == INFO:
                self._name_sources(unpack_payload(frame, self._body(FILE_HEADER, frame), self._unpacker))
        except DamagedFrameError:
            self.sources = ()

    def _next_slice(self) -> Slice | None:
        while True:
            if self._at >= self._window_at + len(self._window) and self._at >= self.size:
                self._window = b""
                return None
            frame = self._frame(self._at)
            if frame.type == INDEX:
                self._window = b""  # an appending writer overwrites the index
                return None
            if self._source is not None and frame.type in (BLOCK, SLICE_END) and frame.source != self._mark:
                if not self._pass_over(frame):
                    return None
                continue
            if frame.type == BLOCK:
                self._take_block(frame)
                self._begun = True
            elif frame.type == SLICE_END:
                found = self._end_slice(frame)
                if found is not None:
                    return found
                continue
            elif frame.type == INFO:
                self._name_sources(self._payload(frame))
                self.offset += frame.length if self.offset == self._at else 0
            self._at += frame.length

    def _pass_over(self, frame: Frame) -> bool:
        """Go behind a frame of another source; False when the file ends within it."""
        if self._at + frame.length > self.size:
            self._window = b""
            return False
        self._at += frame.length
        if frame.type == SLICE_END:
            self.offset = self._at
        return True

    def _end_slice(self, frame: Frame) -> Slice | None:
        """Return the slice that a frame ends; None for one of another source with the same mark."""
        source, until_ns, position = decode_slice_end(self._payload(frame))
        self._at += frame.length
        self.offset = self._at
        self.until_ns[source] = until_ns
        held, _ = self._dropped()
        return Slice(source, tuple(held), until_ns, position) if self._source in {None, source} else None

    def _dropped(self) -> tuple[list[Batch], bool]:
        """Drop an unfinished slice; return its blocks, and whether there was one."""
        held, begun = self._held, self._begun
        self._held, self._held_bytes, self._begun = [], 0, False
        return held, begun

    def _name_sources(self, payload: bytes) -> None:
        self.sources = tuple(one.name for one in decode_info(payload))

    def _take_block(self, frame: Frame) -> None:
        if self._tags is not None and frame.tag not in self._tags:
            if self._at + frame.length > self.size:
                raise DamagedFrameError("the file ends inside of a frame")
            return
        self._held_bytes += frame.size
        if self._held_bytes > MAX_SLICE:
            raise DamagedFrameError(f"a slice has more than {MAX_SLICE} bytes")
        batch = decode_block(self._payload(frame))
        if batch.rows != frame.rows or tag_of(batch.kind) != frame.tag:
            raise DamagedFrameError("a block is not what its header says")
        if self._kinds is None or batch.kind in self._kinds:
            self._held.append(batch)

    def _payload(self, frame: Frame) -> bytes:
        return unpack_payload(frame, self._body(self._at, frame), self._unpacker)

    def _frame(self, at: int) -> Frame:
        return read_header(self._read(at, FRAME_HEADER))

    def _body(self, at: int, frame: Frame) -> bytes:
        start = at + FRAME_HEADER
        size = frame.length - FRAME_HEADER
        if start + size > self._window_at + len(self._window) and start + size > self.size:
            raise DamagedFrameError("the file ends inside of a frame")
        return self._read(start, size)

    def _read(self, offset: int, size: int) -> bytes:
        """Read up to `size` bytes at `offset`, fewer at the end of the file."""
        within = offset - self._window_at
        if within < 0 or within + size > len(self._window):
            try:
                self._window = os.pread(self._file, max(size, _WINDOW), offset)
            except (OSError, ValueError, OverflowError) as fault:
                raise self._unreadable(fault) from fault
            self._window_at, within = offset, 0
        return self._window[within : within + size]

    def _unreadable(self, fault: Exception) -> SourceError:
        reason = fault.strerror if isinstance(fault, OSError) else None
        return SourceError(f"cannot read '{self.path}': {(reason or str(fault)).lower()}")
