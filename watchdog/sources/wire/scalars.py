"""Small messages of fixed layout: ping, pong, feefilter, sendcmpct, and messages without content."""

from __future__ import annotations

import numpy as np

from watchdog.core.batch import Column
from watchdog.sources.wire.messages import Decoded
from watchdog.sources.wire.part import BAD_VALUE, TRUNCATED, MessageBlock


def bare(part: MessageBlock) -> list[Decoded]:
    """Decode getaddr and mempool, which have no content."""
    return [Decoded(f"p2p:{part.type}", part.rows(part.good.nonzero()[0]), {})]


def ping(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:ping; before BIP31 pings were empty."""
    size = part.ends - part.starts
    part.refuse((size > 0) & (size < 8), TRUNCATED)
    rows = part.good.nonzero()[0]
    has_nonce = size[rows] > 0
    nonce = np.where(has_nonce, part.u64(part.starts[rows]), np.uint64(0))
    return [Decoded("p2p:ping", part.rows(rows), {"nonce": nonce, "has_nonce": has_nonce})]


def pong(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:pong."""
    part.need(part.starts + 8)
    rows = part.good.nonzero()[0]
    return [Decoded("p2p:pong", part.rows(rows), {"nonce": part.u64(part.starts[rows])})]


def feefilter(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:feefilter, in satoshi per 1000 virtual bytes."""
    part.need(part.starts + 8)
    rows = part.good.nonzero()[0]
    rate = part.u64(part.starts[rows]).view(np.int64)
    return [Decoded("p2p:feefilter", part.rows(rows), {"fee_rate_sat_kvb": rate})]


def sendcmpct(part: MessageBlock) -> list[Decoded]:
    """Decode p2p:sendcmpct; Core punishes an announce field other than 0 and 1."""
    part.need(part.starts + 9)
    announce = part.u8(part.starts)
    part.refuse(announce > 1, BAD_VALUE)
    rows = part.good.nonzero()[0]
    columns: dict[str, Column] = {
        "announce": announce[rows] == 1,
        "cmpct_version": part.u64(part.starts[rows] + 1),
    }
    return [Decoded("p2p:sendcmpct", part.rows(rows), columns)]
