"""Answers to getblockhash: as one line for all heights of a turn, and as rows. Core's answer lacks the height."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from watchdog.sources.rpc.columns import RpcRows, Values
from watchdog.sources.rpc.salvage import BAD_INPUT, UNREADABLE, Loss, RpcAnswer

MAX_HASHES: Final = 16  # of one line: two heights are asked at a time
HIGHEST: Final = (1 << 31) - 1  # Core's heights are 32 bits with a sign
NO_HASH: Final = "block hashes that cannot be read"
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class HashAtHeight(msgspec.Struct):
    """The hash of a block of the active chain, and its height."""

    height: int = -1
    hash: str = ""


_raw = msgspec.json.Decoder(RpcAnswer[msgspec.Raw])
_items = msgspec.json.Decoder(RpcAnswer[list[msgspec.Raw]])
_item = msgspec.json.Decoder(HashAtHeight)


def item_of(height: int, body: bytes) -> Mapping[str, object] | None:
    """Return what a node answered for a height as an item of a line; None when that cannot be read."""
    try:
        return {"height": height, "hash": _raw.decode(body).result}
    except BAD_INPUT:
        return None


def line_of(items: Sequence[Mapping[str, object]]) -> bytes:
    """Return the answers of a turn as one line; files of polls have the same form."""
    return msgspec.json.encode({"result": items})


def block_hashes(line: bytes, loss: Loss) -> list[HashAtHeight] | None:
    """Return the block hashes of a line, MAX_HASHES at most. None: not readable."""
    try:
        items = _items.decode(line).result
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None
    good = [one for item in items[:MAX_HASHES] if (one := _block_hash(item)) is not None]
    if len(good) < len(items):
        loss(NO_HASH, len(items) - len(good))
    return good


def report_hashes(hashes: Sequence[HashAtHeight], time_ns: int, rows: RpcRows) -> None:
    """Add rpc:block_hash for each."""
    columns: dict[str, Values] = {"height": [one.height for one in hashes], "hash": [one.hash for one in hashes]}
    rows.add("rpc:block_hash", time_ns, columns)


def _block_hash(item: msgspec.Raw) -> HashAtHeight | None:
    try:
        read = _item.decode(item)
    except BAD_INPUT:
        return None
    return read if 0 <= read.height <= HIGHEST and _HASH.fullmatch(read.hash) else None
