"""Messages as columns: types, sizes, payloads, connections; what captures and streams give to the decoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Strings
from watchdog.sources.capture.connections import Connection, ConnectionChange
from watchdog.sources.wire import decode
from watchdog.sources.wire.messages import PADDING, Spans

KNOWN_TYPES: Final = tuple(sorted(decode.KNOWN_TYPES))  # their position is their code
CODES: Final = {name: code for code, name in enumerate(KNOWN_TYPES)}


@dataclass(slots=True, eq=False)
class MessageRows:
    """Messages of several connections by time: parallel columns.

    slot: index into `connections`, which also holds those that only closed. changes: by time. readable: the messages of
    which as much of the payload is present as their decoder reads; None: all. Only the first `size` bytes from `starts`
    on are a message's own, and of a readable one perhaps not all of these (see `watchdog.sources.wire.decode.ENOUGH`).
    """

    time_us: NDArray[np.int64]
    type: Strings
    size: NDArray[np.uint32]
    received: NDArray[np.bool_]
    slot: NDArray[np.int32]
    data: bytes  # PADDING zeros behind the last payload
    starts: NDArray[np.int64]  # of the payloads, in `data`
    connections: list[Connection]
    changes: list[ConnectionChange]
    readable: NDArray[np.bool_] | None = None

    def of_type(self, name: str) -> NDArray[np.intp]:
        """Return the indexes of the messages of one known type."""
        return np.flatnonzero(self.type.codes == CODES[name])

    def can_read(self, at: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return those of some messages whose payload can be read."""
        return at if self.readable is None else at[self.readable[at]]

    def spans(self, at: NDArray[np.intp]) -> Spans:
        """Return where the payloads of some messages are."""
        starts = self.starts[at]
        return Spans(starts, starts + self.size[at], np.frombuffer(self.data, np.uint8))

    def gathered(self, at: NDArray[np.intp]) -> Spans:
        """Return the payloads of some messages, copied together."""
        starts, sizes, data = self.starts[at], self.size[at].astype(np.int64), self.data
        pieces = [data[start:end] for start, end in zip(starts.tolist(), (starts + sizes).tolist(), strict=True)]
        ends = np.cumsum(sizes)
        return Spans(ends - sizes, ends, np.frombuffer(b"".join([*pieces, bytes(PADDING)]), np.uint8))

    def leading_words(self, at: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Return the first eight bytes, little-endian, of payloads that have at least eight."""
        # every byte as the start of a number: overlapping views, nothing is copied
        every: NDArray[np.uint64] = np.ndarray((len(self.data) - 7,), "<u8", self.data, strides=(1,))
        return every[self.starts[at]]


def stable_order(values: NDArray[np.int64]) -> NDArray[np.intp]:
    """Sort as argsort(kind="stable"); value and place in one number sort several times as fast, where both fit."""
    count = len(values)
    least, places = int(values.min(initial=0)), count.bit_length()
    if (int(values.max(initial=0)) - least).bit_length() + places > 63:
        return np.argsort(values, kind="stable")
    keys = np.sort((values - least << places) + np.arange(count))
    return (keys & (1 << places) - 1).astype(np.intp, copy=False)


def type_text(raw: str) -> str:
    r"""Escape unprintable characters and backslashes of a message type (Latin-1, without padding) as \xNN."""
    if raw.isascii() and raw.isalnum():
        return raw
    return "".join(char if " " <= char < "\x7f" and char != "\\" else f"\\x{ord(char):02x}" for char in raw)
