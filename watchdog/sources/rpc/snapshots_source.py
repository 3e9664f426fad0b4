"""Source `snapshots:FILE`: answers of a node's RPCs from a poller, one JSON object a line.

    {"time": unix seconds, "kind": RPC name, "result": what the RPC answered}

Plain, gzip or xz. Gives state rows (rpc:*) and the changes between polls (peer:*, addrman:*,
chain:tip, node:started). The first poll of each RPC is only the baseline for changes; so is
the first getpeerinfo of each node process. The address manager outlives a restart and is
compared across it. `boot_ns` is the first poll's time minus uptime and stays for the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from watchdog.core.batch import Slice
from watchdog.core.enrich import Enricher
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.source import END_OF_TIME_NS, Skipped, SourceOptions
from watchdog.sources.faults import SourceFaults
from watchdog.sources.rpc import addrman_diff, node_state, peers_diff
from watchdog.sources.rpc import answers as rpc_types
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.answers import UNREADABLE
from watchdog.sources.rpc.columns import KINDS, RpcRows, RpcValue, one_row
from watchdog.sources.rpc.rounds import LinePosition, Poll, Round, RoundReader

__all__ = ["KINDS", "SnapshotsSource"]

T = TypeVar("T")

MAX_ROUNDS = 10  # of one slice
JOINED_ROUNDS = 1_000  # where no reader waits for a slice: closing many panes costs little more than closing one
MAX_ROWS = 20_000  # after which a slice takes no further round
MAX_FACTS = 200_000  # addresses whose netgroup is kept: full tables and their sources

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "getpeerinfo": peers_diff.KINDS,
    "getrawaddrman": (*addrman_diff.KINDS, "rpc:addrman_entry"),
    "getaddrmaninfo": ("rpc:addrman",),
    "getblockchaininfo": ("rpc:chain", "chain:tip"),
    "getmempoolinfo": ("rpc:mempool",),
    "getnetworkinfo": ("rpc:network", "node:started"),
}
_PROCESS = frozenset({"uptime", "getnettotals"})  # always read: they tell one node process from the next


class Position(msgspec.Struct):
    """Return the position and the state to resume exactly; the last polls are read again at their places."""

    place: LinePosition = LinePosition()
    node: node_state.NodeMemory = msgspec.field(default_factory=node_state.NodeMemory)
    peers: peers_diff.PeersMemory = msgspec.field(default_factory=peers_diff.PeersMemory)
    peers_at: LinePosition | None = None
    addrman_at: LinePosition | None = None
    until_ns: int = 0


class SnapshotsSource:
    """Polled RPC answers in a file as events; see `watchdog.core.source.Source`.

    A line that is no answer or has a time that cannot be true, and what an answer holds beyond its limits,
    becomes source:gap; RPCs that we do not know are counted in `counters`. SourceError: the file cannot
    be opened or unpacked, none of its lines is an answer, or the position is not of this file.
    """

    def __init__(self, path: str, options: SourceOptions) -> None:
        self.name = f"snapshots:{path}"
        self._rows = RpcRows(options.node, self.name, options.wants)
        needed = {rpc for rpc, kinds in _NEEDS.items() if self._rows.wants(*kinds)}
        self._position = Position() if options.position is None else _position(path, options.position)
        self._known = AddressFacts(Enricher(options.asmap_path, options.lists), MAX_FACTS)
        self._rounds = RoundReader(path, options.follow, _PROCESS | needed, latest_ns=options.latest_ns)
        self._addrman: addrman_diff.AddrmanPoll | None = None
        self._said_end = False
        self._joins = options.at_once and not options.follow
        self._held: Round | None = None  # read, but behind what the slice before it promised
        self._place = LinePosition()
        self._peers = peers_diff.PeersDiff(self._known, self._position.peers)
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
        while taken < (JOINED_ROUNDS if self._joins else MAX_ROUNDS) and self._rows.count < MAX_ROWS:
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
            self._report(found)
            position.until_ns = max(position.until_ns, found.until_ns)
            taken += 1
        if self._rounds.ended and not self._said_end and self._held is None:
            self._said_end = True
            position.until_ns = END_OF_TIME_NS
        elif not taken:
            return None
        position.place = self._rounds.place if self._held is None else self._place
        return Slice(self.name, self._rows.take(), position.until_ns, msgspec.to_builtins(position))

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
        if peers is not None and self._rows.wants(*_NEEDS["getpeerinfo"]):
            baseline = rpc_types.peers(peers, _no_report)
            if baseline is not None:
                self._peers.set_baseline(baseline, position.peers.time_ns)
        known = rpc_types.peek(addrman) if addrman is not None else None
        if addrman is not None and known is not None and self._rows.wants(*_NEEDS["getrawaddrman"]):
            tables = rpc_types.tables(addrman, _no_report)
            if tables is not None:
                self._addrman = addrman_diff.addrman_poll(tables, known[0], None, _no_report)

    def _report(self, polls: Round) -> None:
        """Turn the answers of a round into rows; the process first, since it decides what can be compared."""

        def loss(reason: str, count: int) -> None:
            polls.faults[reason] += count

        peers, restarted = self._follow_process(polls, loss)
        memory = self._position.node
        self._rows.boot_ns = memory.process.boot_ns
        network = _answer(polls, "getnetworkinfo", rpc_types.network, loss)
        if restarted:
            self._peers.forget()
            self._position.peers_at = None
            started: dict[str, RpcValue] = {
                "reason": "uptime-reset",
                "version": network[1].subversion if network else "",
            }
            self._rows.add("node:started", polls.time_ns, one_row(started))
        if peers is not None:
            self._peers.report(peers[1], peers[0].time_ns, memory.process.boot_ns, self._rows)
            self._position.peers_at = peers[0].place
        if network is not None:
            node_state.report_network(network[1], network[0].time_ns, self._rows)
        self._report_state(polls, loss)
        self._report_addrman(polls, loss)
        if UNREADABLE in polls.faults:
            self._rounds.check(polls)
        for reason, count in sorted(polls.faults.items()):
            gap: dict[str, RpcValue] = {
                "from_ns": polls.time_ns,
                "to_ns": polls.time_ns,
                "lost": count,
                "reason": reason,
            }
            gap["kinds"] = ""
            self._rows.add("source:gap", polls.time_ns, one_row(gap))

    def _follow_process(
        self, polls: Round, loss: rpc_types.Loss
    ) -> tuple[tuple[Poll, list[rpc_types.PeerAnswer]] | None, bool]:
        """The peers of the round, and whether it is the first of another node process."""
        memory = self._position.node
        uptime = _answer(polls, "uptime", rpc_types.uptime, loss)
        totals = _answer(polls, "getnettotals", rpc_types.net_totals, loss)
        peers = _answer(polls, "getpeerinfo", rpc_types.peers, loss)
        ids = self._peers.continuity(peers[1]) if peers else None
        restarted = node_state.follow_process(
            memory.process, polls.time_ns, uptime[1] if uptime else None, totals[1] if totals else None, ids
        )
        self._rows.boot_ns = memory.process.boot_ns
        if uptime is not None:
            self._rows.add("rpc:uptime", uptime[0].time_ns, one_row({"uptime_s": uptime[1]}))
        if totals is not None:
            node_state.report_totals(memory.totals, totals[1], totals[0].time_ns, restarted, self._rows)
        return peers, restarted

    def _report_state(self, polls: Round, loss: rpc_types.Loss) -> None:
        chain = _answer(polls, "getblockchaininfo", rpc_types.chain, loss)
        if chain is not None:
            node_state.report_chain(self._position.node.chain, chain[1], chain[0].time_ns, self._rows)
        mempool = _answer(polls, "getmempoolinfo", rpc_types.mempool, loss)
        if mempool is not None:
            node_state.report_mempool(mempool[1], mempool[0].time_ns, self._rows)
        sizes = _answer(polls, "getaddrmaninfo", rpc_types.table_sizes, loss)
        if sizes is not None:
            node_state.report_sizes(sizes[1], sizes[0].time_ns, self._rows)

    def _report_addrman(self, polls: Round, loss: rpc_types.Loss) -> None:
        tables = _answer(polls, "getrawaddrman", rpc_types.tables, loss)
        if tables is None:
            return
        old = self._addrman
        new = addrman_diff.addrman_poll(tables[1], tables[0].time_ns, old, loss)
        if old is not None:
            addrman_diff.report_changes(old, new, self._rows, self._known)
        if self._rows.wants("rpc:addrman_entry"):
            addrman_diff.report_entries(new, self._rows, self._known)
        self._addrman = new
        self._position.addrman_at = tables[0].place


def _answer(
    polls: Round, rpc: str, read: Callable[[bytes, rpc_types.Loss], T | None], loss: rpc_types.Loss
) -> tuple[Poll, T] | None:
    """Return one poll of the round and its answer, if present, wanted and readable."""
    poll = polls.polls.get(rpc)
    if poll is None or not poll.line:
        return None
    result = read(poll.line, loss)
    return None if result is None else (poll, result)


def _position(path: str, position: Mapping[str, object]) -> Position:
    if "place" not in position:
        raise PositionError(f"{path}: cannot resume: the position is of another form: it has no place in the file")
    try:
        return msgspec.convert(position, Position)
    except msgspec.ValidationError as error:
        raise PositionError(f"{path}: cannot resume: the position is of another form: {str(error).lower()}") from error


def _no_report(reason: str, count: int) -> None:
    """Losses of a poll that is read for the second time were reported at the first."""
