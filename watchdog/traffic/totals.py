"""Messages and bytes of a node by flow, type and connection type, since the service started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from watchdog.core.arrays import Ints
from watchdog.core.batch import Batch
from watchdog.traffic.message_types import (
    CONNECTION_TYPES,
    FLOW_OF_KIND,
    FLOWS,
    MESSAGE_TYPES,
    connection_coder,
    type_coder,
)

_SHAPE: Final = (len(FLOWS), len(MESSAGE_TYPES), len(CONNECTION_TYPES))


class MessageTotals:
    """Counts of a fixed size. One thread calls `note`; any thread may read."""

    def __init__(self) -> None:
        self._messages: Ints = np.zeros(_SHAPE, np.int64)
        self._bytes: Ints = np.zeros(_SHAPE, np.int64)
        self._types, self._connections = type_coder(), connection_coder()

    def note(self, batch: Batch) -> None:
        """Count the rows of a batch of `FLOW_OF_KIND`."""
        flow = FLOW_OF_KIND[batch.kind]
        types, connections = batch.strings("type"), batch.strings("connection_type")
        cells = self._types.of(types) * len(CONNECTION_TYPES) + self._connections.of(connections)
        size = _SHAPE[1] * _SHAPE[2]
        self._messages[flow] += np.bincount(cells, minlength=size).reshape(_SHAPE[1:])
        weights = np.bincount(cells, batch.numbers("size"), size)  # exact: a batch has less than 2**53 bytes
        self._bytes[flow] += weights.astype(np.int64).reshape(_SHAPE[1:])

    def cells(self) -> Iterator[tuple[tuple[str, str, str], int, int]]:
        """Yield flow, type and connection type of what came so far, with messages and bytes."""
        for flow, type_, connection in np.argwhere(self._messages).tolist():
            names = (FLOWS[flow], MESSAGE_TYPES[type_], CONNECTION_TYPES[connection])
            yield names, int(self._messages[flow, type_, connection]), int(self._bytes[flow, type_, connection])
