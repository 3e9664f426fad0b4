"""The C reader by ctypes: drains the rings, and gives what it found as NumPy columns."""

from __future__ import annotations

import ctypes
import secrets
from collections.abc import Sequence
from ctypes import POINTER, c_int, c_int64, c_ubyte, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Ints
from watchdog.extract.build import BY_HAND, READER
from watchdog.extract.libbpf import ExtractError

RINGS: Final = 9  # as in bpf/record.h
ARGUMENTS: Final = 12
HASH: Final = 32
_LOG: Final = 8192

TextCodes = NDArray[np.int32]


class ProbePlan(ctypes.Structure):
    """struct plan of record.h: how the arguments of a tracepoint are copied."""

    _fields_ = (
        ("count", c_ubyte),
        ("length", c_ubyte),
        ("large", c_ubyte),
        ("unused", c_ubyte),
        ("what", c_ubyte * ARGUMENTS),
        ("place", c_ubyte * ARGUMENTS),
    )


class _Columns(ctypes.Structure):
    """struct columns of reader.c."""

    _fields_ = (
        *((name, c_int64) for name in ("messages", "events", "strings", "hashes", "until", "stepped", "clamped")),
        *((name, c_void_p) for name in ("time", "peer", "size", "payload_end")),
        *((name, c_void_p) for name in ("payload_size", "type", "address", "connection")),
        *((name, c_void_p) for name in ("process", "slot", "unreadable", "payload")),
        *((name, c_void_p) for name in ("event_time", "values", "event_process", "event_slot", "event_unreadable")),
        *((name, c_void_p) for name in ("hash", "string_end", "cut", "string")),
    )


@dataclass(frozen=True, slots=True, eq=False)
class MessageRecords:
    """Records of messages, shape (rows,). type, address, connection: codes of `DrainedRecords.strings`, -1: unreadable.

    unreadable: bit i of a row: argument i could not be read.
    payload_size: bytes in `payload`, -1: not readable, 0: not asked for. payload_end: bytes, the end of each row's.
    """

    time_ns: Ints
    process: NDArray[np.uint32]
    slot: NDArray[np.uint16]
    unreadable: NDArray[np.uint16]
    peer: Ints
    size: Ints
    type: TextCodes
    address: TextCodes
    connection: TextCodes
    payload_size: TextCodes
    payload_end: Ints
    payload: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class EventRecords:
    """Records of other tracepoints. values: (rows, 12); a text's code, a hash's row in `hashes`, -1: not readable.

    unreadable: bit i of a row: argument i could not be read. hashes: (n, 32).
    """

    time_ns: Ints
    process: NDArray[np.uint32]
    slot: NDArray[np.uint16]
    unreadable: NDArray[np.uint16]
    values: NDArray[np.int64]
    hashes: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class DrainedRecords:
    """What one drain found. until_ns: wall clock, no older record will come. strings: bytes, and whether each is cut.

    stepped_ns: by how much the wall clock was set back. clamped: records that came so late that they got another time.
    """

    messages: MessageRecords
    events: EventRecords
    strings: tuple[tuple[bytes, bool], ...]
    until_ns: int
    stepped_ns: int
    clamped: int


class RingReader:
    """Drains the rings of one program. ExtractError where the library is missing or a ring cannot be mapped."""

    def __init__(self, rings: Sequence[tuple[int, int]]) -> None:
        fds = (c_int * RINGS)(*(fd for fd, _ in rings))
        sizes = (c_uint64 * RINGS)(*(size for _, size in rings))
        self._reader = _library().reader_new(fds, sizes, secrets.randbits(63))
        if not self._reader:
            raise ExtractError("the rings of the BPF program cannot be mapped")
        self._columns: _Columns = _library().reader_columns(self._reader).contents
        self._received = _library().reader_received(self._reader)

    def set_plan(self, slot: int, plan: ProbePlan) -> None:
        """Set how the records of a slot are read: the plan that the program has."""
        if _library().reader_plan(self._reader, slot, ctypes.byref(plan)):
            raise ExtractError(f"no plan for slot {slot}")

    def drain(self, budget_s: float, *, pause_s: float = 0.005, rows: int = 1 << 30) -> DrainedRecords:
        """Take records until the time is over or `rows` are there; other threads run meanwhile."""
        found = _library().reader_drain(self._reader, int(budget_s * 1e9), int(pause_s * 1e9), rows)
        if found < 0:
            raise ExtractError("a ring of the BPF program holds what the program does not write")
        return DrainedRecords(
            self._messages(),
            self._events(),
            self._strings(),
            self._columns.until,
            self._columns.stepped,
            self._columns.clamped,
        )

    def received(self) -> tuple[int, ...]:
        """Return the records taken from each ring."""
        return tuple(self._received[:RINGS])

    def stop(self) -> None:
        """End a drain that runs in another thread, and let later ones return at once."""
        _library().reader_stop(self._reader)

    def close(self) -> None:
        """Unmap the rings; a second call does nothing."""
        if self._reader:
            _library().reader_free(self._reader)
            self._reader = None

    @staticmethod
    def print_function() -> int:
        """Return the address of the function that takes libbpf's lines."""
        return ctypes.cast(_library().reader_print, c_void_p).value or 0

    @staticmethod
    def log() -> str:
        """Return libbpf's lines since the last call."""
        text = ctypes.create_string_buffer(_LOG)
        _library().reader_log(text, _LOG)
        return text.value.decode(errors="replace")

    def _messages(self) -> MessageRecords:
        rows, columns = self._columns.messages, self._columns
        ends = _array(columns.payload_end, rows, np.int64)
        return MessageRecords(
            _array(columns.time, rows, np.int64),
            _array(columns.process, rows, np.uint32),
            _array(columns.slot, rows, np.uint16),
            _array(columns.unreadable, rows, np.uint16),
            _array(columns.peer, rows, np.int64),
            _array(columns.size, rows, np.int64),
            _array(columns.type, rows, np.int32),
            _array(columns.address, rows, np.int32),
            _array(columns.connection, rows, np.int32),
            _array(columns.payload_size, rows, np.int32),
            ends,
            _array(columns.payload, int(ends[-1]) if rows else 0, np.uint8),
        )

    def _events(self) -> EventRecords:
        rows, columns = self._columns.events, self._columns
        return EventRecords(
            _array(columns.event_time, rows, np.int64),
            _array(columns.event_process, rows, np.uint32),
            _array(columns.event_slot, rows, np.uint16),
            _array(columns.event_unreadable, rows, np.uint16),
            _array(columns.values, rows * ARGUMENTS, np.int64).reshape(rows, ARGUMENTS),
            _array(columns.hash, columns.hashes * HASH, np.uint8).reshape(columns.hashes, HASH),
        )

    def _strings(self) -> tuple[tuple[bytes, bool], ...]:
        many = self._columns.strings
        ends = _array(self._columns.string_end, many, np.int64).tolist()
        cut = _array(self._columns.cut, many, np.uint8).tolist()
        text = ctypes.string_at(self._columns.string, ends[-1]) if many else b""
        starts = [0, *ends[:-1]]
        return tuple((text[a:b], bool(one)) for a, b, one in zip(starts, ends, cut, strict=True)) if many else ()


def _array(place: int, items: int, dtype: type[Any]) -> NDArray[Any]:
    """Return a copy of items of the reader's memory, which the next drain overwrites."""
    size = items * np.dtype(dtype).itemsize
    return np.frombuffer(ctypes.string_at(place, size), dtype) if size else np.empty(0, dtype)


@cache
def _library() -> ctypes.CDLL:
    """Load the reader; ExtractError with what to install where it was not built."""
    try:
        library = ctypes.CDLL(str(READER))
    except OSError:
        raise ExtractError(f"the reader of the BPF program was not built: install a C compiler, {BY_HAND}") from None
    library.reader_new.restype, library.reader_new.argtypes = c_void_p, (c_void_p, c_void_p, c_uint64)
    library.reader_columns.restype, library.reader_columns.argtypes = POINTER(_Columns), (c_void_p,)
    library.reader_received.restype, library.reader_received.argtypes = POINTER(c_uint64), (c_void_p,)
    library.reader_plan.restype, library.reader_plan.argtypes = c_int, (c_void_p, c_uint32, c_void_p)
    library.reader_drain.restype, library.reader_drain.argtypes = c_int64, (c_void_p, c_int64, c_int64, c_int64)
    library.reader_free.restype, library.reader_free.argtypes = None, (c_void_p,)
    library.reader_stop.restype, library.reader_stop.argtypes = None, (c_void_p,)
    library.reader_log.restype, library.reader_log.argtypes = None, (c_void_p, ctypes.c_size_t)
    return library
