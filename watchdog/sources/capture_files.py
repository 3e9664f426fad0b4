"""Walking one capture file: record headers, chunks in memory, torn tails, the exact byte to go on from.

A record (Bitcoin Core src/net.cpp, CaptureMessageToFile): time u64 in microseconds, message type 12 bytes
padded with NUL, payload length u32, payload; little endian.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.moments import EARLIEST_NS
from watchdog.sources.capture_tree import CaptureTree

HEADER_BYTES: Final = 24
MAX_PAYLOAD: Final = 4_000_000  # Bitcoin Core src/net.h: MAX_PROTOCOL_MESSAGE_LENGTH
STRETCH_LIMIT: Final = HEADER_BYTES + MAX_PAYLOAD  # bytes of a file that are read at once
EARLIEST_US: Final = EARLIEST_NS // 1_000
END_US: Final = 1 << 62  # later than any record
_FEW: Final = 8  # records; for fewer, arrays cost more than they save
PENDING_LIMIT: Final = 8 * 1024 * 1024  # bytes of one file held in memory ahead of the merge; holds the largest record
_SIZE = Struct("<20xI").unpack_from


def walk(data: bytes) -> tuple[list[int], int, bool]:
    """Starts of the whole records in `data`, where the rest begins, and whether the rest is impossible.

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
        return starts, at, size > MAX_PAYLOAD
    return starts, at, False


@dataclass(slots=True, eq=False)
class Chunk:
    """Whole records of one stretch of a file: raw bytes, starts in them, merge times."""

    data: bytes
    base: int  # where `data` begins in the file
    starts: NDArray[np.int64]
    end: int  # in `data`, after the last whole record
    clock_us: list[int]  # time that the merge goes by: never steps back within a file


@dataclass(slots=True, eq=False)
class Part:
    """Consecutive records taken from one file: bytes from the first header to the last payload's end."""

    data: bytes | memoryview
    starts: NDArray[np.int64]  # of the headers, in `data`
    fresh: bool  # begins at byte 0 of the file


class CaptureFile:
    """One file of the tree as the merge sees it: what was taken, what is in memory, what is known to come.

    offset: the byte after the last record taken (the resume position). torn: an impossible record was
    found at the end of what is in memory; the file is not read beyond it. implausible: records left out
    since somebody set this to 0, because their time cannot be true (core/moments); implausible_us: merge time of the
    record before the first of them, 0 for none. zeros_at: where the first of them begins when it is all zeros, as a
    crash of the machine leaves them; -1 without.
    """

    __slots__ = (
        "_chunks",
        "_loaded",
        "_row",
        "clock_us",
        "folder",
        "implausible",
        "implausible_us",
        "offset",
        "queued",
        "received",
        "size",
        "skip_us",
        "torn",
        "zeros_at",
    )

    def __init__(self, folder: str, received: bool, offset: int = 0, clock_us: int = 0, skip_us: int = 0) -> None:
        """offset, clock_us: where to go on. skip_us: records before this merge time were taken in an earlier run."""
        self.folder = folder
        self.received = received
        self.offset = offset
        self.clock_us = clock_us
        self.skip_us = skip_us
        self.size = 0
        self.torn = False
        self.implausible = self.implausible_us = 0
        self.zeros_at = -1
        self.queued = False  # kept by the merge: whether it waits there
        self._chunks: list[Chunk] = []
        self._loaded = offset
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

    @property
    def sound_end(self) -> int:
        """The byte after the last whole record that was read."""
        last = self._chunks[-1] if self._chunks else None
        return last.base + last.end if last else self.offset

    def grow(self, size: int) -> bool:
        """Note the size of the file now; True when there is something new to read.

        A file that shrank was replaced: it is read from its start.
        """
        if size < self.offset:
            self.offset, self._loaded, self.torn = 0, 0, False
            self._chunks.clear()
            self._row = 0
        grown = size != self.size
        self.size = size
        if grown and not self.torn:
            self._loaded = self.sound_end  # the torn tail, if any, is read again with what came after
        return grown and not self.torn

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
        base = self.sound_end
        data = tree.read(self.folder, self.received, base, min(step, self.size - base))
        starts, end, impossible = walk(data)
        if not starts and not impossible and len(data) < self.size - base:
            whole = HEADER_BYTES + MAX_PAYLOAD if len(data) < HEADER_BYTES else HEADER_BYTES + _SIZE(data)[0]
            data = tree.read(self.folder, self.received, base, min(whole, self.size - base))
            starts, end, impossible = walk(data)
        if starts:
            self._keep(data, base, np.fromiter(starts, np.int64, len(starts)), end, latest_us)
        self.torn = impossible
        # a tail without a whole record stays unread until the file grows
        at_end = base + len(data) >= self.size or not data
        self._loaded = self.size if at_end or not starts else self.sound_end

    def _keep(self, data: bytes, base: int, starts: NDArray[np.int64], end: int, latest_us: int) -> None:
        """Hold the whole records of a stretch, without those whose time cannot be true."""
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
        if len(kept):
            self._chunks.append(Chunk(data, base, kept, end, clock))
            self._skip()
        elif self._chunks:  # nothing of it is of use: it is passed over together with what stands before it
            self._chunks[-1].end = base + end - self._chunks[-1].base
        else:
            self.offset = base + end

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
        """Which records have a time that can be true, and their merge times.

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

    def take(self, until_us: int) -> list[Part]:
        """Remove the records in memory before `until_us` (merge time), in file order."""
        parts: list[Part] = []
        while self._chunks:
            chunk, first = self._chunks[0], self._row
            stop = bisect_left(chunk.clock_us, until_us, first)
            if stop == first:
                break
            total = len(chunk.starts)
            begin = int(chunk.starts[first])
            end = chunk.end if stop == total else int(chunk.starts[stop])
            data = chunk.data if end - begin == len(chunk.data) else memoryview(chunk.data)[begin:end]
            fresh = chunk.base + begin == 0
            whole = begin == 0 and stop == total
            parts.append(Part(data, chunk.starts if whole else chunk.starts[first:stop] - begin, fresh))
            self.offset = chunk.base + end
            self.clock_us = chunk.clock_us[stop - 1]
            if stop < total:
                self._row = stop
                break
            self._chunks.pop(0)
            self._row = 0
        return parts

    def count_before(self, until_us: int) -> int:
        """Records in memory before `until_us` (merge time)."""
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
