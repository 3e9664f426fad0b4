"""Lists of fixed-size items: inv, getdata, notfound, headers, and block locators."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Column
from watchdog.core.core_constants import (
    MAX_HEADERS_RESULTS,
    MAX_INV_SZ,
    MAX_LOCATOR_SZ,
    MSG_BLOCK,
    MSG_CMPCT_BLOCK,
    MSG_FILTERED_BLOCK,
    MSG_TX,
    MSG_WITNESS_FLAG,
    MSG_WTX,
)
from watchdog.sources.wire.messages import Decoded
from watchdog.sources.wire.part import MessageBlock, RefusedError, compact_at, ragged

_INV_BYTES = 36
_HEADER_BYTES = 80
_HASH_BYTES = 32
_CLASSES = np.zeros(256, np.uint8)  # by inventory type without MSG_WITNESS_FLAG: 0 other, 1 transaction, 2 block
_CLASSES[[MSG_TX, MSG_WTX]] = 1
_CLASSES[[MSG_BLOCK, MSG_FILTERED_BLOCK, MSG_CMPCT_BLOCK]] = 2


def inventory(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:inv, p2p:getdata, p2p:notfound. Core limits the first two; it ignores a longer notfound."""
    count, after = part.count(part.starts, None if part.type == "notfound" else MAX_INV_SZ)
    part.need(after + count * _INV_BYTES)
    count = np.where(part.good, count, 0)
    owner, within = ragged(count)
    type_ = part.u32(after[owner] + within * _INV_BYTES) & np.uint32(~MSG_WITNESS_FLAG & 0xFFFFFFFF)
    classes = np.where(type_ < len(_CLASSES), _CLASSES[np.minimum(type_, 255)], 0)
    tally = np.bincount(owner * 3 + classes, minlength=3 * len(part)).reshape(-1, 3)
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {
        "entries": count[rows].astype(np.uint32),
        "tx": tally[rows, 1].astype(np.uint32),
        "block": tally[rows, 2].astype(np.uint32),
        "other": tally[rows, 0].astype(np.uint32),
    }
    return [Decoded(f"p2p:{part.type}", part.rows(rows), columns)]


def locator(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:getheaders and p2p:getblocks: version, hashes, and the hash to stop at."""
    version = part.u32(part.starts).view(np.int32)
    count, after = part.count(part.starts + 4, MAX_LOCATOR_SZ)
    part.need(after + (count + 1) * _HASH_BYTES)
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {"locator": count[rows].astype(np.uint32), "protocol_version": version[rows]}
    return [Decoded(f"p2p:{part.type}", part.rows(rows), columns)]


def headers(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:headers: each header is followed by a count of transactions, 0 but for odd senders."""
    count, after = part.count(part.starts, MAX_HEADERS_RESULTS)
    part.need(after + count * (_HEADER_BYTES + 1))
    count = np.where(part.good, count, 0)
    owner, within = ragged(count)
    places = after[owner] + within * (_HEADER_BYTES + 1)
    first = np.cumsum(count) - count
    for row in np.unique(owner[part.u8(places + _HEADER_BYTES) >= 0xFD]).tolist():
        try:
            found = _walk(part.message(row), int(after[row] - part.starts[row]), int(count[row]))
        except RefusedError as error:
            part.reason[row] = error.reason
        else:
            places[first[row] : first[row] + count[row]] = found + part.starts[row]
    rows = part.good.nonzero()[0]
    continuous = np.ones(len(part), np.bool_)
    for row in np.flatnonzero(part.good & (count > 1)).tolist():
        continuous[row] = _chained(part, places[first[row] : first[row] + count[row]])
    columns: dict[str, Column] = {"entries": count[rows].astype(np.uint32), "continuous": continuous[rows]}
    return [Decoded("p2p:headers", part.rows(rows), columns)]


def _walk(raw: bytes, at: int, count: int) -> NDArray[np.int64]:
    """Find headers where a count behind one takes several bytes; RefusedError when cut off."""
    places = []
    for _ in range(count):
        places.append(at)
        _, at = compact_at(raw, at + _HEADER_BYTES)
    return np.array(places, np.int64)


def _chained(part: MessageBlock, places: NDArray[np.int64]) -> bool:
    """Return whether each header names the one before it; stops at the first that does not."""
    raw = part.block(places, _HEADER_BYTES).tobytes()
    for at in range(_HEADER_BYTES, len(raw), _HEADER_BYTES):
        hashed = sha256(sha256(raw[at - _HEADER_BYTES : at]).digest()).digest()
        if raw[at + 4 : at + 4 + _HASH_BYTES] != hashed:
            return False
    return True
