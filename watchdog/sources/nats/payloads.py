"""From messages that peer-observer has decoded back to bytes as on the wire, for the decoders that captures use.

So a column means the same from every source. What no column comes from is left out or zero (addresses in `version`,
hashes in filters). Total: content that cannot be true, or is not whole, gives None.
"""

from __future__ import annotations

import base64
import binascii
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from watchdog.core.address import MAPPED
from watchdog.core.core_constants import (
    BIP155_CJDNS,
    BIP155_I2P,
    BIP155_IPV4,
    BIP155_IPV6,
    BIP155_TORV3,
    MSG_BLOCK,
    MSG_CMPCT_BLOCK,
    MSG_TX,
    MSG_WITNESS_FLAG,
    MSG_WTX,
    SHORTTXIDS_LENGTH,
    TORV2_IN_IPV6_PREFIX,
)

HASH: Final = 32
_BIP155_TORV2: Final = 3  # BIP155; Core reads it as an unknown network
_TORV2_BYTES: Final = 10
_HEADER = struct.Struct("<i32s32sIII")
_TX: Final = bytes(10)  # in place of a transaction where they are only counted: no decoder looks inside
_INVENTORY: Final[Mapping[str, int]] = {
    "tx": MSG_TX,
    "block": MSG_BLOCK,
    "wtx": MSG_WTX,
    "witness_tx": MSG_TX | MSG_WITNESS_FLAG,
    "witness_block": MSG_BLOCK | MSG_WITNESS_FLAG,
    "compact_block": MSG_CMPCT_BLOCK,
}
_REJECT_CODES: Final = (0x01, 0x10, 0x11, 0x12, 0x40, 0x41, 0x42, 0x43)  # BIP61, in the order of the enumeration
_EMPTY: Final = frozenset(
    {"verack", "sendheaders", "getaddr", "mempool", "wtxidrelay", "sendaddrv2", "filterclear", "old_ping"}
)
TYPES: Final[Mapping[str, str]] = {"empty_addrv2": "addrv2", "old_ping": "ping"}
"""Types of the branches that are not named after theirs; an `unknown` has any type."""


class _NotWhole(Exception):
    """The content cannot be written as a payload."""


def payload_of(message: Any, type_: str) -> bytes | None:
    """Return the payload of a `PeerMessage` of this type; None when its content is not whole or contradicts itself."""
    branch = message.WhichOneof("body")
    if branch is None or (branch != "unknown" and type_ != TYPES.get(branch, branch)):
        return None
    if branch in _EMPTY:
        return b""
    if branch == "empty_addrv2":
        return b"\0"
    try:
        return _WRITERS[branch](getattr(message, branch))
    except (_NotWhole, struct.error):
        return None


def _compact(value: int) -> bytes:
    if value < 0xFD:
        return bytes((value,))
    if value < 1 << 16:
        return b"\xfd" + struct.pack("<H", value)
    return b"\xfe" + struct.pack("<I", value)


def _blob(data: bytes) -> bytes:
    return _compact(len(data)) + data


def _list(items: Iterable[bytes]) -> bytes:
    whole = list(items)
    return _compact(len(whole)) + b"".join(whole)


def _sized(data: bytes, size: int = HASH) -> bytes:
    if len(data) != size:
        raise _NotWhole
    return data


def _header(header: Any) -> bytes:
    previous, root = _sized(header.previous), _sized(header.merkle_root)
    return _HEADER.pack(header.version, previous, root, header.time, header.bits, header.nonce)


def _nonce(body: Any) -> bytes:
    return struct.pack("<Q", body.value)


def _entries(body: Any) -> bytes:
    return _list(map(_entry, body.entries))


def _entry(entry: Any) -> bytes:
    item = entry.WhichOneof("item")
    if item in _INVENTORY:
        return struct.pack("<I", _INVENTORY[item]) + _sized(getattr(entry, item))
    if item == "other":
        return struct.pack("<I", entry.other.type) + _sized(entry.other.hash)
    if item == "error":
        return bytes(4 + HASH)
    raise _NotWhole


def _tx(body: Any) -> bytes:
    if not body.tx.HasField("raw"):
        raise _NotWhole
    raw: bytes = body.tx.raw
    return raw


def _headers(body: Any) -> bytes:
    return _list(_header(one) + b"\0" for one in body.headers)


def _addr(body: Any) -> bytes:
    return _list(map(_address_v1, body.addresses))


def _addrv2(body: Any) -> bytes:
    return _list(map(_address_v2, body.addresses))


def _address_v1(address: Any) -> bytes:
    network, raw = _place(address)
    if network == BIP155_IPV4:
        raw = MAPPED + raw
    elif network == _BIP155_TORV2:
        raw = TORV2_IN_IPV6_PREFIX + raw
    elif network not in (BIP155_IPV6, BIP155_CJDNS):
        raise _NotWhole
    return struct.pack("<IQ", address.stamp, address.services) + _sized(raw, 16) + struct.pack(">H", address.port)


def _address_v2(address: Any) -> bytes:
    network, raw = _place(address)
    services = address.services
    head = _compact(services) if services < 1 << 32 else b"\xff" + struct.pack("<Q", services)
    place = struct.pack("B", network) + _blob(raw)
    return struct.pack("<I", address.stamp) + head + place + struct.pack(">H", address.port)


def _place(address: Any) -> tuple[int, bytes]:
    """Return network and bytes of an address, as BIP155 has them."""
    place = address.WhichOneof("place")
    if place == "other":
        return address.other.network, address.other.address
    text = getattr(address, place).decode("ascii", "replace") if place else ""
    try:
        if place == "ipv4":
            return BIP155_IPV4, socket.inet_pton(socket.AF_INET, text)
        if place in ("ipv6", "cjdns"):
            return BIP155_IPV6 if place == "ipv6" else BIP155_CJDNS, socket.inet_pton(socket.AF_INET6, text)
        if place == "tor_v2":
            return _BIP155_TORV2, _base32(text, ".onion", _TORV2_BYTES)
        if place == "tor_v3":
            return BIP155_TORV3, _base32(text, ".onion", HASH)
        if place == "i2p":
            return BIP155_I2P, _base32(text, ".b32.i2p", HASH)
    except (OSError, ValueError):
        raise _NotWhole from None
    raise _NotWhole


def _base32(text: str, ending: str, size: int) -> bytes:
    """Return the key in a name; a v3 name may also have its checksum and version behind the key."""
    letters = text.removesuffix(ending).upper()
    try:
        raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except binascii.Error:
        raise _NotWhole from None
    return raw[:size] if len(raw) == size + 3 else _sized(raw, size)


def _locator(body: Any) -> bytes:
    return struct.pack("<I", body.version) + _list(map(_sized, body.hashes)) + _sized(body.stop)


def _version(body: Any) -> bytes:
    fixed = struct.pack("<IQq", body.version, body.services, body.time) + bytes(52)
    agent = _blob(body.user_agent)
    return fixed + struct.pack("<Q", body.nonce) + agent + struct.pack("<i?", body.start_height, body.relay)


def _cmpctblock(body: Any) -> bytes:
    short = _list(_sized(one, SHORTTXIDS_LENGTH) for one in body.short_ids)
    return _header(body.header) + struct.pack("<Q", body.nonce) + short + _counted(body.prefilled, b"\0" + _TX)


def _block(body: Any) -> bytes:
    if not body.txs:  # an archive made with --low-data has none; every block has one
        raise _NotWhole
    return _header(body.header) + _counted(body.txs, _TX)


def _blocktxn(body: Any) -> bytes:
    return _sized(body.block_hash) + _counted(body.txs, _TX)


def _counted(items: Any, stand_in: bytes) -> bytes:
    return _compact(len(items)) + stand_in * len(items)


def _merkle(body: Any) -> bytes:
    flags = bytes((len(body.bits) + 7) // 8)
    hashes = _list(map(_sized, body.hashes))
    return _header(body.header) + struct.pack("<I", body.transactions) + hashes + _blob(flags)


def _reject(body: Any) -> bytes:
    if body.reason >= len(_REJECT_CODES):
        raise _NotWhole
    return _blob(body.message) + bytes((_REJECT_CODES[body.reason],)) + _blob(body.text)


def _hashes(fixed: int, hashes: Any) -> bytes:
    """Return a filter message with this many bytes before its hashes; they are only counted."""
    return bytes(fixed) + _counted(hashes, bytes(HASH))


_WRITERS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    "ping": _nonce,
    "pong": _nonce,
    "inv": _entries,
    "getdata": _entries,
    "notfound": _entries,
    "tx": _tx,
    "headers": _headers,
    "addr": _addr,
    "addrv2": _addrv2,
    "feefilter": lambda body: struct.pack("<q", body.rate),
    "getheaders": _locator,
    "getblocks": _locator,
    "version": _version,
    "cmpctblock": _cmpctblock,
    "sendcmpct": lambda body: struct.pack("<?Q", body.announce, body.version),
    "block": _block,
    "getblocktxn": lambda body: _sized(body.block_hash) + _counted(body.indexes, b"\0"),
    "blocktxn": _blocktxn,
    "alert": lambda body: bytes(body.data),
    "filteradd": lambda body: _blob(body.data),
    "filterload": lambda body: _blob(body.filter) + struct.pack("<IIB", body.hash_functions, body.tweak, body.flags),
    "getcfcheckpt": lambda _body: bytes(1 + HASH),
    "getcfheaders": lambda _body: bytes(5 + HASH),
    "getcfilters": lambda _body: bytes(5 + HASH),
    "cfheaders": lambda body: _hashes(1 + 2 * HASH, body.hashes),
    "cfcheckpt": lambda body: _hashes(1 + HASH, body.headers),
    "cfilter": lambda body: bytes(1 + HASH) + _blob(body.filter),
    "merkleblock": _merkle,
    "reject": _reject,
    "unknown": lambda body: bytes(body.payload),
}
"""How the payload of each branch is written; those without content are not here."""
