"""Walking one capture file: record headers, chunks in memory, torn tails, the exact byte at which to resume.

A record (Bitcoin Core's CaptureMessageToFile): time u64 in microseconds, message type 12 bytes
padded with NUL, payload length u32, payload; little endian.

The place in a file is its offset together with a mark of the bytes just before it. They are read again with what
follows, in one call: where they differ, the file was replaced (a file removed while it is written makes the node create
it again at once), and the new one is read from its start. Its number would not tell: file systems give it out again.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from struct import Struct
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from watchdog.core.core_constants import MAX_PROTOCOL_MESSAGE_LENGTH
from watchdog.core.moments import EARLIEST_NS
from watchdog.sources.capture.tree import CaptureTree

HEADER_BYTES: Final = 24
STRETCH_LIMIT: Final = HEADER_BYTES + MAX_PROTOCOL_MESSAGE_LENGTH  # bytes of a file that are read at once
EARLIEST_US: Final = EARLIEST_NS // 1_000
END_US: Final = 1 << 62  # later than any record
_FEW: Final = 8  # records; for fewer, arrays cost more than they save
MARK_BYTES: Final = 64  # a ping or an inv with its header, so mostly a time in microseconds
NO_MARK: Final = -1  # of a position that has none: not compared
PENDING_LIMIT: Final = 8 * 1024 * 1024  # bytes of one file held in memory ahead of the merge; holds the largest record
_SIZE = Struct("<20xI").unpack_from


def walk(data: bytes) -> tuple[list[int], int, bool]:
    """Return the starts of the whole records in `data`, the start of the rest, and whether that is impossible.

    Impossible: a payload larger than any message may be; nothing after it can be trusted. data: at most
    STRETCH_LIMIT bytes.
    """
    assert len(data) <= STRETCH_LIMIT
    starts: list[int] = []
    append, size_at = starts.append, _SIZE
    at, size = 0, 0
    last = len(data) - HEADER_BYTES
    while at <= last:
        (size,) = size_at(data, at)
        append(at)
        at += size + 24
    if at > len(data):  # the last one is torn, or its size is impossible: that leads beyond any stretch
        at = starts.pop()
        return starts, at, size > MAX_PROTOCOL_MESSAGE_LENGTH
    return starts, at, False


@dataclass(slots=True, eq=False)
class Chunk:
    """Whole records of one stretch of a file: raw bytes, starts in them, merge times."""

    data: bytes
    base: int  # where `data` begins in the file
    starts: NDArray[np.int64]
    end: int  # in `data`, after the last whole record
    clock_us: list[int]  # time that the merge goes by: never steps back within a file
    before: bytes  # up to MARK_BYTES that stand before `data` in the file
    following: int  # where to resume in the file behind it
    mark: int  # of the bytes before `following`


def mark_of(before: bytes, data: bytes, end: int) -> int:
    """Return the mark of the place `end` in `data`, which stands behind `before` in its file."""
    start = end - MARK_BYTES
    return crc32(data[start:end] if start >= 0 else (before + data[:end])[-MARK_BYTES:])


@dataclass(slots=True, eq=False)
class RecordSpan:
    """Consecutive records taken from one file: bytes from the first header to the last payload's end."""

    data: bytes | memoryview
    starts: NDArray[np.int64]  # of the headers, in `data`
    fresh: bool  # begins at byte 0 of the file


class CaptureFile:
    """One file of the tree as the merge sees it: what was taken, what is in memory, what is known to come.

    offset, mark: the byte after the last record taken and the bytes before it (the resume position). sound_end: the
    byte after the last whole record that was read. size, changed_ns: of the file when it was looked at last. torn: an
    impossible record was found at the sound end; the file is not read beyond it, unless it is replaced. replaced_us:
    merge time of the last record read before the file was replaced, -1 unless that was after the last reset to -1;
    unread: whether it is known that more had been written to it. implausible: records left out
    since this was reset to 0, because their time cannot be true (core/moments); implausible_us: merge time of the
    record before the first of them, 0 for none. zeros_at: where the first of them begins when it is all zeros, as a
    crash of the machine leaves them; -1 without. given: whether records were taken since it was opened. continued:
    whether it was begun because an earlier file of its name was removed by us (`capture/prune.py`).
    """

    __slots__ = (
        "_chunks",
        "_impossible",
        "_loaded",
        "_row",
        "_seam",
        "changed_ns",
        "clock_us",
        "continued",
        "folder",
        "given",
        "implausible",
        "implausible_us",
        "mark",
        "offset",
        "queued",
        "received",
        "replaced_us",
        "size",
        "skip_us",
        "sound_end",
        "torn",
        "unread",
        "zeros_at",
    )

    def __init__(
        self, folder: str, received: bool, place: tuple[int, int, int] = (0, 0, NO_MARK), skip_us: int = 0
    ) -> None:
        """place: offset, clock_us and mark at which to resume. skip_us: an earlier run took earlier merge times."""
        self.folder = folder
        self.received = received
        self.offset, self.clock_us, self.mark = place
        self.skip_us = skip_us
        self.size = 0
        self.changed_ns = -1
        self.torn = self.unread = False
        self.replaced_us = -1
        self.implausible = self.implausible_us = 0
        self.zeros_at = -1
        self.given = self.continued = False
        self.queued = False  # kept by the merge: whether it waits there
        self._chunks: list[Chunk] = []
        self._loaded = self.sound_end = self.offset
        self._seam = self.mark  # of the bytes before the sound end
        self._impossible = b""  # header of the record there that makes the file torn
        self._row = 0  # first record of the first chunk that was not taken

    @property
    def next_us(self) -> int | None:
        """Merge time of the next record in memory, None when nothing is."""
        return self._chunks[0].clock_us[self._row] if self._chunks else None

    @property
    def known_us(self) -> int:
        """Merge time of the last record in memory (or taken)."""
        return self._chunks[-1].clock_us[-1] if self._chunks else self.clock_us

    @property
    def pending(self) -> int:
        """Bytes held in memory."""
        return sum(chunk.end for chunk in self._chunks)

    @property
    def exhausted(self) -> bool:
        """Whether no byte of the known size is worth reading."""
        return self.torn or self._loaded >= self.size

    @property
    def tail(self) -> int:
        """Bytes of the known size after the last whole record."""
        return max(0, self.size - self.sound_end)

    def grow(self, tree: CaptureTree, size: int, changed_ns: int) -> bool:
        """Note size and time of change of the file now; True when there is something new to read."""
        shrunk = size < self.size
        grown = size != self.size
        # reading on compares the mark anyway
        doubtful = shrunk or not grown or self.torn
        if size < self.sound_end or (doubtful and not self._same(tree)):
            grown = size > 0
            self._restart(size)
        elif shrunk:  # the beginning of a record was cut off
            self.replaced_us, self.unread = self.known_us, True
        self.size, self.changed_ns = size, changed_ns
        if grown and not self.torn:
            self._loaded = self.sound_end  # the torn tail, if any, is read again with what came after
        return grown and not self.torn

    def peek(self, tree: CaptureTree) -> int:
        """Time of the next record as it stands in the file, in microseconds; 0 when there is no whole number yet."""
        found = self._read(tree, 8)
        head = self._reread(tree, 8) if found is None else found[1]
        return int.from_bytes(head, "little") if len(head) == 8 else 0

    def _same(self, tree: CaptureTree) -> bool:
        """Return whether the file is still the one that was read so far."""
        if not self.sound_end and not self._impossible:
            return True
        found = self._read(tree, len(self._impossible))
        return found is not None and found[1] == self._impossible

    def _read(self, tree: CaptureTree, count: int) -> tuple[bytes, bytes] | None:
        """Return the bytes just before the sound end, and at most `count` after it; None when the file was replaced."""
        ahead = min(MARK_BYTES, self.sound_end)
        data = tree.read(self.folder, self.received, self.sound_end - ahead, ahead + count)
        before = data[:ahead]
        if ahead and self._seam != NO_MARK and crc32(before) != self._seam:
            return None
        return before, data[ahead:]

    def _reread(self, tree: CaptureTree, count: int) -> bytes:
        """Return the first bytes of a file that turned out to be another one."""
        self._restart(*tree.state(self.folder, self.received))
        return tree.read(self.folder, self.received, 0, min(count, self.size))

    def _restart(self, size: int, changed_ns: int = -1) -> None:
        """Start on the file that replaced this one; what is in memory of the old one is still to be taken."""
        self.replaced_us, self.unread = self.known_us, self.size > self.sound_end
        self.size, self.changed_ns = size, changed_ns
        self.torn, self._impossible = False, b""
        self.sound_end = self._loaded = self._seam = 0
        if self._chunks:
            self._chunks[-1].following = self._chunks[-1].mark = 0
        else:
            self.offset = self.mark = 0

    def fill(self, tree: CaptureTree, until_us: int, step: int, latest_us: int = END_US) -> bool:
        """Read ahead until a record at or after `until_us` is in memory; False when the limit stopped it.

        step: bytes of one read. latest_us: later times cannot be true. At the limit of memory for one file the caller
        has to merge less far.
        """
        while not self.exhausted and (not self._chunks or self._chunks[-1].clock_us[-1] < until_us):
            if self.pending >= PENDING_LIMIT:
                return False
            self._load(tree, step, latest_us)
        return True

    def _load(self, tree: CaptureTree, step: int, latest_us: int) -> None:
        found = self._read(tree, min(step, self.size - self.sound_end))
        before, data = (b"", self._reread(tree, step)) if found is None else found
        base = self.sound_end
        starts, end, impossible = walk(data)
        if not starts and not impossible and len(data) < self.size - base:
            whole = STRETCH_LIMIT if len(data) < HEADER_BYTES else HEADER_BYTES + _SIZE(data)[0]
            data = tree.read(self.folder, self.received, base, min(whole, self.size - base))
            starts, end, impossible = walk(data)
        if starts:
            self._keep(data, before, np.fromiter(starts, np.int64, len(starts)), end, latest_us)
        self.torn, self._impossible = impossible, data[end : end + HEADER_BYTES] if impossible else b""
        # a tail without a whole record stays unread until the file grows
        at_end = base + len(data) >= self.size or not data
        self._loaded = self.size if at_end or not starts else self.sound_end

    def _keep(self, data: bytes, before: bytes, starts: NDArray[np.int64], end: int, latest_us: int) -> None:
        """Hold the whole records of a stretch, without those whose time cannot be true."""
        base = self.sound_end
        if len(starts) < _FEW:
            sound, clock = self._few(data, starts, latest_us)
            kept = starts if len(sound) == len(starts) else starts[sound]
        else:
            every: NDArray[np.uint64] = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
            times = every[starts]
            true = (times >= EARLIEST_US) & (times <= latest_us)
            kept, times = (starts, times) if true.all() else (starts[true], times[true])
            clock = np.maximum(np.maximum.accumulate(times.astype(np.int64)), self.known_us).tolist()
        if len(kept) < len(starts):
            self._leave_out(data, base, starts, kept, clock)
        self.sound_end, self._seam = base + end, mark_of(before, data, end)
        if len(kept):
            self._chunks.append(Chunk(data, base, kept, end, clock, before, self.sound_end, self._seam))
            self._skip()
        elif self._chunks:  # nothing of it is of use: it is passed over together with what stands before it
            self._chunks[-1].following, self._chunks[-1].mark = self.sound_end, self._seam
        else:
            self.offset, self.mark = self.sound_end, self._seam

    def _leave_out(
        self, data: bytes, base: int, starts: NDArray[np.int64], kept: NDArray[np.int64], clock: list[int]
    ) -> None:
        """Count the records that are not kept, and note when the first of them was written."""
        if not self.implausible:
            common = min(len(starts), len(kept))
            odd = np.flatnonzero(starts[:common] != kept[:common])
            first = int(odd[0]) if len(odd) else common
            self.implausible_us = clock[first - 1] if first else self.known_us
            at = int(starts[first])
            self.zeros_at = -1 if any(data[at : at + HEADER_BYTES]) else base + at
        self.implausible += len(starts) - len(kept)

    def _few(self, data: bytes, starts: NDArray[np.int64], latest_us: int) -> tuple[list[int], list[int]]:
        """Return which records have a time that can be true, and their merge times.

        One by one, since a followed file grows by one or two at a time.
        """
        sound, clock, latest = [], [], self.known_us
        for row, at in enumerate(starts.tolist()):
            time_us = int.from_bytes(data[at : at + 8], "little")
            if EARLIEST_US <= time_us <= latest_us:
                latest = max(latest, time_us)
                sound.append(row)
                clock.append(latest)
        return sound, clock

    def _skip(self) -> None:
        """Drop what an earlier run took (files that its position did not name)."""
        if self.skip_us and self._chunks and self._chunks[0].clock_us[self._row] < self.skip_us:
            self.take(self.skip_us)

    def take(self, until_us: int) -> list[RecordSpan]:
        """Remove the records in memory before `until_us` (merge time), in file order."""
        parts: list[RecordSpan] = []
        while self._chunks:
            chunk, first = self._chunks[0], self._row
            stop = bisect_left(chunk.clock_us, until_us, first)
            if stop == first:
                break
            total = len(chunk.starts)
            begin = int(chunk.starts[first])
            end = chunk.end if stop == total else int(chunk.starts[stop])
            data = chunk.data if end - begin == len(chunk.data) else memoryview(chunk.data)[begin:end]
            fresh = chunk.base + begin == 0 and not self.continued
            self.given = True
            whole = begin == 0 and stop == total
            parts.append(RecordSpan(data, chunk.starts if whole else chunk.starts[first:stop] - begin, fresh))
            self.clock_us = chunk.clock_us[stop - 1]
            if stop < total:
                self.offset, self.mark = chunk.base + end, mark_of(chunk.before, chunk.data, end)
                self._row = stop
                break
            self.offset, self.mark = chunk.following, chunk.mark
            self._chunks.pop(0)
            self._row = 0
        return parts

    def count_before(self, until_us: int) -> int:
        """Return the number of records in memory before `until_us` (merge time)."""
        count = 0
        for number, chunk in enumerate(self._chunks):
            first = 0 if number else self._row
            count += bisect_left(chunk.clock_us, until_us, first) - first
        return count

    def times_before(self, until_us: int) -> list[int]:
        """Merge times of the records in memory before `until_us`."""
        times: list[int] = []
        for number, chunk in enumerate(self._chunks):
            first = 0 if number else self._row
            times += chunk.clock_us[first : bisect_left(chunk.clock_us, until_us, first)]
        return times
