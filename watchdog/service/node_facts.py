"""A node and its peers as API and `watchdog top` show them."""

from __future__ import annotations

from typing import Final

from watchdog.service.node_metrics import NodeState
from watchdog.traffic.node_traffic import NodeTraffic

_NUMBERS: Final = (
    ("blocks", "rpc:chain", "blocks"),
    ("headers", "rpc:chain", "headers"),
    ("tip_age_s", "rpc:chain", "tip_age_s"),
    ("mempool_transactions", "rpc:mempool", "txs"),
    ("mempool_bytes", "rpc:mempool", "size_bytes"),
    ("uptime_s", "rpc:uptime", "uptime_s"),
)


def node_facts(state: NodeState, traffic: NodeTraffic) -> dict[str, object]:
    """Return `state` (numbers of the node, null where no source says), `time`, `peers`, and how many peers gave way."""
    latest, addresses = dict(state.latest), dict(state.addresses)
    numbers: dict[str, float | None] = {}
    for name, kind, column in _NUMBERS:
        value = latest.get(kind, {}).get(column, -1)
        numbers[name] = value if value >= 0 else None
    for table in ("new", "tried"):
        counts = [count for (_, which), count in addresses.items() if which == table]
        numbers[f"addresses_{table}"] = sum(counts) if counts else None
    return {
        "time": traffic.table.latest_ns / 1e9 if traffic.table.latest_ns else None,
        "state": numbers,
        "peers": traffic.peers(),
        "peers_beyond": traffic.table.evicted,
    }
