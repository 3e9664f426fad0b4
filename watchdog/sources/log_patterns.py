"""The lines of debug.log that tell something: their beginnings and shapes, from v22 to today.

Shapes follow Bitcoin Core's src/net.cpp, src/net_processing.cpp, src/addrman.cpp, src/validation.cpp
and src/init.cpp. Every repetition is bounded or of one class of bytes between literals, so that
matching takes time linear in the line. `fact` names the method of `LogFacts` that takes the match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_ID = rb"(?P<conn>\d{1,18})(?:,? peeraddr=(?P<addr>[^\s,]{1,300}))?(?:, mapped_as=\d{1,10})?"
_PEER = rb"peer=" + _ID
_SLOT = rb"\[(?P<bucket>\d{1,9})\]\[(?P<position>\d{1,9})\]"
_MAPPED = rb"(?: mapped to AS(?P<asn>\d{1,10}))?"
_HASH = rb"(?P<hash>[0-9a-f]{64})"

PEER_KINDS = frozenset({
    "log:addr_received",
    "log:block_stalling",
    "log:connection_accepted",
    "log:connection_added",
    "log:connection_dropped",
    "log:disconnected",
    "log:evicted",
    "log:feeler_completed",
    "log:header",
    "log:low_work_headers",
    "log:misbehaving",
    "log:peer_connected",
    "log:protocol_error",
    "log:version",
})  # fmt: skip


class Shape(NamedTuple):
    """One line shape: its beginning, its whole form, who takes it, and the kinds it is read for."""

    head: bytes
    form: re.Pattern[bytes]
    fact: str
    kinds: frozenset[str]


def _shape(head: bytes, form: bytes, fact: str, *kinds: str) -> Shape:
    return Shape(head, re.compile(form), fact, frozenset(kinds))


_NODE: tuple[Shape, ...] = (
    _shape(b"Bitcoin ", rb"Bitcoin (?:[A-Z][a-z]{1,20} )?version (?P<version>\S{1,100}).{0,200}", "started"),
    _shape(b"Shutdown", rb"Shutdown:? done", "stopped"),
)

_CONNECTIONS: tuple[Shape, ...] = (
    _shape(
        b"trying ",
        rb"trying (?:(?P<transport>v[12]) )?connection (?:\((?P<type>[a-z-]{1,30})\) )?(?:to )?"
        rb"(?P<to>[^\s,]{1,300}),? lastseen=.{0,60}",
        "trying",
        *PEER_KINDS,
    ),
    _shape(
        b"Making f",
        rb"Making feeler connection(?: to (?P<to>\S{1,300}))?",
        "feeler_attempt",
        "log:feeler_attempt",
        *PEER_KINDS,
    ),
    _shape(b"Added co", rb"Added connection(?: to (?P<to>\S{1,300}))? " + _PEER, "connection_added", *PEER_KINDS),
    _shape(b"connecti", rb"connection from (?P<to>\S{1,300}) accepted", "connection_accepted", *PEER_KINDS),
    _shape(
        b"connecti",
        rb"connection from (?P<to>\S{1,300}) dropped[: (]{0,3}(?P<why>[^()]{0,100})\)?",
        "connection_dropped",
        "log:connection_dropped",
    ),
    _shape(
        b"failed to find",
        rb"failed to find an eviction candidate - connection dropped \((?P<why>full)\)",
        "connection_dropped",
        "log:connection_dropped",
    ),
    _shape(
        b"receive version",
        rb"receive version message: (?P<agent>.{0,1100}): version (?P<version>\d{1,10}), "
        rb"blocks=(?P<height>-?\d{1,10}), us=\S{0,300}, (?:txrelay=(?P<relay>[01]), )?" + _PEER,
        "version",
        *PEER_KINDS,
    ),
    _shape(
        b"New ",
        rb"New (?P<type>[a-z-]{1,30}) (?:(?P<early>v[12]) )?peer connected: (?:transport: (?P<transport>\S{1,20}), )?"
        rb"version: (?P<version>\d{1,10}), blocks=(?P<height>-?\d{1,10}),? "
        + _PEER
        + rb"(?: \((?P<full>[a-z-]{1,30})\))?",
        "peer_connected",
        *PEER_KINDS,
    ),
    _shape(b"Resettin", rb"Resetting socket for " + _PEER, "closed", *PEER_KINDS),
    _shape(b"disconne", rb"disconnecting " + _PEER, "closed", *PEER_KINDS),
    _shape(b"Cleared ", rb"Cleared nodestate for " + _PEER, "cleared", *PEER_KINDS),
    _shape(
        b"selected",
        rb"selected (?P<type>[a-z-]{1,30}) connection for eviction[,;]? (?:disconnecting )?"
        + _PEER
        + rb"(?:; disconnecting)?",
        "evicted",
        *PEER_KINDS,
    ),
    _shape(
        b"feeler c",
        rb"feeler connection completed[,;]? (?:disconnecting )?" + _PEER + rb"(?:; disconnecting)?",
        "feeler_completed",
        *PEER_KINDS,
    ),
)

_PEERS: tuple[Shape, ...] = (
    _shape(
        b"Received",
        rb"Received addr: (?P<entries>\d{1,9}) addresses \((?P<processed>\d{1,9}) processed, "
        rb"(?P<limited>\d{1,9}) rate-limited\) from " + _PEER,
        "addr_received",
        "log:addr_received",
    ),
    _shape(
        b"Misbehav",
        rb"Misbehaving: " + _PEER + rb"(?: \(-?\d{1,9} -> (?P<score>-?\d{1,9})\))?"
        rb"(?: (?:BAN|DISCOURAGE) THRESHOLD EXCEEDED)?(?::? (?P<why>.{0,400}))?",
        "misbehaving",
        "log:misbehaving",
        "log:disconnected",
    ),
    _shape(b"Header e", rb"Header error: (?P<detail>.{1,300}), " + _PEER, "protocol_error", "log:protocol_error"),
    _shape(b"HEADER E", rb"HEADER ERROR - (?P<detail>.{1,300}), " + _PEER, "protocol_error", "log:protocol_error"),
    _shape(b"V2 trans", rb"V2 transport error: (?P<v2>.{1,300}?),? " + _PEER, "protocol_error", "log:protocol_error"),
    _shape(
        b"ProcessM",
        rb"ProcessMessages\((?P<parse>.{1,60}, \d{1,10} bytes\): Exception '.{0,300}) caught",
        "protocol_error",
        "log:protocol_error",
    ),
    _shape(
        b"Peer is ",
        rb"Peer is stalling block download[,;]? disconnecting " + _PEER,
        "stalling",
        "log:block_stalling",
        "log:disconnected",
    ),
    _shape(
        b"Peer=",
        rb"Peer=" + _ID + rb" is stalling block download.{0,60}",
        "stalling",
        "log:block_stalling",
        "log:disconnected",
    ),
    _shape(
        b"Timeout ",
        rb"Timeout downloading (?P<what>block|headers)(?: [0-9a-f]{64})?,?(?: from)?(?: noban)?"
        rb"(?: disconnecting)? " + _PEER + rb".{0,60}",
        "stalling",
        "log:block_stalling",
        "log:disconnected",
    ),
    _shape(
        b"Saw new ",
        rb"Saw new (?:cmpctblock )?header hash=" + _HASH + rb" height=(?P<height>-?\d{1,10}) " + _PEER,
        "header",
        "log:header",
    ),
    _shape(
        b"Ignoring low",
        rb"Ignoring low-work chain \(height=-?\d{1,10}\) from " + _PEER,
        "low_work",
        "log:low_work_headers",
    ),
)

_ADDRMAN: tuple[Shape, ...] = (
    _shape(
        b"Added ", rb"Added (?P<address>\S{1,300})" + _MAPPED + rb" to new" + _SLOT, "inserted", "log:addrman_inserted"
    ),
    _shape(
        b"Added ",
        rb"Added (?P<added>\d{1,9}) addresses \(of (?P<offered>\d{1,9})\) from (?P<source>\S{1,300}): "
        rb"(?P<tried>\d{1,9}) tried, (?P<new>\d{1,9}) new",
        "batch",
        "log:addrman_batch",
    ),
    _shape(b"Moved ", rb"Moved (?P<address>\S{1,300})" + _MAPPED + rb" to tried" + _SLOT, "tried", "log:addrman_tried"),
    _shape(
        b"Moved ",
        rb"Moved (?P<address>\S{1,300})"
        + _MAPPED
        + rb" from tried\[\d{1,9}\]\[\d{1,9}\] to new"
        + _SLOT
        + rb" to make space",
        "tried_evicted",
        "log:addrman_evicted",
    ),
    _shape(
        b"Collisio",
        rb"Collision with (?P<old>\S{1,300}) while attempting to move (?P<address>\S{1,300}) to tried table\."
        rb" Collisions=(?P<collisions>\d{1,9})",
        "collision",
        "log:addrman_collision",
    ),
    _shape(
        b"Replacin",
        rb"Replacing (?P<old>\S{1,300}) with (?P<address>\S{1,300})(?: in tried table)?",
        "replaced",
        "log:addrman_replaced",
    ),
    _shape(
        b"Unable t",
        rb"(?P<untested>Unable) to test; replacing (?P<old>\S{1,300}) with (?P<address>\S{1,300})"
        rb"(?: in tried table)?(?: anyway)?",
        "replaced",
        "log:addrman_replaced",
    ),
    _shape(b"Removed ", rb"Removed (?P<address>\S{1,300}) from new" + _SLOT, "removed", "log:addrman_removed"),
)

_CHAIN: tuple[Shape, ...] = (
    _shape(
        b"UpdateTi",
        rb"UpdateTip: new best=" + _HASH + rb" height=(?P<height>-?\d{1,10}) version=\S{1,20} "
        rb"log2_work=\S{1,40} tx=(?P<txs>\d{1,18}) .{0,400}",
        "tip",
        "log:tip",
    ),
    _shape(
        b"Potentia",
        rb"Potential stale tip detected.{0,100}\(last tip update: (?P<age>-?\d{1,18}) seconds ago\)",
        "stale_tip",
        "log:stale_tip",
    ),
    _shape(
        b"ASMap He",
        rb"ASMap Health Check: (?P<peers>\d{1,9}) clearnet peers are mapped to (?P<asns>\d{1,9}) ASNs "
        rb"with (?P<unmapped>\d{1,9}) peers being unmapped",
        "asmap_health",
        "log:asmap_health",
    ),
)

# why a connection ended: beginning of the line that says so, and our word for it
_ENDINGS: tuple[tuple[bytes, str], ...] = (
    (b"socket closed", "peer closed"),
    (b"socket recv error", "receive error"),
    (b"socket send error", "send error"),
    (b"socket sending timeout", "send timeout"),
    (b"socket receive timeout", "receive timeout"),
    (b"socket no message", "no message"),
    (b"version handshake timeout", "handshake timeout"),
    (b"ping timeout", "ping timeout"),
    (b"Stopping node", "node stopping"),
    (b"receiving message bytes failed", "bad bytes"),
    (b"disconnect by ", "operator"),
    (b"disconnecting extra ", "extra peer"),
    (b"Disconnecting and discouraging", "misbehaving"),
    (b"Outbound peer has old chain", "chain behind"),
    (b"Timeout: outbound peer", "chain behind"),
    (b"Outbound peer headers chain", "chain behind"),
    (b"outbound peer headers chain", "chain behind"),
    (b"wtxidrelay received", "protocol violation"),
    (b"sendaddrv2 received", "protocol violation"),
    (b"sendtxrcncl received", "protocol violation"),
    (b"txreconciliation protocol violation", "protocol violation"),
    (b"filterload received", "protocol violation"),
    (b"filteradd received", "protocol violation"),
    (b"filterclear received", "protocol violation"),
    (b"mempool request ", "protocol violation"),
    (b"getblocks locator", "protocol violation"),
    (b"getheaders locator", "protocol violation"),
    (b"peer requested unsupported block filter", "protocol violation"),
    (b"peer sent getdata", "protocol violation"),
    (b"peer does not offer", "services missing"),
    (b"peer using obsolete", "obsolete version"),
    (b"connected to self", "self"),
    (b"addrfetch connection completed", "addr-fetch done"),
    (b"historical block serving limit", "upload limit"),
    (b"mempool request with bandwidth", "upload limit"),
    (b"Ignore block request below", "pruned block asked"),
)
_ENDING_FORM = rb".{0,600}?\bpeer[= ]" + _ID + rb".*"


def _ending(head: bytes, word: str) -> Shape:
    return _shape(head, re.escape(head) + _ENDING_FORM, f"ending {word}", "log:disconnected")


SHAPES: tuple[Shape, ...] = (
    *_NODE,
    *_CONNECTIONS,
    *_PEERS,
    *_ADDRMAN,
    *_CHAIN,
    *(_ending(head, word) for head, word in _ENDINGS),
)
KINDS: frozenset[str] = frozenset().union(*(shape.kinds for shape in SHAPES)) | {
    "node:started",
    "node:stopped",
    "source:gap",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """The shapes that are compiled in: `heads[i]` is a beginning, `shapes[i]` what may follow it."""

    heads: tuple[bytes, ...]
    shapes: tuple[tuple[Shape, ...], ...]

    @property
    def start_code(self) -> int:
        """Index of the beginning of the line that a starting node writes."""
        return self.heads.index(b"Bitcoin ")


def select(wanted: frozenset[str] | None) -> Selection:
    """The shapes needed for the wanted kinds, None for all; a node's start and stop are always read."""
    chosen: dict[bytes, list[Shape]] = {}
    for shape in SHAPES:
        if wanted is None or shape in _NODE or shape.kinds & wanted:
            chosen.setdefault(shape.head[:8], []).append(shape)
    heads = sorted(chosen, key=len)  # of two beginnings that fit, the later and longer one decides
    return Selection(tuple(heads), tuple(tuple(chosen[head]) for head in heads))
