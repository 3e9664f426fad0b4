"""p2p:tx: ids and sizes of transactions. One payload at a time: a transaction's shape is in its bytes."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Blobs, Column
from watchdog.sources.wire.messages import Decoded
from watchdog.sources.wire.part import BAD_TRANSACTION, OK, TRUNCATED, MessageBlock, RefusedError, compact_at

_WITNESS_SCALE = 4  # Bitcoin Core src/consensus/consensus.h: WITNESS_SCALE_FACTOR
_ID_BYTES = 32


class Transaction(NamedTuple):
    """Ids in internal byte order, virtual size in vB, counts, and whether it carries witness data."""

    txid: bytes
    wtxid: bytes
    vsize: int
    inputs: int
    outputs: int
    witness: bool


_REFUSED = Transaction(bytes(_ID_BYTES), bytes(_ID_BYTES), 0, 0, 0, witness=False)  # keeps the place of one


def _skip(raw: bytes, at: int, before: int, behind: int, count: int) -> int:
    """Return the place behind `count` items: `before` bytes, a script with its length, and `behind` bytes each."""
    end = len(raw)
    for _ in range(count):
        at += before
        if at >= end:
            raise RefusedError(TRUNCATED)
        size = raw[at]
        if size < 0xFD:  # most lengths by far are one byte
            at += size + behind + 1
        else:
            size, at = compact_at(raw, at)
            at += size + behind
    return at


def _skip_witness(raw: bytes, at: int, inputs: int) -> tuple[bool, int]:
    """Return whether any input has witness items, and the place behind them all."""
    found = False
    for _ in range(inputs):
        items, at = compact_at(raw, at)
        if items:
            found = True
            at = _skip(raw, at, 0, 0, items)
    return found, at


def _hash(raw: bytes) -> bytes:
    return sha256(sha256(raw).digest()).digest()


def parse_transaction(raw: bytes) -> Transaction:
    """Return the transaction at the start of `raw`, as UnserializeTransaction reads it; RefusedError as it throws.

    Every step moves on by a byte at least and stops behind the last one: work is bounded by the size.
    """
    inputs, at = compact_at(raw, 4)
    start, flag = 4, 0
    if inputs == 0 and at < len(raw) and raw[at] != 0:
        start, flag = at + 1, raw[at]
        inputs, at = compact_at(raw, start)
    elif inputs == 0:
        return _empty(raw, at + 1)
    at = _skip(raw, at, 36, 4, inputs)  # outpoint, script, sequence
    outputs, at = compact_at(raw, at)
    at = stop = _skip(raw, at, 8, 0, outputs)  # value, script
    if flag & 1:
        found, at = _skip_witness(raw, stop, inputs)
        if not found:  # "Superfluous witness record"
            raise RefusedError(BAD_TRANSACTION)
    if flag & ~1:  # "Unknown transaction optional data"
        raise RefusedError(BAD_TRANSACTION)
    end = at + 4
    if end > len(raw):
        raise RefusedError(TRUNCATED)
    wtxid = _hash(raw[:end])
    if not flag:
        return Transaction(wtxid, wtxid, end, inputs, outputs, False)
    bare = raw[:4] + raw[start:stop] + raw[at:end]
    vsize = (len(bare) * (_WITNESS_SCALE - 1) + end + _WITNESS_SCALE - 1) // _WITNESS_SCALE
    return Transaction(_hash(bare), wtxid, vsize, inputs, outputs, witness=True)


def _empty(raw: bytes, at: int) -> Transaction:
    """No inputs and a flag of 0, which is the count of outputs as well: nothing in it. Lock time at `at`."""
    end = at + 4
    if end > len(raw):
        raise RefusedError(TRUNCATED)
    hashed = _hash(raw[:end])
    return Transaction(hashed, hashed, end, 0, 0, witness=False)


def tx(part: MessageBlock) -> list[Decoded]:
    """p2p:tx. A transaction goes to many peers in the same bytes, so each payload is parsed once in a part."""
    good = part.good.nonzero()[0]
    raw = part.raw()
    places = zip(part.starts[good].tolist(), part.ends[good].tolist(), strict=True)
    payloads: dict[bytes, int] = {}
    which = np.array([payloads.setdefault(raw[a:b], len(payloads)) for a, b in places], np.intp)
    reasons = np.zeros(len(payloads), np.uint8)
    found: list[Transaction] = []
    for number, payload in enumerate(payloads):
        try:
            found.append(parse_transaction(payload))
        except RefusedError as error:
            reasons[number] = error.reason
            found.append(_REFUSED)
    part.reason[good] = reasons[which]
    whole = reasons[which] == OK
    rows, which = good[whole], which[whole]
    columns: dict[str, Column] = {
        "txid": _ids([one.txid for one in found], which),
        "wtxid": _ids([one.wtxid for one in found], which),
        "vsize_vb": np.array([one.vsize for one in found], np.uint32)[which],
        "inputs": np.array([one.inputs for one in found], np.uint32)[which],
        "outputs": np.array([one.outputs for one in found], np.uint32)[which],
        "witness": np.array([one.witness for one in found], np.bool_)[which],
    }
    return [Decoded("p2p:tx", part.rows(rows), columns)]


def _ids(values: list[bytes], which: NDArray[np.intp]) -> Blobs:
    """Return the chosen ones of some ids."""
    data = np.frombuffer(b"".join(values), np.uint8).reshape(-1, _ID_BYTES)[which].reshape(-1)
    return Blobs(np.arange(len(which) + 1, dtype=np.int64) * _ID_BYTES, data)
