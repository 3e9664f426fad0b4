"""The node itself in `/metrics`: its latest answers, taken from the events that rules read, too.

Numbers of a node that no longer answers would mislead, so all but `watchdog_node_up` are absent while that is 0. No
label has text that a peer chose: directions, networks and connection types are those of the catalogue, or `other`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from watchdog.core.batch import Batch
from watchdog.core.kinds import KINDS
from watchdog.core.plan import RulePlan
from watchdog.core.source import Tallying
from watchdog.engine.coverage import wanted_kinds
from watchdog.service import exposure_metrics
from watchdog.service.channel import Channel
from watchdog.service.exposition import Exposition, Labels
from watchdog.sources.ipc.records import TIP_UPDATE
from watchdog.traffic.node_traffic import READ as TRAFFIC
from watchdog.traffic.totals import MessageTotals

UP_S: Final = 360.0
"""A node is up within this time of an answer: polls come every five minutes at most, and take a while."""
SHOWS_NODE: Final = frozenset({"rpc:chain", "zmq:tip", "zmq:block"})
"""Kinds of sources that show whether the node runs; a log or a capture is silent for many reasons."""
READ: Final = frozenset(
    {
        "rpc:peer",
        "rpc:peers",
        "rpc:chain",
        "rpc:addrman",
        "rpc:nettotals",
        "rpc:mempool",
        "rpc:uptime",
        "rpc:network",
    }
)
"""The kinds that these metrics are a reader of, as a rule is."""
OTHER: Final = "other"
_PEER: Final = KINDS["rpc:peer"].fields
_KNOWN: Final = {name: frozenset(_PEER[name].values) for name in ("direction", "network", "connection_type")}
_NETWORKS: Final = _KNOWN["network"]
_PeerKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Gauge:
    """A metric of one column of the latest row of a kind."""

    name: str
    kind: str
    column: str
    about: str


_GAUGES: Final = (
    _Gauge("watchdog_node_blocks", "rpc:chain", "blocks", "Height of the active chain."),
    _Gauge("watchdog_node_headers", "rpc:chain", "headers", "Height of the best header."),
    _Gauge("watchdog_node_tip_age_seconds", "rpc:chain", "tip_age_s", "Time since the tip was first seen."),
    _Gauge("watchdog_node_ibd", "rpc:chain", "ibd", "1 during initial block download."),
    _Gauge(
        "watchdog_node_verification_progress",
        "rpc:chain",
        "verification_progress",
        "Core's estimate of the verified share of the chain.",
    ),
    _Gauge("watchdog_node_mempool_max_bytes", "rpc:mempool", "max_bytes", "Memory limit of the mempool."),
    _Gauge("watchdog_node_mempool_transactions", "rpc:mempool", "txs", "Transactions in the mempool."),
    _Gauge("watchdog_node_mempool_bytes", "rpc:mempool", "size_bytes", "Virtual size of the mempool."),
    _Gauge("watchdog_node_uptime_seconds", "rpc:uptime", "uptime_s", "Time since the node started."),
)
_TALLIES: Final = (
    ("chain:block_connected", "watchdog_node_blocks_connected_total", "Connected blocks, reported over IPC."),
    ("chain:block_disconnected", "watchdog_node_blocks_disconnected_total", "Disconnected blocks, reported over IPC."),
    (TIP_UPDATE, "watchdog_node_tip_updates_total", "New tips, reported over IPC."),
    ("chain:flushed", "watchdog_node_chain_state_flushes_total", "Writes of the chain state, reported over IPC."),
    ("chain:tx_added", "watchdog_node_mempool_added_total", "Transactions that entered, reported over IPC."),
    ("chain:tx_removed", "watchdog_node_mempool_removed_total", "Transactions that left, reported over IPC."),
)
"""Kind, metric and meaning of what a source counts (`Tallying`)."""
_COINS: Final = (("utxocache:add", "add"), ("utxocache:spent", "spend"), ("utxocache:uncache", "uncache"))
_BYTES: Final = (("received", "bytes_received"), ("sent", "bytes_sent"))


class NodeState:
    """The latest answers of one node. The engine's thread calls `note`; any thread may read.

    Each attribute is replaced as a whole. Bounded by the catalogue: no more label sets than its values allow.
    """

    def __init__(self) -> None:
        self.latest: Mapping[str, Mapping[str, float]] = {}  # by kind: the numbers of its last row
        self.peers: Mapping[_PeerKey, int] = {}
        self.addresses: Mapping[tuple[str, str], int] = {}  # by network and table
        self.exposure: exposure_metrics.ExposureRows = {}
        self._peers_ns = 0

    def note(self, batches: Iterable[Batch]) -> None:
        """Take the batches of a slice."""
        for batch in batches:
            if batch.rows and batch.kind == exposure_metrics.KIND:  # shown when a rule reads it: its RPC is costly
                self.exposure = exposure_metrics.latest_rows(batch, self.exposure)
            elif batch.kind in READ and batch.rows:
                self._note(batch)

    def _note(self, batch: Batch) -> None:
        if batch.kind == "rpc:peer":
            self._count_peers(batch)
        elif batch.kind == "rpc:addrman":
            self._take_addresses(batch)
        else:
            if batch.kind == "rpc:peers" and int(batch.time_ns[-1]) > self._peers_ns:
                self._reset_peers(batch)
            row = int(np.argmax(batch.time_ns))
            numbers = {
                name: float(column[row]) for name, column in batch.columns.items() if isinstance(column, np.ndarray)
            }
            self.latest = {**self.latest, batch.kind: numbers}

    def _count_peers(self, batch: Batch) -> None:
        """Count the peers of the latest poll in the batch."""
        latest_ns = int(batch.time_ns.max())
        rows = np.flatnonzero(batch.time_ns == latest_ns)
        columns = [batch.strings(name).take(rows).tolist() for name in _KNOWN]
        direction, network, type_ = (map(_known(name), column) for name, column in zip(_KNOWN, columns, strict=True))
        counts = Counter(zip(direction, network, type_, strict=True))
        self.peers, self._peers_ns = {**dict.fromkeys(self.peers, 0), **counts}, latest_ns

    def _reset_peers(self, batch: Batch) -> None:
        """Note a poll; its peers follow in another batch or came before it, and without any there are none."""
        if not sum(int(batch.numbers(name)[-1]) for name in _SUMMED):
            self.peers, self._peers_ns = dict.fromkeys(self.peers, 0), int(batch.time_ns[-1])

    def _take_addresses(self, batch: Batch) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        latest = np.flatnonzero(batch.time_ns == batch.time_ns.max())
        networks = batch.strings("network").tolist()
        for row in latest.tolist():
            if networks[row] != "all":  # the sum of the others
                network = networks[row] if networks[row] in _NETWORKS else OTHER
                for table in ("new", "tried"):
                    counts[network, table] += int(batch.numbers(table)[row])
        self.addresses = {**dict.fromkeys(self.addresses, 0), **counts}


_SUMMED: Final = ("inbound", "outbound_full", "outbound_block", "feeler", "manual", "addr_fetch", "other")


def kinds_read(plans: Iterable[RulePlan]) -> frozenset[str]:
    """Return the kinds that a service reads: those of its rules, of these metrics, and of the list of peers."""
    return wanted_kinds(plans) | READ | TRAFFIC


def _known(name: str) -> Callable[[str], str]:
    values = _KNOWN[name]
    return lambda value: value if value in values else OTHER


def is_up(channels: Sequence[Channel], now_s: float) -> bool | None:
    """Return whether the node answers; None where no source shows it. now_s: monotonic seconds."""
    showing = [one for one in channels if one.kinds & SHOWS_NODE and not one.finite and one.scheme.mode != "recorded"]
    if not showing:
        return None
    return any(not one.error and one.heard_s is not None and now_s - one.heard_s <= UP_S for one in showing)


def node_metrics(out: Exposition, state: NodeState, channels: Sequence[Channel], labels: Labels, now_s: float) -> None:
    """Add the metrics of one node. labels: those of every sample. now_s: monotonic seconds."""
    up = is_up(channels, now_s)
    if up is not None:
        about = "1 while the node answers by RPC or is connected by ZMQ."
        out.add("watchdog_node_up", "gauge", about, [(labels, float(up))])
    if up is False:
        return
    latest = dict(state.latest)
    for gauge in _GAUGES:
        value = latest.get(gauge.kind, {}).get(gauge.column)
        if value is not None and value >= 0:  # -1 where the node did not say
            out.add(gauge.name, "gauge", gauge.about, [(labels, value)])
    peers = [
        ({**labels, "direction": direction, "network": network, "type": type_}, float(count))
        for (direction, network, type_), count in sorted(state.peers.items())
    ]
    out.add("watchdog_node_peers", "gauge", "Connected peers.", peers)
    tables = [
        ({**labels, "network": network, "table": table}, float(count))
        for (network, table), count in sorted(state.addresses.items())
    ]
    out.add("watchdog_node_addrman_addresses", "gauge", "Addresses in the node's tables.", tables)
    exposure_metrics.exposure_metrics(out, state.exposure, labels)
    _totals(out, latest, labels)
    _reported(out, channels, labels)


def _totals(out: Exposition, latest: Mapping[str, Mapping[str, float]], labels: Labels) -> None:
    totals = latest.get("rpc:nettotals", {})
    sizes = [({**labels, "direction": name}, totals[column]) for name, column in _BYTES if column in totals]
    out.add("watchdog_node_bytes_total", "counter", "Traffic of the node since it started.", sizes)
    version = latest.get("rpc:network", {}).get("version", 0)
    if version > 0:
        about = "Version of the node; always 1."
        out.add("watchdog_node_version_info", "gauge", about, [({**labels, "version": version_text(int(version))}, 1)])


def message_metrics(out: Exposition, totals: MessageTotals, labels: Labels) -> None:
    """Add messages and bytes by flow, type and connection type; types that Core does not know are `other`."""
    messages, sizes = [], []
    for (flow, type_, connection), count, size in totals.cells():
        own = {**labels, "direction": flow, "type": type_, "connection_type": connection}
        messages.append((own, float(count)))
        sizes.append((own, float(size)))
    out.add("watchdog_node_messages_total", "counter", "Messages with peers.", messages)
    about = "Payload bytes of the messages with peers."
    out.add("watchdog_node_message_bytes_total", "counter", about, sizes)


def _reported(out: Exposition, channels: Sequence[Channel], labels: Labels) -> None:
    """Add what nodes report over IPC to a subscriber; absent without one."""
    opened: list[object] = [one.source for one in channels]
    tallies: Counter[str] = Counter()
    values: Counter[str] = Counter()
    for source in opened:
        for kind, (count, value_sat) in source.tallies.items() if isinstance(source, Tallying) else ():
            tallies[kind] += count
            values[kind] += value_sat
    for kind, name, about in _TALLIES:
        if kind in tallies:
            out.add(name, "counter", about, [(labels, tallies[kind])])
    coins = [({**labels, "change": change}, tallies[kind]) for kind, change in _COINS if kind in tallies]
    out.add("watchdog_node_utxo_cache_total", "counter", "Changes of the coins cache, reported over IPC.", coins)
    sums = [({**labels, "change": change}, values[kind]) for kind, change in _COINS if kind in tallies]
    out.add("watchdog_node_utxo_cache_satoshi_total", "counter", "Value of these changes.", sums)


def version_text(number: int) -> str:
    """Return Core's version as people write it: 290100 is 29.1.0, and 210100 is 0.21.1."""
    major, minor, build = number // 10_000, number // 100 % 100, number % 100
    return f"{major}.{minor}.{build}" if major >= 22 else f"0.{major}.{minor}"
