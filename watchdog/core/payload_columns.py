"""The columns `payload` and `payload_size` of messages, which are filled only for a reader that asked for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Ints
from watchdog.core.batch import Batch, Blobs, Column, Strings

PAYLOAD: Final = "payload"
PAYLOAD_SIZE: Final = "payload_size"
UNREADABLE: Final = -1
"""`payload_size` of a message whose payload its source could not read."""
MESSAGES: Final = frozenset({"net:inbound_message", "net:outbound_message"})
"""The kinds with these columns."""
ANY_TYPE: Final = "*"
"""In sizes of payloads by message type: all types that have no entry of their own."""
_LARGE: Final = 256  # mean bytes
_NOTHING: Final = np.zeros(0, np.uint8)


def most_payload(payloads: Mapping[str, int], type_: str) -> int:
    """Return how many bytes of a payload of this message type are wanted, 0 for none."""
    return payloads.get(type_, payloads.get(ANY_TYPE, 0))


def no_payloads(rows: int) -> dict[str, Column]:
    """Return the columns of messages whose payloads were not asked for."""
    return {PAYLOAD: Blobs(np.zeros(rows + 1, np.int64), _NOTHING), PAYLOAD_SIZE: np.zeros(rows, np.int32)}


def with_payload_columns(batch: Batch) -> Batch:
    """Return a batch of messages with both columns, empty where it comes from a program that does not know them."""
    if batch.kind not in MESSAGES or not {PAYLOAD, PAYLOAD_SIZE}.isdisjoint(batch.columns):
        return batch
    columns = {**batch.columns, **no_payloads(batch.rows)}
    return Batch(batch.kind, batch.node, batch.source, columns, batch.boot_ns)


def asked_payloads(
    payloads: Mapping[str, int], types: Strings, data: NDArray[np.uint8], starts: Ints, sizes: Ints
) -> dict[str, Column]:
    """Return the columns of messages whose payloads are `data[starts[i]:starts[i] + sizes[i]]`, cut as asked.

    payloads: message type, or ANY_TYPE -> most bytes. sizes: UNREADABLE stays so where the type is asked for.
    """
    wanted = np.array([most_payload(payloads, type_) for type_ in types.values] or [0], np.int64)[types.codes]
    present = np.where(wanted > 0, np.minimum(sizes, wanted), 0)
    return {PAYLOAD: pieces(data, starts, np.maximum(present, 0)), PAYLOAD_SIZE: present.astype(np.int32)}


def pieces(data: NDArray[np.uint8], starts: Ints, sizes: Ints) -> Blobs:
    """Return `data[starts[i]:starts[i] + sizes[i]]` for each i, copied together."""
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    total = int(offsets[-1])
    if total > _LARGE * len(sizes):  # slices are cheaper than a place for each byte
        view = data.data
        ends = (starts + sizes).tolist()
        joined = b"".join([view[start:end] for start, end in zip(starts.tolist(), ends, strict=True)])
        return Blobs(offsets, np.frombuffer(joined, np.uint8))
    return Blobs(offsets, data[np.arange(total) + np.repeat(starts - offsets[:-1], sizes)])


def without_payload(batch: Batch, *more: str) -> Batch:
    """Return a batch without its payloads, which no window, incident or checkpoint keeps; `more`: further columns."""
    if PAYLOAD not in batch.columns:
        return batch
    kept = {name: column for name, column in batch.columns.items() if name != PAYLOAD and name not in more}
    return Batch(batch.kind, batch.node, batch.source, kept, batch.boot_ns)


def has_payloads(batch: Batch) -> bool:
    """Return whether a row of a batch has a payload, or one that could not be read."""
    return PAYLOAD in batch.columns and bool(batch.numbers(PAYLOAD_SIZE).any())
