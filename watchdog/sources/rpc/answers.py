"""The answers of Bitcoin Core's RPCs that a watchdog reads, as typed records.

Only the fields we use; unknown ones are skipped without being built. Every field
has a default, because versions differ. Names are those of Core's `src/rpc/net.cpp`,
`blockchain.cpp`, `mempool.cpp` and `server.cpp`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

MAX_PEERS = 5_000  # a poll: far above any -maxconnections in use
NEW_BUCKETS, TRIED_BUCKETS, BUCKET_SIZE = 1024, 256, 64  # Core src/addrman_impl.h
MAX_NETWORKS = 16  # Core has seven
BAD_INPUT = (ValueError, RecursionError)  # all that msgspec raises on bytes it cannot take


class PeerAnswer(msgspec.Struct, gc=False):
    """One entry of getpeerinfo. Times are unix seconds, pings are float seconds."""

    id: int = -1
    addr: str = ""
    network: str = ""
    mapped_as: int = 0
    services: str = "0"
    relaytxes: bool = False
    inv_to_send: int = 0
    last_transaction: int = 0
    last_block: int = 0
    bytessent: int = 0
    bytesrecv: int = 0
    conntime: int = 0
    timeoffset: int = 0
    pingtime: float = -1.0
    minping: float = -1.0
    pingwait: float = -1.0
    version: int = 0
    subver: str = ""
    inbound: bool = False
    bip152_hb_to: bool = False
    bip152_hb_from: bool = False
    presynced_headers: int = -1
    synced_headers: int = -1
    synced_blocks: int = -1
    inflight: list[int] = []
    addr_relay_enabled: bool = False
    addr_processed: int = 0
    addr_rate_limited: int = 0
    permissions: list[str] = []
    connection_type: str = ""
    transport_protocol_type: str = ""


class AddrmanEntry(msgspec.Struct, gc=False):
    """One slot of getrawaddrman; `time` is the address's stamp in unix seconds."""

    address: str = ""
    port: int = 0
    services: int = 0
    time: int = 0
    source: str = ""
    mapped_as: int = 0
    source_mapped_as: int = 0


class Tables(msgspec.Struct):
    """getrawaddrman: "bucket/position" to entry, for both tables."""

    new: dict[str, AddrmanEntry] = {}
    tried: dict[str, AddrmanEntry] = {}


class TableSizes(msgspec.Struct):
    """One network of getaddrmaninfo, in entries; total -1 where the node does not say."""

    new: int = 0
    tried: int = 0
    total: int = -1


class ChainInfo(msgspec.Struct):
    """getblockchaininfo; `time` is the tip's own, unix seconds (Core >= 23)."""

    chain: str = ""
    blocks: int = 0
    headers: int = 0
    time: int = 0
    initialblockdownload: bool = False
    size_on_disk: int = 0
    pruned: bool = False
    warnings: str | list[str] = ""


class MempoolInfo(msgspec.Struct):
    """getmempoolinfo; sizes in bytes, mempoolminfee in BTC/kvB."""

    loaded: bool = False
    size: int = 0
    bytes: int = 0
    usage: int = 0
    maxmempool: int = 0
    mempoolminfee: float = 0.0


class NetworkInfo(msgspec.Struct):
    """getnetworkinfo; timeoffset in seconds."""

    version: int = 0
    subversion: str = ""
    timeoffset: int = 0
    networkactive: bool = True
    connections: int = 0
    connections_in: int = 0
    connections_out: int = 0


class NetTotals(msgspec.Struct):
    """getnettotals; bytes since the start, `timemillis` is the machine's clock in ms."""

    totalbytesrecv: int = 0
    totalbytessent: int = 0
    timemillis: int = 0


class RpcAnswer(msgspec.Struct, Generic[T]):
    """One line of a snapshots file, as far as its result is concerned."""

    result: T


class _Head(msgspec.Struct):
    time: float
    kind: str


_PEEK = re.compile(
    rb'\s*\{\s*"time"\s*:\s*(\d{1,12}(?:\.\d{1,9})?)\s*,\s*"kind"\s*:\s*"([a-z0-9]{1,40})"\s*,\s*"result"'
)
_head = msgspec.json.Decoder(_Head)
_raw = msgspec.json.Decoder(RpcAnswer[msgspec.Raw])
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_peers = msgspec.json.Decoder(RpcAnswer[list[PeerAnswer]])
_tables = msgspec.json.Decoder(RpcAnswer[Tables])
_sizes = msgspec.json.Decoder(RpcAnswer[dict[str, TableSizes]])
_chain = msgspec.json.Decoder(RpcAnswer[ChainInfo])
_mempool = msgspec.json.Decoder(RpcAnswer[MempoolInfo])
_network = msgspec.json.Decoder(RpcAnswer[NetworkInfo])
_totals = msgspec.json.Decoder(RpcAnswer[NetTotals])
_number = msgspec.json.Decoder(RpcAnswer[float])

Loss = Callable[[str, int], None]  # (reason, how many): what was left out of an answer
UNREADABLE = "answer that cannot be read"


def is_json(line: bytes) -> bool:
    """Return whether a line is whole, whatever its content."""
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except BAD_INPUT:
        return False
    return True


def peek(line: bytes) -> tuple[int, str] | None:
    """(time in ns, RPC name) of a line without decoding its result; None if it has none.

    Times outside of 1970 to 2262 (int64 nanoseconds) count as none.
    """
    match = _PEEK.match(line)
    if match:
        seconds, _, fraction = match[1].partition(b".")
        time_ns = int(seconds) * 10**9 + int(fraction.ljust(9, b"0"))
        kind = match[2].decode()
    else:
        try:
            head = _head.decode(line)
        except BAD_INPUT:
            return None
        if not 0 <= head.time < 1e10:
            return None
        time_ns, kind = round(head.time * 1e6) * 1000, head.kind[:40]
    return (time_ns, kind) if 0 < time_ns < 1 << 63 else None


def peers(line: bytes, loss: Loss) -> list[PeerAnswer] | None:
    """getpeerinfo: peers with an id, each id once, MAX_PEERS at most. None: not readable."""
    try:
        found = _peers.decode(line).result
    except BAD_INPUT:
        parts = _salvage_list(line, loss)
        if parts is None:
            return None
        found = [peer for part in parts if (peer := _salvage(PeerAnswer, part, loss)) is not None]
    if len(found) > MAX_PEERS:
        loss("peers beyond the limit of one poll", len(found) - MAX_PEERS)
        found = found[:MAX_PEERS]
    if len(by_id := {peer.id: peer for peer in found if peer.id >= 0}) < len(found):
        loss("peers without an id of their own", len(found) - len(by_id))
        found = list(by_id.values())
    return found


def tables(line: bytes, loss: Loss) -> Tables | None:
    """getrawaddrman; keys are not checked here. None: not readable."""
    try:
        return _tables.decode(line).result
    except BAD_INPUT:
        fields = _salvage_fields(line, loss)
    if fields is None:
        return None
    return Tables(*(_salvage_table(fields.get(name), loss) for name in ("new", "tried")))


def table_sizes(line: bytes, loss: Loss) -> dict[str, TableSizes] | None:
    """Getaddrmaninfo by network, MAX_NETWORKS at most. None: not readable."""
    try:
        found = _sizes.decode(line).result
    except BAD_INPUT:
        fields = _salvage_fields(line, loss)
        if fields is None:
            return None
        salvaged = {name: _salvage(TableSizes, part, loss) for name, part in list(fields.items())[:MAX_NETWORKS]}
        found = {name: sizes for name, sizes in salvaged.items() if sizes is not None}
    return dict(list(found.items())[:MAX_NETWORKS])


def chain(line: bytes, loss: Loss) -> ChainInfo | None:
    """Getblockchaininfo. None: not readable."""
    return _record(_chain, ChainInfo, line, loss)


def mempool(line: bytes, loss: Loss) -> MempoolInfo | None:
    """Getmempoolinfo. None: not readable."""
    return _record(_mempool, MempoolInfo, line, loss)


def network(line: bytes, loss: Loss) -> NetworkInfo | None:
    """Getnetworkinfo. None: not readable."""
    return _record(_network, NetworkInfo, line, loss)


def net_totals(line: bytes, loss: Loss) -> NetTotals | None:
    """Getnettotals. None: not readable."""
    return _record(_totals, NetTotals, line, loss)


def uptime(line: bytes, loss: Loss) -> int | None:
    """Uptime in seconds. None: not readable, or not from 0 to 2^31 (68 years)."""
    try:
        seconds = _number.decode(line).result
    except BAD_INPUT:
        seconds = -1.0
    if 0 <= seconds < 1 << 31:
        return int(seconds)
    loss(UNREADABLE, 1)
    return None


def _record(decoder: msgspec.json.Decoder[RpcAnswer[S]], record: type[S], line: bytes, loss: Loss) -> S | None:
    try:
        return decoder.decode(line).result
    except BAD_INPUT:
        result = _raw_result(line, loss)
    return None if result is None else _salvage(record, result, loss)


def _raw_result(line: bytes, loss: Loss) -> msgspec.Raw | None:
    try:
        return _raw.decode(line).result
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None


def _salvage_fields(line: bytes, loss: Loss) -> dict[str, msgspec.Raw] | None:
    result = _raw_result(line, loss)
    if result is None:
        return None
    try:
        return _fields.decode(result)
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None


def _salvage_list(line: bytes, loss: Loss) -> list[msgspec.Raw] | None:
    result = _raw_result(line, loss)
    if result is None:
        return None
    try:
        return _items.decode(result)
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None


def _salvage(record: type[S], part: msgspec.Raw, loss: Loss) -> S | None:
    """The record with those fields that have the right type; others keep their default."""
    try:
        fields = _fields.decode(part)
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(record):
        text = fields.get(field.name)
        if text is None or bytes(text) == b"null":
            continue
        try:
            values[field.name] = msgspec.json.decode(text, type=field.type, strict=False)
        except BAD_INPUT:
            loss("fields of another type", 1)
    return record(**values)


def _salvage_table(part: msgspec.Raw | None, loss: Loss) -> dict[str, AddrmanEntry]:
    try:
        slots = _fields.decode(part) if part is not None else {}
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return {}
    limit = NEW_BUCKETS * BUCKET_SIZE
    salvaged = {key: _salvage(AddrmanEntry, text, loss) for key, text in list(slots.items())[:limit]}
    return {key: entry for key, entry in salvaged.items() if entry is not None}
