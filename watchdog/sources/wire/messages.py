"""What goes into the decoders and what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Blobs, Column

PADDING = 128  # zero bytes behind the last message, so that fixed fields can be read before they are checked


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Payloads where they lie, not copied together: row i is `data[starts[i]:ends[i]]`; PADDING zeros end `data`."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    data: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True, eq=False)
class Messages:
    """n messages of one type, in the source's order.

    type: as on the wire, without padding, raw bytes read as Latin-1 or UTF-8. time_ns: int64[n], event times.
    received: bool[n]. sender: packed address of who sent each message (`watchdog.core.address`), b"" if unknown.
    """

    type: str
    time_ns: NDArray[np.int64]
    payload: Blobs | Spans
    received: NDArray[np.bool_]
    sender: Blobs

    def __len__(self) -> int:
        return len(self.payload)


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Events of one kind. `rows[i]` is the message that event i came from, non-decreasing.

    columns: the kind's own fields, without those of the connection, flow, size and time, and without
    those that take the state of a conversation (solicited, rtt_us, repeat, processed, beyond_limit).
    """

    kind: str
    rows: NDArray[np.intp]
    columns: dict[str, Column]
