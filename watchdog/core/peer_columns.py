"""The columns that say which connection an event belongs to (`PEER_FIELDS`), built in one place for every source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Column, Strings
from watchdog.core.enrich import PeerFacts
from watchdog.core.kinds import KINDS, PEER_FIELDS, dtype_of

AGE = "age_s"  # the last of the columns and the only one that differs between rows of a connection
_TYPES = {name: dtype_of(KINDS["rpc:peer"].fields[name].type) for name in PEER_FIELDS if name != AGE}


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """A connection as a source knows it.

    conn: number of the connection. peer: its address as the source writes it; facts: what `peer` was enriched to.
    direction: `in`, `out` or `unknown`. network, asn: used instead of those in `facts` unless empty or 0.
    """

    conn: int
    peer: str
    facts: PeerFacts
    direction: str
    connection_type: str
    network: str = ""
    asn: int = 0


def identity_values(peers: Sequence[PeerIdentity]) -> dict[str, list[int] | list[str]]:
    """Return the columns but `age_s` in catalogue order, one value for each connection."""
    return {
        "conn": [peer.conn for peer in peers],
        "peer": [peer.peer for peer in peers],
        "peer_addr": [peer.facts.addr for peer in peers],
        "network": [peer.network or peer.facts.network for peer in peers],
        "netgroup": [peer.facts.netgroup for peer in peers],
        "netblock": [peer.facts.netblock for peer in peers],
        "subnet": [peer.facts.subnet for peer in peers],
        "asn": [peer.asn or peer.facts.asn for peer in peers],
        "direction": [peer.direction for peer in peers],
        "connection_type": [peer.connection_type for peer in peers],
    }


class PeerTable:
    """The same columns as arrays, one entry for each connection; rows of a batch refer to entries by index."""

    def __init__(self, peers: Sequence[PeerIdentity]) -> None:
        self._columns: dict[str, Column] = {}
        for name, values in identity_values(peers).items():
            dtype = _TYPES[name]
            self._columns[name] = np.array(values, dtype) if dtype is not None else Strings.of(list(map(str, values)))

    def rows(self, entries: NDArray[np.integer], age_s: NDArray[np.int64]) -> dict[str, Column]:
        """Return the connection columns of rows that belong to `entries`; age_s: seconds, one for each row."""
        taken = entries.astype(np.intp, copy=False)  # once for all columns: each would convert it otherwise
        columns: dict[str, Column] = {}
        for name, column in self._columns.items():
            if isinstance(column, Strings):
                columns[name] = Strings(column.codes.take(taken), column.values)
            elif isinstance(column, np.ndarray):
                columns[name] = column.take(taken)
        return {**columns, AGE: age_s}
