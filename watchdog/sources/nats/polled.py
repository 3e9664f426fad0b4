"""RPC answers that peer-observer has polled, as the rows that `rpc:` and `snapshots:` make of the same answers."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from watchdog.core.batch import Batch
from watchdog.core.enrich import Enricher
from watchdog.core.source import SourceOptions
from watchdog.core.text import decode_text
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.columns import RpcRows
from watchdog.sources.rpc.peers_diff import PeerMark
from watchdog.sources.rpc.reporter import Memory, Reporter
from watchdog.sources.rpc.rounds import LinePosition, Poll, Round

KINDS_GIVEN: Final = frozenset(
    {
        "rpc:peer",
        "rpc:peers",
        "rpc:addrman",
        "rpc:mempool",
        "rpc:nettotals",
        "rpc:uptime",
        "peer:connected",
        "peer:disconnected",
        "peer:outbound_replaced",
        "peer:outbound_lost",
        "node:started",
    }
)
_FACTS_MOST: Final = 20_000  # addresses of peers whose netgroup is kept
_NONE_IS_ZERO: Final = ("pingtime", "minping", "pingwait")
"""The extractor writes 0 where the node gave nothing; no ping takes that long."""
_PEER_FIELDS: Final = (
    "id", "addr", "network", "mapped_as", "services", "relaytxes", "last_transaction", "last_block", "bytessent",
    "bytesrecv", "conntime", "timeoffset", "version", "subver", "inbound", "bip152_hb_to", "bip152_hb_from",
    "synced_headers", "synced_blocks", "addr_relay_enabled", "addr_processed", "addr_rate_limited", "connection_type",
    "transport_protocol_type",
)  # fmt: skip


class PolledAnswers:
    """Answers of one node, each a round of its own, as the extractor publishes them one by one.

    memory: what the next answer is compared with; its owner stores it. peers: of the last poll in a position.
    """

    def __init__(
        self,
        name: str,
        options: SourceOptions,
        enricher: Enricher,
        memory: Memory,
        peers: list[PeerMark] | None,
    ) -> None:
        self._memory = memory
        self._reporter = Reporter(
            RpcRows(options.node, name, options.wants), AddressFacts(enricher, _FACTS_MOST), memory
        )
        if peers is not None:
            self._reporter.set_known_peers(peers)

    def add(self, body: Any, time_ns: int) -> bool:
        """Take an `RpcEvent`; return whether the node was restarted since the answer before."""
        answer = body.WhichOneof("answer")
        if answer == "memory":
            return False
        rpc, result = _answer(answer, getattr(body, answer))
        line = msgspec.json.encode({"time": time_ns // 10**9, "kind": rpc, "result": result})
        boot_ns = self._memory.node.process.boot_ns
        self._reporter.report(Round(time_ns, {rpc: Poll(time_ns, LinePosition(), line)}))
        return bool(boot_ns) and self._memory.node.process.boot_ns != boot_ns

    def take(self) -> tuple[Batch, ...]:
        """Return the batches of all rows since the last call."""
        return self._reporter.take()

    def known_peers(self) -> list[PeerMark] | None:
        """Return the peers of the last poll for a position; None before one."""
        return self._reporter.known_peers()


def _answer(branch: str, body: Any) -> tuple[str, object]:
    """Return the RPC and its answer, with Core's names."""
    if branch == "peers":
        return "getpeerinfo", [_peer(one) for one in body.peers]
    if branch == "uptime":
        return "uptime", body
    if branch == "addrman":
        counts = {decode_text(one.name): one.counts for one in body.networks}
        return "getaddrmaninfo", {
            name: {"new": one.new, "tried": one.tried, "total": one.total} for name, one in counts.items()
        }
    rpc = "getmempoolinfo" if branch == "mempool" else "getnettotals"
    return rpc, {field.name: getattr(body, field.name) for field in body.DESCRIPTOR.fields}


def _peer(peer: Any) -> dict[str, object]:
    values = {name: getattr(peer, name) for name in _PEER_FIELDS}
    answer = {name: decode_text(one) if isinstance(one, bytes) else one for name, one in values.items()}
    answer |= {name: value for name in _NONE_IS_ZERO if (value := getattr(peer, name)) > 0}
    answer["inflight"], answer["permissions"] = list(peer.inflight), list(map(decode_text, peer.permissions))
    if peer.HasField("inv_to_send"):
        answer["inv_to_send"] = peer.inv_to_send
    return answer
