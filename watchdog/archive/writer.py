"""Write an events file: slices in, frames out, and an index when it is closed."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import zstandard

from watchdog.archive.codec import Original, encode_block, encode_info, encode_slice_end
from watchdog.archive.frames import (
    BLOCK,
    FILE_HEADER,
    INFO,
    MAX_PAYLOAD,
    SLICE_END,
    file_header,
    pack_frame,
    source_mark,
    tag_of,
)
from watchdog.archive.index import NEVER_NS, IndexEntries
from watchdog.archive.reader import MAX_SLICE, EventsFile
from watchdog.core.batch import Batch, Slice, Strings
from watchdog.core.errors import SourceError, StateError
from watchdog.core.payload_columns import PAYLOAD_SIZE, has_payloads, without_payload

LEVEL = 1  # of zstd; level 3 gains little on columns and costs the writer twice the time
MAX_ROWS = 65_536  # rows of one block; larger batches are split
SYNC_BYTES = 8 << 20  # bytes after which the file is brought to disk, at the next end of a slice


class EventsWriter:
    """An events file, opened for writing.

    path: the file, which must not exist unless `append` is set. sources: names of the sources
    that feed it; none: it replays as one source. kinds: by name, those that each can give and that are
    recorded; a name that is missing: any. append: continue behind the last whole slice; what a crash left
    behind it is cut off. level: of zstd, 0 for none. StateError: the file cannot be written, is there already,
    is no events file, or another process writes it. After a failed write the file ends
    with its last whole frame.
    """

    def __init__(
        self,
        path: str | Path,
        sources: tuple[str, ...] = (),
        *,
        kinds: Mapping[str, frozenset[str] | None] | None = None,
        append: bool = False,
        level: int = LEVEL,
        sync_bytes: int = SYNC_BYTES,
    ) -> None:
        self.path = str(path)
        self.rows = 0
        self._compressor = zstandard.ZstdCompressor(level=level) if level else None
        self._sync_bytes = sync_bytes
        self._entries = IndexEntries()
        self._failed = False
        self._file = self._open(append=append)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._end = self._slice_at = self._synced = self._start(
                tuple(Original(name, (kinds or {}).get(name)) for name in sources)
            )
        except OSError as fault:
            os.close(self._file)
            raise self._unwritable(fault) from fault
        except StateError:
            os.close(self._file)
            raise

    @property
    def size(self) -> int:
        """Bytes written so far, all of them whole frames."""
        return self._end

    def write(self, piece: Slice) -> None:
        """Append a slice: its batches, then its watermark and position. StateError when that fails."""
        mark = source_mark(piece.source)
        frames = [frame for batch in piece.batches if batch.rows for frame in self._block_frames(_stored(batch), mark)]
        end = encode_slice_end(piece.source, piece.until_ns, piece.position)
        frames.append(pack_frame(SLICE_END, end, source=mark, span=(piece.until_ns, piece.until_ns)))
        if sum(batch_bytes(batch) for batch in piece.batches) > MAX_SLICE // 2:
            raise StateError(f"cannot write '{self.path}': a slice is larger than {MAX_SLICE // 2} bytes")
        for frame in frames:
            self._append(frame)
        times = [int(batch.time_ns.max()) for batch in piece.batches if batch.rows]
        self._entries.add(self._slice_at, max(times, default=NEVER_NS))
        self._slice_at = self._end
        self.rows += sum(batch.rows for batch in piece.batches)
        if self._end - self._synced >= self._sync_bytes:
            self.sync()

    def sync(self) -> None:
        """Bring everything to disk."""
        try:
            os.fsync(self._file)
        except OSError as fault:
            raise self._unwritable(fault) from fault
        self._synced = self._end

    def close(self) -> None:
        """Write the index, sync everything to disk and close; a second call does nothing."""
        if self._file < 0:
            return
        try:
            if self._failed:
                os.ftruncate(self._file, self._slice_at)  # without the part of a slice that fitted
            else:
                # An interrupt may have come within a slice: what it began is not behind its position.
                os.ftruncate(self._file, self._slice_at)
                self._end = self._slice_at
                self._append(self._entries.packed(self._end))
                self.sync()
        finally:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, *, append: bool) -> int:
        create = os.O_CREAT if append else os.O_CREAT | os.O_EXCL
        try:
            return os.open(self.path, os.O_RDWR | os.O_CLOEXEC | create, 0o644)
        except OSError as fault:
            raise self._unwritable(fault) from fault

    def _start(self, sources: tuple[Original, ...]) -> int:
        """Begin the file, or find where to continue; return the byte offset of the next frame."""
        if os.fstat(self._file).st_size == 0:
            self._end = 0
            self._append(file_header() + pack_frame(INFO, encode_info(sources)))
            return self._end
        try:
            with EventsFile(self.path) as there:
                found = there.whole()
        except SourceError as fault:
            raise StateError(f"cannot append: {fault}") from fault
        self._entries = found.entries
        os.ftruncate(self._file, found.end)
        self._end = found.end
        if found.end == FILE_HEADER or sources:
            self._append(pack_frame(INFO, encode_info(sources)))
        return self._end

    def _block_frames(self, batch: Batch, mark: int) -> list[bytes]:
        """Return the frames of a batch of the source with this mark, split where it has too many rows or bytes."""
        if batch.rows <= MAX_ROWS and batch_bytes(batch) <= MAX_PAYLOAD // 2:
            payload = encode_block(batch)
            if len(payload) <= MAX_PAYLOAD:
                times = batch.time_ns
                span = (int(times.min()), int(times.max()))
                tag = tag_of(batch.kind)
                return [pack_frame(BLOCK, payload, self._compressor, rows=batch.rows, tag=tag, source=mark, span=span)]
        if batch.rows == 1:
            raise StateError(f"cannot write '{self.path}': one event of {batch.kind} exceeds {MAX_PAYLOAD // 2} bytes")
        step = min(MAX_ROWS, (batch.rows + 1) // 2)
        pieces = (batch.take(np.arange(at, min(at + step, batch.rows))) for at in range(0, batch.rows, step))
        return [frame for piece in pieces for frame in self._block_frames(piece, mark)]

    def _append(self, data: bytes) -> None:
        """Write at the end; when that fails, cut off what was written of it."""
        view, written = memoryview(data), 0
        try:
            while written < len(view):
                written += os.pwrite(self._file, view[written:], self._end + written)
        except OSError as fault:
            self._failed = True
            os.ftruncate(self._file, self._end)
            raise self._unwritable(fault) from fault
        self._end += written

    def _unwritable(self, fault: OSError) -> StateError:
        if fault.errno == errno.EEXIST:
            return StateError(f"'{self.path}' exists already; append to it (--append) or choose another name")
        if fault.errno in {errno.EWOULDBLOCK, errno.EACCES} and isinstance(fault, BlockingIOError):
            return StateError(f"cannot write '{self.path}': another process writes it")
        return StateError(f"cannot write '{self.path}': {(fault.strerror or str(fault)).lower()}")


def batch_bytes(batch: Batch) -> int:
    """Estimate the bytes of a batch unpacked; dictionaries count with all their values."""
    total = 0
    for column in batch.columns.values():
        if isinstance(column, np.ndarray):
            total += column.nbytes
        elif isinstance(column, Strings):
            total += column.codes.nbytes + sum(map(len, column.values)) + 16 * len(column.values)
        else:
            total += column.offsets.nbytes + int(column.offsets[-1] - column.offsets[0])
    return total


def _stored(batch: Batch) -> Batch:
    """Return a batch without the columns of payloads that no one asked for; a reader fills them in again."""
    return batch if has_payloads(batch) else without_payload(batch, PAYLOAD_SIZE)
