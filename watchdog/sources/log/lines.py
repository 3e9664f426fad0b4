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

from watchdog.core.arrays import Ints
from watchdog.core.moments import before, is_plausible, plausible

LONGEST_LINE = 65_536  # bytes; longer lines are skipped and counted
BANNER_LINES = 16  # timed lines looked at after a start: the mock clock is set a few lines into the log
_PADDING = 64
_MOCK = b"(mocktime: "  # Core writes it after the system time
_MOCK_SIZE = len(_MOCK) + len("2026-01-21T12:53:55Z) ")
_BOM = b"\xef\xbb\xbf"  # the byte order mark of UTF-8, as editors and Windows tools write it
_LIMITED = b"[*] "  # Core since v30, before every line while any source location is suppressed
_FIRST_6, _FIRST_5 = np.uint64((1 << 48) - 1), np.uint64((1 << 40) - 1)
_NET = np.uint64(int.from_bytes(b"[net] ", "little"))
_NET_LEVEL = np.uint64(int.from_bytes(b"[net:", "little"))
QUARANTINED = -1
_MOST_PREFIXES = 6  # thread, file and line, function, category with level, and room for one more

ByteArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """Beginnings of wanted messages, as words of 8 bytes to compare at once.

    short: (mask, word, code) of beginnings below 8 bytes. words: the others, sorted; codes: theirs, in that order.
    """

    short: tuple[tuple[np.uint64, np.uint64, int], ...]
    words: NDArray[np.uint64]
    numbers: NDArray[np.int16]

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Prefixes:
        """Build from beginnings; the first 8 bytes of each decide, and of two that fit the later, longer one."""
        heads = [(int.from_bytes(text[:8], "little"), len(text[:8]), code) for code, text in enumerate(texts)]
        short = tuple((np.uint64((1 << 8 * size) - 1), np.uint64(word), code) for word, size, code in heads if size < 8)
        whole = sorted((word, code) for word, size, code in heads if size == 8)
        words = np.array([word for word, _ in whole] or [0], np.uint64)
        return cls(short, words, np.array([code for _, code in whole] or [-1], np.int16))

    def codes(self, words: NDArray[np.uint64]) -> NDArray[np.int16]:
        """Return for each message's first 8 bytes the number of the beginning that it has, -1 for none."""
        found = np.full(len(words), -1, np.int16)
        for mask, word, code in self.short:
            found[(words & mask) == word] = code
        nearest = np.minimum(np.searchsorted(self.words, words), len(self.words) - 1)
        same = self.words[nearest] == words
        found[same] = self.numbers[nearest[same]]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The wanted lines of a chunk, in file order, and what is known of all of its lines.

    starts, ends: the message in the chunk, without prefixes and line end. codes: index of its
    beginning, `QUARANTINED` for one whose time cannot be true. time_ns: event time, of a quarantined line
    that of the line before it in the chunk (of any kind), 0 without one. first_ns, last_ns: of the first
    and last line that has a plausible time, 0 if none has. long: lines left out because of their length.
    untimed: (start, end, code) of wanted lines without a time. net: lines of the category "net".
    """

    starts: Ints
    ends: Ints
    codes: NDArray[np.int16]
    time_ns: Ints
    first_ns: int
    last_ns: int
    lines: int
    long: int
    untimed: tuple[tuple[int, int, int], ...] = ()
    net: int = 0


def find_lines(chunk: bytes, prefixes: Prefixes, now_ns: int, start_code: int = -2) -> Lines:
    """Return the lines of `chunk` (whole lines, each ended by a newline) that begin as `prefixes` say.

    now_ns: of the wall clock. start_code: of the line of a starting node, which gets the time of the steady lines
    after it: its mock clock is set a few lines later.
    """
    padded = np.frombuffer(chunk + bytes(_PADDING), np.uint8)
    ends = np.flatnonzero(padded[: len(chunk)] == 10)
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    lines, long = len(ends), int(np.count_nonzero(ends - starts > LONGEST_LINE))
    _skip_marks(padded, starts)
    timed = _timed(padded, starts, ends - starts)
    untimed = _untimed(padded, starts[~timed], ends[~timed], prefixes)
    starts, ends = starts[timed], ends[timed]
    clocks, messages, net = _messages(padded, starts, ends)
    codes = prefixes.codes(_words(padded, messages))
    rows = np.flatnonzero((codes >= 0) & (messages < ends))
    times, valid = _times(padded, clocks[rows])
    if not valid.all():
        wrong = rows[~valid]
        untimed += _rows_of(messages[wrong], ends[wrong], codes[wrong])
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
    return Lines(messages[rows], stops, codes, times, first, last, lines, long, untimed, net)


def _skip_marks(padded: ByteArray, starts: Ints) -> None:
    """Skip in place what may stand before the time of a line: a byte order mark, and Core's sign of a rate limit."""
    first = padded[starts]
    rows = np.flatnonzero(first == _BOM[0])
    for row in rows.tolist():
        at = int(starts[row])
        starts[row] += len(_BOM) * (padded[at : at + len(_BOM)].tobytes() == _BOM)
    rows = np.flatnonzero((padded[starts] == _LIMITED[0]) & (padded[starts + 1] == _LIMITED[1]))
    starts[rows] += len(_LIMITED) * (
        (padded[starts[rows] + 2] == _LIMITED[2]) & (padded[starts[rows] + 3] == _LIMITED[3])
    )


def _untimed(padded: ByteArray, starts: Ints, ends: Ints, prefixes: Prefixes) -> tuple[tuple[int, int, int], ...]:
    """Find lines that begin with a wanted message where the time should be."""
    starts, ends = starts[ends - starts <= LONGEST_LINE], ends[ends - starts <= LONGEST_LINE]
    if not len(starts):
        return ()
    messages = starts.copy()
    _skip_prefixes(padded, messages, ends)
    codes = prefixes.codes(_words(padded, messages))
    rows = np.flatnonzero((codes >= 0) & (messages < ends))
    return _rows_of(messages[rows], ends[rows], codes[rows])


def _rows_of(starts: Ints, ends: Ints, codes: NDArray[np.int16]) -> tuple[tuple[int, int, int], ...]:
    return tuple(zip(starts.tolist(), ends.tolist(), codes.tolist(), strict=True))


def steady_time(chunk: bytes, start: int, now_ns: int) -> tuple[int, int]:
    """Return the least plausible time (ns) of the first timed lines from byte `start` on, and their number.

    A node logs its first lines before its mock clock is set; what follows tells the real start.
    """
    stop = start
    for _ in range(BANNER_LINES + 4):
        stop = chunk.find(b"\n", stop) + 1 or len(chunk)
    piece = chunk[start:stop]
    padded = np.frombuffer(piece + bytes(_PADDING), np.uint8)
    ends = np.flatnonzero(padded == 10)
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))[: len(ends)]
    _skip_marks(padded, starts)
    timed = _timed(padded, starts, ends - starts)
    clocks, _, _ = _messages(padded, starts[timed], ends[timed])
    times, valid = _times(padded, clocks)
    times = times[valid & plausible(times, now_ns)][:BANNER_LINES]
    return (int(times.min()), len(times)) if len(times) else (0, 0)


def _timed(padded: ByteArray, starts: Ints, lengths: Ints) -> NDArray[np.bool_]:
    """Return which lines are long enough, not too long, and look like they begin with a time."""
    room = np.minimum(starts, len(padded) - _PADDING)
    whole = (padded[room + 19] == ord("Z")) & (lengths > 21)
    micros = (padded[room + 26] == ord("Z")) & (lengths > 28)
    found: NDArray[np.bool_] = (whole | micros) & (padded[room + 10] == ord("T")) & (lengths <= LONGEST_LINE)
    return found


def _messages(padded: ByteArray, starts: Ints, ends: Ints) -> tuple[Ints, Ints, int]:
    """Return where each line's clock text and message start, without prefixes, and the number of "net" lines."""
    clocks = starts.copy()
    messages = starts + np.where(padded[starts + 19] == ord("Z"), 21, 28)
    mocked = np.flatnonzero(padded[messages] == ord("("))
    for row in mocked.tolist():
        at = int(messages[row])
        if padded[at : at + len(_MOCK)].tobytes() == _MOCK and at + _MOCK_SIZE <= ends[row]:
            clocks[row] = at + len(_MOCK)
            messages[row] = at + _MOCK_SIZE
    return clocks, messages, _skip_prefixes(padded, messages, ends)


def _skip_prefixes(padded: ByteArray, messages: Ints, ends: Ints) -> int:
    """Skip Core's prefixes in place; how many of the lines are of the category "net"."""
    net = _skip_known(padded, messages)
    rows = np.flatnonzero(padded[messages] == ord("["))
    return net + (_skip_brackets(padded, messages, ends, rows) if len(rows) else 0)


def _skip_known(padded: ByteArray, messages: Ints) -> int:
    """Skip the two most usual prefixes in place, without a search for brackets; how often the first stood there."""
    words = _words(padded, messages)
    net = (words & _FIRST_6) == _NET
    messages += 6 * net
    rows = np.flatnonzero(words == np.uint64(int.from_bytes(b"[addrman", "little")))
    inside = messages[rows]
    messages[rows] = inside + 10 * ((padded[inside + 8] == ord("]")) & (padded[inside + 9] == ord(" ")))
    return int(np.count_nonzero(net))


def _skip_brackets(padded: ByteArray, messages: Ints, ends: Ints, rows: NDArray[np.intp]) -> int:
    """Skip "[anything] " in place for the chosen rows, as often as Core can write one; how many were "net".

    Core's Logger::Format: thread, "file:line", function, category with level. Only a file whose build folder has one
    and the function behind it can hold blanks: what else does is part of the message ("[background validation] ").
    """
    closing = np.flatnonzero((padded[:-1] == ord("]")) & (padded[1:] == ord(" ")))
    located = np.zeros(len(rows), np.bool_)
    net = 0
    for _ in range(_MOST_PREFIXES):
        if not len(rows) or not len(closing):
            break
        begins = messages[rows]
        nearest = np.searchsorted(closing, begins)
        beyond = closing[np.minimum(nearest, len(closing) - 1)]
        inside = (nearest < len(closing)) & (beyond + 2 < ends[rows])
        inside &= located | ~_hold_blank(padded, begins, beyond) | _locations(padded, begins, beyond)
        rows, begins, beyond = rows[inside], begins[inside], beyond[inside]
        words = _words(padded, begins)
        net += int(np.count_nonzero(((words & _FIRST_6) == _NET) | ((words & _FIRST_5) == _NET_LEVEL)))
        messages[rows] = beyond + 2
        more = padded[messages[rows]] == ord("[")
        located = _locations(padded, begins[more], beyond[more])
        rows = rows[more]
    return net


def _hold_blank(padded: ByteArray, begins: Ints, ends: Ints) -> NDArray[np.bool_]:
    """Return whether there is a blank between two places of each row."""
    blanks = np.flatnonzero(padded == ord(" "))
    nearest = np.searchsorted(blanks, begins)
    found: NDArray[np.bool_] = (nearest < len(blanks)) & (blanks[np.minimum(nearest, len(blanks) - 1)] < ends)
    return found


def _locations(padded: ByteArray, begins: Ints, ends: Ints) -> NDArray[np.bool_]:
    """Return which brackets hold "file:line": a colon, then at most seven digits up to the end."""
    found = np.zeros(len(begins), np.bool_)
    digits = np.ones(len(begins), np.bool_)
    for back in range(1, 9):
        at = np.maximum(ends - back, begins)
        found |= digits & (back > 1) & (padded[at] == ord(":")) & (at > begins)
        digits &= (padded[at] >= ord("0")) & (padded[at] <= ord("9"))
    return found


def _words(padded: ByteArray, at: Ints) -> NDArray[np.uint64]:
    """Return the 8 bytes at each place as little-endian words; each place is at least 8 before the end."""
    words: NDArray[np.uint64] = np.zeros(len(at), np.uint64)
    for byte in range(8):
        words |= padded[at + byte].astype(np.uint64) << np.uint64(8 * byte)
    return words


def _bounds(padded: ByteArray, clocks: Ints, now_ns: int) -> tuple[int, int]:
    """Return the times of the first and the last line with a plausible time, 0 without one."""
    found = []
    for near in (clocks[:8], clocks[-8:]):
        times = _sound_times(padded, near, now_ns)
        found.append(times if len(times) else _sound_times(padded, clocks, now_ns))
    head, tail = found
    return (int(head[0]), int(tail[-1])) if len(head) else (0, 0)


def _sound_times(padded: ByteArray, clocks: Ints, now_ns: int) -> Ints:
    times, valid = _times(padded, clocks)
    return times[valid & plausible(times, now_ns)]


_DIGITS = np.array([0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18])
_SEPARATORS = tuple(zip((4, 7, 10, 13, 16), b"--T::", strict=True))
_MICROS = np.array([20, 21, 22, 23, 24, 25])
_LARGEST_S = (1 << 63) // 10**9 - 1  # int64 nanoseconds end in 2262


def _times(padded: ByteArray, clocks: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Parse ISO 8601 times to ns since the epoch, and which of them are sound; years beyond int64 give 2262."""
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


def _days(year: Ints, month: Ints, day: Ints) -> Ints:
    """Return days since the epoch in the Gregorian calendar; years start in March so that leap days come last."""
    shifted = year - (month <= 2)
    months = (month + 9) % 12
    days: Ints = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + (153 * months + 2) // 5 + day - 1
    return days - 719_468
