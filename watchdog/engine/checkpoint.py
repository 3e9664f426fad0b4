"""Checkpoints: a JSON header and raw little-endian columns under one checksum. Never pickle.

    magic(8)  crc32(4)  header size(4)  header: JSON  columns, each aligned to 8 bytes

A state is nested dictionaries and lists of numbers, texts and arrays. Arrays stand in the
header as {"@": dtype, "shape": [...], "at": offset}.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from detectors.state import State, checked
from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.errors import StateError

MAGIC = b"WDCHECK1"
_HEAD = struct.Struct("<8sII")
_DTYPES = frozenset(np.dtype(code).str for code in "?bBhHiIqQd")
_ALIGN = 8


def pack(state: State) -> bytes:
    """Return the state as bytes."""
    columns: list[bytes | memoryview] = []  # views: a column is copied once, into the result
    size = 0

    def plain(value: Any) -> Any:  # any value a state may hold
        nonlocal size
        if isinstance(value, np.ndarray):
            whole = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
            place = {"@": whole.dtype.str, "shape": list(whole.shape), "at": size}
            padding = -whole.nbytes % _ALIGN
            columns.extend([whole.reshape(-1).view(np.uint8).data, bytes(padding)])
            size += whole.nbytes + padding
            return place
        if isinstance(value, dict):
            return {str(name): plain(part) for name, part in value.items()}
        if isinstance(value, list | tuple):
            return list(value) if _flat(value) else [plain(part) for part in value]
        return value.item() if isinstance(value, np.generic) else value

    header = json.dumps(plain(state), separators=(",", ":")).encode()
    header += b" " * (-(len(header)) % _ALIGN)
    crc = zlib.crc32(header)
    for column in columns:
        crc = zlib.crc32(column, crc)
    return b"".join([_HEAD.pack(MAGIC, crc, len(header)), header, *columns])


def unpack(blob: bytes) -> State:
    """Return the state that was packed. Raises StateError for anything else."""
    if len(blob) < _HEAD.size:
        raise StateError("checkpoint is too short")
    magic, crc, header_size = _HEAD.unpack_from(blob)
    if magic != MAGIC:
        raise StateError("not a checkpoint of this version")
    body = memoryview(blob)[_HEAD.size :]
    if zlib.crc32(body) != crc:
        raise StateError("checkpoint fails its checksum")
    columns = body[header_size:]

    def rich(value: Any) -> Any:  # any value a state may hold
        if isinstance(value, dict):
            if "@" in value:
                return _array(columns, value)
            return {name: rich(part) for name, part in value.items()}
        return [rich(part) for part in value] if isinstance(value, list) and not _flat(value) else value

    try:
        state = rich(json.loads(bytes(body[:header_size])))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise StateError(f"checkpoint cannot be read: {error}") from None
    if not isinstance(state, dict):
        raise StateError("checkpoint holds no state")
    return state


# What reading a state of a wrong shape can raise, wherever in it the fault is.
_MISFITS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    StopIteration,
    TypeError,
    ValueError,
)


@contextmanager
def restoring(state: State, versions: Sequence[int]) -> Iterator[None]:
    """Restore from `state` in the body of this context.

    versions: the checkpoint versions that the program reads; the last one is its own. Raises StateError for another
    version, and in place of every error that a damaged or forged state causes in the body.
    """
    if state.get("version") not in versions:
        raise StateError(f"checkpoint has version {state.get('version')!r}, this program reads {versions[-1]}")
    try:
        yield
    except _MISFITS as error:
        raise StateError(f"checkpoint does not fit: {type(error).__name__}: {error}") from None


def _flat(values: Any) -> bool:  # a list or tuple of anything
    """Return whether a list holds texts only: lists of keys are long, and are packed as they are."""
    return set(map(type, values)) <= {str}


def _array(columns: memoryview, place: State) -> np.ndarray[Any, np.dtype[Any]]:
    if place["@"] not in _DTYPES:
        raise StateError(f"checkpoint has a column of unknown type {place['@']!r}")
    dtype = np.dtype(place["@"])
    if min(place["at"], *place["shape"], 0) < 0:
        raise StateError("checkpoint has a column of negative size")
    count = math.prod(place["shape"])
    if place["at"] + count * dtype.itemsize > len(columns):
        raise StateError("checkpoint is cut short")
    return np.frombuffer(columns, dtype, count, place["at"]).reshape(place["shape"]).copy()


def batch_state(batch: Batch) -> State:
    """Return a batch as a state."""
    return {
        "kind": batch.kind,
        "node": batch.node,
        "source": batch.source,
        "boot_ns": batch.boot_ns,
        "columns": {name: _column_state(column) for name, column in batch.columns.items()},
    }


def batch_from(state: State) -> Batch:
    """Return the batch of such a state. ValueError when its columns do not fit each other."""
    rows = len(checked(state["columns"], "time_ns", np.int64))
    columns = {name: _column_from(saved) for name, saved in state["columns"].items()}
    if any(len(one) != rows or (isinstance(one, np.ndarray) and one.ndim != 1) for one in columns.values()):
        raise ValueError("columns of a batch differ in length")
    return Batch(state["kind"], state["node"], state["source"], columns, state["boot_ns"])


def _column_state(column: Column) -> Any:  # an array or a state
    if isinstance(column, Strings):
        return {"codes": column.codes, "values": list(column.values)}
    if isinstance(column, Blobs):
        return {"offsets": column.offsets, "data": column.data}
    return column


def _column_from(state: Any) -> Column:  # an array or a state
    if isinstance(state, np.ndarray):
        return state
    if "codes" in state:
        values = tuple(state["values"])
        if set(map(type, values)) - {str}:
            raise ValueError("a dictionary of a batch holds more than texts")
        return Strings(checked(state, "codes", np.int32, bounds=(0, len(values))), values)
    data = checked(state, "data", np.uint8)
    offsets = checked(state, "offsets", np.int64, bounds=(0, len(data) + 1))
    if not len(offsets) or (offsets[1:] < offsets[:-1]).any():
        raise ValueError("byte strings of a batch overlap")
    return Blobs(offsets, data)
