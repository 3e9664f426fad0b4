"""Rounds of polls: the answers in a snapshots file that were asked for at one time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from watchdog.core.errors import SourceError
from watchdog.core.moments import IMPLAUSIBLE, is_plausible, latest_plausible
from watchdog.core.source import Skipped
from watchdog.sources.faults import SourceFaults
from watchdog.sources.rpc.answers import is_json, peek
from watchdog.sources.rpc.lines import Line, LineReader
from watchdog.sources.rpc.node_state import Link

TOGETHER_NS = 2 * 10**9  # answers of one round are this close; a node may take a second over a large one
QUIET_S = 2.0  # a followed file that did not grow for this long has its last round complete; as long as TOGETHER_NS:
# a shorter wait would cut a round in which one answer takes its time, and compare halves of it
RPCS = frozenset(
    {
        "getpeerinfo",
        "getaddrmaninfo",
        "getrawaddrman",
        "getblockchaininfo",
        "getmempoolinfo",
        "getnetworkinfo",
        "getnettotals",
        "uptime",
        "getchaintips",
        "getblockheader",
        "getblockhash",
        "getorphantxs",
    }
)


def _latest_ns() -> int:
    return latest_plausible(time.time_ns())


class LinePosition(msgspec.Struct, frozen=True):
    """A line's place: byte offset in the unpacked text of the file that starts as `head` says (size, CRC-32)."""

    offset: int = 0
    head: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Poll:
    """One answer: its time, its place, and its line (empty when that RPC is not wanted)."""

    time_ns: int
    place: LinePosition
    line: bytes


@dataclass(slots=True)
class Round:
    """Answers of one time by RPC name.

    until_ns: no later round has events before it. faults: what was left out, by reason. link: of polls of our own, None
    for those of a file.
    """

    time_ns: int
    polls: dict[str, Poll] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    until_ns: int = 0
    link: Link | None = None


class RoundReader:
    """Reads a snapshots file round by round.

    A round is complete when a later time (or an RPC for the second time) is seen, at the end of
    a file that is not followed, and when a followed file was quiet for QUIET_S.
    `clock` gives seconds and is only used to tell how long a followed file was quiet; `latest_ns` gives the latest
    time that a poll may have, and answers of other times are left out and counted (`untrue`). `faults`: lines of a
    file that is not followed that are no answers, and where packed data ends too early; what was read before that is
    given, and the next call raises SourceError.
    """

    def __init__(
        self,
        path: str,
        follow: bool,
        needed: frozenset[str],
        clock: Callable[[], float] = time.monotonic,
        *,
        latest_ns: Callable[[], int] = _latest_ns,
    ) -> None:
        self._path = path
        self._follow = follow
        self._needed = needed
        self._clock = clock
        self._latest_ns = latest_ns
        self._reader = LineReader(path)
        self._pending: Round | None = None
        self._start = self._here(0)
        self._early: Counter[str] = Counter()
        self._good = self._resumed = False
        self._grown_at = clock()
        self._last_ns = 0
        self._broken: SourceError | None = None
        self.faults = SourceFaults()
        self.ended = False
        self.untrue = 0  # answers left out because of their time
        self.unknown = 0  # answers of RPCs that are not in RPCS

    @property
    def place(self) -> LinePosition:
        """Where the first round starts that was not handed out."""
        return self._start

    @property
    def progress(self) -> float:
        """Share of the file that was read, 0 to 1."""
        return 1.0 if self.ended else self._reader.progress

    def pass_over(self, since_ns: int) -> Skipped:
        """Begin at the first poll of this time, without reading those before it; what was passed over."""
        if self._reader.packed:
            return Skipped(note="a packed file cannot be passed over: it is read from its start")
        spot = self._reader.seek_time(since_ns)
        self._start = self._here(spot.offset)
        return Skipped(spot.offset, spot.first_ns)

    def resume(self, place: LinePosition, earlier: tuple[LinePosition | None, ...]) -> tuple[bytes | None, ...]:
        """Continue at `place`; gives the whole lines at `earlier` places, None where the file is gone.

        A file that was rotated to `PATH.1` meanwhile is read to its end first. SourceError:
        the file is another one, and it is not followed; a followed one is read from its start.
        """
        self._resumed = True
        lines: dict[LinePosition, bytes | None] = {}
        for wanted in sorted({item for item in earlier if item is not None}, key=lambda item: item.offset):
            lines[wanted] = self._line_at(wanted)
            if lines[wanted] is None:
                self._early["earlier poll is gone"] += 1
        if not self._open_at(place):
            if not self._follow:
                raise SourceError(
                    f"{self._path}: is not the file that was read before: it is shorter, or starts otherwise"
                )
            self._early["file was replaced"] += 1
        self._start = self._here(self._reader.offset)
        return tuple(None if item is None else lines[item] for item in earlier)

    def _line_at(self, wanted: LinePosition) -> bytes | None:
        if not self._open_at(wanted):
            return None
        line = self._reader.read() or self._reader.rest()
        return line.data if line else None

    def _open_at(self, place: LinePosition) -> bool:
        """Stand at a place, in this file or the one rotated away last; False if neither is the one."""
        if self._is_of(self._reader, place):
            self._reader.go_to(place.offset)
            return True
        for path in (self._path, f"{self._path}.1"):
            try:
                reader = LineReader(path, self._path)
            except SourceError:
                continue
            if self._is_of(reader, place):
                self._reader.close()
                self._reader = reader
                reader.go_to(place.offset)
                return True
            reader.close()
        return False

    @staticmethod
    def _is_of(reader: LineReader, place: LinePosition) -> bool:
        return place.offset == 0 or ((reader.head.size, reader.head.crc) == place.head and reader.reaches(place.offset))

    def next(self) -> Round | None:
        """Return the next complete round; None when none is complete now (for good when `ended`)."""
        while not self.ended:
            try:
                line = self._next_line()
            except SourceError as error:
                return self._break(error)
            if line is None:
                return self._pause()
            self._grown_at = self._clock() if self._follow else 0.0
            done = self._take(line)
            if done is not None:
                return done
        return None

    def _break(self, error: SourceError) -> Round | None:
        """Return the unfinished round of a file that cannot be read further; later calls raise the error."""
        pending, self._pending, self._broken = self._pending, None, error
        if not self._follow:
            self.faults.note(str(error), str(error))
        if pending is None:
            raise error
        pending.until_ns = pending.time_ns
        self._start = self._here(self._reader.offset)  # a second try does not give it twice
        return pending

    def _next_line(self) -> Line | None:
        if self._broken is not None:
            raise self._broken
        if not self._follow:
            self._reader.check_packed()
        line = self._reader.read()
        growing = (self._follow and not self._reader.packed) or self._reader.path != self._path
        if line is not None or not growing:
            return line or self._reader.rest()
        succession = self._reader.succession()
        if succession == "same":
            return None
        line = self._reader.read() if succession == "rotated" else None  # what came before the new file was made
        if line is not None:
            return line
        if self._reader.rest() is not None:
            self._faults["line cut off by rotation"] += 1
        if succession == "truncated":
            self._faults["file was cut short"] += 1
        self._reader.close()
        self._reader = LineReader(self._path)
        if self._pending is None:
            self._start = self._here(0)
        return self._next_line()

    @property
    def _faults(self) -> Counter[str]:
        return self._early if self._pending is None else self._pending.faults

    def _here(self, offset: int) -> LinePosition:
        head = self._reader.head
        return LinePosition(offset, (head.size, head.crc))

    def _take(self, line: Line) -> Round | None:
        """Put a line where it belongs; gives the pending round if the line is of the next one."""
        if line.data is None:
            self._faults["line too long"] += 1
            self._note(line.offset, "line too long")
            return None
        torn = not line.data.endswith(b"\n") and not is_json(line.data)  # a head may be readable all the same
        known = None if torn else peek(line.data)
        if known is None:
            if line.data.strip():
                self._faults["line that is no answer"] += 1
                self._note(line.offset, "torn line" if torn else "line that is no answer")
            return None
        time_ns, rpc = known
        if not is_plausible(time_ns, self._latest_ns()):
            self._faults[IMPLAUSIBLE] += 1
            self.untrue += 1
            return None
        self._good = True
        if rpc not in RPCS:
            self.unknown += 1
            return None
        poll = Poll(time_ns, self._here(line.offset), line.data if rpc in self._needed else b"")
        pending = self._pending
        if pending is not None and rpc not in pending.polls and abs(time_ns - pending.time_ns) <= TOGETHER_NS:
            pending.polls[rpc] = poll
            return None
        self._pending = Round(time_ns, {rpc: poll}, self._early if pending is None else Counter())
        self._early = Counter() if pending is None else self._early
        if time_ns < self._last_ns:
            self._pending.faults["time of polls went back"] += 1
        self._last_ns = time_ns
        if pending is not None:
            pending.until_ns = time_ns
            self._start = poll.place
        return pending

    def check(self, unread: Round) -> None:
        """Report the damaged answers of a round; others may have fields of a type that we do not know."""
        for poll in unread.polls.values():
            if poll.line and not is_json(poll.line):
                self._note(poll.place.offset, "line that is no answer")

    def _note(self, offset: int, what: str) -> None:
        """Report damage in a file that will not grow; only the first is looked up in it."""
        if self._follow:
            return
        path = self._reader.path
        number = 0 if len(self.faults) else self._reader.line_number(offset)
        self.faults.note(path, f"{path}:{number}: {what}")

    def _pause(self) -> Round | None:
        """Return the last round, if the file's end completes it."""
        pending = self._pending
        if self._follow and not self._reader.packed:
            if pending is None and self._last_ns and IMPLAUSIBLE in self._early:
                return self._only_faults()
            if pending is None or self._clock() - self._grown_at < QUIET_S:
                return None
            pending.until_ns = max(poll.time_ns for poll in pending.polls.values())
        elif not self._good and self._early and not self._resumed:
            raise SourceError(self._fault())
        self._pending = None
        self._start = self._here(self._reader.offset)
        if not self._follow or self._reader.packed:
            self.ended = True
            self._reader.close()
        return pending

    def _only_faults(self) -> Round:
        """Return the faults of a growing file since its last round, at that round's time: perhaps no other comes."""
        faults, self._early = self._early, Counter()
        self._start = self._here(self._reader.offset)
        return Round(self._last_ns, faults=faults, until_ns=self._last_ns)

    def _fault(self) -> str:
        """Why a file has nothing for us at all."""
        dated = self._early[IMPLAUSIBLE]
        if dated:
            return (
                f"{self._path}: none of its {dated:,} answers has a time between 2009 and tomorrow; "
                "is the clock of this machine right?"
            )
        return (
            f'{self._path}:1: is not a poll answer: each line must be {{"time": ..., "kind": "getpeerinfo", '
            '"result": ...}'
        )

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
