"""What a node exchanges with its peers, for metrics, API and `watchdog top`. Fed with the batches that rules read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from watchdog.core.batch import Batch
from watchdog.core.moments import clock_reset_ns
from watchdog.traffic.message_log import KEPT_S, MessageLog
from watchdog.traffic.message_types import FLOW_OF_KIND
from watchdog.traffic.peer_table import KINDS_READ, Peer, PeerTraffic
from watchdog.traffic.totals import MessageTotals

READ: Final = KINDS_READ
"""The kinds that the list of peers is a reader of, as a rule is."""
_STARTED: Final = "node:started"


class NodeTraffic:
    """Totals, peers and watched messages of one node.

    The thread of the engine calls `note`, one other thread reads; the numbers that it sees may be a batch apart.
    """

    def __init__(self) -> None:
        self.totals, self.table, self._log = MessageTotals(), PeerTraffic(), MessageLog()

    def note(self, batches: Sequence[Batch], now_s: float) -> None:
        """Take the batches of a slice. now_s: monotonic seconds."""
        reset_ns = clock_reset_ns(batches)
        if reset_ns is not None:
            self.table.set_back(reset_ns)
        for batch in batches:
            if batch.kind == _STARTED and batch.rows:
                self.table.left_before(int(batch.time_ns.max()))
            if batch.kind not in READ or not batch.rows:
                continue
            self.table.note(batch)
            if batch.kind in FLOW_OF_KIND:
                self.totals.note(batch)
                self._log.note(batch, now_s)

    def peers(self) -> list[dict[str, object]]:
        """Return the peers as the API shows them; null where no source said."""
        peers, shown = self.table.peers(), dict[int, Peer]()
        for peer in peers:  # where numbers of two sources meet, the one with messages keeps it
            other = shown.get(peer.conn)
            shown[peer.conn] = peer if other is None or peer.messages else other
        return [self._facts(peer, shown[peer.conn] is peer) for peer in peers]

    def messages(self, conn: int, now_s: float) -> dict[str, object] | None:
        """Return the latest messages of a peer, oldest first, and keep further ones; None for an unknown number."""
        found = [peer for peer in self.table.peers() if peer.conn == conn]
        peer = next((one for one in found if one.messages), found[0] if found else None)
        if peer is None:
            return None
        kept, watched = self._log.look(peer.where, now_s) if peer.where is not None else ([], False)
        return {
            "conn": conn,
            "peer": peer.peer,
            "connection_type": peer.texts["connection_type"],
            "watched": watched,
            "kept_s": KEPT_S,
            "messages": [
                {"time": one.time_ns / 1e9, "flow": one.flow, "type": one.type, "size": one.size} for one in kept
            ],
        }

    def _facts(self, peer: Peer, numbered: bool) -> dict[str, object]:
        polled = peer.polled
        age_s = peer.age_s + (self.table.latest_ns - peer.seen_ns) // 10**9 if peer.age_s >= 0 else None
        return {
            "conn": peer.conn if numbered else None,
            "peer": peer.peer,
            **{name: peer.texts[name] for name in ("network", "direction", "connection_type")},
            "asn": peer.asn or None,
            "age_s": age_s,
            "user_agent": peer.user_agent or None,
            "ping_s": _seconds(polled.get("ping_us", -1)),
            "min_ping_s": _seconds(polled.get("min_ping_us", -1)),
            "addresses": polled.get("addr_processed"),
            "addresses_dropped": polled.get("addr_rate_limited"),
            "polled": peer.polled_ns / 1e9 if peer.polled_ns else None,
            "messages": self.table.traffic(peer) if peer.messages else None,
        }


def _seconds(microseconds: int) -> float | None:
    return None if microseconds < 0 else microseconds / 1e6
