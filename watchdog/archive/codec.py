"""Batches to Cap'n Proto messages and back.

Columns are `Data` fields read as attributes: pycapnp copies them once and NumPy works on the
copy, so nothing refers to the message afterwards. (Its zero-copy view of `Data` keeps the
whole message alive for ever in the releases that we support, hence a test forbids it.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import capnp
import numpy as np
from numpy.typing import NDArray

import watchdog.core.schema
from watchdog.archive.frames import DamagedFrameError
from watchdog.archive.narrow import Narrow, narrow, widen
from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.kinds import TYPES, dtype_of

_SCHEMA: Any = capnp.load(str(Path(watchdog.core.schema.__path__[0]) / "archive.capnp"))  # no types: pycapnp's own
WRITER = "bitcoin-watchdog"
MAX_COLUMNS = 256
MAX_LAYOUT = 16_384  # characters
MAX_SOURCES = 1_024
_ANY = "*"
_BOOL = np.dtype(np.bool_)
_CODES = np.dtype(np.int32)
_TYPE_OF = {dtype_of(typ): typ for typ in TYPES if typ not in {"str", "bytes", "prefix"}}

# What pycapnp raises on a message that its checks refuse.
_FAULTS = (capnp.KjException, UnicodeDecodeError, ValueError, OverflowError)


@dataclass(frozen=True, slots=True)
class Original:
    """A source that a file was recorded from. kinds: those that it can give and that were recorded; None: any."""

    name: str
    kinds: frozenset[str] | None = None


def encode_info(sources: Sequence[Original]) -> bytes:
    """Return the message of the first frame: the sources that feed the file."""
    kinds = [_ANY if one.kinds is None else ",".join(sorted(one.kinds)) for one in sources]
    names = [one.name for one in sources]
    return bytes(_SCHEMA.Info.new_message(writer=WRITER, sources=names, kinds=kinds).to_bytes())


def decode_info(payload: bytes) -> tuple[Original, ...]:
    """Return the sources that feed the file."""
    with _opened(_SCHEMA.Info, payload) as info:
        if len(info.sources) > MAX_SOURCES:
            raise DamagedFrameError(f"the file names {len(info.sources)} sources, more than {MAX_SOURCES}")
        kinds = list(info.kinds) or [_ANY] * len(info.sources)
        if len(kinds) != len(info.sources):
            raise DamagedFrameError("the file does not say which kinds each of its sources gives")
        return tuple(
            Original(name, None if text == _ANY else frozenset(filter(None, text.split(","))))
            for name, text in zip(info.sources, kinds, strict=True)
        )


def encode_slice_end(source: str, until_ns: int, position: Mapping[str, object]) -> bytes:
    """Encode the message that ends a slice."""
    text = json.dumps(position, separators=(",", ":"))
    return bytes(_SCHEMA.SliceEnd.new_message(source=source, untilNs=until_ns, position=text).to_bytes())


def decode_slice_end(payload: bytes) -> tuple[str, int, Mapping[str, object]]:
    """Decode source, watermark in ns, and position of a slice."""
    with _opened(_SCHEMA.SliceEnd, payload) as end:
        position = json.loads(end.position)
        if not isinstance(position, dict):
            raise DamagedFrameError("a slice's position is not an object")
        return end.source, end.untilNs, position


def encode_index(offsets: NDArray[np.int64], latest_ns: NDArray[np.int64]) -> bytes:
    """Return the message of the index: int64 byte offsets and int64 latest times."""
    message = _SCHEMA.Index.new_message(offsets=offsets.tobytes(), latestNs=latest_ns.tobytes())
    return bytes(message.to_bytes())


def decode_index(payload: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Decode byte offsets and latest times (ns) of the stretches, both int64."""
    with _opened(_SCHEMA.Index, payload) as index:
        offsets, latest = np.frombuffer(index.offsets, np.int64), np.frombuffer(index.latestNs, np.int64)
    if len(offsets) != len(latest) or (np.diff(offsets) <= 0).any():
        raise DamagedFrameError("the index contradicts itself")
    return offsets, latest


def encode_block(batch: Batch) -> bytes:
    """Return the message of a batch; dictionaries are cut down to the strings that the rows use."""
    layout, parts, dictionaries, offsets = [], [], [], []
    for name, column in batch.columns.items():
        if isinstance(column, Strings):
            codes, values = _compact(column)
            parts.append(narrow(codes))
            dictionaries.append(values)
        elif isinstance(column, Blobs):
            marks = column.offsets.astype(np.int64, copy=False)
            parts.append(Narrow(column.data[marks[0] : marks[-1]].tobytes()))
            offsets.append((marks - marks[0]).tobytes())
        else:
            parts.append(narrow(column))
        layout.append(f"{name}:{_type_of(column)}")
    message = _SCHEMA.Block.new_message(
        kind=batch.kind,
        node=batch.node,
        source=batch.source,
        bootNs=batch.boot_ns,
        rows=batch.rows,
        layout=",".join(layout),
        columns=[part.data for part in parts],
        dictionaries=dictionaries,
        offsets=offsets,
        widths=bytes(part.width for part in parts),
        bases=np.array([part.base for part in parts], np.int64).tobytes(),
        scales=np.array([part.scale for part in parts], np.int64).tobytes(),
    )
    return bytes(message.to_bytes())


def decode_block(payload: bytes) -> Batch:
    """Return the batch of a message, every length and code checked; DamagedFrameError when one does not fit.

    Columns are read-only arrays; "prefix" columns come back as uint64.
    """
    with _opened(_SCHEMA.Block, payload) as block:
        rows, layout = block.rows, _layout(block.layout)
        parts, dictionaries, offsets = block.columns, block.dictionaries, block.offsets
        if len(parts) != len(layout.columns):
            raise DamagedFrameError(f"a block of {len(layout.columns)} columns holds {len(parts)}")
        if len(dictionaries) != layout.texts or len(offsets) != layout.blobs:
            raise DamagedFrameError("a block's dictionaries do not fit its columns")
        forms = _forms(block, len(layout.columns))
        columns: dict[str, Column] = {}
        text = blob = 0
        for (name, typ, dtype), part, form in zip(layout.columns, parts, forms, strict=True):
            if dtype is not None:
                columns[name] = _numbers(part, dtype, rows, form)
            elif typ == "str":
                columns[name] = _strings(widen(part, _CODES, rows, form), dictionaries[text])
                text += 1
            else:
                columns[name] = _blobs(part, offsets[blob], rows)
                blob += 1
        return Batch(block.kind, block.node, block.source, columns, block.bootNs)


class _Layout:
    """The parsed form of a block's layout text; few different ones exist, so it is kept."""

    __slots__ = ("blobs", "columns", "texts")

    def __init__(self, text: str) -> None:
        self.columns: list[tuple[str, str, np.dtype[np.generic] | None]] = []
        for item in text.split(","):
            name, _, typ = item.partition(":")
            if typ not in TYPES:
                raise DamagedFrameError(f"a block has a column of unknown type {typ!r}")
            self.columns.append((name, typ, dtype_of(typ)))
        names = {name for name, _, _ in self.columns}
        if (
            len(names) != len(self.columns)
            or len(names) > MAX_COLUMNS
            or ("time_ns", "i64") not in {(name, typ) for name, typ, _ in self.columns}
        ):
            raise DamagedFrameError("a block's columns are not distinct, or have no time")
        self.texts = sum(typ == "str" for _, typ, _ in self.columns)
        self.blobs = sum(typ == "bytes" for _, typ, _ in self.columns)


@lru_cache(maxsize=1_024)
def _parsed_layout(text: str) -> _Layout:
    return _Layout(text)


def _layout(text: str) -> _Layout:
    if len(text) > MAX_LAYOUT:
        raise DamagedFrameError(f"a block's layout has {len(text)} characters, more than {MAX_LAYOUT}")
    return _parsed_layout(text)


class _opened:  # noqa: N801 - reads as a word in `with`
    """A message as a context; the reader's own limit follows from the checked size of the payload."""

    __slots__ = ("_context", "_payload", "_struct")

    def __init__(self, struct: Any, payload: bytes) -> None:
        self._struct, self._payload = struct, payload

    def __enter__(self) -> Any:
        limit = 2 * (len(self._payload) // 8) + 1_024
        try:
            self._context = self._struct.from_bytes(self._payload, traversal_limit_in_words=limit)
            return self._context.__enter__()
        except _FAULTS as fault:
            raise DamagedFrameError("a frame holds no message of this format") from fault

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: object) -> None:
        self._context.__exit__(kind, fault, trace)
        if isinstance(fault, _FAULTS):
            raise DamagedFrameError("a frame's message is broken") from fault


def _forms(block: Any, columns: int) -> list[tuple[int, int, int]]:
    """Return width, base and scale of each column."""
    widths, bases, scales = block.widths, np.frombuffer(block.bases, np.int64), np.frombuffer(block.scales, np.int64)
    if not len(widths) == len(bases) == len(scales) == columns:
        raise DamagedFrameError("a block does not say how its columns are stored")
    return list(zip(widths, bases.tolist(), scales.tolist(), strict=True))


def _numbers(part: bytes, dtype: np.dtype[np.generic], rows: int, form: tuple[int, int, int]) -> NDArray[np.generic]:
    if dtype == _BOOL and rows and np.frombuffer(part, np.uint8).max(initial=0) > 1:
        raise DamagedFrameError("a flag is neither 0 nor 1")
    return widen(part, dtype, rows, form)


def _strings(codes: NDArray[np.generic], dictionary: Any) -> Strings:
    values = tuple(dictionary)
    numbers = codes.astype(np.int32, copy=False)
    # As unsigned numbers, so that one comparison finds negative codes as well.
    if len(numbers) and numbers.view(np.uint32).max() >= len(values):
        raise DamagedFrameError(f"a text column has a code outside of its {len(values)} values")
    return Strings(numbers, values)


def _blobs(part: bytes, offsets: bytes, rows: int) -> Blobs:
    marks = np.frombuffer(offsets, np.int64)
    if len(marks) != rows + 1 or marks[0] != 0 or marks[-1] != len(part) or (np.diff(marks) < 0).any():
        raise DamagedFrameError("a column of byte strings has offsets that do not fit")
    return Blobs(marks, np.frombuffer(part, np.uint8))


def _type_of(column: Column) -> str:
    if isinstance(column, Strings):
        return "str"
    if isinstance(column, Blobs):
        return "bytes"
    if column.dtype not in _TYPE_OF:
        raise ValueError(f"no column type for {column.dtype}")
    return _TYPE_OF[column.dtype]


def _compact(column: Strings) -> tuple[NDArray[np.int32], list[str]]:
    """Reduce codes to the values that occur, in order of their old codes."""
    used = np.zeros(len(column.values), np.bool_)
    used[column.codes] = True
    values = [_encodable(column.values[code]) for code in np.flatnonzero(used).tolist()]
    if len(values) == len(column.values):
        return column.codes.astype(np.int32, copy=False), values
    renumbered = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return renumbered[column.codes], values


def _encodable(text: str) -> str:
    """Escape lone surrogates, which UTF-8 cannot encode, with backslashes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
