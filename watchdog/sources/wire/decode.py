"""From messages to events: which decoder reads which type."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from watchdog.core.enrich import Enricher
from watchdog.sources.wire import addresses, blocks, handshake, lists, rare, scalars, transactions
from watchdog.sources.wire.messages import Decoded, Messages
from watchdog.sources.wire.part import MessageBlock, parts

Decoder = Callable[[MessageBlock], list[Decoded]]

# type: the kind that it becomes, and its decoder
_DECODERS: Mapping[str, tuple[str, Decoder]] = {
    "version": ("p2p:version", handshake.version),
    "inv": ("p2p:inv", lists.inventory),
    "getdata": ("p2p:getdata", lists.inventory),
    "notfound": ("p2p:notfound", lists.inventory),
    "headers": ("p2p:headers", lists.headers),
    "getheaders": ("p2p:getheaders", lists.locator),
    "getblocks": ("p2p:getblocks", lists.locator),
    "ping": ("p2p:ping", scalars.ping),
    "pong": ("p2p:pong", scalars.pong),
    "feefilter": ("p2p:feefilter", scalars.feefilter),
    "sendcmpct": ("p2p:sendcmpct", scalars.sendcmpct),
    "getaddr": ("p2p:getaddr", scalars.bare),
    "mempool": ("p2p:mempool", scalars.bare),
    "cmpctblock": ("p2p:cmpctblock", blocks.cmpctblock),
    "getblocktxn": ("p2p:getblocktxn", blocks.getblocktxn),
    "blocktxn": ("p2p:blocktxn", blocks.blocktxn),
    "block": ("p2p:block", blocks.block),
    "reject": ("p2p:reject", rare.reject),
    "filterload": ("p2p:filter", rare.bloom),
    "filteradd": ("p2p:filter", rare.bloom),
    "filterclear": ("p2p:filter", rare.bloom),
    "merkleblock": ("p2p:filter", rare.bloom),
    "getcfilters": ("p2p:cf", rare.block_filters),
    "cfilter": ("p2p:cf", rare.block_filters),
    "getcfheaders": ("p2p:cf", rare.block_filters),
    "cfheaders": ("p2p:cf", rare.block_filters),
    "getcfcheckpt": ("p2p:cf", rare.block_filters),
    "cfcheckpt": ("p2p:cf", rare.block_filters),
}
_ADDRESSES = frozenset({"addr", "addrv2"})
_TRANSACTION = "tx"
# Known, but without content that anybody needs; net:inbound_message and net:outbound_message have them
_SILENT = frozenset({"verack", "sendaddrv2", "sendheaders", "wtxidrelay", "sendtxrcncl", "feature"})

# NET_MESSAGE_TYPES, and the old reject, which is harmless and still common
KNOWN_TYPES: frozenset[str] = frozenset(_DECODERS) | _ADDRESSES | _SILENT | {_TRANSACTION}

ENOUGH: Mapping[str, int] = {
    **dict.fromkeys(_SILENT, 0),
    "block": 89,  # header and a CompactSize count
    "blocktxn": 41,  # hash and count
    "getblocktxn": 41,
    "getheaders": 13,  # version and count
    "getblocks": 13,
    "cfilter": 42,  # filter type, hash and size
    "cfheaders": 74,  # filter type, two hashes and count
    "cfcheckpt": 42,  # filter type, hash and count
}
"""Bytes of a payload that suffice for its decoder, of types whose decoder does not read it to its end."""


def decode(messages: Messages, enricher: Enricher, wanted: Callable[[str], bool]) -> list[Decoded]:
    """Return the events of all wanted kinds in messages of one type.

    Long input is decoded in parts of at most 16 MiB, so a kind can come several times, in order of
    rows. A message that Core would refuse or cannot parse gives one p2p:malformed and nothing else.
    Bytes behind the content are ignored, as Core ignores them. Total: no payload makes it raise.
    """
    kinds = kinds_from(messages.type)
    if not any(map(wanted, kinds)):
        return []
    decoded: list[Decoded] = []
    for part in parts(messages):
        if messages.type in _ADDRESSES:
            found = addresses.addr(part, enricher, wanted)
        elif messages.type == _TRANSACTION:
            found = transactions.tx(part, wanted)
        elif messages.type in _DECODERS:
            found = _DECODERS[messages.type][1](part)
        else:
            found = [] if messages.type in _SILENT else rare.unknown(part)
        decoded += [events for events in (*found, *part.malformed()) if wanted(events.kind)]
    return [events for events in decoded if len(events.rows)]


def kinds_from(type_: str) -> tuple[str, ...]:
    """Return the kinds that messages of this type can become."""
    if type_ in _ADDRESSES:
        return "p2p:addr", "p2p:addr_entry", "p2p:malformed"
    if type_ == _TRANSACTION:
        return "p2p:tx", "p2p:tx_input", "p2p:malformed"
    if type_ in _DECODERS:
        return _DECODERS[type_][0], "p2p:malformed"
    return ("p2p:malformed",) if type_ in _SILENT else ("p2p:unknown", "p2p:malformed")
