"""decode-columns: an events file to NumPy columns, against the same rows through pycapnp attributes.

Both sides read six columns of the same events from a file in the page cache, in turns within one run. Ours pays for
checksums, decompression (zstd, as `watchdog record` writes) and all checks. The rival only touches each attribute.
"""

from __future__ import annotations

import tempfile
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks.rivals import capnp_attributes
from benchmarks.rounds import Row, Settings, by_rate, cpu_seconds, in_turns
from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Batch, Column, Slice, Strings

NAME = "decode-columns"
GATE = 100.0
BLOCK_ROWS = 10_000
BLOCKS, QUICK_BLOCKS = 100, 10
RIVAL_BLOCKS = 3  # the rival is slow: fewer rows, and the rate is compared
PEERS = tuple(f"136.43.{number % 256}.{number // 256}:8333" for number in range(125))
TYPES = ("inv", "addr", "addrv2", "tx", "ping", "pong", "getdata", "headers", "feefilter", "sendcmpct")


def measure(settings: Settings) -> list[Row]:
    """Return the gated row, and for information the same without compression at 1,000 rows a block."""
    blocks = QUICK_BLOCKS if settings.quick else BLOCKS
    with tempfile.TemporaryDirectory() as name:
        usual, small, rival = (Path(name) / file for file in ("usual", "small", "rival"))
        write_columns(usual, BLOCK_ROWS, blocks, level=1)
        write_columns(small, 1_000, blocks * 4, level=0)
        capnp_attributes.write(rival, chain.from_iterable(plain_rows(number) for number in range(RIVAL_BLOCKS)))

        def theirs(_: int) -> float:
            return RIVAL_BLOCKS * BLOCK_ROWS / cpu_seconds(lambda: capnp_attributes.read(rival))

        found = in_turns(settings.rounds, lambda _: blocks * BLOCK_ROWS / cpu_seconds(lambda: read(usual)), theirs)
        plain = in_turns(settings.rounds, lambda _: blocks * 4_000 / cpu_seconds(lambda: read(small)), theirs)
    return [
        by_rate(NAME, found, "rows/s", "pycapnp attributes", gate=GATE, note="10,000 rows a block, zstd"),
        by_rate(f"{NAME}-1000", plain, "rows/s", "pycapnp attributes", note="1,000 rows a block, plain"),
    ]


def batch_at(number: int, rows: int = BLOCK_ROWS) -> Batch:
    """Return a batch of messages of 125 peers, 1,000 a second."""
    rng = np.random.default_rng(number)
    conn = rng.integers(0, len(PEERS), rows)
    columns: dict[str, Column] = {
        "time_ns": 1_768_000_000_000_000_000 + (number * rows + np.arange(rows)) * 1_000_000,
        "conn": conn,
        "peer": Strings(conn.astype(np.int32), PEERS),
        "type": Strings(rng.integers(0, len(TYPES), rows).astype(np.int32), TYPES),
        "size": rng.integers(0, 40_000, rows).astype(np.uint32),
        "known": rng.random(rows) < 0.99,
    }
    return Batch("net:inbound_message", "node", "capture:x", columns)


def write_columns(path: Path, rows: int, blocks: int, level: int) -> None:
    """Our format: one slice a batch."""
    with EventsWriter(path, ("capture:x",), level=level) as out:
        for number in range(blocks):
            batch = batch_at(number, rows)
            out.write(Slice("capture:x", (batch,), int(batch.time_ns[-1]), {"at": number}))


def plain_rows(number: int) -> list[tuple[object, ...]]:
    """Return the rows of a batch as tuples."""
    columns = batch_at(number).columns.values()
    values = [list(column.tolist()) for column in columns if isinstance(column, np.ndarray | Strings)]
    return list(zip(*values, strict=True))


def read(path: Path) -> int:
    """Rows that became columns."""
    with EventsFile(path, strict=True) as file:
        return sum(batch.rows for piece in file.slices() for batch in piece.batches)
