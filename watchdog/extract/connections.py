"""The open connections of a node, as its tracepoints show them: number, address, type and since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from watchdog.core.enrich import Enricher
from watchdog.core.peer_columns import PeerIdentity, PeerTable

MOST: Final = 4_096  # Core has 125 by default; the oldest is forgotten, and gets a new age when it is seen again
INBOUND: Final = "inbound"


@dataclass(frozen=True, slots=True)
class SeenConnection:
    """A connection: who, and since when it was seen, nanoseconds since the epoch."""

    identity: PeerIdentity
    since_ns: int


class TracedConnections:
    """The connections by their number in the node, which no other connection of the same process gets."""

    def __init__(self, enricher: Enricher) -> None:
        self._enricher = enricher
        self._open: dict[int, SeenConnection] = {}
        self._ended: set[int] = set()
        self._table: tuple[PeerTable, dict[int, int]] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def seen(
        self,
        conn: int,
        address: str,
        connection_type: str,
        time_ns: int,
        *,
        network: str = "",
        opened: bool = False,
        ended: bool = False,
    ) -> SeenConnection:
        """Return the connection of an event. address, connection_type: empty where the event does not say them."""
        known = self._open.get(conn)
        if known is None or opened or self._says_more(known, address, connection_type):
            earlier = known.identity if known is not None else None
            identity = self._identity(
                conn,
                address or (earlier.peer if earlier else ""),
                connection_type or (earlier.connection_type if earlier else ""),
                network or (earlier.network if earlier else ""),
            )
            known = SeenConnection(identity, time_ns if known is None else known.since_ns)
            self._keep(conn, known)
        if ended:
            self._ended.add(conn)
        return known

    def table(self) -> tuple[PeerTable, dict[int, int]]:
        """Return the columns of all open connections, and where each is by its number; made when one changed."""
        if self._table is None:
            entries = {conn: at for at, conn in enumerate(self._open)}
            self._table = PeerTable([one.identity for one in self._open.values()]), entries
        return self._table

    def forget_ended(self) -> None:
        """Forget the connections that ended; messages of the same drain may still have been theirs."""
        for conn in self._ended:
            self._open.pop(conn, None)
            self._table = None
        self._ended.clear()

    @staticmethod
    def _says_more(known: SeenConnection, address: str, connection_type: str) -> bool:
        one = known.identity
        return bool(address and address != one.peer) or bool(connection_type and connection_type != one.connection_type)

    def _keep(self, conn: int, seen: SeenConnection) -> None:
        if conn not in self._open and len(self._open) >= MOST:
            del self._open[next(iter(self._open))]
        self._open[conn] = seen
        self._table = None

    def _identity(self, conn: int, address: str, connection_type: str, network: str) -> PeerIdentity:
        direction = "in" if connection_type == INBOUND else "out" if connection_type else "unknown"
        return PeerIdentity(
            conn, address, self._enricher.peer(address), direction, connection_type or "unknown", network
        )
