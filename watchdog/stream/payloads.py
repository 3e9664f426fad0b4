"""The payloads of messages, cut to the sizes that a subscriber asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from watchdog.core.batch import Batch, Blobs
from watchdog.core.payload_columns import PAYLOAD, PAYLOAD_SIZE, asked_payloads


def cut_payloads(batch: Batch, payloads: Mapping[str, int]) -> Batch:
    """Return a batch with no more of each payload than is wanted; a batch without payloads as it is.

    payloads: message type, or "*" -> most bytes. Of what is not wanted, `payload_size` is 0: not asked for.
    """
    if PAYLOAD not in batch.columns:
        return batch
    blobs = batch.columns[PAYLOAD]
    assert isinstance(blobs, Blobs)
    sizes = batch.numbers(PAYLOAD_SIZE).astype(np.int64)
    cut = asked_payloads(payloads, batch.strings("type"), blobs.data, blobs.offsets[:-1], sizes)
    if np.array_equal(np.asarray(cut[PAYLOAD_SIZE]), sizes):
        return batch
    return Batch(batch.kind, batch.node, batch.source, {**batch.columns, **cut}, batch.boot_ns)
