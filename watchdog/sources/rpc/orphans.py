"""Answers to getorphantxs: whose transactions wait for parents that this node does not have.

Core 29 and later. Each transaction names the peers that announced it; a row for each of those peers, with its address
of the last getpeerinfo, says how many it announced and how many no other peer did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from watchdog.sources.rpc.answers import MAX_PEERS, Whole
from watchdog.sources.rpc.columns import RpcRows, Values
from watchdog.sources.rpc.salvage import BAD_INPUT, UNREADABLE, Loss, RpcAnswer

MAX_ORPHANS: Final = 10_000  # of one answer; Core keeps 3,000 at most, 100 before v30
NO_ORPHAN: Final = "orphan transactions that cannot be read"
TOO_MANY: Final = "orphan transactions beyond the limit of one poll"
MAX_ROWS: Final = 64  # peers with the most: others have next to none


class Orphan(msgspec.Struct, rename={"announcers": "from"}):
    """An entry of getorphantxs with verbosity 1. announcers: Core's peer ids."""

    bytes: Whole = 0
    announcers: list[Whole] = []


_all = msgspec.json.Decoder(RpcAnswer[list[Orphan]])
_items = msgspec.json.Decoder(RpcAnswer[list[msgspec.Raw]])
_item = msgspec.json.Decoder(Orphan)


def orphans(line: bytes, loss: Loss) -> list[Orphan] | None:
    """Return the orphans of an answer, MAX_ORPHANS at most. None: not readable."""
    try:
        found = _all.decode(line).result
    except BAD_INPUT:
        salvaged = _one_by_one(line, loss)
        if salvaged is None:
            return None
        found = salvaged
    if len(found) > MAX_ORPHANS:
        loss(TOO_MANY, len(found) - MAX_ORPHANS)
    return found[:MAX_ORPHANS]


def report_orphans(
    found: Sequence[Orphan],
    peers: Callable[[Sequence[int]], tuple[list[int], Mapping[str, Values]]],
    time_ns: int,
    rows: RpcRows,
) -> None:
    """Add rpc:orphan_peer for the peers with the most orphans.

    peers: gives the peers of the last poll among some ids, and their columns.
    """
    announced: Counter[int] = Counter()
    alone: Counter[int] = Counter()
    size: Counter[int] = Counter()
    for orphan in found:
        announcers = set(orphan.announcers[:MAX_PEERS])
        announced.update(announcers)
        for number in announcers:
            size[number] += max(orphan.bytes, 0)
        if len(announcers) == 1:
            alone.update(announcers)
    ranked = sorted(announced, key=lambda number: (-announced[number], number))[:MAX_ROWS]
    known, columns = peers(ranked)
    if not known:
        return
    counts: dict[str, Values] = {
        "txs": [announced[number] for number in known],
        "txs_alone": [alone[number] for number in known],
        "size_bytes": [size[number] for number in known],
        "orphans": [len(found)] * len(known),
    }
    rows.add("rpc:orphan_peer", time_ns, {**columns, **counts})


def _one_by_one(line: bytes, loss: Loss) -> list[Orphan] | None:
    try:
        items = _items.decode(line).result
    except BAD_INPUT:
        loss(UNREADABLE, 1)
        return None
    good = [one for item in items[:MAX_ORPHANS] if (one := _orphan(item)) is not None]
    lost = min(len(items), MAX_ORPHANS) - len(good)
    if lost:
        loss(NO_ORPHAN, lost)
    return good


def _orphan(item: msgspec.Raw) -> Orphan | None:
    try:
        return _item.decode(item)
    except BAD_INPUT:
        return None
