"""The form in which the child hands events over: packed records by kind, which the parent reads as columns.

Every record begins with its time in nanoseconds. A transaction is followed by its bytes, as many as its record says.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

COIN: Final = struct.Struct("<q32sIIqB")
"""time, txid, index, height, value in satoshi, coinbase."""
BLOCK: Final = struct.Struct("<q32s32siIIB")
"""time, hash, hash of the block before, height, transactions, size in bytes, historical."""
FLUSH: Final = struct.Struct("<qBB")
"""time, validated, historical."""
CONNECTIONS: Final = struct.Struct("<qi")
"""time, open connections."""
TX: Final = struct.Struct("<qiI")
"""time, Core's removal reason (-1 for an addition), bytes that follow."""
FORMS: Final[Mapping[str, struct.Struct]] = {
    "chain:tx_added": TX,
    "chain:tx_removed": TX,
    "chain:block_connected": BLOCK,
    "chain:block_disconnected": BLOCK,
    "chain:flushed": FLUSH,
    "node:connections": CONNECTIONS,
    "utxocache:add": COIN,
    "utxocache:spent": COIN,
    "utxocache:uncache": COIN,
}
"""The kinds that subscriptions give, and their records."""
TIP_UPDATE: Final = "tip update"
"""Counted only: a new tip is a block that was connected."""
CHAIN_KINDS: Final = tuple(kind for kind in FORMS if kind.startswith("chain:"))
COIN_KINDS: Final = tuple(kind for kind in FORMS if kind.startswith("utxocache:"))
CONNECTION_KINDS: Final = ("node:connections",)
HASH_BYTES: Final = 32
