"""Finds the first line at or after a time in a file of lines by bisection, without reading the lines before it.

Times in such a file go up but for small steps; lines without one are passed over, and so are holes of the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from watchdog.core.durations import SECOND_NS

STEP: Final = 1 << 16  # bytes of one read, and of the stretch that is read line by line in the end
FARTHEST: Final = 64 << 20  # bytes that are searched for a line with a time; a getrawaddrman has 18 MB
HEAD: Final = 256  # bytes of a line in which its time is looked for

_LOG_TIME: Final = re.compile(
    rb"(?:\[\*\] )?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{6})?Z (?:\(mocktime: (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)Z\) )?"
)
_POLL_TIME: Final = re.compile(rb'\s*\{\s*(?:"kind"\s*:\s*"\w{1,40}"\s*,\s*)?"time"\s*:\s*(\d{1,12})')

TimeOf = Callable[[bytes], int | None]


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file. offset: of a line's start. first_ns: time of the first line of the file, None without any."""

    offset: int
    first_ns: int | None


def log_time(line: bytes) -> int | None:
    """Return the time of a line of debug.log, in whole seconds as ns; None without one."""
    found = _LOG_TIME.match(line)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat((found[2] or found[1]).decode("ascii"))
    except ValueError:
        return None
    return int(moment.replace(tzinfo=UTC).timestamp()) * SECOND_NS


def poll_time(line: bytes) -> int | None:
    """Return the time at the beginning of a line of a snapshots file, whole seconds as ns; None without one."""
    found = _POLL_TIME.match(line)
    return int(found[1]) * SECOND_NS if found else None


def seek(handle: int, since_ns: int, time_of: TimeOf) -> Spot:
    """Find the start of the first line with a time at or after `since_ns`, or of what follows the last line.

    handle: of a plain file. time_of: of the first `HEAD` bytes of a line. A file without any time is not passed over:
    the spot is its start. OSError when it cannot be read.
    """
    return _LineSearch(handle, time_of).spot(since_ns)


class _LineSearch:
    def __init__(self, handle: int, time_of: TimeOf) -> None:
        self._handle, self._time_of = handle, time_of
        self._size = os.fstat(handle).st_size

    def spot(self, since_ns: int) -> Spot:
        first = self._line(0, self._size, whole=True)
        if first is None or first[1] >= since_ns:
            return Spot(0, None if first is None else first[1])
        low, high, answer = first[0], self._size, self._end()
        while high - low > STEP:
            middle = (low + high) // 2
            found = self._line(middle, high)
            if found is None:
                high = middle
            elif found[1] < since_ns:
                low = found[0]
            else:
                answer, high = found[0], middle
        while (found := self._line(low, answer, whole=True)) is not None:
            if found[1] >= since_ns:
                return Spot(found[0], first[1])
            low = found[0] + 1
            low = self._next(low)
        return Spot(answer, first[1])

    def _line(self, start: int, stop: int, *, whole: bool = False) -> tuple[int, int] | None:
        """Start and time of the first line with a time that begins in [start, stop). whole: one begins at start."""
        at = start if whole else self._next(start)
        limit = min(stop, at + FARTHEST)
        while at < limit:
            data = self._data(at)
            if data is None or data >= stop:
                return None
            if data > at:  # a hole ends within a line
                at = self._next(data)
                limit = min(stop, at + FARTHEST)
                continue
            time_ns = self._time_of(os.pread(self._handle, HEAD, at))
            if time_ns is not None:
                return at, time_ns
            at = self._next(at)
        return None

    def _next(self, start: int) -> int:
        """Return where the first line begins after the first line break at or behind `start`; the size without one."""
        at = start
        while at < self._size:
            data = self._data(at)
            if data is None:
                break
            at = data
            piece = os.pread(self._handle, STEP, at)
            found = piece.find(b"\n")
            if found >= 0:
                return at + found + 1
            at += len(piece) or STEP
        return self._size

    def _data(self, at: int) -> int | None:
        """Return the first byte from there on that is not in a hole; None at the end of the file."""
        try:
            return os.lseek(self._handle, at, os.SEEK_DATA)
        except OSError:
            return None

    def _end(self) -> int:
        """Return the place behind the last line break: the line after that is still being written."""
        start = max(0, self._size - STEP)
        return start + os.pread(self._handle, STEP, start).rfind(b"\n") + 1 or self._size
