"""What the screen shows, as the API sends it; a source beside the API gives the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from watchdog.core.errors import WatchdogError


class TopError(WatchdogError):
    """The service or the source does not answer, or with something else; one line without secrets."""


class Amount(msgspec.Struct, frozen=True):
    """Messages of one type: their number, their bytes, and how many a second there were lately."""

    count: int
    bytes: int
    per_s: float


class ShownPeer(msgspec.Struct, frozen=True):
    """One peer; None where no source said. messages: by flow, then by type; None before any came."""

    peer: str
    network: str
    direction: str
    connection_type: str
    messages: dict[str, dict[str, Amount]] | None = None
    conn: int | None = None
    asn: int | None = None
    age_s: float | None = None
    user_agent: str | None = None
    ping_s: float | None = None
    min_ping_s: float | None = None
    addresses: float | None = None
    addresses_dropped: float | None = None

    def types(self, flow: str) -> dict[str, Amount]:
        """Return the messages of a flow by type."""
        return (self.messages or {}).get(flow, {})

    def per_s(self, flow: str) -> float:
        """Return the messages a second of a flow."""
        return sum(amount.per_s for amount in self.types(flow).values())


class ShownNode(msgspec.Struct, frozen=True):
    """A node, its numbers and its peers. time: of the latest event, unix seconds."""

    node: str
    state: dict[str, float | None]
    peers: list[ShownPeer]
    time: float | None = None
    peers_beyond: int = 0


class ShownMessage(msgspec.Struct, frozen=True):
    """One message of a peer."""

    time: float
    flow: str
    type: str
    size: int


class PeerMessages(msgspec.Struct, frozen=True):
    """The latest messages of a peer, oldest first. watched: whether they were kept before."""

    conn: int
    peer: str
    connection_type: str
    watched: bool
    messages: list[ShownMessage]


class ShownIncident(msgspec.Struct, frozen=True):
    """One open incident. opened: unix seconds."""

    severity: str
    rule: str
    summary: str
    opened: float


@dataclass(frozen=True, slots=True)
class NodeLook:
    """One look at a node. nodes: all that can be looked at. incidents: None where the reader knows of none."""

    facts: ShownNode
    nodes: tuple[str, ...] = ()
    incidents: tuple[ShownIncident, ...] | None = None
    trouble: str = ""


class FactReader(Protocol):
    """Where the screen gets its facts. Its methods block; they are called in one thread at a time."""

    @property
    def name(self) -> str:
        """The service or the sources, for the screen."""
        ...

    def look(self, node: str) -> NodeLook:
        """Return the present facts of a node, "" for the first one. TopError: they cannot be had."""
        ...

    def messages(self, node: str, conn: int) -> PeerMessages | None:
        """Return the latest messages of a peer, and keep further ones; None for an unknown peer."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...
