"""Joining columns of events that were made apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from watchdog.core.batch import Batch, Blobs, Column, Strings


def joined(parts: Sequence[Mapping[str, Column]]) -> dict[str, Column]:
    """Return one set of columns with the rows of all parts, in order; every part has the same columns."""
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def joined_batches(batches: Sequence[Batch]) -> Batch:
    """Return one batch with the rows of all, in order; they are `alike`."""
    first = batches[0]
    if len(batches) == 1:
        return first
    columns = joined([batch.columns for batch in batches])
    return Batch(first.kind, first.node, first.source, columns, first.boot_ns)


def alike(one: Batch, other: Batch) -> bool:
    """Return whether two batches of a kind can be joined: one origin, the same columns of the same types."""
    origins = [(batch.node, batch.source, batch.boot_ns) for batch in (one, other)]
    return origins[0] == origins[1] and _form(one) == _form(other)


def _form(batch: Batch) -> list[tuple[str, object]]:
    return [
        (name, column.dtype if isinstance(column, np.ndarray) else type(column))
        for name, column in batch.columns.items()
    ]


def taken(column: Column, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Column:
    """Return the chosen rows of a column."""
    return column[rows] if isinstance(column, np.ndarray) else column.take(rows)


def _joined(columns: Sequence[Column]) -> Column:
    texts = [column for column in columns if isinstance(column, Strings)]
    blobs = [column for column in columns if isinstance(column, Blobs)]
    if texts:
        return _joined_texts(texts)
    return (
        _joined_blobs(blobs)
        if blobs
        else np.concatenate([column for column in columns if isinstance(column, np.ndarray)])
    )


def _joined_texts(columns: Sequence[Strings]) -> Strings:
    values = columns[0].values
    if all(column.values is values for column in columns):  # a source often sends the same dictionary again
        return Strings(np.concatenate([column.codes for column in columns]), values)
    found: dict[str, int] = {}
    coded = []
    for column in columns:
        translation = [found.setdefault(value, len(found)) for value in column.values]
        coded.append(np.array(translation or [0], np.int32)[column.codes])
    return Strings(np.concatenate(coded), tuple(found))


def _joined_blobs(columns: Sequence[Blobs]) -> Blobs:
    bases = np.cumsum([0, *(int(column.offsets[-1] - column.offsets[0]) for column in columns)])
    offsets = [column.offsets[1:] - column.offsets[0] + base for column, base in zip(columns, bases, strict=False)]
    data = [column.data[column.offsets[0] : column.offsets[-1]] for column in columns]
    return Blobs(np.concatenate([np.zeros(1, np.int64), *offsets]), np.concatenate(data))
