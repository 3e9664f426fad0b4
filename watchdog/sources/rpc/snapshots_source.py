"""Source `snapshots:FILE`: answers of a node's RPCs from a poller, one JSON object a line.

    {"time": unix seconds, "kind": RPC name, "result": what the RPC answered}

Plain, gzip or xz. Gives state rows (rpc:*) and the changes between polls (peer:*, addrman:*,
chain:tip, node:started, node:warning), which `reporter` defines for this source and for `rpc:`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from watchdog.core.batch import Slice
from watchdog.core.enrich import Enricher
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.source import END_OF_TIME_NS, Skipped, SourceOptions
from watchdog.sources.faults import SourceFaults
from watchdog.sources.rpc import node_state
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.columns import KINDS, RpcRows
from watchdog.sources.rpc.reporter import NEEDS, PROCESS, Memory, Reporter
from watchdog.sources.rpc.rounds import LinePosition, Round, RoundReader
from watchdog.sources.rpc.salvage import UNREADABLE

__all__ = ["KINDS", "SnapshotsSource"]

MAX_ROUNDS = 10  # of one slice
JOINED_ROUNDS = 1_000  # where no reader waits for a slice: closing many panes costs little more than closing one
MAX_ROWS = 20_000  # after which a slice takes no further round
MAX_FACTS = 200_000  # addresses whose netgroup is kept: full tables and their sources


class Position(Memory, kw_only=True):
    """The position and the state to resume exactly; the last polls are read again at their places."""

    place: LinePosition = LinePosition()
    until_ns: int = 0


class SnapshotsSource:
    """Polled RPC answers in a file as events; see `watchdog.core.source.Source`.

    A line that is no answer or has a time that cannot be true, and what an answer holds beyond its limits,
    becomes source:gap; RPCs that we do not know are counted in `counters`. SourceError: the file cannot
    be opened or unpacked, none of its lines is an answer, or the position is not of this file.
    """

    def __init__(self, path: str, options: SourceOptions) -> None:
        self.name = f"snapshots:{path}"
        rows = RpcRows(options.node, self.name, options.wants)
        needed = {rpc for rpc, kinds in NEEDS.items() if rows.wants(*kinds)}
        self._position = Position() if options.position is None else _position(path, options.position)
        known = AddressFacts(Enricher(options.asmap_path, options.lists), MAX_FACTS)
        self._rounds = RoundReader(path, options.follow, PROCESS | needed, latest_ns=options.latest_ns)
        self._reporter = Reporter(rows, known, self._position)
        self._said_end = False
        self._joins = options.at_once and not options.follow
        self._held: Round | None = None  # read, but behind what the slice before it promised
        self._place = LinePosition()
        self.skipped = Skipped()
        try:
            if options.position is not None:
                self._resume(options.believed_ns)
            elif options.since_ns and options.follow:
                self.skipped = self._rounds.pass_over(options.since_ns)
        except SourceError:
            self.close()
            raise

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that it can give."""
        return KINDS

    @property
    def faults(self) -> SourceFaults:
        """Damage of a file that is not followed."""
        return self._rounds.faults

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        return self._rounds.ended and self._said_end

    @property
    def progress(self) -> float:
        """Share of the file that was read, 0 to 1."""
        return self._rounds.progress

    @property
    def counters(self) -> Mapping[str, int]:
        """What was left out: answers of RPCs that we do not read."""
        return {"unknown_answers": self._rounds.unknown}

    @property
    def untrue_times(self) -> int:
        """Answers left out because of their time; see `core.source.Dated`."""
        return self._rounds.untrue

    def close(self) -> None:
        """Close the file."""
        self._rounds.close()

    def poll(self) -> Slice | None:
        """Up to MAX_ROUNDS rounds of polls, or JOINED_ROUNDS; None when no round is complete (for good if `ended`)."""
        position = self._position
        taken = 0
        while taken < (JOINED_ROUNDS if self._joins else MAX_ROUNDS) and self._reporter.count < MAX_ROWS:
            try:
                found = self._next()
            except SourceError:
                if not taken:
                    raise
                break  # it is raised again behind what was read before it
            if found is None:
                break
            if self._joins and taken and found.time_ns < position.until_ns:
                self._held = found  # late, and only a slice of its own can say so
                break
            self._reporter.report(found)
            if UNREADABLE in found.faults:
                self._rounds.check(found)
            position.until_ns = max(position.until_ns, found.until_ns)
            taken += 1
        if self._rounds.ended and not self._said_end and self._held is None:
            self._said_end = True
            position.until_ns = END_OF_TIME_NS
        elif not taken:
            return None
        position.place = self._rounds.place if self._held is None else self._place
        return Slice(self.name, self._reporter.take(), position.until_ns, msgspec.to_builtins(position))

    def _next(self) -> Round | None:
        """Return the next round; `_place` says where it starts."""
        if self._held is not None:
            found, self._held = self._held, None
            return found
        self._place = self._rounds.place
        return self._rounds.next()

    def _resume(self, believed_ns: int) -> None:
        position = self._position
        peers, addrman = self._rounds.resume(position.place, (position.peers_at, position.addrman_at))
        if position.until_ns == END_OF_TIME_NS:
            position.until_ns = 0  # the file may have grown since
        if position.until_ns > believed_ns:
            position.until_ns = 0
            node_state.forget_after(position.node, believed_ns)
            position.peers.time_ns = min(position.peers.time_ns, believed_ns)
        if peers is not None:
            self._reporter.set_peers(peers)
        if addrman is not None:
            self._reporter.set_addrman(addrman)


def _position(path: str, position: Mapping[str, object]) -> Position:
    if "place" not in position:
        raise PositionError(f"{path}: cannot resume: the position is of another form: it has no place in the file")
    try:
        return msgspec.convert(position, Position)
    except msgspec.ValidationError as error:
        raise PositionError(f"{path}: cannot resume: the position is of another form: {str(error).lower()}") from error
