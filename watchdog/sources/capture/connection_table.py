"""The connection columns of captured messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Column
from watchdog.core.enrich import PeerFacts
from watchdog.core.peer_columns import PeerIdentity, PeerTable
from watchdog.sources.capture.connections import Connection

_CONNECTION_TYPES = {"in": "inbound", "out": "outbound", "unknown": "unknown"}


class ConnectionTable:
    """The connections of one cut. facts: of the address of each, in the same order."""

    def __init__(self, connections: Sequence[Connection], facts: Sequence[PeerFacts]) -> None:
        self._table = PeerTable(
            [
                PeerIdentity(one.number, one.peer, fact, one.direction, _CONNECTION_TYPES[one.direction])
                for one, fact in zip(connections, facts, strict=True)
            ]
        )
        self._first_us = np.array([one.first_us for one in connections], np.int64)

    def columns(self, slots: NDArray[np.int32], time_us: NDArray[np.int64]) -> dict[str, Column]:
        """Return time_ns and the connection columns of rows at `time_us` that belong to the connections `slots`."""
        entries = slots.astype(np.intp, copy=False)
        age_s = np.maximum(time_us - self._first_us.take(entries), 0) // 1_000_000
        return {"time_ns": time_us * 1000, **self._table.rows(entries, age_s)}
