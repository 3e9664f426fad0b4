"""Batches from other programs: made from rows, and checked before the engine takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.errors import WatchdogError
from watchdog.core.kinds import Field, Kind, dtype_of, kind_named
from watchdog.core.moments import EARLIEST_NS
from watchdog.core.payload_columns import MESSAGES, PAYLOAD, PAYLOAD_SIZE
from watchdog.core.prefix import parse_prefix

LATEST_NS: Final = 4_102_444_800 * 10**9  # 2100-01-01: a later time is a wrong unit, and would end all windows


def batch_of(kind: str, rows: Sequence[Mapping[str, object]], *, node: str, source: str, boot_ns: int = 0) -> Batch:
    """Return events of one kind as columns.

    Callers that have one record for each event call this before `Engine.process`; those that have columns construct a
    `Batch` of them. The rows are not kept.

    :arg kind: a kind of docs/EVENTS.md, such as `p2p:addr`.

    :arg rows: one mapping of field to value for each event, with every field of the kind; `payload` and `payload_size`
        of messages may be left out. `time_ns` is the event time in nanoseconds since the epoch, UTC. Text is `str`,
        bytes are `bytes`, a prefix is text such as `198.51.0.0/16` or `AS64496`, or the whole number that such a column
        holds.

    :arg node: the name of the node, as the engine was given it.

    :arg source: the name of the source, one of the engine's.

    :arg boot_ns: start of the node process, nanoseconds since the epoch; 0 when unknown.

    :returns: a batch with the columns of the kind, in the order of the rows.

    :raises ValueError: for an unknown kind, a missing or unknown field, or a value that its column cannot hold.
    """
    fields = known_kind(kind).fields
    if kind in MESSAGES:
        rows = [{PAYLOAD: b"", PAYLOAD_SIZE: 0, **row} for row in rows]
    for number, row in enumerate(rows):
        if row.keys() != fields.keys():
            raise ValueError(f"row {number} of kind '{kind}' {_difference(fields, row)}")
    columns = {name: _column(field, [row[name] for row in rows], kind) for name, field in fields.items()}
    return Batch(kind, node, source, columns, boot_ns)


def check_batch(batch: Batch, node: str) -> None:
    """Raise ValueError, in one line, for a batch whose kind, columns, times or node do not fit; it is only read."""
    if batch.node != node:
        raise ValueError(f"batch of node {batch.node!r}, the engine judges node {node!r}")
    fields = known_kind(batch.kind).fields
    if batch.columns.keys() != fields.keys():
        raise ValueError(f"batch of kind '{batch.kind}' {_difference(fields, batch.columns)}")
    for name, field in fields.items():
        column = batch.columns[name]
        if not _fits(column, field):
            raise ValueError(f"column '{name}' of kind '{batch.kind}' is not of type {field.type}")
        if len(column) != batch.rows:
            raise ValueError(f"column '{name}' of kind '{batch.kind}' has {len(column)} rows, time_ns {batch.rows}")
        if fault := _fault(column):
            raise ValueError(f"column '{name}' of kind '{batch.kind}' has {fault}")
    if batch.rows and not EARLIEST_NS <= batch.time_ns.min() <= batch.time_ns.max() <= LATEST_NS:
        raise ValueError(f"an event time of kind '{batch.kind}' is before 2009 or after 2099: times are nanoseconds")


def known_kind(name: str) -> Kind:
    """Return a kind of the catalogue; ValueError, with the nearest one, for an unknown name."""
    try:
        return kind_named(name)
    except WatchdogError as error:
        raise ValueError(str(error)) from None


def _difference(fields: Mapping[str, Field], given: Mapping[str, Any]) -> str:
    missing = [name for name in fields if name not in given]
    return f"lacks '{missing[0]}'" if missing else f"has an unknown field '{next(iter(given.keys() - fields.keys()))}'"


def _column(field: Field, values: list[Any], kind: str) -> Column:
    if field.type == "prefix":
        values = [parse_prefix(value) if isinstance(value, str) else value for value in values]
    wanted = {"str": str, "bytes": bytes, "bool": bool | np.bool_, "f64": float | int | np.number}.get(
        field.type, int | np.integer
    )
    if not all(isinstance(value, wanted) for value in values):
        raise ValueError(f"a value of '{field.name}' of kind '{kind}' is not of type {field.type}")
    if field.type == "str":
        return Strings.of(values)
    if field.type == "bytes":
        return Blobs.of(values)
    try:
        return np.array(values, dtype_of(field.type))
    except OverflowError:
        raise ValueError(f"a value of '{field.name}' of kind '{kind}' does not fit {field.type}") from None


def _fits(column: Column, field: Field) -> bool:
    if field.type == "str":
        return isinstance(column, Strings) and column.codes.dtype == np.int32 and column.codes.ndim == 1
    if field.type == "bytes":
        return isinstance(column, Blobs)
    return isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype == dtype_of(field.type)


def _fault(column: Column) -> str:
    """Return what would make reading a column fail; empty without a fault."""
    if isinstance(column, Strings):
        codes, values = column.codes, column.values
        if len(codes) and not 0 <= codes.min() <= codes.max() < len(values):
            return "codes outside its dictionary"
        return "" if set(map(type, values)) <= {str} else "a dictionary of more than text"
    if isinstance(column, Blobs):
        offsets = column.offsets
        whole = offsets.dtype == np.int64 and column.data.dtype == np.uint8 and offsets.ndim == column.data.ndim == 1
        if not whole or not 0 <= offsets[0] <= offsets[-1] <= len(column.data) or (np.diff(offsets) < 0).any():
            return "offsets that do not fit its data"
    return ""
