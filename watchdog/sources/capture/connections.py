"""Connections behind capture files: which there were, who opened them, when they ended.

The files name neither the peer's id nor the kind of connection. What is inferred, and from what:

- A folder is one address and port. The node sends `version` once on each connection, so a second `version` that was
  sent starts a new connection there; a second one that was only received is the peer's own doing (Core ignores it).
- Who sent `version` first opened the connection: an outbound node speaks first, a listening one only answers.
  With equal timestamps (mock clock): a getaddr sent at once, or a listening port, says out; else in.
- A connection is over when its folder starts a new one, or after 20 silent minutes
  (TIMEOUT_INTERVAL_S). Silent ones are known to be over only then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from watchdog.core.core_constants import DEFAULT_PEER_CONNECT_TIMEOUT_S, DEFAULT_PORTS, TIMEOUT_INTERVAL_S
from watchdog.core.errors import PositionError
from watchdog.sources.capture.exchanges import Exchange

SILENCE_US: Final = TIMEOUT_INTERVAL_S * 1_000_000
HANDSHAKE_US: Final = DEFAULT_PEER_CONNECT_TIMEOUT_S * 1_000_000
ANSWER_US: Final = 2_000_000  # a node answers a version within this time
OPEN_LIMIT: Final = 20_000  # connections followed at once; beyond it the longest silent one is dropped
LISTENING_PORTS: Final = frozenset(DEFAULT_PORTS)
NEVER: Final = 1 << 62

PeerDirection = Literal["in", "out", "unknown"]
DIRECTIONS: Final[tuple[PeerDirection, ...]] = ("in", "out", "unknown")


@dataclass(slots=True, eq=False)
class Connection:
    """One connection; times in microseconds of the node's clock. number: -1 until it is numbered.

    peer_text: the peer as the node prints it, where it does; a capture has only the folder.
    """

    folder: str
    direction: PeerDirection
    first_us: int
    last_us: int
    sent_version: bool
    received_version: bool
    exchange: Exchange
    number: int = -1
    saved: list[object] | None = None  # as the position has it, until the connection says more
    peer_text: str = ""

    @property
    def peer(self) -> str:
        """Address and port as Core prints them."""
        return self.peer_text or peer_of(self.folder)


@dataclass(slots=True, eq=False)
class ConnectionChange:
    """A connection that opened or closed at `time_us`; `open_count`: open ones in its direction after that."""

    time_us: int
    opened: bool
    connection: Connection
    open_count: int = 0


@dataclass(slots=True)
class FolderRows:
    """What one cut took from one folder: times (sorted) and, as indexes into them, the messages that matter."""

    sent_us: list[int]
    received_us: list[int]
    sent_versions: Sequence[int] = ()
    received_versions: Sequence[int] = ()
    getaddrs_us: Sequence[int] = ()  # of getaddr messages sent
    fresh: bool = False  # the received rows begin at the start of their file


@dataclass(slots=True)
class Stretch:
    """Rows of a folder that belong to one connection: from these indexes to the next stretch."""

    connection: Connection
    sent: int
    received: int


@dataclass(slots=True)
class _Start:
    sent: int
    received: int
    sent_version: bool = False


def peer_of(folder: str) -> str:
    """Return the peer that a folder is named after, as address:port."""
    return folder.replace("_", ":")


@dataclass(slots=True, eq=False)
class ConnectionTracker:
    """All connections that may still be open, the longest silent one first."""

    open: OrderedDict[str, Connection] = field(default_factory=OrderedDict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DIRECTIONS, 0))
    numbered: int = 0
    given_up: int = 0
    _changes: list[ConnectionChange] = field(default_factory=list)
    _touched: list[Connection] = field(default_factory=list)

    def going_on(self, folder: str, sent_us: list[int], received_us: list[int]) -> Connection | None:
        """Return the open connection that these rows of a folder, none of them a `version`, continue, if any."""
        connection = self.open.get(folder)
        if connection is None:
            return None
        first = min(sent_us[0] if sent_us else NEVER, received_us[0] if received_us else NEVER)
        if first - connection.last_us > SILENCE_US:
            return None
        last = max(sent_us[-1] if sent_us else 0, received_us[-1] if received_us else 0)
        connection.last_us = max(connection.last_us, last)
        connection.saved = None
        self._touched.append(connection)
        return connection

    def enter(self, folder: str, sent: bytes, received: bytes, seen_us: int) -> None:
        """Take a connection for open whose beginning is not read, by the headers of its first records in both files.

        seen_us: it was silent no longer than since then. Without a `version` first it is not known who began it; an
        earlier connection of the same folder may have been the other way round, but hardly ever is.
        """
        sent_us, received_us = (int.from_bytes(head[:8], "little") or NEVER for head in (sent, received))
        greets, greeted = (head[8:20].rstrip(b"\0") == b"version" for head in (sent, received))
        if sent_us == received_us:
            port = folder.rpartition("_")[2]
            listens = port.isdecimal() and int(port) in LISTENING_PORTS
            greets, greeted = greets and listens, greeted and not listens
        elif sent_us < received_us:
            greeted = False
        else:
            greets = False
        if not (greets or greeted):
            return
        first_us = min(sent_us, received_us)
        direction: PeerDirection = "out" if greets else "in"
        self.open[folder] = Connection(
            folder, direction, first_us, seen_us, True, True, Exchange(first_us), self.numbered
        )
        self.numbered += 1
        self.counts[direction] += 1

    def assign(self, folder: str, rows: FolderRows) -> list[Stretch]:
        """Return the connections that the rows of a folder belong to, in order; opens and closes as needed."""
        connection = self.open.get(folder)
        first = min(rows.sent_us[0] if rows.sent_us else NEVER, rows.received_us[0] if rows.received_us else NEVER)
        if connection is not None and first - connection.last_us > SILENCE_US:
            self._close(connection, connection.last_us + SILENCE_US)
            connection = None
        starts = _starts(rows, connection)
        stretches: list[Stretch] = []
        for at, start in enumerate(starts):
            following = starts[at + 1] if at + 1 < len(starts) else _Start(len(rows.sent_us), len(rows.received_us))
            if at or connection is None:
                connection = self._open(folder, rows, start, following)
            self._update(connection, rows, start, following)
            stretches.append(Stretch(connection, start.sent, start.received))
        return stretches

    def finish(self, until_us: int) -> list[ConnectionChange]:
        """End a cut: number the new connections, close the silent ones, count; the changes by time."""
        new = [change.connection for change in self._changes if change.opened]
        for connection in sorted(new, key=lambda one: (one.first_us, one.folder)):
            connection.number = self.numbered
            self.numbered += 1
        for connection in sorted(self._touched, key=lambda one: one.last_us):
            if self.open.get(connection.folder) is connection:
                self.open.move_to_end(connection.folder)
        self._expire(until_us)
        changes = sorted(self._changes, key=lambda one: (one.time_us, one.opened, one.connection.number))
        for change in changes:
            direction = change.connection.direction
            self.counts[direction] = max(0, self.counts[direction] + (1 if change.opened else -1))
            change.open_count = self.counts[direction]
        self._changes, self._touched = [], []
        return changes

    def position(self) -> dict[str, object]:
        """Return all state as JSON-able values."""
        saved = [one.saved or _saved(one) for one in self.open.values()]
        return {"open": saved, "counts": dict(self.counts), "numbered": self.numbered, "given_up": self.given_up}

    def forget_after(self, believed_us: int) -> None:
        """Treat connections with later times, which a wrong clock gave, as opened and last heard at this time."""
        for one in self.open.values():
            if one.last_us > believed_us:
                one.first_us, one.last_us, one.saved = min(one.first_us, believed_us), believed_us, None
                one.exchange.forget_after(believed_us)

    @classmethod
    def resumed(cls, position: Mapping[str, object]) -> ConnectionTracker:
        """Restore what `position` returned; StateError when it is damaged."""
        tracker = cls()
        saved, counts = position.get("open"), position.get("counts")
        numbered, given_up = position.get("numbered"), position.get("given_up")
        if not isinstance(saved, list) or not isinstance(counts, Mapping):
            raise PositionError("position of a capture source is damaged: expected open and counts")
        if not isinstance(numbered, int) or not isinstance(given_up, int):
            raise PositionError("position of a capture source is damaged: expected numbered and given_up")
        tracker.numbered, tracker.given_up = numbered, given_up
        tracker.counts.update({name: int(counts.get(name, 0)) for name in DIRECTIONS})
        for one in saved:
            connection = _restored(one)
            tracker.open[connection.folder] = connection
        return tracker

    def _open(self, folder: str, rows: FolderRows, start: _Start, following: _Start) -> Connection:
        previous = self.open.pop(folder, None)
        first = min(_time(rows.sent_us, start.sent, following.sent), _time_received(rows, start, following))
        if previous is not None:
            self._close(previous, first)
        direction = _direction(folder, rows, start, following)
        connection = Connection(folder, direction, first, first, False, False, Exchange(first))
        self.open[folder] = connection
        self._changes.append(ConnectionChange(first, True, connection))
        return connection

    def _update(self, connection: Connection, rows: FolderRows, start: _Start, following: _Start) -> None:
        if following.sent > start.sent:
            connection.last_us = max(connection.last_us, rows.sent_us[following.sent - 1])
        if following.received > start.received:
            connection.last_us = max(connection.last_us, rows.received_us[following.received - 1])
        connection.sent_version |= _any_in(rows.sent_versions, start.sent, following.sent)
        connection.received_version |= _any_in(rows.received_versions, start.received, following.received)
        connection.saved = None
        self._touched.append(connection)

    def _close(self, connection: Connection, time_us: int) -> None:
        self.open.pop(connection.folder, None)
        self._changes.append(ConnectionChange(time_us, False, connection))

    def _expire(self, until_us: int) -> None:
        while self.open:
            oldest = next(iter(self.open.values()))
            if oldest.last_us + SILENCE_US < until_us:
                self._close(oldest, oldest.last_us + SILENCE_US)
            elif len(self.open) > OPEN_LIMIT:
                self.given_up += 1
                self._close(oldest, max(oldest.last_us, min(until_us, oldest.last_us + SILENCE_US)))
            else:
                break


def _saved(one: Connection) -> list[object]:
    """Return a connection as JSON-able values, kept so that silent ones cost nothing at the next position."""
    flags = [one.sent_version, one.received_version]
    times = [one.first_us, one.last_us]
    one.saved = [one.folder, DIRECTIONS.index(one.direction), *times, *flags, one.number, one.exchange.saved()]
    return one.saved


def _restored(saved: Any) -> Connection:  # JSON: every value is converted below
    try:
        folder, direction, first, last, sent, received, number, exchange = saved
        return Connection(
            str(folder),
            DIRECTIONS[int(direction)],
            int(first),
            int(last),
            bool(sent),
            bool(received),
            Exchange.restored(exchange),
            int(number),
        )
    except (TypeError, ValueError, IndexError) as error:
        raise PositionError(f"position of a capture source holds a damaged connection: {error}") from error


def _any_in(indexes: Iterable[int], start: int, stop: int) -> bool:
    return any(start <= index < stop for index in indexes)


def _time(times: list[int], start: int, stop: int) -> int:
    return times[start] if start < stop else NEVER


def _time_received(rows: FolderRows, start: _Start, following: _Start) -> int:
    return _time(rows.received_us, start.received, following.received)


def _starts(rows: FolderRows, connection: Connection | None) -> list[_Start]:
    """Return where connections begin in the rows; the first start is the rows' own beginning."""
    starts = [_Start(0, 0, connection.sent_version if connection else False)]
    began = connection.first_us if connection else None
    heard = connection.received_version if connection else False
    for index in rows.sent_versions:
        time_us = rows.sent_us[index]
        unanswered = not starts[-1].sent_version and began is not None and time_us - began > HANDSHAKE_US
        if starts[-1].sent_version or unanswered:
            received = _received_start(rows, time_us, starts[-1].received, heard)
            starts.append(_Start(index, received))
            heard = False
            began = time_us
        starts[-1].sent_version = True
        if began is None:
            began = time_us
    return starts


def _received_start(rows: FolderRows, time_us: int, after: int, heard: bool) -> int:
    """Return the first received row of a connection on which the node sent `version` at `time_us`.

    after: where the connection before it begins; heard: whether its `version` was in an earlier cut.
    """
    versions = [index for index in rows.received_versions if index >= after]
    times = rows.received_us
    own = not heard and versions and times[versions[0]] < time_us  # the first belongs to the connection before
    candidates = versions[1:] if own else versions
    asked = [index for index in candidates if time_us - ANSWER_US <= times[index] <= time_us]
    return asked[-1] if asked else bisect_right(times, time_us, after)


def _direction(folder: str, rows: FolderRows, start: _Start, following: _Start) -> PeerDirection:
    """Return the side that opened the connection that begins at `start`."""
    sent_us = _time(rows.sent_us, start.sent, following.sent)
    received_us = _time_received(rows, start, following)
    we_greet = start.sent in rows.sent_versions
    if sent_us < received_us:
        return "out" if we_greet else "unknown"
    they_greet = start.received in rows.received_versions
    if received_us < sent_us:
        # at the start of the file it is a peer that skips the handshake: an outbound node would have spoken first
        return "in" if they_greet or (rows.fresh and start.received == 0) else "unknown"
    if not we_greet:
        return "unknown"
    at = bisect_left(rows.getaddrs_us, sent_us)
    if at < len(rows.getaddrs_us) and rows.getaddrs_us[at] == sent_us:
        return "out"  # Core asks only peers that it connected to
    port = folder.rpartition("_")[2]
    return "out" if port.isdecimal() and int(port) in LISTENING_PORTS else "in"
