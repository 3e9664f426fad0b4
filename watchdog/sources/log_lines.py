"""Lines of a debug.log found in a chunk of bytes: where the message starts, when it was written.

All lines are looked at with NumPy; only those whose message begins with a wanted text come
out. A message is looked for after Core's own prefixes only, so text that a peer put into a line
cannot pose as a line of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watchdog.core.moments import before, is_plausible, plausible

LONGEST_LINE = 65_536  # bytes; longer lines are skipped and counted
BANNER_LINES = 16  # timed lines looked at after a start: the mock clock is set a few lines into the log
_PADDING = 64
_MOCK = b"(mocktime: "  # Bitcoin Core src/logging.cpp: stands behind the system time
_MOCK_SIZE = len(_MOCK) + len("2026-01-21T12:53:55Z) ")
QUARANTINED = -1
_MOST_PREFIXES = 6  # thread, file and line, function, category with level, and room for one more

IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """Beginnings of wanted messages, as 8-byte words to compare at once; rows of `codes` say which."""

    masks: tuple[np.uint64, ...]
    words: tuple[np.uint64, ...]

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Prefixes:
        """From beginnings; the first 8 bytes of each decide, and of two that fit the later one."""
        heads = [text[:8] for text in texts]
        masks = tuple(np.uint64((1 << 8 * len(head)) - 1) for head in heads)
        return cls(masks, tuple(np.uint64(int.from_bytes(head, "little")) for head in heads))

    def codes(self, words: NDArray[np.uint64]) -> NDArray[np.int16]:
        """For each message's first 8 bytes the number of the beginning that it has, -1 for none."""
        found = np.full(len(words), -1, np.int16)
        for code, (mask, word) in enumerate(zip(self.masks, self.words, strict=True)):
            found[(words & mask) == word] = code
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The wanted lines of a chunk, in file order, and what is known of all of its lines.

    starts, ends: the message in the chunk, without prefixes and line end. codes: index of its
    beginning, `QUARANTINED` for one whose time cannot be true. time_ns: event time, of a quarantined line
    that of the line before it in the chunk (of any kind), 0 if there is none. first_ns, last_ns: of the first
    and last line that has a plausible time, 0 if none has. long: lines left out because of their length.
    """

    starts: IntArray
    ends: IntArray
    codes: NDArray[np.int16]
    time_ns: IntArray
    first_ns: int
    last_ns: int
    lines: int
    long: int


def find_lines(chunk: bytes, prefixes: Prefixes, now_ns: int, start_code: int = -2) -> Lines:
    """The lines of `chunk` (whole lines, each ended by a newline) that begin as `prefixes` say.

    now_ns: of the wall clock. start_code: of the line of a starting node, which gets the time of the steady lines
    after it: its mock clock is set a few lines later.
    """
    padded = np.frombuffer(chunk + bytes(_PADDING), np.uint8)
    ends = np.flatnonzero(padded[: len(chunk)] == 10)
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts
    lines, long = len(ends), int(np.count_nonzero(lengths > LONGEST_LINE))
    timed = _timed(padded, starts, lengths)
    starts, ends = starts[timed], ends[timed]
    clocks, messages = _messages(padded, starts, ends)
    codes = prefixes.codes(_words(padded, messages))
    rows = np.flatnonzero((codes >= 0) & (messages < ends))
    times, valid = _times(padded, clocks[rows])
    rows, times, codes = rows[valid], times[valid], codes[rows[valid]]
    for row in (codes == start_code).nonzero()[0].tolist():
        steady = steady_time(chunk, int(starts[rows[row]]), now_ns)[0]
        own = int(times[row])
        times[row] = min(steady, own) if steady and is_plausible(own, now_ns) else steady or own
    sound = plausible(times, now_ns)
    if not sound.all():
        every, valid = _times(padded, clocks)
        codes = np.where(sound, codes, np.int16(QUARANTINED))
        times = np.where(sound, times, before(every, valid & plausible(every, now_ns), 0)[rows])
    first, last = _bounds(padded, clocks, now_ns)
    stops = ends[rows]
    stops = stops - (padded[stops - 1] == 13)
    return Lines(messages[rows], stops, codes, times, first, last, lines, long)


def steady_time(chunk: bytes, start: int, now_ns: int) -> tuple[int, int]:
    """Least plausible time (ns) of the first timed lines from byte `start` on, and how many there were.

    A node logs its first lines before its mock clock is set; what follows tells the real start.
    """
    stop = start
    for _ in range(BANNER_LINES + 4):
        stop = chunk.find(b"\n", stop) + 1 or len(chunk)
    piece = chunk[start:stop]
    padded = np.frombuffer(piece + bytes(_PADDING), np.uint8)
    ends = np.flatnonzero(padded == 10)
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[: len(ends)]
    timed = _timed(padded, starts, ends - starts)
    clocks, _ = _messages(padded, starts[timed], ends[timed])
    times, valid = _times(padded, clocks)
    times = times[valid & plausible(times, now_ns)][:BANNER_LINES]
    return (int(times.min()), len(times)) if len(times) else (0, 0)


def _timed(padded: ByteArray, starts: IntArray, lengths: IntArray) -> NDArray[np.bool_]:
    """Which lines are long enough, not too long, and look like they begin with a time."""
    room = np.minimum(starts, len(padded) - _PADDING)
    whole = (padded[room + 19] == ord("Z")) & (lengths > 21)
    micros = (padded[room + 26] == ord("Z")) & (lengths > 28)
    found: NDArray[np.bool_] = (whole | micros) & (padded[room + 10] == ord("T")) & (lengths <= LONGEST_LINE)
    return found


def _messages(padded: ByteArray, starts: IntArray, ends: IntArray) -> tuple[IntArray, IntArray]:
    """Where each line's clock text and its message start, prefixes in brackets skipped."""
    clocks = starts.copy()
    messages = starts + np.where(padded[starts + 19] == ord("Z"), 21, 28)
    mocked = np.flatnonzero(padded[messages] == ord("("))
    for row in mocked.tolist():
        at = int(messages[row])
        if padded[at : at + len(_MOCK)].tobytes() == _MOCK and at + _MOCK_SIZE <= ends[row]:
            clocks[row] = at + len(_MOCK)
            messages[row] = at + _MOCK_SIZE
    _skip_known(padded, messages)
    rows = np.flatnonzero(padded[messages] == ord("["))
    if len(rows):
        _skip_brackets(padded, messages, ends, rows)
    return clocks, messages


def _skip_known(padded: ByteArray, messages: IntArray) -> None:
    """Skip the two most usual prefixes in place, without a search for brackets."""
    words = _words(padded, messages)
    net = np.uint64(int.from_bytes(b"[net] ", "little"))
    messages += 6 * ((words & np.uint64((1 << 48) - 1)) == net)
    rows = np.flatnonzero(words == np.uint64(int.from_bytes(b"[addrman", "little")))
    inside = messages[rows]
    messages[rows] = inside + 10 * ((padded[inside + 8] == ord("]")) & (padded[inside + 9] == ord(" ")))


def _skip_brackets(padded: ByteArray, messages: IntArray, ends: IntArray, rows: NDArray[np.intp]) -> None:
    """Skip "[anything] " in place for the chosen rows, as often as Core can write one."""
    closing = np.flatnonzero((padded[:-1] == ord("]")) & (padded[1:] == ord(" ")))
    for _ in range(_MOST_PREFIXES):
        if not len(rows) or not len(closing):
            return
        nearest = np.searchsorted(closing, messages[rows])
        beyond = closing[np.minimum(nearest, len(closing) - 1)]
        inside = (nearest < len(closing)) & (beyond + 2 < ends[rows])
        rows = rows[inside]
        messages[rows] = beyond[inside] + 2
        rows = rows[padded[messages[rows]] == ord("[")]


def _words(padded: ByteArray, at: IntArray) -> NDArray[np.uint64]:
    """The 8 bytes at each place as little-endian words; places lie at least 8 before the end."""
    words: NDArray[np.uint64] = np.zeros(len(at), np.uint64)
    for byte in range(8):
        words |= padded[at + byte].astype(np.uint64) << np.uint64(8 * byte)
    return words


def _bounds(padded: ByteArray, clocks: IntArray, now_ns: int) -> tuple[int, int]:
    """Times of the first and the last line whose time is plausible, 0 if there is none."""
    found = []
    for near in (clocks[:8], clocks[-8:]):
        times = _sound_times(padded, near, now_ns)
        found.append(times if len(times) else _sound_times(padded, clocks, now_ns))
    head, tail = found
    return (int(head[0]), int(tail[-1])) if len(head) else (0, 0)


def _sound_times(padded: ByteArray, clocks: IntArray, now_ns: int) -> IntArray:
    times, valid = _times(padded, clocks)
    return times[valid & plausible(times, now_ns)]


_DIGITS = np.array([0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18])
_SEPARATORS = tuple(zip((4, 7, 10, 13, 16), b"--T::", strict=True))
_MICROS = np.array([20, 21, 22, 23, 24, 25])
_LARGEST_S = (1 << 63) // 10**9 - 1  # int64 nanoseconds end in 2262


def _times(padded: ByteArray, clocks: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Nanoseconds since the epoch of ISO 8601 times, and which of them are sound; years beyond int64 give 2262."""
    digits = padded[clocks[:, None] + _DIGITS].astype(np.int64) - 48
    sound = ((digits >= 0) & (digits <= 9)).all(axis=1)
    for place, sign in _SEPARATORS:
        sound &= padded[clocks + place] == sign
    year = digits[:, :4] @ np.array([1000, 100, 10, 1])
    month, day, hour, minute, second = (digits[:, i] * 10 + digits[:, i + 1] for i in range(4, 14, 2))
    sound &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    sound &= (hour < 24) & (minute < 60) & (second <= 60)
    seconds = _days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
    seconds = np.clip(seconds, -_LARGEST_S, _LARGEST_S)
    fraction = padded[clocks[:, None] + _MICROS].astype(np.int64) - 48
    exact = padded[clocks + 19] == ord(".")
    sound &= (exact & ((fraction >= 0) & (fraction <= 9)).all(axis=1)) | (padded[clocks + 19] == ord("Z"))
    micros = np.where(exact, fraction @ np.array([100_000, 10_000, 1_000, 100, 10, 1]), 0)
    return np.where(sound, seconds * 1_000_000_000 + micros * 1_000, 0), sound


def _days(year: IntArray, month: IntArray, day: IntArray) -> IntArray:
    """Days since the epoch in the Gregorian calendar; years start in March so that leap days come last."""
    shifted = year - (month <= 2)
    months = (month + 9) % 12
    days: IntArray = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + (153 * months + 2) // 5 + day - 1
    return days - 719_468
