"""What the answers of a round say of a node, as rows: one meaning for files of polls and for polls of our own.

The first poll of each RPC is only the baseline for changes; so is the first getpeerinfo of each node process. The
address manager outlives a restart and is compared across it. `boot_ns` is the first poll's time minus uptime and stays
for the process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from watchdog.core.batch import Batch
from watchdog.sources.rpc import addrman_diff, block_hashes, chain_tips, node_state, orphans, peers_diff
from watchdog.sources.rpc import answers as rpc_types
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.columns import RpcRows, RpcValue, one_row
from watchdog.sources.rpc.exposure import KIND as EXPOSURE
from watchdog.sources.rpc.exposure import ExposureFollower, ExposureMemory, NodeNow
from watchdog.sources.rpc.peers_diff import PeerMark
from watchdog.sources.rpc.rounds import LinePosition, Poll, Round
from watchdog.sources.rpc.salvage import OTHER_TYPE, Loss

T = TypeVar("T")

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "getpeerinfo": (*peers_diff.KINDS, "rpc:orphan_peer", EXPOSURE),
    "getrawaddrman": (*addrman_diff.KINDS, "rpc:addrman_entry", EXPOSURE),
    "getaddrmaninfo": ("rpc:addrman",),
    "getblockchaininfo": ("rpc:chain", "chain:tip", "node:warning", EXPOSURE),
    "getmempoolinfo": ("rpc:mempool",),
    "getnetworkinfo": ("rpc:network", "node:started"),
    "getchaintips": ("rpc:chain_tip",),
    "getblockheader": ("rpc:chain_tip",),
    "getblockhash": ("rpc:block_hash",),
    "getorphantxs": ("rpc:orphan_peer",),
}
"""The kinds that each RPC feeds."""
PROCESS: Final = frozenset({"uptime", "getnettotals"})  # always read: they tell one node process from the next


class Memory(msgspec.Struct, kw_only=True):
    """What the next round is compared with, as a position holds it.

    peers_at, addrman_at: where a file has the last polls, which are not repeated here.
    """

    node: node_state.NodeMemory = msgspec.field(default_factory=node_state.NodeMemory)
    peers: peers_diff.PeersMemory = msgspec.field(default_factory=peers_diff.PeersMemory)
    peers_at: LinePosition | None = None
    addrman_at: LinePosition | None = None
    tips: chain_tips.TipsMemory = msgspec.field(default_factory=chain_tips.TipsMemory)
    exposure: ExposureMemory = msgspec.field(default_factory=ExposureMemory)


class Reporter:
    """Turns rounds of one node into rows; updates the memory, which its owner stores."""

    def __init__(self, rows: RpcRows, known: AddressFacts, memory: Memory) -> None:
        self._rows, self._memory = rows, memory
        self._peers = peers_diff.PeersDiff(known, memory.peers)
        self._exposure = ExposureFollower(known, memory.exposure) if rows.wants(EXPOSURE) else None
        self._addrman = addrman_diff.AddrmanDiff(rows, known, self._exposure)
        self._reported_types: set[str] = set()

    @property
    def count(self) -> int:
        """Rows since the last `take`."""
        return self._rows.count

    def take(self) -> tuple[Batch, ...]:
        """Return the batches of all rows since the last call."""
        return self._rows.take()

    def set_peers(self, line: bytes) -> None:
        """Take an earlier getpeerinfo answer as the last one."""
        baseline = rpc_types.peers(line, _no_report) if self._rows.wants(*NEEDS["getpeerinfo"]) else None
        if baseline is not None:
            self._peers.set_baseline(baseline, self._memory.peers.time_ns)

    def set_known_peers(self, marks: Sequence[PeerMark]) -> None:
        """Take the peers of a position as those of the last poll."""
        peers = [rpc_types.PeerAnswer(**msgspec.structs.asdict(mark)) for mark in marks]
        self._peers.set_baseline(peers, self._memory.peers.time_ns)

    def known_peers(self) -> list[PeerMark] | None:
        """Return the peers of the last poll for a position; None before one."""
        return self._peers.marks()

    def set_addrman(self, line: bytes) -> None:
        """Take an earlier getrawaddrman answer, with its head, as the last one."""
        head = rpc_types.peek(line)
        tables = rpc_types.tables(line, _no_report) if head and self._rows.wants(*NEEDS["getrawaddrman"]) else None
        if head is not None and tables is not None:
            self._addrman.report(tables, head[0], _no_report, silent=True)

    def report(self, polls: Round) -> None:
        """Turn the answers of a round into rows; the process first, since it decides what can be compared."""

        def loss(reason: str, count: int) -> None:
            polls.faults[reason] += count

        peers, restarted = self._follow_process(polls, loss)
        memory = self._memory.node
        self._rows.boot_ns = memory.process.boot_ns
        network = _answer(polls, "getnetworkinfo", rpc_types.network, loss)
        if restarted:
            self._forget_process()
            started: dict[str, RpcValue] = {
                "reason": "uptime-reset",
                "version": network[1].subversion if network else "",
            }
            self._rows.add("node:started", polls.time_ns, one_row(started))
        if peers is not None:
            self._peers.report(peers[1], peers[0].time_ns, memory.process.boot_ns, self._rows)
            self._memory.peers_at = peers[0].place
        if network is not None:
            node_state.report_network(network[1], network[0].time_ns, self._rows)
        self._report_state(polls, loss)
        self._report_addrman(polls, loss)
        self._report_faults(polls)

    def _forget_process(self) -> None:
        self._peers.forget()
        self._memory.peers_at = None
        self._memory.tips.learned = False
        self._reported_types.clear()

    def _report_faults(self, polls: Round) -> None:
        """Add a gap for each reason; a field of another type in polls of our own is reported once a process."""
        for reason, count in sorted(polls.faults.items()):
            if polls.link is not None and reason == OTHER_TYPE:
                if reason in self._reported_types:
                    continue
                self._reported_types.add(reason)
            gap: dict[str, RpcValue] = {
                "from_ns": polls.time_ns,
                "to_ns": polls.time_ns,
                "lost": count,
                "reason": reason,
            }
            gap["kinds"] = ""
            self._rows.add("source:gap", polls.time_ns, one_row(gap))

    def _follow_process(self, polls: Round, loss: Loss) -> tuple[tuple[Poll, list[rpc_types.PeerAnswer]] | None, bool]:
        """Return the peers of the round, and whether it is the first of another node process."""
        memory = self._memory.node
        uptime = _answer(polls, "uptime", rpc_types.uptime, loss)
        totals = _answer(polls, "getnettotals", rpc_types.net_totals, loss)
        peers = _answer(polls, "getpeerinfo", rpc_types.peers, loss)
        ids = self._peers.continuity(peers[1]) if peers else None
        uptime_s = uptime[1] if uptime else None
        if polls.link is not None:
            if peers and ids is None and uptime_s is not None:
                ids = self._peers.by_largest(peers[1])
            restarted = node_state.follow_link(memory.process, polls.time_ns, uptime_s, polls.link, ids)
        else:
            restarted = node_state.follow_process(
                memory.process, polls.time_ns, uptime_s, totals[1] if totals else None, ids
            )
        self._rows.boot_ns = memory.process.boot_ns
        if uptime is not None:
            self._rows.add("rpc:uptime", uptime[0].time_ns, one_row({"uptime_s": uptime[1]}))
        if totals is not None:
            node_state.report_totals(memory.totals, totals[1], totals[0].time_ns, restarted, self._rows)
        return peers, restarted

    def _report_state(self, polls: Round, loss: Loss) -> None:
        memory = self._memory.node
        chain = _answer(polls, "getblockchaininfo", rpc_types.chain, loss)
        if chain is not None:
            node_state.report_chain(memory.chain, chain[1], chain[0].time_ns, self._rows)
            node_state.report_warnings(memory.warnings, chain[1], chain[0].time_ns, self._rows)
        mempool = _answer(polls, "getmempoolinfo", rpc_types.mempool, loss)
        if mempool is not None:
            node_state.report_mempool(mempool[1], mempool[0].time_ns, self._rows)
        sizes = _answer(polls, "getaddrmaninfo", rpc_types.table_sizes, loss)
        if sizes is not None:
            node_state.report_sizes(sizes[1], sizes[0].time_ns, self._rows)
        tips = _answer(polls, "getchaintips", rpc_types.chain_tips, loss)
        if tips is not None:
            headers = _answer(polls, "getblockheader", rpc_types.chainwork, loss)
            work = headers[1] if headers else {}
            chain_tips.report_tips(self._memory.tips, tips[1], work, tips[0].time_ns, self._rows)
        waiting = _answer(polls, "getorphantxs", orphans.orphans, loss)
        if waiting is not None:
            time_ns = waiting[0].time_ns
            orphans.report_orphans(waiting[1], lambda ids: self._peers.known(ids, time_ns), time_ns, self._rows)
        hashes = _answer(polls, "getblockhash", block_hashes.block_hashes, loss)
        if hashes is not None:
            block_hashes.report_hashes(hashes[1], hashes[0].time_ns, self._rows)

    def _report_addrman(self, polls: Round, loss: Loss) -> None:
        tables = _answer(polls, "getrawaddrman", rpc_types.tables, loss)
        if tables is None:
            return
        self._addrman.report(tables[1], tables[0].time_ns, loss)
        self._memory.addrman_at = tables[0].place
        peers = self._peers.connected
        if self._exposure is not None and peers is not None:
            time_ns, chain, boot_ns = tables[0].time_ns, self._memory.node.chain, self._rows.boot_ns
            uptime_s = (time_ns - boot_ns) // 10**9 if boot_ns else -1
            tip_age_s = max(0, time_ns // 10**9 - chain.tip_s) if chain.tip_s else -1
            self._exposure.report(self._rows, time_ns, NodeNow(peers, uptime_s, tip_age_s))


def _answer(polls: Round, rpc: str, read: Callable[[bytes, Loss], T | None], loss: Loss) -> tuple[Poll, T] | None:
    """Return one poll of the round and its answer, if present, wanted and readable."""
    poll = polls.polls.get(rpc)
    if poll is None or not poll.line:
        return None
    result = read(poll.line, loss)
    return None if result is None else (poll, result)


def _no_report(reason: str, count: int) -> None:
    """Count nothing: losses of a poll that is read for the second time were reported at the first."""
