"""Blocks and their compact forms: hash and counts; transactions inside are counted, not parsed.

A count is refused when that many of the smallest possible items cannot fit into the message,
so nothing here does more work than the message has bytes.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Blobs, Column
from watchdog.core.core_constants import SHORTTXIDS_LENGTH
from watchdog.sources.wire.messages import Decoded
from watchdog.sources.wire.part import BAD_COUNT, OVER_LIMIT, MessageBlock

_HEADER_BYTES = 80
_HASH_BYTES = 32
_LEAST_TX_BYTES = 10  # version, two empty lists, lock time
_MAX_INDEXES = 0x10000  # indexes of transactions have 16 bits


def _block_hashes(part: MessageBlock, rows: NDArray[np.intp]) -> Blobs:
    """Return the double SHA-256 of the first 80 bytes of each message."""
    headers = part.block(part.starts[rows], _HEADER_BYTES)
    return Blobs.of([sha256(sha256(header).digest()).digest() for header in headers])


def _leading_hashes(part: MessageBlock, rows: NDArray[np.intp]) -> Blobs:
    """Return the first 32 bytes of each message."""
    raw = part.block(part.starts[rows], _HASH_BYTES)
    return Blobs(np.arange(len(rows) + 1, dtype=np.int64) * _HASH_BYTES, np.ascontiguousarray(raw).reshape(-1))


def block(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:block."""
    part.need(part.starts + _HEADER_BYTES)
    count, after = part.count(part.starts + _HEADER_BYTES)
    part.need(after + count * _LEAST_TX_BYTES)
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {"hash": _block_hashes(part, rows), "txs": count[rows].astype(np.uint32)}
    return [Decoded("p2p:block", part.rows(rows), columns)]


def cmpctblock(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:cmpctblock: header, nonce, short ids, prefilled transactions. Without transactions it is invalid."""
    part.need(part.starts + _HEADER_BYTES + 8)
    short, after = part.count(part.starts + _HEADER_BYTES + 8)
    part.need(after + short * SHORTTXIDS_LENGTH)
    prefilled, after = part.count(np.where(part.good, after + short * SHORTTXIDS_LENGTH, part.starts))
    part.need(after + prefilled * (_LEAST_TX_BYTES + 1))
    part.refuse(short + prefilled == 0, BAD_COUNT)
    part.refuse(short + prefilled >= _MAX_INDEXES, OVER_LIMIT)
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {
        "hash": _block_hashes(part, rows),
        "short_ids": short[rows].astype(np.uint32),
        "prefilled": prefilled[rows].astype(np.uint32),
    }
    return [Decoded("p2p:cmpctblock", part.rows(rows), columns)]


def getblocktxn(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:getblocktxn: block hash and indexes, each at least a byte."""
    part.need(part.starts + _HASH_BYTES)
    count, after = part.count(part.starts + _HASH_BYTES, _MAX_INDEXES)
    part.need(after + count)
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {"hash": _leading_hashes(part, rows), "indexes": count[rows].astype(np.uint32)}
    return [Decoded("p2p:getblocktxn", part.rows(rows), columns)]


def blocktxn(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:blocktxn: block hash and transactions."""
    part.need(part.starts + _HASH_BYTES)
    count, after = part.count(part.starts + _HASH_BYTES)
    part.need(after + count * _LEAST_TX_BYTES)
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {"hash": _leading_hashes(part, rows), "txs": count[rows].astype(np.uint32)}
    return [Decoded("p2p:blocktxn", part.rows(rows), columns)]
