"""Columns of getpeerinfo: the state rows rpc:peer and rpc:peers, and the connection columns of all peer events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from watchdog.core.enrich import PeerFacts
from watchdog.core.peer_columns import AGE, PeerIdentity, identity_values
from watchdog.sources.rpc.answers import PeerAnswer
from watchdog.sources.rpc.columns import Values

ESTABLISHED_S = 60  # threats.md#peer-age: younger connections are probes
OLD_S = 3600  # threats.md#peer-age: inbound peers of more than an hour are counted
FULL, BLOCK = "outbound-full-relay", "block-relay-only"  # Core's ConnectionTypeAsString
_OVERLAYS = ("onion", "i2p", "cjdns")
_IP = ("ipv4", "ipv6")
_COUNTED = {
    FULL: "outbound_full",
    BLOCK: "outbound_block",
    "inbound": "inbound",
    "feeler": "feeler",
    "manual": "manual",
    "addr-fetch": "addr_fetch",
}


def age_s(peer: PeerAnswer, now_s: int) -> int:
    """Seconds since the connection was made, never negative; 0 when the node does not say."""
    return max(0, now_s - peer.conntime) if peer.conntime > 0 else 0


def network_of(peer: PeerAnswer, facts: PeerFacts) -> str:
    """Return the peer's network; the node's word counts for overlays, since inbound onion peers come from localhost."""
    return peer.network if peer.network in _OVERLAYS else facts.network


def connection_type_of(peer: PeerAnswer) -> str:
    """Core's name of the connection type; `unknown` for an outbound peer of a node that does not say (Core < 22)."""
    return peer.connection_type or ("inbound" if peer.inbound else "unknown")


def connection_columns(peers: Sequence[PeerAnswer], facts: Sequence[PeerFacts], now_s: int) -> dict[str, Values]:
    """Return the connection columns (conn, peer, ..., age_s) of peers at `now_s` (unix seconds)."""
    identities = [
        PeerIdentity(
            peer.id,
            peer.addr,
            fact,
            "in" if peer.inbound else "out",
            connection_type_of(peer),
            network=network_of(peer, fact),
            asn=fact.asn or peer.mapped_as,
        )
        for peer, fact in zip(peers, facts, strict=True)
    ]
    return {**identity_values(identities), AGE: [age_s(peer, now_s) for peer in peers]}


def state_columns(
    peers: Sequence[PeerAnswer], facts: Sequence[PeerFacts], now_s: int, interval_s: int
) -> dict[str, Values]:
    """Return the columns of rpc:peer."""
    totals = Counter(peer.inbound for peer in peers)
    return {
        **connection_columns(peers, facts, now_s),
        "interval_s": [interval_s] * len(peers),
        "direction_total": [totals[peer.inbound] for peer in peers],
        "services": [_services(peer.services) for peer in peers],
        "user_agent": [peer.subver for peer in peers],
        "relay_txs": [peer.relaytxes for peer in peers],
        "protocol_version": [peer.version for peer in peers],
        "inv_to_send": [peer.inv_to_send for peer in peers],
        "ping_us": [_microseconds(peer.pingtime) for peer in peers],
        "min_ping_us": [_microseconds(peer.minping) for peer in peers],
        "ping_wait_us": [_microseconds(peer.pingwait) for peer in peers],
        "time_offset_s": [peer.timeoffset for peer in peers],
        "bytes_sent": [peer.bytessent for peer in peers],
        "bytes_received": [peer.bytesrecv for peer in peers],
        "addr_processed": [peer.addr_processed for peer in peers],
        "addr_rate_limited": [peer.addr_rate_limited for peer in peers],
        "addr_relay": [peer.addr_relay_enabled for peer in peers],
        "synced_headers": [peer.synced_headers for peer in peers],
        "synced_blocks": [peer.synced_blocks for peer in peers],
        "presynced_headers": [peer.presynced_headers for peer in peers],
        "inflight": [len(peer.inflight) for peer in peers],
        "permissions": [",".join(peer.permissions) for peer in peers],
        "last_block_age_s": [_since(peer.last_block, now_s) for peer in peers],
        "last_tx_age_s": [_since(peer.last_transaction, now_s) for peer in peers],
        "transport": [peer.transport_protocol_type for peer in peers],
        "hb_to": [peer.bip152_hb_to for peer in peers],
        "hb_from": [peer.bip152_hb_from for peer in peers],
    }


def summary(peers: Sequence[PeerAnswer], facts: Sequence[PeerFacts], now_s: int) -> dict[str, int]:
    """Return the fields of rpc:peers, but for uptime_s.

    The largest netgroup is sought among IPv4 and IPv6 peers only: overlays have 16 groups
    in all and Core does not spread over them, and inbound onion peers share localhost.
    """
    counts = dict.fromkeys((*_COUNTED.values(), "other"), 0)
    for peer in peers:
        counts[_COUNTED.get(connection_type_of(peer), "other")] += 1
    known = list(zip(peers, facts, strict=True))
    outbound = [(peer, fact) for peer, fact in known if connection_type_of(peer) in (FULL, BLOCK)]
    inbound = [(peer, fact) for peer, fact in known if peer.inbound]
    asns = Counter(asn for peer, fact in outbound if (asn := fact.asn or peer.mapped_as))
    return {
        **counts,
        "outbound": len(outbound),
        "outbound_established": sum(age_s(peer, now_s) > ESTABLISHED_S for peer, _ in outbound),
        "outbound_netgroups": len({fact.netgroup for _, fact in outbound}),
        "outbound_top_netgroup": _top_netgroup(outbound),
        "outbound_top_asn": max(asns.values(), default=0),
        "inbound_netgroups": len({fact.netgroup for _, fact in inbound}),
        "inbound_top_netgroup": _top_netgroup(inbound),
        "inbound_old": sum(age_s(peer, now_s) > OLD_S for peer, _ in inbound),
    }


def _top_netgroup(known: Sequence[tuple[PeerAnswer, PeerFacts]]) -> int:
    groups = Counter(fact.netgroup for peer, fact in known if network_of(peer, fact) in _IP)
    return max(groups.values(), default=0)


def _services(text: str) -> int:
    try:
        return int(text[:16], 16)  # Core prints uint64 as 16 hex digits
    except ValueError:
        return 0  # the field is text of our own node; what is not hex says nothing of the peer


def _microseconds(seconds: float) -> int:
    return round(min(seconds, 1e9) * 1e6) if seconds >= 0 else -1


def _since(then_s: int, now_s: int) -> int:
    return max(0, now_s - then_s) if then_s > 0 else -1
