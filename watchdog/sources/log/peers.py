"""Open connections as debug.log reports them: Core's peer id to address, direction, type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from watchdog.core.address import NETWORK_NAMES, UNROUTABLE, Address, parse_address, split_port
from watchdog.core.core_constants import I2P_RECV_TIMEOUT_S
from watchdog.core.durations import SECOND_NS
from watchdog.core.enrich import Enricher, PeerFacts
from watchdog.core.text import printable

OPEN_PEERS = 4_096  # far above any maxconnections in use; the oldest goes first, and is counted
CLOSED = 256  # closed connections whose last lines may still come; the message thread runs behind the socket thread
ATTEMPTS = 256  # outbound attempts waiting for their connection
ATTEMPT_NS = I2P_RECV_TIMEOUT_S * SECOND_NS
"""The longest attempt: an answer of an I2P proxy. A connection (DEFAULT_CONNECT_TIMEOUT_MS) and an answer of a SOCKS5
proxy (SOCKS5_RECV_TIMEOUT_S) take less. Later the same address is one that connects to us.
"""
_AUTOMATIC = frozenset({"outbound-full-relay", "block-relay-only", "feeler", "addr-fetch"})
"""Types of the thread that opens connections one after the other: a new attempt says that the one before has ended."""
_KNOWN_FACTS = 65_536
_TUNNELS = ("2002:", "2001:0:", "2001::", "64:ff9b:", "::")  # IPv4 inside IPv6: Bitcoin Core HasLinkedIPv4

UNKNOWN = PeerFacts(addr="", network="unroutable", netgroup=0, netblock=0, subnet=0, asn=0)


@dataclass(frozen=True, slots=True, eq=False)
class LoggedPeer:
    """One connection at one moment; `opened_ns` is 0 when its start was not seen.

    `height`: the chain height that the peer claims, -1 when no line said it.
    """

    conn: int
    peer: str
    direction: str = "unknown"
    connection_type: str = "unknown"
    opened_ns: int = 0
    ending: str = ""
    height: int = -1


class Addresses:
    """Facts on addresses, looked up many at a time; memory is bounded."""

    def __init__(self, enricher: Enricher) -> None:
        self._enricher = enricher
        self._known: dict[str, PeerFacts] = {"": UNKNOWN}

    def of(self, texts: Sequence[str]) -> list[PeerFacts]:
        """Return the facts on each address, with or without port; an empty text gives `UNKNOWN`."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(missing) > _KNOWN_FACTS:
            self._known = {"": UNKNOWN}
            missing = [text for text in dict.fromkeys(texts) if text]
        if missing:
            self._look_up(missing)
        return [self._known[text] for text in texts]

    def _look_up(self, texts: Sequence[str]) -> None:
        """Look up native addresses in one pass; tunnels, which count as what they carry, and odd texts one by one."""
        parsed: list[tuple[str, Address]] = []
        for text in texts:
            address = None if text.lstrip("[").startswith(_TUNNELS) else parse_address(text)
            if address is None:
                self._known[text] = self._enricher.peer(text)
            else:
                parsed.append((text, address))
        if not parsed:
            return
        networks = np.array([address.network for _, address in parsed], np.uint8)
        raw = b"".join(address.packed[:16].ljust(16, b"\0") for _, address in parsed)
        packed = np.frombuffer(raw, np.uint8).reshape(-1, 16)
        groups, blocks, numbers, reachable = self._enricher.place(networks, packed)
        subnets = self._enricher.subnets(networks, packed)
        facts = zip(groups.tolist(), blocks.tolist(), subnets.tolist(), numbers.tolist(), strict=True)
        for (text, address), fact, routable in zip(parsed, facts, reachable.tolist(), strict=True):
            name = NETWORK_NAMES[address.network if routable else UNROUTABLE]
            self._known[text] = PeerFacts(printable(split_port(text)[0]), name, *fact)


class OpenPeers:
    """Registry of open connections, bounded; cleared when the node starts."""

    def __init__(self) -> None:
        self.dropped = 0
        self._peers: dict[int, LoggedPeer] = {}
        self._closed: dict[int, LoggedPeer] = {}
        self._by_text: dict[str, int] = {}
        self._attempts: dict[str, tuple[str, int]] = {}  # type, and when it was tried

    def clear(self) -> None:
        """Forget everything: ids start at 0 again."""
        self._peers.clear()
        self._closed.clear()
        self._by_text.clear()
        self._attempts.clear()

    def attempt(self, text: str, connection_type: str, time_ns: int) -> None:
        """Note an outbound attempt; a named type stays when a second line names none."""
        known, _ = self._attempts.pop(text, ("unknown", 0))
        if connection_type in _AUTOMATIC:
            ended = [other for other, (kind, _) in self._attempts.items() if kind in _AUTOMATIC]
            for other in ended:
                del self._attempts[other]
        self._attempts[text] = (known if connection_type == "unknown" else connection_type, time_ns)
        if len(self._attempts) > ATTEMPTS:
            del self._attempts[next(iter(self._attempts))]

    def attempt_failed(self, text: str) -> None:
        """Forget an outbound attempt that failed."""
        self._attempts.pop(text, None)

    def opened(self, conn: int, text: str, time_ns: int) -> LoggedPeer:
        """Enter a new connection: outbound if it was tried before, else inbound, unknown without address."""
        kind, tried_ns = self._attempts.pop(text, ("", 0)) if text else ("", 0)
        tried = kind if time_ns - tried_ns <= ATTEMPT_NS else ""
        direction = "unknown" if not text else "out" if tried else "in"
        kind = tried or ("inbound" if direction == "in" else "unknown")
        return self._keep(LoggedPeer(conn, text, direction, kind, time_ns))

    def get(self, conn: int, text: str) -> LoggedPeer:
        """Return the connection; one whose start was not seen is entered with what the line says of it."""
        known = self._peers.get(conn)
        if known is None and conn in self._closed:
            return self._closed[conn]
        if known is None:
            return self._keep(LoggedPeer(conn, text))
        if text and known.peer != text:
            return self._keep(replace(known, peer=text))
        return known

    def named(self, text: str) -> LoggedPeer:
        """Return the latest connection with this address, or one with id -1 that is not entered."""
        conn = self._by_text.get(text)
        known = None if conn is None else self._peers.get(conn)
        return known or LoggedPeer(-1, text)

    def typed(self, peer: LoggedPeer, connection_type: str) -> LoggedPeer:
        """Set the type of a connection, and so its direction; return it."""
        direction = "in" if connection_type == "inbound" else "out"
        if connection_type == "outbound":
            connection_type = peer.connection_type if peer.direction == "out" else "unknown"
        if (peer.direction, peer.connection_type) == (direction, connection_type):
            return peer
        changed = replace(peer, direction=direction, connection_type=connection_type)
        return self._keep(changed) if peer.conn in self._peers else changed

    def claims(self, peer: LoggedPeer, height: int) -> LoggedPeer:
        """Set the chain height that the peer claims; return the connection."""
        changed = replace(peer, height=height)
        return self._keep(changed) if peer.conn in self._peers else changed

    def ending(self, peer: LoggedPeer, reason: str) -> None:
        """Remember why the connection is about to end; the first reason stays."""
        if peer.conn in self._peers and not peer.ending:
            self._keep(replace(peer, ending=reason))

    def close(self, conn: int) -> LoggedPeer | None:
        """Take the connection out; None if it is not there, or was closed already."""
        peer = self._peers.pop(conn, None)
        if peer is None:
            return None
        if self._by_text.get(peer.peer) == conn:
            del self._by_text[peer.peer]
        self._closed[conn] = peer
        if len(self._closed) > CLOSED:
            del self._closed[next(iter(self._closed))]
        return peer

    def _keep(self, peer: LoggedPeer) -> LoggedPeer:
        self._peers[peer.conn] = peer
        if peer.peer:
            self._by_text[peer.peer] = peer.conn
        if len(self._peers) > OPEN_PEERS:
            self.close(next(iter(self._peers)))
            self.dropped += 1
        return peer

    def forget_after(self, believed_ns: int) -> None:
        """Forget starts of connections after this time, which a wrong clock gave."""
        for peers in (self._peers, self._closed):
            for conn, peer in peers.items():
                if peer.opened_ns > believed_ns:
                    peers[conn] = replace(peer, opened_ns=0)

    def state(self) -> dict[str, object]:
        """Return the state for a resume, JSON-able; at most `OPEN_PEERS`, `CLOSED` and `ATTEMPTS` entries."""
        return {
            "peers": [_row(peer) for peer in self._peers.values()],
            "closed": [_row(peer) for peer in self._closed.values()],
            "attempts": [[text, kind, tried_ns] for text, (kind, tried_ns) in self._attempts.items()],
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Take up what `state` gave, in its order; KeyError, TypeError or ValueError when it is something else."""
        for peer in map(_peer_of, _rows(state["peers"])):
            self._keep(peer)
        for peer in map(_peer_of, _rows(state["closed"])):
            self._closed[peer.conn] = peer
        for text, kind, *tried_ns in _rows(state["attempts"]):  # older positions have no time
            self._attempts[str(text)] = str(kind), int(str((tried_ns or [state["latest_ns"]])[0]))


def _row(peer: LoggedPeer) -> list[object]:
    return [peer.conn, peer.peer, peer.direction, peer.connection_type, peer.opened_ns, peer.ending, peer.height]


def _peer_of(row: list[object]) -> LoggedPeer:
    conn, text, direction, kind, opened_ns, ending, *height = row  # older positions have no height
    claimed = int(str((height or [-1])[0]))
    return LoggedPeer(int(str(conn)), str(text), str(direction), str(kind), int(str(opened_ns)), str(ending), claimed)


def _rows(value: object) -> list[list[object]]:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise TypeError("not a list of rows")
    return value
