"""An events file of what a node's tracepoints give, made by hand, and the tap run on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.events import SECOND, batch
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Batch, Slice

START_S = 1_790_000_000  # 2026-09-21, a multiple of 5 s and of 10 s
SOURCE = "stream:node.sock"


def peer(conn: int, direction: str = "in", address: str = "") -> dict[str, Any]:
    """The peer fields of a connection."""
    address = address or f"192.0.2.{conn % 256}"
    return {
        "conn": conn,
        "peer": f"{address}:8333",
        "peer_addr": address,
        "network": "ipv4",
        "direction": direction,
        "connection_type": "inbound" if direction == "in" else "outbound-full-relay",
        "age_s": 60,
    }


def message(at_s: float, type_: str, size: int, who: dict[str, Any]) -> dict[str, Any]:
    """A row of `net:*_message`, `at_s` seconds after the start."""
    return {"t": START_S + at_s, "type": type_, "size": size, "known": True, **who}


def rows(kind: str, *some: dict[str, Any]) -> Batch:
    """A batch of a kind; each row's `at` is seconds after the start."""
    timed = [{"t": START_S + row["at"], **row} if "at" in row else row for row in some]
    return batch(kind, timed, source=SOURCE)


def written(path: Path, slices: Sequence[tuple[float, Sequence[Batch]]]) -> str:
    """Write slices, each with its watermark in seconds after the start and its batches; return the source's text."""
    with EventsWriter(path, (SOURCE,)) as file:
        for until_s, batches in slices:
            file.write(Slice(SOURCE, tuple(batches), int((START_S + until_s) * SECOND)))
    return f"events:{path}"
