"""Finds the first record at or after a time in one capture file without reading the records before it.

Records have no marks between them, so the middle of a file is entered by what a header looks like: a time that can be
true, a type of small letters padded with NULs, a size that a message may have, and headers like it behind it. A peer
may put such headers into its messages. So what is found counts only when the records from there end where the file
does, as the node writes whole records: then what the node writes next is read rightly. Otherwise all headers of the
file are walked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np

from watchdog.core.core_constants import MAX_PROTOCOL_MESSAGE_LENGTH
from watchdog.sources.capture.files import EARLIEST_US, HEADER_BYTES, MARK_BYTES, NO_MARK
from watchdog.sources.capture.tree import CaptureTree

STRETCH: Final = 1 << 20  # bytes that are walked record by record in the end
WINDOW: Final = 1 << 18  # bytes of one look for a header
CHAIN: Final = 8  # headers in a row that make one of them believed
_ZEROS: Final = bytes(HEADER_BYTES)  # no record: its type would be empty
CLOCK_US: Final = 1_000_000  # a file system's clock and the node's differ by less

START: Final = (0, 0, NO_MARK)  # of a file that is read from its beginning
Read = Callable[[int, int], bytes]


class Place(NamedTuple):
    """A place at which to resume a file: offset, clock_us and mark for `CaptureFile`, and the first record's time."""

    offset: int
    clock_us: int
    mark: int
    first_us: int


def place_since(tree: CaptureTree, folder: str, received: bool, since_us: int, latest_us: int) -> Place | None:
    """Return the place of the first record written at or after `since_us`; None when it is the file's first.

    latest_us: later times cannot be true. SourceError when the file cannot be read.
    """
    size, changed_ns = tree.state(folder, received)
    if size < HEADER_BYTES:
        return None

    def read(offset: int, count: int) -> bytes:
        return tree.read(folder, received, offset, count)

    first_us = _time(read(0, 8))
    if not EARLIEST_US <= first_us < since_us:
        return None
    changed_us = changed_ns // 1_000
    if first_us <= changed_us + CLOCK_US and changed_us + CLOCK_US < since_us:
        return _placed(read, size, changed_us, first_us)
    search = _Search(read, partial(tree.next_data, folder, received), size, latest_us)
    offset = search.bisected(since_us)
    if offset is None:
        offset = search.walked(0, since_us, size)
    return _placed(read, offset, since_us - 1, first_us) if offset else None


def _placed(read: Read, offset: int, clock_us: int, first_us: int) -> Place:
    before = read(max(0, offset - MARK_BYTES), min(MARK_BYTES, offset))
    return Place(offset, max(first_us, clock_us), crc32(before) if before else NO_MARK, first_us)


def _time(head: bytes) -> int:
    return int.from_bytes(head[:8], "little") if len(head) >= 8 else 0


class PassedOver:
    """What is passed over of the files of one tree. size: bytes. first_us: time of the first record of it, 0 without.

    entered: folders of which some records were passed over, and some were not.
    """

    def __init__(self, tree: CaptureTree) -> None:
        self._tree = tree
        self.size = self.first_us = 0
        self.entered: set[str] = set()

    def place(self, folder: str, received: bool, since_us: int, latest_us: int) -> tuple[int, int, int]:
        """Return where to begin in a file, as `CaptureFile` takes it."""
        found = place_since(self._tree, folder, received, since_us, latest_us) if since_us else None
        if found is None:
            return START
        self.size += found.offset
        self.first_us = min(found.first_us, self.first_us or found.first_us)
        if found.offset < self._tree.state(folder, received)[0]:
            self.entered.add(folder)
        return found.offset, found.clock_us, found.mark


class _Search:
    """One file of a size that is known."""

    def __init__(self, read: Read, next_data: Callable[[int], int], size: int, latest_us: int) -> None:
        self._read, self._next_data, self._size, self._latest_us = read, next_data, size, latest_us

    def bisected(self, since_us: int) -> int | None:
        """Return the place by bisection; None when it cannot be trusted."""
        low, high, behind = 0, self._size, 0
        while high - low > STRETCH:
            middle = (low + high) // 2
            found = self._header(self._next_data(middle), high)
            if found is None:
                high = middle
            elif _time(self._read(found, 8)) >= since_us:
                high, behind = middle, found
            else:
                low = found
        offset = self.walked(low, since_us, min(high + STRETCH + MAX_PROTOCOL_MESSAGE_LENGTH, self._size))
        if behind > offset and self._read(offset, HEADER_BYTES) == _ZEROS:  # a crash or a copy left a hole
            offset = behind
        return offset if self.walked(offset, None, self._size) == self._size else None

    def walked(self, start: int, since_us: int | None, stop: int) -> int:
        """Walk the records to the first at or after `since_us`, else to the end of the last whole one before `stop`.

        Where a header cannot be one, the walk ends before it.
        """
        at, data, base = start, b"", start
        while at < stop:
            if at + HEADER_BYTES > base + len(data):
                data, base = self._read(at, WINDOW), at
                if len(data) < HEADER_BYTES:
                    break
            head = data[at - base : at - base + HEADER_BYTES]
            if head == _ZEROS or (since_us is not None and _time(head) >= since_us):
                break
            size = int.from_bytes(head[20:24], "little")
            if size > MAX_PROTOCOL_MESSAGE_LENGTH or at + HEADER_BYTES + size > self._size:
                break
            at += HEADER_BYTES + size
        return at

    def _header(self, start: int, stop: int) -> int | None:
        """Return the first header in [start, stop) that others follow, searching as far as the largest record."""
        limit = min(stop, start + MAX_PROTOCOL_MESSAGE_LENGTH + HEADER_BYTES)
        for base in range(start, limit, WINDOW):
            data = self._read(base, min(WINDOW, limit - base) + HEADER_BYTES)
            for at in self._candidates(data):
                if base + at < limit and self._chained(base + at):
                    return base + at
        return None

    def _candidates(self, data: bytes) -> list[int]:
        """Return where a header may begin, by its time and size and the first letter of its type."""
        count = len(data) - HEADER_BYTES + 1
        if count <= 0:
            return []
        times: np.ndarray[tuple[int], np.dtype[np.uint64]] = np.ndarray((count,), "<u8", data, strides=(1,))
        sizes: np.ndarray[tuple[int], np.dtype[np.uint32]] = np.ndarray((count,), "<u4", data, 20, strides=(1,))
        found = (times >= EARLIEST_US) & (times <= self._latest_us) & (sizes <= MAX_PROTOCOL_MESSAGE_LENGTH)
        return [at for at in np.flatnonzero(found).tolist() if _is_type(data[at + 8 : at + 20])]

    def _chained(self, start: int) -> bool:
        """Return whether headers follow one another from there, to the end of the file if it comes before."""
        at = start
        for _ in range(CHAIN):
            if at == self._size:
                return True
            head = self._read(at, HEADER_BYTES)
            size = int.from_bytes(head[20:24], "little")
            if len(head) < HEADER_BYTES or not EARLIEST_US <= _time(head) <= self._latest_us:
                return False
            if size > MAX_PROTOCOL_MESSAGE_LENGTH or not _is_type(head[8:20]):
                return False
            at += HEADER_BYTES + size
        return True


def _is_type(raw: bytes) -> bool:
    """Return a message type as Bitcoin Core writes it: printable, padded with NULs."""
    text = raw.rstrip(b"\0")
    return bool(text) and b"\0" not in text and all(0x20 <= byte < 0x7F for byte in text)
