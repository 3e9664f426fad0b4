"""Rare and old messages: reject, bloom filters, compact block filters, and unknown types."""

from __future__ import annotations

import zlib

import numpy as np

from watchdog.core.batch import Column, Strings
from watchdog.core.core_constants import (
    MAX_BLOOM_FILTER_SIZE,
    MAX_GETCFHEADERS_SIZE,
    MAX_REJECT_MESSAGE_LENGTH,
    MAX_SCRIPT_ELEMENT_SIZE,
    MESSAGE_TYPE_SIZE,
)
from watchdog.core.text import decode_text, printable
from watchdog.sources.wire.messages import Decoded
from watchdog.sources.wire.part import OVER_LIMIT, TRUNCATED, MessageBlock, RefusedError, compact_at

_HASH_BYTES = 32
_MERKLE_FIXED = 84  # header and transaction count
# bytes before the count of hashes: filter type, stop hash, and in cfheaders the previous filter header
_CF_FIXED = {"cfheaders": 65, "cfcheckpt": 33}
_CF_QUESTIONS = {"getcfilters": 37, "getcfheaders": 37, "getcfcheckpt": 33}


def reject(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:reject (BIP61)."""
    rows: list[int] = []
    found: list[tuple[str, int, str]] = []
    for row in part.good.nonzero()[0].tolist():
        try:
            found.append(_reject(part.message(row)))
        except RefusedError as error:
            part.reason[row] = error.reason
        else:
            rows.append(row)
    columns: dict[str, Column] = {
        "message": Strings.of([one[0] for one in found]),
        "code": np.array([one[1] for one in found], np.uint8),
        "reason": Strings.of([one[2] for one in found]),
    }
    return [Decoded("p2p:reject", part.rows(np.array(rows, np.intp)), columns)]


def _reject(raw: bytes) -> tuple[str, int, str]:
    size, at = compact_at(raw, 0, MESSAGE_TYPE_SIZE)
    message, at = raw[at : at + size], at + size
    if at >= len(raw):
        raise RefusedError(TRUNCATED)
    size, after = compact_at(raw, at + 1, MAX_REJECT_MESSAGE_LENGTH)
    if after + size > len(raw):
        raise RefusedError(TRUNCATED)
    return printable(decode_text(message)), raw[at], printable(decode_text(raw[after : after + size]))


def bloom(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:filter (BIP37): the size of the filter or element; of a merkleblock its flag bits and hashes."""
    if part.type == "filterclear":
        size = np.zeros(len(part), np.int64)
    elif part.type == "merkleblock":
        hashes, after = part.count(part.starts + _MERKLE_FIXED)
        after += hashes * _HASH_BYTES
        part.need(after)
        flags, after = part.count(np.where(part.good, after, part.starts))
        part.need(after + flags)
        size = hashes * _HASH_BYTES + flags
    else:
        load = part.type == "filterload"
        size, after = part.count(part.starts, MAX_BLOOM_FILTER_SIZE if load else MAX_SCRIPT_ELEMENT_SIZE)
        part.need(after + size + (9 if load else 0))  # hash functions, tweak and flags follow a filter
        hash_functions = part.u32(after + size)
        part.refuse(np.full(len(part), load) & (hash_functions > 50), OVER_LIMIT)  # MAX_HASH_FUNCS
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {
        "type": Strings.constant(part.type, len(rows)),
        "bytes_set": size[rows].astype(np.uint32),
    }
    return [Decoded("p2p:filter", part.rows(rows), columns)]


def block_filters(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:cf (BIP157): 1 for a cfilter, the hashes in cfheaders and cfcheckpt, 0 for a question."""
    entries = np.zeros(len(part), np.int64)
    if part.type == "cfilter":
        size, after = part.count(part.starts + 1 + _HASH_BYTES)
        part.need(after + size)
        entries += 1
    elif part.type in _CF_FIXED:
        limit = MAX_GETCFHEADERS_SIZE if part.type == "cfheaders" else None
        entries, after = part.count(part.starts + _CF_FIXED[part.type], limit)
        part.need(after + entries * _HASH_BYTES)
    else:
        part.need(part.starts + _CF_QUESTIONS[part.type])
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {
        "type": Strings.constant(part.type, len(rows)),
        "entries": entries[rows].astype(np.uint32),
    }
    return [Decoded("p2p:cf", part.rows(rows), columns)]


def unknown(part: MessageBlock) -> list[Decoded]:
    """Return p2p:unknown: type and CRC-32 of the payload."""
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {
        "type": Strings.constant(printable(part.type), len(rows)),
        "digest": np.array([zlib.crc32(part.message(row)) for row in rows.tolist()], np.uint32),
    }
    return [Decoded("p2p:unknown", part.rows(rows), columns)]
