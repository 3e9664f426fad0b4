"""Facts from debug.log as rows, and rows as column batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.durations import SECOND_NS
from watchdog.core.enrich import PeerFacts
from watchdog.core.peer_columns import PeerIdentity, PeerTable
from watchdog.sources.log.peers import Addresses, LoggedPeer

LogValue = int | str | bytes | bool

_SLOT = {"bucket": "u32", "position": "u32"}

# kinds about an address: the columns for its text, network, netgroup, netblock and AS, empty for one that it lacks
_ENTRY = ("address", "entry_network", "entry_netgroup", "entry_netblock", "entry_asn")
_GROUPED = ("address", "", "entry_netgroup", "", "")
ABOUT: Mapping[str, tuple[str, str, str, str, str]] = {
    "log:addrman_inserted": _ENTRY,
    "log:addrman_tried": _ENTRY,
    "log:addrman_batch": ("source_addr", "", "source_netgroup", "source_netblock", "source_asn"),
    "log:addrman_collision": _GROUPED,
    "log:addrman_replaced": _GROUPED,
    "log:addrman_evicted": _GROUPED,
    "log:addrman_removed": _GROUPED,
    "log:feeler_attempt": ("peer_addr", "", "netgroup", "netblock", "asn"),
}

# kind to (has the peer columns, its other columns by name and type), as the catalogue says; `mapped` is the AS that
# the line itself names, for nodes whose asmap we do not have
LAYOUT: Mapping[str, tuple[bool, Mapping[str, str]]] = {
    "log:addr_received": (True, {"entries": "u32", "processed": "u32", "rate_limited": "u32"}),
    "log:addrman_inserted": (False, {"mapped": "u32", **_SLOT}),
    "log:addrman_batch": (False, {"added": "u32", "offered": "u32", "tried_total": "u32", "new_total": "u32"}),
    "log:addrman_tried": (False, {"mapped": "u32", **_SLOT}),
    "log:addrman_collision": (False, {"old_address": "str", "collisions": "u32"}),
    "log:addrman_replaced": (False, {"old_address": "str", "tested": "bool"}),
    "log:addrman_evicted": (False, {}),
    "log:addrman_removed": (False, {}),
    "log:feeler_attempt": (False, {"peer": "str"}),
    "log:feeler_completed": (True, {}),
    "log:connection_accepted": (True, {}),
    "log:connection_dropped": (True, {"reason": "str"}),
    "log:connection_added": (True, {}),
    "log:peer_connected": (True, {"transport": "str", "protocol_version": "i32", "start_height": "i32"}),
    "log:version": (True, {"user_agent": "str", "protocol_version": "i32", "relay": "bool"}),
    "log:disconnected": (True, {"reason": "str", "lived_s": "i64"}),
    "log:evicted": (True, {}),
    "log:misbehaving": (True, {"reason": "str", "discouraged": "bool"}),
    "log:protocol_error": (True, {"reason": "str", "detail": "str"}),
    "log:stale_tip": (False, {"tip_age_s": "i64"}),
    "log:block_stalling": (True, {"reason": "str"}),
    "log:tip": (False, {"height": "i32", "hash": "bytes", "txs": "u64"}),
    "log:header": (True, {"height": "i32", "hash": "bytes"}),
    "log:low_work_headers": (True, {}),
    "log:asmap_health": (False, {"peers": "u32", "asns": "u32", "unmapped": "u32"}),
    "node:started": (False, {"reason": "str", "version": "str"}),
    "node:stopped": (False, {"reason": "str"}),
    "source:gap": (False, {"from_ns": "i64", "to_ns": "i64", "lost": "u64", "reason": "str", "kinds": "str"}),
    "source:limited": (False, {"until_ns": "i64", "reason": "str", "kinds": "str", "location": "str"}),
}


class LogRows:
    """Rows of one kind while a chunk is read."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.peers: list[LoggedPeer] = []
        self.addresses: list[str] = []  # of kinds in ABOUT: looked up when the batch is made
        self.values: list[tuple[LogValue, ...]] = []


def batch_of(kind: str, rows: LogRows, addresses: Addresses, *, node: str, source: str, boot_ns: int) -> Batch:
    """Return the rows as a batch, in their order; numbers are held within their column's type."""
    with_peer, fields = LAYOUT[kind]
    times = np.array(rows.times, np.int64)
    columns: dict[str, Column] = {"time_ns": times}
    if with_peer:
        columns.update(_peer_columns(rows.peers, times, addresses))
    cells: Sequence[Sequence[LogValue]] = list(zip(*rows.values, strict=True)) if fields else ()
    for (name, type_name), values in zip(fields.items(), cells, strict=True):
        columns[name] = _column(type_name, values)
    if kind in ABOUT:
        columns.update(_address_columns(ABOUT[kind], addresses.of(rows.addresses), columns.pop("mapped", None)))
    return Batch(kind, node, source, columns, boot_ns)


def _address_columns(
    names: tuple[str, str, str, str, str], facts: Sequence[PeerFacts], mapped: Column | None
) -> dict[str, Column]:
    """Return the columns about addresses; the AS is ours if known, else the one in the line."""
    address, network, netgroup, netblock, asn = names
    numbers = np.array([fact.asn for fact in facts], np.uint32)
    if isinstance(mapped, np.ndarray):
        numbers = np.where(numbers > 0, numbers, mapped).astype(np.uint32)
    columns: dict[str, Column] = {
        address: Strings.of([fact.addr for fact in facts]),
        network: Strings.of([fact.network for fact in facts]),
        netgroup: np.array([fact.netgroup for fact in facts], np.uint64),
        netblock: np.array([fact.netblock for fact in facts], np.uint64),
        asn: numbers,
    }
    columns.pop("", None)
    return columns


_INTEGERS: Mapping[str, type[np.integer]] = {"u32": np.uint32, "u64": np.uint64, "i32": np.int32, "i64": np.int64}


def _column(type_name: str, values: Sequence[LogValue]) -> Column:
    if type_name == "str":
        return Strings.of([value for value in values if isinstance(value, str)])
    if type_name == "bytes":
        return Blobs.of([value for value in values if isinstance(value, bytes)])
    if type_name == "bool":
        return np.array(values, np.bool_)
    wide = np.array(values, np.uint64 if type_name == "u64" else np.int64)
    limits = np.iinfo(_INTEGERS[type_name])
    return np.clip(wide, limits.min, limits.max).astype(_INTEGERS[type_name])


def _peer_columns(peers: Sequence[LoggedPeer], times: NDArray[np.int64], addresses: Addresses) -> dict[str, Column]:
    """Return the connection columns; each distinct connection is looked up once."""
    numbers: dict[LoggedPeer, int] = {}
    entries = np.array([numbers.setdefault(peer, len(numbers)) for peer in peers], np.intp)
    distinct = list(numbers)
    facts = addresses.of([peer.peer for peer in distinct])
    table = PeerTable(
        [
            PeerIdentity(peer.conn, peer.peer, fact, peer.direction, peer.connection_type)
            for peer, fact in zip(distinct, facts, strict=True)
        ]
    )
    opened = np.array([peer.opened_ns for peer in distinct], np.int64)[entries]
    age_s = np.where(opened > 0, np.maximum(times - opened, 0) // SECOND_NS, 0)
    return table.rows(entries, age_s)
