"""What changed among a node's peers between two getpeerinfo polls.

Peers are distinguished by Core's id, which is unique within one node process. A connection
that was opened and closed between two polls is not seen. An outbound slot is *replaced*
when an established full-relay or block-relay peer vanished and a new peer of that type
lived long enough to be established itself, in this poll or a later one; so extra
connections that Core tries for a moment (feelers, block-relay probes, stale tip) never count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal

import msgspec

from watchdog.core.core_constants import MAX_BLOCK_RELAY_ONLY_CONNECTIONS, MAX_OUTBOUND_FULL_RELAY_CONNECTIONS
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.answers import PeerAnswer
from watchdog.sources.rpc.columns import MAX_TEXT, RpcRows, Values, one_row
from watchdog.sources.rpc.peer_rows import (
    BLOCK,
    ESTABLISHED_S,
    FULL,
    age_s,
    connection_columns,
    connection_type_of,
    state_columns,
    summary,
)

KINDS = (
    "rpc:peer",
    "rpc:peers",
    "peer:connected",
    "peer:disconnected",
    "peer:outbound_replaced",
    "peer:outbound_lost",
)
SLOTS = {FULL: MAX_OUTBOUND_FULL_RELAY_CONNECTIONS, BLOCK: MAX_BLOCK_RELAY_ONLY_CONNECTIONS}
USUAL_OVER = 9  # polls of which the median interval is the usual one
INTERVAL_CAP = 3  # times the usual interval: a peer is not credited with a pause of the poller


class Vacancy(msgspec.Struct, array_like=True):
    """A slot that an established outbound peer left: its address, netgroup and life in seconds."""

    connection_type: str
    peer: str
    netgroup: int
    lived_s: int


class PeerMark(msgspec.Struct, array_like=True):
    """A peer of the last poll, as far as the next comparison needs it; see PeerAnswer."""

    id: int
    addr: str
    network: str
    mapped_as: int
    conntime: int
    inbound: bool
    connection_type: str
    subver: str


class PeersMemory(msgspec.Struct):
    """What the next comparison needs besides the last poll itself.

    time_ns: of the last poll (0: none yet).
    intervals: the last ones between polls, seconds. newcomers: ids of established outbound peers that took no slot yet.
    largest: the largest id of this node process so far, -1 before any. opened: whether it has had a full-relay or
    block-relay peer, which a node with -connect never opens.
    """

    time_ns: int = 0
    intervals: list[int] = []
    vacancies: list[Vacancy] = []
    newcomers: list[int] = []
    largest: int = -1
    opened: bool = False


class PeersDiff:
    """Follows the peers of one node from poll to poll."""

    def __init__(self, known: AddressFacts, memory: PeersMemory | None = None) -> None:
        self.memory = memory or PeersMemory()
        self._known = known
        self._peers: dict[int, PeerAnswer] | None = None

    def set_baseline(self, peers: list[PeerAnswer], time_ns: int) -> None:
        """Take a poll as the last one without reporting anything."""
        self._peers = {peer.id: peer for peer in peers}
        self.memory.time_ns = time_ns
        self.memory.largest = max(self.memory.largest, *self._peers, -1)

    @property
    def connected(self) -> list[PeerAnswer] | None:
        """The peers of the last poll; None before one."""
        return None if self._peers is None else list(self._peers.values())

    def marks(self) -> list[PeerMark] | None:
        """Return the last poll for a position; None before one."""
        if self._peers is None:
            return None
        return [
            PeerMark(
                peer.id,
                peer.addr,
                peer.network,
                peer.mapped_as,
                peer.conntime,
                peer.inbound,
                peer.connection_type,
                peer.subver[:MAX_TEXT],
            )
            for peer in self._peers.values()
        ]

    def known(self, ids: Sequence[int], time_ns: int) -> tuple[list[int], dict[str, Values]]:
        """Return those of some ids that the last poll has, and their connection columns."""
        found = [peer for number in ids if (peer := (self._peers or {}).get(number)) is not None]
        return [peer.id for peer in found], self._columns(found, time_ns) if found else {}

    def forget(self) -> None:
        """Forget all peers: the node has restarted, so ids start at 0 again."""
        self._peers = None
        self.memory.largest, self.memory.opened = -1, False
        self.memory.vacancies.clear()
        self.memory.newcomers.clear()

    def continuity(self, peers: list[PeerAnswer]) -> Literal["same", "restarted"] | None:
        """Return whether this poll comes from the node process of the last one; None if ids do not tell.

        A connection that is still there proves the same process; an id that names another
        connection, or only ids below those seen before, another one.
        """
        if not self._peers or not peers:
            return None
        known = [(old, peer) for peer in peers if (old := self._peers.get(peer.id)) is not None]
        if any(old.addr == peer.addr and old.conntime == peer.conntime for old, peer in known):
            return "same"
        if known or max(peer.id for peer in peers) < max(self._peers):
            return "restarted"
        return None

    def by_largest(self, peers: list[PeerAnswer]) -> Literal["same", "restarted"] | None:
        """Return what the largest id shows where no connection does: ids only grow within a process.

        A poll without peers after one with peers counts as a fall: no clock that is set takes all of them away.
        """
        if not peers:
            return "restarted" if self._peers else None
        if self.memory.largest < 0:
            return None
        return "restarted" if max(peer.id for peer in peers) < self.memory.largest else "same"

    def report(self, peers: list[PeerAnswer], time_ns: int, boot_ns: int, rows: RpcRows) -> None:
        """Add the state rows of a poll and the changes since the last one (none for the first of a process)."""
        now_s = time_ns // 10**9
        facts = self._known.of([peer.addr for peer in peers])
        interval_s = self._interval(time_ns, boot_ns)
        uptime_s = (time_ns - boot_ns) // 10**9 if boot_ns else -1
        if peers and rows.wants("rpc:peer"):
            rows.add("rpc:peer", time_ns, state_columns(peers, facts, now_s, interval_s))
        if rows.wants("rpc:peers"):
            counts = summary(peers, facts, now_s)
            self.memory.opened |= counts["outbound"] > 0
            more = {"uptime_s": uptime_s, "opened": self.memory.opened}
            rows.add("rpc:peers", time_ns, one_row({**counts, **more}))
        if self._peers is not None:
            self._report_changes(self._peers, {peer.id: peer for peer in peers}, time_ns, rows)
        self.set_baseline(peers, time_ns)

    def _interval(self, time_ns: int, boot_ns: int) -> int:
        """Seconds since the last poll, at most 3 usual intervals and not from before the node's start; 0 at first."""
        if not self.memory.time_ns:
            return 0
        elapsed = max(0, time_ns - self.memory.time_ns) // 10**9
        intervals = self.memory.intervals
        intervals.append(elapsed)
        del intervals[:-USUAL_OVER]
        capped = min(elapsed, round(INTERVAL_CAP * median(intervals)))
        return min(capped, max(0, time_ns - boot_ns) // 10**9) if boot_ns else capped

    def _report_changes(
        self, old: Mapping[int, PeerAnswer], new: Mapping[int, PeerAnswer], time_ns: int, rows: RpcRows
    ) -> None:
        came = [peer for peer in new.values() if peer.id not in old]
        gone = [peer for peer in old.values() if peer.id not in new]
        if came and rows.wants("peer:connected"):
            columns = self._columns(came, time_ns)
            rows.add("peer:connected", time_ns, {**columns, "user_agent": [peer.subver for peer in came]})
        if gone:
            self._report_gone("peer:disconnected", gone, time_ns, rows)
        lost = [peer for peer in gone if self._established(peer, self.memory.time_ns)]
        if lost:
            self._report_gone("peer:outbound_lost", lost, time_ns, rows)
        self._follow_slots(old, new, lost, time_ns, rows)

    def _columns(self, peers: list[PeerAnswer], time_ns: int) -> dict[str, Values]:
        facts = self._known.of([peer.addr for peer in peers])
        return connection_columns(peers, facts, time_ns // 10**9)

    def _report_gone(self, kind: str, gone: list[PeerAnswer], time_ns: int, rows: RpcRows) -> None:
        """age_s and lived_s reach to the last poll that saw the peer: how long it surely lived."""
        columns = self._columns(gone, self.memory.time_ns)
        rows.add(kind, time_ns, {**columns, "lived_s": columns["age_s"]})

    def _established(self, peer: PeerAnswer, time_ns: int) -> bool:
        return connection_type_of(peer) in SLOTS and age_s(peer, time_ns // 10**9) > ESTABLISHED_S

    def _follow_slots(
        self,
        old: Mapping[int, PeerAnswer],
        new: Mapping[int, PeerAnswer],
        lost: list[PeerAnswer],
        time_ns: int,
        rows: RpcRows,
    ) -> None:
        memory = self.memory
        for peer in lost:
            lived_s = age_s(peer, self.memory.time_ns // 10**9)
            memory.vacancies.append(
                Vacancy(connection_type_of(peer), peer.addr, self._known.of([peer.addr])[0].netgroup, lived_s)
            )
        grown = [
            peer.id
            for peer in new.values()
            if self._established(peer, time_ns)
            and ((was := old.get(peer.id)) is None or not self._established(was, self.memory.time_ns))
        ]
        memory.newcomers = [number for number in memory.newcomers if number in new] + grown
        for kind, slots in SLOTS.items():
            self._fill(kind, slots, new, time_ns, rows)

    def _fill(self, kind: str, slots: int, peers: Mapping[int, PeerAnswer], time_ns: int, rows: RpcRows) -> None:
        """Match the slots that were left with those who took them, oldest first, and forget what no longer matters."""
        memory = self.memory
        vacant = [vacancy for vacancy in memory.vacancies if vacancy.connection_type == kind]
        newcomers = [number for number in memory.newcomers if connection_type_of(peers[number]) == kind]
        for vacancy, number in zip(vacant, newcomers, strict=False):
            columns = self._columns([peers[number]], time_ns)
            columns.update(lost_peer=[vacancy.peer], lost_netgroup=[vacancy.netgroup], lost_lived_s=[vacancy.lived_s])
            rows.add("peer:outbound_replaced", time_ns, columns)
        matched = min(len(vacant), len(newcomers))
        filled = sum(connection_type_of(peer) == kind and self._established(peer, time_ns) for peer in peers.values())
        still_vacant = vacant[matched:][-max(0, slots - filled) :] if filled < slots else []
        surplus = newcomers[matched:] if filled > slots else []
        memory.vacancies = [item for item in memory.vacancies if item.connection_type != kind] + still_vacant
        memory.newcomers = [
            number for number in memory.newcomers if connection_type_of(peers[number]) != kind
        ] + surplus
