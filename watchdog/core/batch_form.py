"""Batches of another version, or from another program, in the form of this one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from watchdog.core.batch import Batch, Blobs, Column, Strings
from watchdog.core.kinds import Field, dtype_of


def fits(column: Column, field: Field) -> bool:
    """Return whether a column has the type of a field."""
    if isinstance(column, Strings):
        return field.type == "str"
    if isinstance(column, Blobs):
        return field.type == "bytes"
    return column.dtype == dtype_of(field.type)


def adapted(batch: Batch, fields: Mapping[str, Field]) -> Batch:
    """Return a batch with this version's columns: unknown ones left out, missing ones empty or zero.

    A netblock that is missing is the netgroup: the same unless the file was made with an asmap, and then an AS; 0 would
    put all peers into one netblock.
    """
    if list(batch.columns) == list(fields) and all(fits(batch.columns[name], field) for name, field in fields.items()):
        return batch
    columns: dict[str, Column] = {}
    for name, field in fields.items():
        column = batch.columns.get(name)
        if column is None and name.endswith("netblock"):
            column = batch.columns.get(name.removesuffix("netblock") + "netgroup")
        columns[name] = column if column is not None and fits(column, field) else _blank(field.type, batch.rows)
    return Batch(batch.kind, batch.node, batch.source, columns, batch.boot_ns)


def _blank(typ: str, rows: int) -> Column:
    dtype = dtype_of(typ)
    if dtype is not None:
        return np.zeros(rows, dtype)
    if typ == "str":
        return Strings.constant("", rows)
    return Blobs(np.zeros(rows + 1, np.int64), np.zeros(0, np.uint8))
