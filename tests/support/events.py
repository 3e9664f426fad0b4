"""Batches made by hand, complete in every column of their kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from watchdog.core.batch import Batch, Blobs, Column, Slice, Strings
from watchdog.core.kinds import KINDS, dtype_of
from watchdog.core.prefix import parse_prefix

SECOND = 1_000_000_000


def batch(kind: str, rows: Sequence[dict[str, Any]], *, source: str = "hand", node: str = "node") -> Batch:
    """A batch of `rows`; `t` is the time in seconds, fields that are not given are zero or empty.

    A netblock that is not given is the netgroup, as on a watchdog without an asmap.
    """
    columns: dict[str, Column] = {"time_ns": np.array([int(row["t"] * SECOND) for row in rows], np.int64)}
    for name, field in KINDS[kind].fields.items():
        if name == "time_ns":
            continue
        twin = name.replace("netblock", "netgroup")
        values = [row.get(name, row.get(twin)) for row in rows]
        if field.type == "str":
            columns[name] = Strings.of([value or "" for value in values])
        elif field.type == "bytes":
            columns[name] = Blobs.of([value or b"" for value in values])
        else:
            numbers = [parse_prefix(value) if isinstance(value, str) else value or 0 for value in values]
            columns[name] = np.array(numbers, dtype_of(field.type))
    return Batch(kind, node, source, columns)


def one_slice(batches: Sequence[Batch], until: float, source: str = "hand") -> Slice:
    """A slice of these batches, whose watermark is `until` seconds."""
    return Slice(source, tuple(batches), int(until * SECOND))
