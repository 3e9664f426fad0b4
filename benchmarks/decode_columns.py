"""decode-columns: an events file to NumPy columns, against the same rows through pycapnp attributes.

Both sides read six columns of the same events from a file in the page cache, in turns within one run. Ours pays for
checksums, decompression (zstd, as `watchdog record` writes) and all checks. The rival only touches each attribute.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import capnp
import numpy as np

from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Batch, Column, Slice, Strings

NAME = "decode-columns"
GATE = 100.0
ROUNDS = 7
BLOCK_ROWS = 10_000
BLOCKS = 100
RIVAL_BLOCKS = 3  # the rival is slow: fewer rows, and the rate is compared
PEERS = tuple(f"136.43.{number % 256}.{number // 256}:8333" for number in range(125))
TYPES = ("inv", "addr", "addrv2", "tx", "ping", "pong", "getdata", "headers", "feefilter", "sendcmpct")


def batch_at(number: int, rows: int = BLOCK_ROWS) -> Batch:
    """A batch of messages of 125 peers, 1,000 a second."""
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


def write_rows(path: Path, schema: Any) -> None:
    """The rival's file: the same events as lists of structs, 1,000 a message."""
    with path.open("wb") as file:
        for number in range(RIVAL_BLOCKS):
            batch = batch_at(number)
            columns = [c.tolist() for c in batch.columns.values()]
            names = ("timeNs", "conn", "peer", "type", "size", "known")
            rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
            for start in range(0, len(rows), 1_000):
                schema.Rows.new_message(rows=rows[start : start + 1_000]).write(file)


def read_columns(path: Path) -> int:
    """Rows that became columns."""
    with EventsFile(path, strict=True) as file:
        return sum(batch.rows for piece in file.slices() for batch in piece.batches)


def read_rows(path: Path, schema: Any) -> int:
    """Rows whose attributes were read."""
    count = 0
    with path.open("rb") as file:
        for message in schema.Rows.read_multiple(file, traversal_limit_in_words=1 << 40):
            for row in message.rows:
                _ = row.timeNs, row.conn, row.peer, row.type, row.size, row.known
                count += 1
    return count


def rate(work: Callable[[], int]) -> float:
    """Rows a second of one run."""
    start = time.perf_counter()
    return work() / (time.perf_counter() - start)


def measure() -> list[dict[str, object]]:
    """The rows of the result table: the gated one, and the same without compression at 1,000 rows a block."""
    schema = capnp.load(str(Path(__file__).with_name("rows.capnp")))
    with tempfile.TemporaryDirectory() as name:
        usual, small, rival = (Path(name) / file for file in ("usual", "small", "rival"))
        write_columns(usual, BLOCK_ROWS, BLOCKS, level=1)
        write_columns(small, 1_000, BLOCKS * 4, level=0)
        write_rows(rival, schema)
        runs = [
            (
                rate(lambda: read_columns(usual)),
                rate(lambda: read_columns(small)),
                rate(lambda: read_rows(rival, schema)),
            )
            for _ in range(ROUNDS)
        ]
    columns, plain, rows = (statistics.median(run[at] for run in runs) for at in range(3))
    ratios = [statistics.median(run[at] / run[2] for run in runs) for at in range(2)]
    shared: dict[str, object] = {"rival": round(rows), "unit": "rows/s", "rival_name": "pycapnp attributes"}
    return [
        {"name": NAME, "ours": round(columns), "ratio": round(ratios[0], 1), **shared},
        {"name": f"{NAME}-1000-plain", "ours": round(plain), "ratio": round(ratios[1], 1), **shared},
    ]


if __name__ == "__main__":
    for line in measure():
        print(line)
