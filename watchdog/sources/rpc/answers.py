"""The answers of Bitcoin Core's RPCs that a watchdog reads, as typed records.

Only the fields we use; unknown ones are skipped without being built. Fields have a default, because versions
differ. Those without one are in every version, and 0 in their place would be a fact that nobody saw: without them
an answer counts as unreadable. Names are those of Core's RPC answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec

from watchdog.sources.rpc.salvage import (
    BAD_INPUT,
    FIELDS,
    UNREADABLE,
    Loss,
    RpcAnswer,
    items_of,
    parts_of,
    raw_result,
    record_of,
    table_of,
)

S = TypeVar("S", bound=msgspec.Struct)

MAX_PEERS = 5_000  # a poll: far above any -maxconnections in use
MAX_NETWORKS = 16  # Core has seven

Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""A number that a checkpoint can hold: JSON knows no limit."""
Height = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Text = Annotated[str, msgspec.Meta(max_length=512)]
"""As long as an event's text; Core's own limit for a user agent is 256."""
BlockHash = Annotated[str, msgspec.Meta(max_length=64)]


class PeerAnswer(msgspec.Struct, gc=False):
    """One entry of getpeerinfo. Times are unix seconds, pings are float seconds."""

    id: Whole = -1
    addr: Text = ""
    network: Text = ""
    mapped_as: Whole = 0
    services: Text = "0"
    relaytxes: bool = False
    inv_to_send: Whole = 0
    last_transaction: Whole = 0
    last_block: Whole = 0
    bytessent: Whole = 0
    bytesrecv: Whole = 0
    conntime: Whole = 0
    timeoffset: Whole = 0
    pingtime: float = -1.0
    minping: float = -1.0
    pingwait: float = -1.0
    version: Whole = 0
    subver: Text = ""
    inbound: bool = False
    bip152_hb_to: bool = False
    bip152_hb_from: bool = False
    presynced_headers: Whole = -1
    synced_headers: Whole = -1
    synced_blocks: Whole = -1
    inflight: list[Whole] = []
    addr_relay_enabled: bool = False
    addr_processed: Whole = 0
    addr_rate_limited: Whole = 0
    permissions: list[Text] = []
    connection_type: Text = ""
    transport_protocol_type: Text = ""


class AddrmanEntry(msgspec.Struct, gc=False):
    """One slot of getrawaddrman; `time` is the address's stamp in unix seconds."""

    address: Text = ""
    port: Whole = 0
    services: int = 0
    time: Whole = 0
    source: Text = ""
    mapped_as: Whole = 0
    source_mapped_as: Whole = 0


class Holder(msgspec.Struct, gc=False, frozen=True, order=True):
    """Who holds a slot of getrawaddrman: an address without port, and the port."""

    address: Text = ""
    port: Whole = 0


class Tables(msgspec.Struct):
    """getrawaddrman: "bucket/position" to the text of an entry, for both tables."""

    new: dict[str, msgspec.Raw] = {}
    tried: dict[str, msgspec.Raw] = {}


class TableSizes(msgspec.Struct):
    """One network of getaddrmaninfo, in entries; total -1 where the node does not say."""

    new: Whole
    tried: Whole
    total: Whole = -1


class ChainInfo(msgspec.Struct):
    """getblockchaininfo; `time` is the tip's own, unix seconds (Core >= 23)."""

    blocks: Height
    chain: Text = ""
    headers: Whole = 0
    time: Whole = 0
    initialblockdownload: bool = False
    size_on_disk: Whole = 0
    pruned: bool = False
    bestblockhash: BlockHash = ""
    warnings: str | list[str] = ""
    verificationprogress: float = -1.0


class ChainTip(msgspec.Struct, gc=False):
    """One tip of getchaintips; branchlen in blocks."""

    height: Whole
    hash: BlockHash
    status: Text
    branchlen: Whole = 0


class BlockHeader(msgspec.Struct, gc=False):
    """Getblockheader; chainwork in hexadecimal digits."""

    hash: BlockHash = ""
    chainwork: BlockHash = ""


class MempoolInfo(msgspec.Struct):
    """getmempoolinfo; sizes in bytes, mempoolminfee in BTC/kvB."""

    size: Whole
    bytes: Whole
    loaded: bool = False
    usage: Whole = 0
    maxmempool: Whole = 0
    mempoolminfee: float = 0.0


class NetworkInfo(msgspec.Struct):
    """getnetworkinfo; timeoffset in seconds."""

    version: Whole = 0
    subversion: Text = ""
    timeoffset: Whole = 0
    networkactive: bool = True
    connections: Whole = 0
    connections_in: Whole = 0
    connections_out: Whole = 0


class NetTotals(msgspec.Struct):
    """getnettotals; bytes since the start, `timemillis` is the machine's clock in ms."""

    totalbytesrecv: Whole = 0
    totalbytessent: Whole = 0
    timemillis: Whole = 0


class _Head(msgspec.Struct):
    time: float
    kind: str


_PEEK = re.compile(
    rb'\s*\{\s*"time"\s*:\s*(\d{1,12}(?:\.\d{1,9})?)\s*,\s*"kind"\s*:\s*"([a-z0-9]{1,40})"\s*,\s*"result"'
)
_head = msgspec.json.Decoder(_Head)
_peers = msgspec.json.Decoder(RpcAnswer[list[PeerAnswer]])
_tables = msgspec.json.Decoder(RpcAnswer[Tables])
_entry = msgspec.json.Decoder(AddrmanEntry)
_holder = msgspec.json.Decoder(Holder)
_sizes = msgspec.json.Decoder(RpcAnswer[dict[str, TableSizes]])
_chain = msgspec.json.Decoder(RpcAnswer[ChainInfo])
_tips = msgspec.json.Decoder(RpcAnswer[list[ChainTip]])
_headers = msgspec.json.Decoder(RpcAnswer[list[BlockHeader] | BlockHeader])
_mempool = msgspec.json.Decoder(RpcAnswer[MempoolInfo])
_network = msgspec.json.Decoder(RpcAnswer[NetworkInfo])
_totals = msgspec.json.Decoder(RpcAnswer[NetTotals])
_number = msgspec.json.Decoder(RpcAnswer[float])

MAX_TIPS = 1_000  # of one getchaintips; a node of many years has a few dozen


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
    found: list[PeerAnswer] | None
    try:
        found = _peers.decode(line).result
    except BAD_INPUT:
        found = items_of(PeerAnswer, line, loss)
    if found is None:
        return None
    if len(found) > MAX_PEERS:
        loss("peers beyond the limit of one poll", len(found) - MAX_PEERS)
        found = found[:MAX_PEERS]
    if len(by_id := {peer.id: peer for peer in found if peer.id >= 0}) < len(found):
        loss("peers without an id of their own", len(found) - len(by_id))
        return list(by_id.values()) or None
    return found


def tables(line: bytes, loss: Loss) -> Tables | None:
    """getrawaddrman; keys and entries are not checked here. None: not readable."""
    try:
        return _tables.decode(line).result
    except BAD_INPUT:
        fields = parts_of(FIELDS, line, loss)
    if fields is None:
        return None
    return Tables(*(table_of(fields.get(name), loss) for name in ("new", "tried")))


def holders(texts: Sequence[msgspec.Raw], loss: Loss) -> list[Holder | None]:
    """Return who holds each entry of getrawaddrman, None for what is no entry. One loop in C where all are well."""
    try:
        return list(map(_holder.decode, texts))
    except BAD_INPUT:
        return [record_of(Holder, text, loss) for text in texts]


def addrman_entry(text: msgspec.Raw, loss: Loss) -> AddrmanEntry | None:
    """Return one entry of getrawaddrman. None: not readable."""
    try:
        return _entry.decode(text)
    except BAD_INPUT:
        return record_of(AddrmanEntry, text, loss)


def table_sizes(line: bytes, loss: Loss) -> dict[str, TableSizes] | None:
    """Getaddrmaninfo by network, MAX_NETWORKS at most. None: not readable."""
    try:
        found = _sizes.decode(line).result
    except BAD_INPUT:
        fields = parts_of(FIELDS, line, loss)
        if fields is None:
            return None
        salvaged = {name: record_of(TableSizes, part, loss) for name, part in list(fields.items())[:MAX_NETWORKS]}
        found = {name: sizes for name, sizes in salvaged.items() if sizes is not None}
    return dict(list(found.items())[:MAX_NETWORKS])


def chain(line: bytes, loss: Loss) -> ChainInfo | None:
    """Getblockchaininfo. None: not readable."""
    return _record(_chain, ChainInfo, line, loss)


def chain_tips(line: bytes, loss: Loss) -> list[ChainTip] | None:
    """Getchaintips: the highest MAX_TIPS. None: not readable."""
    found: list[ChainTip] | None
    try:
        found = _tips.decode(line).result
    except BAD_INPUT:
        found = items_of(ChainTip, line, loss)
    if found is None:
        return None
    if len(found) > MAX_TIPS:
        loss("chain tips beyond the limit of one poll", len(found) - MAX_TIPS)
        found = sorted(found, key=lambda tip: (tip.status != "active", -tip.height))[:MAX_TIPS]
    return found


def chainwork(line: bytes, loss: Loss) -> dict[str, int] | None:
    """Return the work of the chain up to a block, by hash, from one header or a list of them. None: not readable."""
    try:
        result = _headers.decode(line).result
        headers = [result] if isinstance(result, BlockHeader) else result
        return {header.hash: int(header.chainwork[:64], 16) for header in headers if header.chainwork}
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None


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
        result = raw_result(line, loss)
    return None if result is None else record_of(record, result, loss)
