"""Records of the child as columns; `watchdog.sources.ipc.records` has their forms. Total, whatever the node sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Blobs, Column, Strings
from watchdog.core.core_constants import REMOVAL_REASONS
from watchdog.sources.ipc.records import BLOCK, COIN, CONNECTIONS, FLUSH, FORMS, HASH_BYTES, TX
from watchdog.sources.wire.part import RefusedError
from watchdog.sources.wire.transactions import parse_transaction

UNKNOWN: Final = "unknown"
_HASH: Final = ("u1", (HASH_BYTES,))
_COIN: Final = np.dtype(
    [("time", "<i8"), ("txid", *_HASH), ("index", "<u4"), ("height", "<u4"), ("value", "<i8"), ("coinbase", "?")]
)
_BLOCK: Final = np.dtype(
    [("time", "<i8"), ("hash", *_HASH), ("prev", *_HASH), ("height", "<i4"), ("txs", "<u4"), ("size", "<u4"),
     ("historical", "?")]
)  # fmt: skip
_FLUSH: Final = np.dtype([("time", "<i8"), ("validated", "?"), ("historical", "?")])
_CONNECTIONS: Final = np.dtype([("time", "<i8"), ("connections", "<i4")])
ReadRows = tuple[Mapping[str, Column], int]
"""Columns with `time_ns`, and how many records could not be read."""


def columns_of(kind: str, records: bytes) -> ReadRows:
    """Return the rows of a kind."""
    return _READERS[kind](records, kind)


def _coins(records: bytes, _kind: str) -> ReadRows:
    rows, bad = _rows(records, _COIN)
    return {
        "time_ns": rows["time"],
        "txid": _hashes(rows["txid"]),
        "index": rows["index"],
        "height": rows["height"],
        "value_sat": rows["value"],
        "coinbase": rows["coinbase"],
    }, bad


def _blocks(records: bytes, kind: str) -> ReadRows:
    rows, bad = _rows(records, _BLOCK)
    columns: dict[str, Column] = {
        "time_ns": rows["time"],
        "hash": _hashes(rows["hash"]),
        "prev_hash": _hashes(rows["prev"]),
        "height": rows["height"],
    }
    if kind == "chain:block_connected":
        columns |= {"transactions": rows["txs"], "size_bytes": rows["size"], "historical": rows["historical"]}
    return columns, bad


def _flushes(records: bytes, _kind: str) -> ReadRows:
    rows, bad = _rows(records, _FLUSH)
    return {"time_ns": rows["time"], "validated": rows["validated"], "historical": rows["historical"]}, bad


def _connections(records: bytes, _kind: str) -> ReadRows:
    rows, bad = _rows(records, _CONNECTIONS)
    return {"time_ns": rows["time"], "connections": rows["connections"]}, bad


def _transactions(records: bytes, kind: str) -> ReadRows:
    """ReadRows transactions one by one: their ids are hashes of what is in them."""
    times: list[int] = []
    reasons: list[str] = []
    ids: list[bytes] = []
    sizes: list[int] = []
    at = bad = 0
    while at + TX.size <= len(records):
        time_ns, reason, size = TX.unpack_from(records, at)
        at += TX.size + size
        try:
            found = parse_transaction(records[at - size : at])
        except RefusedError:
            bad += 1
            continue
        times.append(time_ns)
        reasons.append(REMOVAL_REASONS[reason] if 0 <= reason < len(REMOVAL_REASONS) else UNKNOWN)
        ids.append(found.txid)
        sizes.append(found.vsize)
    columns: dict[str, Column] = {
        "time_ns": np.array(times, np.int64),
        "txid": Blobs.of(ids),
        "vsize_vb": np.array(sizes, np.int32),
    }
    if kind == "chain:tx_removed":
        columns["reason"] = Strings.of(reasons)
    return columns, bad


def _rows(records: bytes, form: np.dtype[np.void]) -> tuple[NDArray[np.void], int]:
    """Return whole records, each column copied where it is used; 1 for a rest that is none."""
    whole = len(records) // form.itemsize
    return np.frombuffer(records, form, whole), int(len(records) % form.itemsize > 0)


def _hashes(column: NDArray[np.uint8]) -> Blobs:
    data = np.ascontiguousarray(column).reshape(-1)
    return Blobs(np.arange(0, len(data) + 1, HASH_BYTES, dtype=np.int64), data)


_OF_FORM: Final[Mapping[object, Callable[[bytes, str], ReadRows]]] = {
    COIN: _coins,
    BLOCK: _blocks,
    FLUSH: _flushes,
    CONNECTIONS: _connections,
    TX: _transactions,
}
_READERS: Final = {kind: _OF_FORM[form] for kind, form in FORMS.items()}
assert all(
    form.itemsize == packed.size
    for form, packed in ((_COIN, COIN), (_BLOCK, BLOCK), (_FLUSH, FLUSH), (_CONNECTIONS, CONNECTIONS))
)
