"""The connection columns (conn ... age_s) for rows that name a connection of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Column, Strings
from watchdog.core.enrich import PeerFacts
from watchdog.sources.capture.connections import Connection

_CONNECTION_TYPES = {"in": "inbound", "out": "outbound", "unknown": "unknown"}


@dataclass(slots=True, eq=False)
class PeerTable:
    """Identity columns of some connections, one entry each; rows refer to entries by index."""

    numbers: dict[str, NDArray[np.generic]]
    texts: dict[str, Strings]
    first_us: NDArray[np.int64]

    @classmethod
    def of(cls, connections: Sequence[Connection], facts: Sequence[PeerFacts]) -> PeerTable:
        """facts: of the address of each connection."""
        return cls(
            {
                "conn": np.array([one.number for one in connections], np.int64),
                "netgroup": np.array([fact.netgroup for fact in facts], np.uint64),
                "netblock": np.array([fact.netblock for fact in facts], np.uint64),
                "subnet": np.array([fact.subnet for fact in facts], np.uint64),
                "asn": np.array([fact.asn for fact in facts], np.uint32),
            },
            {
                "peer": Strings.of([one.peer for one in connections]),
                "peer_addr": Strings.of([fact.addr for fact in facts]),
                "network": Strings.of([fact.network for fact in facts]),
                "direction": Strings.of([one.direction for one in connections]),
                "connection_type": Strings.of([_CONNECTION_TYPES[one.direction] for one in connections]),
            },
            np.array([one.first_us for one in connections], np.int64),
        )

    def columns(self, slots: NDArray[np.int32], time_us: NDArray[np.int64]) -> dict[str, Column]:
        """time_ns and the connection columns, in catalogue order, for rows at `time_us` of the entries `slots`."""
        numbers, texts = self.numbers, self.texts
        at = slots.astype(np.intp, copy=False)  # once for all columns: as numbers of another width each would convert
        return {
            "time_ns": time_us * 1000,
            "conn": numbers["conn"].take(at),
            "peer": _taken(texts["peer"], at),
            "peer_addr": _taken(texts["peer_addr"], at),
            "network": _taken(texts["network"], at),
            "netgroup": numbers["netgroup"].take(at),
            "netblock": numbers["netblock"].take(at),
            "subnet": numbers["subnet"].take(at),
            "asn": numbers["asn"].take(at),
            "direction": _taken(texts["direction"], at),
            "connection_type": _taken(texts["connection_type"], at),
            "age_s": np.maximum(time_us - self.first_us.take(at), 0) // 1_000_000,
        }


def _taken(text: Strings, rows: NDArray[np.intp]) -> Strings:
    return Strings(text.codes.take(rows), text.values)
