"""Connections as peer-observer's events name them: Core's peer id, address, type. Bounded, and kept in positions.

The events do not say which process of the node they are from, and ids begin again with each. An id that comes with
another address is of a new process: what the old connection said no longer holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from watchdog.core.address import NETWORK_NAMES
from watchdog.core.enrich import Enricher, PeerFacts
from watchdog.core.errors import PositionError
from watchdog.core.peer_columns import PeerIdentity
from watchdog.core.text import decode_text, printable
from watchdog.sources.capture.exchanges import Exchange

OPEN_MOST: Final = 20_000
"""Connections that are remembered, as for captures; beyond it the longest silent one is forgotten."""
NOWHERE: Final = PeerFacts(addr="", network="unroutable", netgroup=0, netblock=0, subnet=0, asn=0)
"""Of a peer whose address no event has named."""
_TYPES: Final = ("unknown", "inbound", "outbound-full-relay", "block-relay-only", "feeler")  # by `PeerType`
_NAMED_NETWORKS: Final = frozenset({"ipv4", "ipv6", "onion", "i2p", "cjdns"})
_MOST_CONN: Final = (1 << 63) - 1


class ObservedConnection:
    """One connection. opened_us: when Core opened it, or the time of its first message."""

    __slots__ = ("conn", "direction", "exchange", "network", "opened_us", "peer", "type")

    def __init__(self, conn: int, peer: str, peer_type: int, opened_us: int) -> None:
        self.conn, self.peer, self.opened_us = min(conn, _MOST_CONN), peer, opened_us
        self.type = _TYPES[peer_type] if 0 <= peer_type < len(_TYPES) else _TYPES[0]
        self.direction = "unknown" if self.type == "unknown" else "in" if self.type == "inbound" else "out"
        self.network = ""
        self.exchange = Exchange(opened_us)

    def identity(self, enricher: Enricher) -> PeerIdentity:
        """Return what the connection columns are made of."""
        facts = enricher.peer(self.peer) if self.peer else NOWHERE
        return PeerIdentity(self.conn, self.peer, facts, self.direction, self.type, network=self.network)

    def saved(self) -> list[object]:
        """Return all of it as JSON-able values."""
        return [self.conn, self.peer, self.type, self.direction, self.network, self.opened_us, self.exchange.saved()]

    @classmethod
    def restored(cls, saved: Any) -> ObservedConnection:  # JSON: every value is converted below
        """Restore what `saved` returned; PositionError when it is damaged."""
        try:
            conn, peer, type_, direction, network, opened_us, exchange = saved
            one = cls(int(conn), str(peer), 0, int(opened_us))
        except (TypeError, ValueError) as error:
            raise PositionError(f"a position holds a damaged connection: {error}") from error
        one.type, one.direction, one.network = str(type_), str(direction), str(network)
        one.exchange = Exchange.restored(exchange)
        return one


class ConnectionBook:
    """The connections by peer id, the longest silent one first."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, ObservedConnection] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def seen(self, peer_id: int, peer: str, peer_type: int, time_us: int) -> ObservedConnection:
        """Return the connection that an event is about. peer: as Core prints it; "" where the event does not say it."""
        known = self._known.get(peer_id)
        if known is not None and (not peer or known.peer == peer):
            self._known.move_to_end(peer_id)
            return known
        one = ObservedConnection(peer_id, printable(peer), peer_type, time_us)
        if known is not None and known.peer == one.peer:  # an address that was made harmless
            self._known.move_to_end(peer_id)
            return known
        self._known.pop(peer_id, None)
        self._known[peer_id] = one
        while len(self._known) > OPEN_MOST:
            self._known.popitem(last=False)
        return one

    def opened(self, peer: Any, direction: str, time_us: int) -> ObservedConnection:
        """Return the connection that Core has just opened: an earlier one with this id is over."""
        self._known.pop(peer.peer_id, None)
        one = self.noted(peer, time_us)
        if one.direction == "unknown":
            one.direction, one.type = direction, "inbound" if direction == "in" else "outbound"
        return one

    def noted(self, peer: Any, time_us: int) -> ObservedConnection:
        """Return the connection of an event that has an `ObservedPeer`, which knows the network as Core does."""
        one = self.seen(peer.peer_id, decode_text(peer.peer), peer.peer_type, time_us)
        network = NETWORK_NAMES[peer.network] if peer.network < len(NETWORK_NAMES) else ""
        one.network = network if network in _NAMED_NETWORKS else ""
        return one

    def closed(self, peer_id: int) -> None:
        """Forget a connection that has ended."""
        self._known.pop(peer_id, None)

    def unsettle(self, time_us: int) -> None:
        """Forget what the connections have said: messages between were lost. Who they are stays true."""
        for one in self._known.values():
            one.exchange = Exchange(time_us)

    def clear(self) -> None:
        """Forget all: the node was restarted."""
        self._known.clear()

    def saved(self) -> list[list[object]]:
        """Return all connections as JSON-able values."""
        return [one.saved() for one in self._known.values()]

    def restore(self, saved: Sequence[object], believed_us: int) -> None:
        """Take the connections of a position; times after `believed_us` came from a wrong clock. PositionError."""
        for one in map(ObservedConnection.restored, saved[-OPEN_MOST:]):
            if one.opened_us > believed_us:
                one.opened_us = believed_us
                one.exchange.forget_after(believed_us)
            self._known[one.conn] = one
