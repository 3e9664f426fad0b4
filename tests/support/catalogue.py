"""Batches held against the catalogue of kinds."""

from __future__ import annotations

import numpy as np

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.kinds import KINDS, dtype_of


def empty_columns(kind: str) -> dict[str, Column]:
    """Columns of no rows for a kind, in catalogue order; KeyError when it is unknown."""
    fields = KINDS[kind].fields
    return {name: _empty_column(field.type) for name, field in fields.items()}


def check_batch(batch: Batch) -> None:
    """ValueError, with the column and its expected type, unless the batch is as the catalogue says."""
    kind = KINDS.get(batch.kind)
    if kind is None:
        raise ValueError(f"unknown kind '{batch.kind}'")
    for name in batch.columns:
        if name not in kind.fields:
            raise ValueError(f"{batch.kind}: column '{name}' is not in the catalogue")
    for name, field in kind.fields.items():
        if name not in batch.columns:
            raise ValueError(f"{batch.kind}: column '{name}' ({field.type}) is missing")
        fault = _column_fault(batch.columns[name], field.type, batch.rows)
        if fault:
            raise ValueError(f"{batch.kind}: column '{name}' must be {field.type}: {fault}")


def _empty_column(typ: str) -> Column:
    if typ == "str":
        return Strings(np.zeros(0, np.int32), ())
    if typ == "bytes":
        return Blobs(np.zeros(1, np.int64), np.zeros(0, np.uint8))
    return np.zeros(0, dtype_of(typ))


def _column_fault(column: Column, typ: str, rows: int) -> str:
    """What is wrong with a column, or the empty string."""
    if typ == "str":
        fault = _strings_fault(column) if isinstance(column, Strings) else "it is not Strings"
    elif typ == "bytes":
        fault = _blobs_fault(column) if isinstance(column, Blobs) else "it is not Blobs"
    elif not isinstance(column, np.ndarray):
        fault = f"it is {type(column).__name__}"
    elif column.dtype != dtype_of(typ):
        fault = f"it is {column.dtype}"
    else:
        fault = "" if column.ndim == 1 else f"it has {column.ndim} dimensions"
    if not fault and len(column) != rows:
        fault = f"it has {len(column)} rows, time_ns has {rows}"
    return fault


def _strings_fault(column: Strings) -> str:
    codes = column.codes
    if codes.dtype != np.int32 or codes.ndim != 1:
        return f"its codes are {codes.dtype}, not int32"
    if len(codes) and (codes.min() < 0 or codes.max() >= len(column.values)):
        return f"a code is outside of its {len(column.values)} values"
    return ""


def _blobs_fault(column: Blobs) -> str:
    offsets = column.offsets
    if offsets.dtype != np.int64 or offsets.ndim != 1 or not len(offsets):
        return "its offsets are not int64, one more than rows"
    if column.data.dtype != np.uint8:
        return f"its data is {column.data.dtype}, not uint8"
    if offsets[0] < 0 or offsets[-1] > len(column.data) or (np.diff(offsets) < 0).any():
        return f"its offsets do not fit {len(column.data)} bytes"
    return ""
