"""The peers of a node with what each has sent and got: counts and rates by message type.

Messages (`net:*_message`) and polls (`rpc:peer`) describe the same peers; address and port join them, since a capture
has connection numbers of its own. Everything is bounded: `MOST_PEERS` peers, and arrays of a fixed width for each.
Times are event time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Ints
from watchdog.core.batch import Batch
from watchdog.core.durations import MINUTE_NS, SECOND_NS
from watchdog.traffic.message_types import FLOW_OF_KIND, FLOWS, MESSAGE_TYPES, type_coder

MOST_PEERS: Final = 1_024  # Core connects to 125 by default; the longest silent one leaves
SILENT_NS: Final = 30 * MINUTE_NS  # Core pings every 2 minutes and drops a peer after 20 without a word
NEW_NS: Final = MINUTE_NS  # a peer of which only messages came is in a poll within this time, or it has left
RATE_NS: Final = 10 * SECOND_NS  # time constant of the rates: a burst fades to a third in it
POLLED: Final = ("ping_us", "min_ping_us", "addr_processed", "addr_rate_limited")
"""Numbers of `rpc:peer` that are kept as they are."""
_TEXTS: Final = ("peer_addr", "network", "direction", "connection_type")
_WIDTH: Final = len(FLOWS) * len(MESSAGE_TYPES)
_BLOCK: Final = 64  # slots by which the arrays grow
GONE: Final = -1  # the slot of a peer that has left
_GONE: Final = frozenset({"net:closed_connection", "net:evicted_inbound_connection"})
KINDS_READ: Final = frozenset({*FLOW_OF_KIND, *_GONE, "rpc:peer"})
Where = tuple[str, int, int]
"""A connection as its source knows it: the source, the start of the node's process, the number."""


@dataclass(slots=True)
class Peer:
    """One connected peer.

    conn: the number by the source of its messages; before any came, Core's. messages: whether any came. age_s: at
    `seen_ns`, -1 when unknown. polled: the numbers of `POLLED` at its latest poll, at `polled_ns`; 0: never polled.
    """

    slot: int
    peer: str
    conn: int
    texts: dict[str, str]
    asn: int
    age_s: int
    seen_ns: int
    messages: bool = False
    polled_ns: int = 0
    polled: dict[str, int] = field(default_factory=dict)
    user_agent: str = ""
    where: Where | None = None


class PeerTraffic:
    """Peers by address and port. The engine's thread calls `note`; any thread may read."""

    def __init__(self, most: int = MOST_PEERS) -> None:
        self._most = most
        self._peers: dict[str, Peer] = {}
        self._conns: dict[Where, Peer] = {}
        self._free: list[int] = []
        self._types = type_coder()
        self._counts: Ints = np.zeros((0, _WIDTH), np.int64)
        self._bytes: Ints = np.zeros((0, _WIDTH), np.int64)
        self._rates: NDArray[np.float64] = np.zeros((0, _WIDTH))  # messages in a second, as of `_rated`
        self._rated: Ints = np.zeros(0, np.int64)
        self._polled_ns = 0
        self._swept_ns = 0
        self.latest_ns = 0
        self.evicted = 0  # peers that left for want of room

    def note(self, batch: Batch) -> None:
        """Take a batch of `KINDS_READ` with rows."""
        self.latest_ns = max(self.latest_ns, int(batch.time_ns.max()))
        if batch.kind == "rpc:peer":
            self._polls(batch)
        elif batch.kind in _GONE:
            self._leave(batch)
        else:
            self._messages(batch)
        if self.latest_ns - self._swept_ns > MINUTE_NS:
            self._swept_ns = self.latest_ns
            self._sweep()

    def left_before(self, time_ns: int) -> None:
        """Forget the peers that were last seen before the node started at `time_ns`."""
        self._remove(one for one in self.peers() if one.seen_ns < time_ns)

    def peers(self) -> list[Peer]:
        """Return the peers, in the order in which they came."""
        return list(self._peers.values())

    def set_back(self, time_ns: int) -> None:
        """Take over a clock that was corrected to `time_ns`: nothing was seen later than that."""
        self.latest_ns, self._polled_ns, self._swept_ns = min(self.latest_ns, time_ns), 0, 0
        np.minimum(self._rated, time_ns, out=self._rated)
        for peer in self.peers():
            peer.seen_ns, peer.polled_ns = min(peer.seen_ns, time_ns), min(peer.polled_ns, time_ns)

    def traffic(self, peer: Peer) -> dict[str, dict[str, dict[str, float]]]:
        """Return by flow and type what came so far: `count`, `bytes`, and `per_s` as of the latest event."""
        found: dict[str, dict[str, dict[str, float]]] = {flow: {} for flow in FLOWS}
        slot = peer.slot
        if slot == GONE:
            return found
        counts, sizes, rates = self._counts[slot], self._bytes[slot], self._rates[slot]
        faded = float(np.exp(-max(self.latest_ns - int(self._rated[slot]), 0) / RATE_NS))
        for cell in np.flatnonzero(counts).tolist():
            flow, type_ = divmod(cell, len(MESSAGE_TYPES))
            found[FLOWS[flow]][MESSAGE_TYPES[type_]] = {
                "count": int(counts[cell]),
                "bytes": int(sizes[cell]),
                "per_s": round(float(rates[cell]) * faded, 3),
            }
        return found

    def _lasting(self, batch: Batch) -> Batch:
        """Return the rows of the peers that are there at the end of a batch: the others would only come and leave."""
        conns, inverse = np.unique(batch.numbers("conn"), return_inverse=True)
        if len(conns) <= self._most:
            return batch
        last = np.zeros(len(conns), np.int64)
        np.maximum.at(last, inverse, np.arange(batch.rows))
        stays = np.zeros(len(conns), np.bool_)
        stays[np.argsort(last)[-self._most :]] = True
        self.evicted += len(conns) - self._most
        return batch.take(np.flatnonzero(stays[inverse]))

    def _messages(self, batch: Batch) -> None:
        batch = self._lasting(batch)
        conns, first, inverse = np.unique(batch.numbers("conn"), return_index=True, return_inverse=True)
        peers = [self._of_message(batch, row, conn) for conn, row in zip(conns.tolist(), first.tolist(), strict=True)]
        slots = np.array([peer.slot for peer in peers], np.intp)
        cells = FLOW_OF_KIND[batch.kind] * len(MESSAGE_TYPES) + self._types.of(batch.strings("type"))
        at, size = inverse * _WIDTH + cells, len(conns) * _WIDTH
        more = np.bincount(at, minlength=size).reshape(-1, _WIDTH)
        sizes = np.bincount(at, batch.numbers("size"), size).astype(np.int64).reshape(-1, _WIDTH)
        # within the batch a slot may have gone to another connection of the address, or to another peer
        kept = np.array(
            [peer.conn == conn and peer.slot >= 0 for peer, conn in zip(peers, conns.tolist(), strict=True)]
        )
        now_ns = int(batch.time_ns.max())
        faded = np.bincount(at, np.exp((batch.time_ns - now_ns) / RATE_NS), size).reshape(-1, _WIDTH)
        slots = slots[kept]
        self._counts[slots] += more[kept]
        self._bytes[slots] += sizes[kept]
        self._rate(slots, faded[kept], now_ns)

    def _rate(self, slots: NDArray[np.intp], more: NDArray[np.float64], now_ns: int) -> None:
        """Let the rates of these slots fade until now, and add messages that have faded until now."""
        passed = np.maximum(now_ns - self._rated[slots], 0)
        self._rates[slots] *= np.exp(-passed / RATE_NS)[:, None]
        self._rated[slots] = np.maximum(self._rated[slots], now_ns)
        self._rates[slots] += more / (RATE_NS / SECOND_NS)

    def _of_message(self, batch: Batch, row: int, conn: int) -> Peer:
        """Return the peer of a message, known or new."""
        where = (batch.source, batch.boot_ns, conn)
        peer = self._conns.get(where)
        if peer is None:
            peer = self._found(batch, row, conn)
            if peer.where is not None:
                self._conns.pop(peer.where, None)
                self._clear(peer.slot)  # another connection of the same address and port
            peer.conn, peer.messages, peer.where = conn, True, where
            self._conns[where] = peer
        peer.seen_ns, peer.age_s = int(batch.time_ns[row]), int(batch.numbers("age_s")[row])
        return peer

    def _found(self, batch: Batch, row: int, conn: int) -> Peer:
        """Return the peer of a row by address and port, made where it is new."""
        texts = {name: _text(batch, name, row) for name in _TEXTS}
        name = _text(batch, "peer", row) or f"#{conn}"
        peer = self._peers.get(name)
        if peer is None:
            peer = Peer(self._slot(), name, conn, texts, int(batch.numbers("asn")[row]), -1, int(batch.time_ns[row]))
            self._peers[name] = peer
        elif batch.kind == "rpc:peer" or peer.texts["connection_type"] in ("outbound", "unknown"):
            peer.texts = texts  # a capture knows connection types less well than Core
        return peer

    def _polls(self, batch: Batch) -> None:
        """Take the peers of the latest poll in the batch; those of the poll before that are not in it have left."""
        latest_ns = int(batch.time_ns.max())
        if latest_ns < self._polled_ns:
            return
        agents = batch.strings("user_agent")
        for row in np.flatnonzero(batch.time_ns == latest_ns)[: self._most].tolist():
            conn = int(batch.numbers("conn")[row])
            peer = self._found(batch, row, conn)
            peer.conn = peer.conn if peer.messages else conn
            peer.polled = {name: int(batch.numbers(name)[row]) for name in POLLED}
            peer.user_agent = agents.values[agents.codes[row]]
            peer.polled_ns, peer.seen_ns = latest_ns, max(peer.seen_ns, latest_ns)
            peer.age_s = int(batch.numbers("age_s")[row])
        self._polled_ns = latest_ns
        self._remove(
            one
            for one in self.peers()
            if one.polled_ns < latest_ns and one.seen_ns < latest_ns - (0 if one.polled_ns else NEW_NS)
        )

    def _leave(self, batch: Batch) -> None:
        for conn in batch.numbers("conn").tolist():
            peer = self._conns.get((batch.source, batch.boot_ns, conn))
            if peer is not None:
                self._remove([peer])

    def _sweep(self) -> None:
        self._remove(one for one in self.peers() if self.latest_ns - one.seen_ns > SILENT_NS)

    def _remove(self, peers: Iterable[Peer]) -> None:
        for peer in list(peers):
            self._peers.pop(peer.peer, None)
            if peer.where is not None:
                self._conns.pop(peer.where, None)
            self._clear(peer.slot)
            self._free.append(peer.slot)
            peer.slot = GONE

    def _slot(self) -> int:
        if len(self._peers) >= self._most:
            self._remove([min(self._peers.values(), key=lambda one: one.seen_ns)])
            self.evicted += 1
        if not self._free:
            size = len(self._rated)
            self._counts, self._bytes, self._rates, self._rated = (
                _longer(one) for one in (self._counts, self._bytes, self._rates, self._rated)
            )
            self._free = list(range(size + _BLOCK - 1, size - 1, -1))
        return self._free.pop()

    def _clear(self, slot: int) -> None:
        self._counts[slot], self._bytes[slot], self._rates[slot], self._rated[slot] = 0, 0, 0.0, 0


def _longer(array: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([array, np.zeros((_BLOCK, *array.shape[1:]), array.dtype)])


def _text(batch: Batch, name: str, row: int) -> str:
    column = batch.strings(name)
    return column.values[int(column.codes[row])]
