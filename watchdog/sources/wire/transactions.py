"""p2p:tx and p2p:tx_input: ids and sizes of transactions, and what they spend.

One payload at a time: a transaction's shape is in its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Blobs, Column
from watchdog.core.core_constants import WITNESS_SCALE_FACTOR
from watchdog.sources.wire.messages import Decoded
from watchdog.sources.wire.part import BAD_TRANSACTION, OK, TRUNCATED, MessageBlock, RefusedError, compact_at

MOST_INPUTS = 1_000  # as many as addresses in a message; payments have a few, and a message of 4 MB could hold 97,000
_ID_BYTES, _OUTPOINT_BYTES = 32, 36
_ODD, _WORD = 0x9E3779B97F4A7C15, (1 << 64) - 1  # SplitMix64's step: outputs of one transaction lie far apart


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
    vsize = (len(bare) * (WITNESS_SCALE_FACTOR - 1) + end + WITNESS_SCALE_FACTOR - 1) // WITNESS_SCALE_FACTOR
    return Transaction(_hash(bare), wtxid, vsize, inputs, outputs, witness=True)


def _empty(raw: bytes, at: int) -> Transaction:
    """Read a transaction without inputs and with a flag of 0, its count of outputs. Lock time at `at`."""
    end = at + 4
    if end > len(raw):
        raise RefusedError(TRUNCATED)
    hashed = _hash(raw[:end])
    return Transaction(hashed, hashed, end, 0, 0, witness=False)


def spent(raw: bytes) -> list[int]:
    """Return an identity of 64 bits for each output that a transaction spends, MOST_INPUTS at most; `raw` is whole.

    The first bytes of a transaction id are as good as random, so eight of them and the output's number suffice.
    """
    inputs, at = compact_at(raw, 4)
    if inputs == 0 and raw[at] != 0:  # marker and flag
        inputs, at = compact_at(raw, at + 1)
    found = []
    for _ in range(min(inputs, MOST_INPUTS)):
        number = int.from_bytes(raw[at + _ID_BYTES : at + _OUTPOINT_BYTES], "little")
        found.append((int.from_bytes(raw[at : at + 8], "little") + number * _ODD) & _WORD)
        at = _skip(raw, at, _OUTPOINT_BYTES, 4, 1)
    return found


def tx(part: MessageBlock, wanted: Callable[[str], bool]) -> list[Decoded]:
    """Decode p2p:tx, and if wanted p2p:tx_input, one an input.

    A transaction goes to many peers in the same bytes, so each payload is parsed once in a part.
    """
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
    decoded = [Decoded("p2p:tx", part.rows(rows), columns)]
    if wanted("p2p:tx_input"):
        decoded.append(_inputs(part, rows, which, list(payloads), found))
    return decoded


def _inputs(
    part: MessageBlock, rows: NDArray[np.intp], which: NDArray[np.intp], payloads: list[bytes], found: list[Transaction]
) -> Decoded:
    """Return p2p:tx_input of the messages at `rows`; `which` of the payloads each has."""
    spends = [spent(payloads[number]) if one.inputs else [] for number, one in enumerate(found)]
    counts = np.array([len(one) for one in spends], np.intp)
    starts = np.cumsum(counts) - counts
    flat = np.array([identity for one in spends for identity in one], np.uint64)
    owner = np.repeat(np.arange(len(which)), counts[which])
    ends = np.cumsum(counts[which])
    within = np.arange(len(owner)) - np.repeat(ends - counts[which], counts[which])
    ids = np.array([int.from_bytes(one.txid[:8], "little") for one in found], np.uint64)
    columns: dict[str, Column] = {
        "outpoint_id": flat[starts[which[owner]] + within],
        "txid": _ids([one.txid for one in found], which[owner]),
        "txid_id": ids[which[owner]],
    }
    return Decoded("p2p:tx_input", part.rows(rows[owner]), columns)


def _ids(values: list[bytes], which: NDArray[np.intp]) -> Blobs:
    """Return the chosen ones of some ids."""
    data = np.frombuffer(b"".join(values), np.uint8).reshape(-1, _ID_BYTES)[which].reshape(-1)
    return Blobs(np.arange(len(which) + 1, dtype=np.int64) * _ID_BYTES, data)
