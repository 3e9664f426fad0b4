"""Batches, conditions and kinds to their form on the wire and back.

What comes from the other end is checked here: every length, code and offset, so that nothing behind this module meets
a column that does not fit. `StreamFaultError` names the first thing that does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.errors import SourceError
from watchdog.core.kinds import TYPES, dtype_of
from watchdog.core.text import printable
from watchdog.core.where_tree import Apply, FieldValue, WhereTree
from watchdog.stream.offer import OfferedField, OfferedKind
from watchdog.stream.where import NODES_MOST, ConditionError

KINDS_MOST: Final = 1_000
"""Kinds that one end may name: several times the catalogue, for tracepoints that users declare."""
COLUMNS_MOST: Final = 256
BATCHES_MOST: Final = 2_000  # of one delivery
ROWS_MOST: Final = 1 << 20  # of one batch
NAME_MOST: Final = 200  # characters of a kind, field, unit, or of another name
_TYPE_OF: Final = {dtype_of(typ): typ for typ in TYPES if typ not in {"str", "bytes", "prefix"}}
_BOOL: Final = np.dtype(np.bool_)
_CODES: Final = np.dtype("<u4")
_PLACES: Final = np.dtype("<i8")


class StreamFaultError(SourceError):
    """The other end sent what the protocol does not allow."""


def write_batch(target: Any, batch: Batch, types: Mapping[str, str]) -> None:
    """Write a batch into its message. types: of its columns as offered, where NumPy's own type does not say it."""
    target.kind, target.bootNs, target.rows = batch.kind, batch.boot_ns, batch.rows
    columns = target.init("columns", len(batch.columns))
    for one, (name, column) in zip(columns, batch.columns.items(), strict=True):
        one.name = name
        if isinstance(column, Strings):
            one.type = "str"
            one.data = column.codes.astype(_CODES).tobytes()
            one.dictionary = _encodable(column.values)
        elif isinstance(column, Blobs):
            one.type = "bytes"
            marks = column.offsets.astype(_PLACES)
            one.data = column.data[marks[0] : marks[-1]].tobytes()
            one.offsets = (marks - marks[0]).tobytes()
        else:
            one.type = types.get(name) or _TYPE_OF[column.dtype]
            one.data = column.tobytes()


def decode_batch(message: Any, node: str, source: str) -> Batch:
    """Return the batch of a message, with the node and source that the reader calls them.

    Columns of a type that this version does not know are left out. StreamFaultError: something does not fit.
    """
    kind, rows = _name(message.kind), message.rows
    if rows > ROWS_MOST or len(message.columns) > COLUMNS_MOST:
        raise StreamFaultError(f"a batch has {rows:,} rows and {len(message.columns):,} columns")
    columns: dict[str, Column] = {}
    for one in message.columns:
        name, typ = _name(one.name), one.type
        if name in columns:
            raise StreamFaultError(f"a batch of '{kind}' has the column '{name}' twice")
        if typ in TYPES:
            columns[name] = _column(one, typ, rows)
    times = columns.get("time_ns")
    if not isinstance(times, np.ndarray) or times.dtype != np.int64:
        raise StreamFaultError(f"a batch of '{kind}' has no times")
    return Batch(kind, node, source, columns, message.bootNs)


def _column(one: Any, typ: str, rows: int) -> Column:
    data = one.data
    dtype = dtype_of(typ)
    if dtype is None and typ == "bytes":
        return _blobs(data, one.offsets, rows)
    wanted = _CODES if dtype is None else dtype
    if len(data) != rows * wanted.itemsize:
        raise StreamFaultError(f"a column of {rows:,} rows has {len(data):,} bytes")
    values = np.frombuffer(bytes(data), wanted)
    if dtype is None:
        return _strings(values.view(np.uint32), one.dictionary, rows)
    if dtype == _BOOL and values.view(np.uint8).max(initial=0) > 1:
        raise StreamFaultError("a flag is neither 0 nor 1")
    return values


def _strings(codes: Any, dictionary: Any, rows: int) -> Strings:
    if len(dictionary) > max(rows, 1) + 1_000:  # a dictionary may serve many batches, but not as ballast
        raise StreamFaultError(f"a column of {rows:,} rows has {len(dictionary):,} distinct texts")
    values = tuple(dictionary)
    if len(codes) and int(codes.max()) >= len(values):
        raise StreamFaultError(f"a text column has a code outside of its {len(values):,} values")
    return Strings(codes.astype(np.int32), values)


def _blobs(data: Any, offsets: Any, rows: int) -> Blobs:
    marks = np.frombuffer(bytes(offsets), _PLACES) if len(offsets) == 8 * (rows + 1) else None
    if marks is None or marks[0] != 0 or marks[-1] != len(data) or (np.diff(marks) < 0).any():
        raise StreamFaultError("a column of byte strings has offsets that do not fit")
    return Blobs(marks.astype(np.int64), np.frombuffer(bytes(data), np.uint8))


def _encodable(texts: tuple[str, ...]) -> list[str]:
    """Escape lone surrogates, which UTF-8 cannot encode, with backslashes."""
    if "".join(texts).isascii():
        return list(texts)
    return [text.encode("utf-8", "backslashreplace").decode() for text in texts]


def _name(text: str) -> str:
    """Return a name from the other end, harmless; StreamFaultError for a long one."""
    if len(text) > NAME_MOST:
        raise StreamFaultError(f"a name has {len(text):,} characters")
    return printable(text)


def write_kinds(target: Any, kinds: Sequence[OfferedKind]) -> None:
    """Write kinds into a struct with a list `kinds`."""
    for place, kind in zip(target.init("kinds", len(kinds)), kinds, strict=True):
        place.name = kind.name
        write_fields(place.init("fields", len(kind.fields)), kind.fields)


def write_fields(target: Any, fields: Sequence[OfferedField]) -> None:
    """Write fields into a list of that length."""
    for place, (name, typ, unit) in zip(target, fields, strict=True):
        place.name, place.type, place.unit = name, typ, unit


def read_kinds(kinds: Any) -> tuple[OfferedKind, ...]:
    """Read a list of kinds; StreamFaultError for too many, or for two of one name."""
    if len(kinds) > KINDS_MOST:
        raise StreamFaultError(f"{len(kinds):,} kinds are more than {KINDS_MOST:,}")
    found = {_name(kind.name): OfferedKind(_name(kind.name), read_fields(kind.fields)) for kind in kinds}
    if len(found) != len(kinds):
        raise StreamFaultError("a kind is named twice")
    return tuple(found.values())


def read_fields(fields: Any, most: int = COLUMNS_MOST) -> tuple[OfferedField, ...]:
    """Read a list of fields; StreamFaultError for too many, or for two of one name. Unknown types pass."""
    if len(fields) > most:
        raise StreamFaultError(f"{len(fields):,} fields are more than {most}")
    found = {_name(one.name): (_name(one.name), _name(one.type), _name(one.unit)) for one in fields}
    if len(found) != len(fields):
        raise StreamFaultError("a field is named twice")
    return tuple(found.values())


def write_condition(target: Any, tree: WhereTree | None) -> None:
    """Write a condition into its struct; None leaves it absent."""
    if isinstance(tree, bool):
        target.flag = tree
    elif isinstance(tree, int):
        target.integer = tree
    elif isinstance(tree, float):
        target.number = tree
    elif isinstance(tree, str):
        target.text = tree
    elif isinstance(tree, FieldValue):
        target.field = tree.name
    elif isinstance(tree, Apply):
        operation = target.init("operation")
        operation.name = tree.name
        for place, part in zip(operation.init("parts", len(tree.parts)), tree.parts, strict=True):
            write_condition(place, part)


def read_condition(message: Any) -> WhereTree | None:
    """Read a condition; None when it is absent. ConditionError when it is too large or has an unknown part."""
    return None if message.which() == "absent" else _Tree().read(message)


class _Tree:
    """Reads a tree from the other end; a list in it is measured before it is walked."""

    def __init__(self) -> None:
        self._nodes = 0

    def read(self, message: Any) -> WhereTree:
        """Read a node and all below it; the reader itself follows no more than 64 pointers."""
        form = str(message.which())
        if form == "operation":
            operation = message.operation
            self._nodes += len(operation.parts)
            if self._nodes > NODES_MOST:
                raise ConditionError(f"a condition has more than {NODES_MOST:,} parts")
            return Apply(str(operation.name), tuple(self.read(part) for part in operation.parts))
        if form == "field":
            return FieldValue(str(message.field))
        if form not in {"flag", "integer", "number", "text"}:
            raise ConditionError("a condition has a part of an unknown form")
        value: bool | int | float | str = getattr(message, form)
        return value


def read_sizes(sizes: Any) -> dict[str, int]:
    """Read sizes of payloads by message type."""
    if len(sizes) > KINDS_MOST:
        raise StreamFaultError(f"{len(sizes):,} sizes of payloads are more than {KINDS_MOST:,}")
    return {_name(one.type): one.bytes for one in sizes}


def names_of(kinds: Iterable[OfferedKind]) -> frozenset[str]:
    """Return the names of kinds."""
    return frozenset(kind.name for kind in kinds)
