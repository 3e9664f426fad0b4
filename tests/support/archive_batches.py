"""Batches for tests of the recording format, and their comparison."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from watchdog.core.batch import Batch, Blobs, Column, Slice, Strings
from watchdog.core.kinds import KINDS, dtype_of

START_NS = 1_770_000_000 * 10**9  # 2026-02-02, of the first slice


def plain(column: Column) -> object:
    """A column as something that == compares."""
    return (str(column.dtype), column.tobytes()) if isinstance(column, np.ndarray) else column.tolist()


def content(batch: Batch) -> object:
    """A batch as something that == compares."""
    return (
        batch.kind,
        batch.node,
        batch.source,
        batch.boot_ns,
        {name: plain(column) for name, column in batch.columns.items()},
    )


def contents(pieces: list[Slice]) -> list[object]:
    """Slices as something that == compares."""
    return [
        (piece.source, piece.until_ns, dict(piece.position), [content(batch) for batch in piece.batches])
        for piece in pieces
    ]


def random_column(typ: str, rows: int, rng: np.random.Generator) -> Column:
    """Any values of a type, extremes included."""
    if typ == "str":
        values = tuple(f"värde {number}\0\n" for number in range(int(rng.integers(1, 9))))
        return Strings(rng.integers(0, len(values), rows).astype(np.int32), values)
    if typ == "bytes":
        return Blobs.of([rng.bytes(int(size)) for size in rng.integers(0, 40, rows)])
    dtype = dtype_of(typ)
    assert dtype is not None
    if typ == "bool":
        return rng.integers(0, 2, rows).astype(np.bool_)
    return np.frombuffer(rng.bytes(rows * dtype.itemsize), dtype)


def batch_of(kind: str, rows: int, seed: int = 0, start_ns: int | None = None) -> Batch:
    """A batch with random columns; times count up by one second from `start_ns` when it is given."""
    rng = np.random.default_rng(seed)
    columns = {name: random_column(field.type, rows, rng) for name, field in KINDS[kind].fields.items()}
    if start_ns is not None:
        columns["time_ns"] = start_ns + np.arange(rows, dtype=np.int64) * 1_000_000_000
    return Batch(kind, "node", "test:a", columns, seed)


def slice_of(number: int, rows: int = 20, source: str = "test:a") -> Slice:
    """The n-th slice: two batches in the n-th stretch of 100 seconds."""
    start = START_NS + number * 100 * 1_000_000_000
    batches = (
        batch_of("net:inbound_message", rows, number, start),
        batch_of("log:tip", rows // 2, number + 1, start),
    )
    return Slice(source, batches, start + 100 * 1_000_000_000, {"offset": number})


BATCHES = st.builds(
    batch_of,
    st.sampled_from(sorted(KINDS)),
    st.integers(1, 60),
    st.integers(0, 1 << 30),
)
SLICES = st.builds(
    Slice,
    st.text(max_size=9).filter(lambda text: text.isprintable()),
    st.lists(BATCHES, max_size=4).map(tuple),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.integers() | st.text(max_size=3), max_size=3),
)
