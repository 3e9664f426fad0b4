"""Capture trees made by hand: records as Bitcoin Core writes them, in folders named after peers."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from watchdog.core.batch import Batch, Blobs, Slice, Strings
from watchdog.core.source import Source, SourceOptions
from watchdog.sources.capture.source import CaptureSource

START_US = 1_770_000_000_000_000
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
PEER = "8.8.8.8_50000"
OTHER = "[2a01_4f8__2]_8333"


def record(time_us: int, type_: str, payload: bytes = b"") -> bytes:
    """One record: time, type, length, payload."""
    return (
        time_us.to_bytes(8, "little") + type_.encode().ljust(12, b"\0") + len(payload).to_bytes(4, "little") + payload
    )


def append(root: Path, folder: str, received: bool, data: bytes) -> None:
    """Write more bytes to the end of one file, as the node does."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    with (root / folder / ("msgs_recv.dat" if received else "msgs_sent.dat")).open("ab") as file:
        file.write(data)


def addr_payload(entries: int) -> bytes:
    """An addr message of that many IPv4 entries."""
    head = bytes([entries]) if entries < 253 else b"\xfd" + entries.to_bytes(2, "little")
    one = (1_770_000_000).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(10) + b"\xff\xff"
    return head + b"".join(
        one + bytes((8, 8, at >> 8 & 255, at & 255)) + (8333).to_bytes(2, "big") for at in range(entries)
    )


def handshake(root: Path, folder: str, time_us: int, inbound: bool, reply_us: int = 50_000) -> None:
    """Both version messages of a connection; the side that was called answers after `reply_us`."""
    append(root, folder, inbound, record(time_us, "version", bytes(85)))
    append(root, folder, not inbound, record(time_us + reply_us, "version", bytes(85)))


def read_all(source: Source) -> list[Slice]:
    """Poll a finite source to its end."""
    slices: list[Slice] = []
    while not source.ended:
        slice_ = source.poll()
        if slice_ is not None:
            slices.append(slice_)
    return slices


def ping(time_us: int, nonce: int = 7) -> bytes:
    """The record of a ping."""
    return record(time_us, "ping", nonce.to_bytes(8, "little"))


def pong(time_us: int, nonce: int = 7) -> bytes:
    """The record of a pong."""
    return record(time_us, "pong", nonce.to_bytes(8, "little"))


def slices_of(root: Path, options: SourceOptions | None = None) -> list[Slice]:
    """All that a tree gives when it is read once."""
    return read_all(CaptureSource(str(root), options or SourceOptions()))


def follower(root: Path, position: Mapping[str, object] | None = None) -> CaptureSource:
    """A source that follows the tree."""
    return CaptureSource(str(root), SourceOptions(follow=True, position=position))


def drained(source: Source) -> list[Slice]:
    """Everything a following source has until two polls bring nothing."""
    found: list[Slice] = []
    quiet = 0
    while quiet < 2:
        slice_ = source.poll()
        quiet = quiet + 1 if slice_ is None else 0
        if slice_ is not None:
            found.append(slice_)
    return found


def batches(slices: Iterable[Slice], kind: str) -> list[Batch]:
    """All batches of a kind, in order."""
    return [batch for slice_ in slices for batch in slice_.batches if batch.kind == kind]


def column(slices: Iterable[Slice], kind: str, name: str) -> list[object]:
    """One column of a kind over all slices, as plain values."""
    values: list[object] = []
    for batch in batches(slices, kind):
        values += batch.columns[name].tolist()
    return values


def events(slices: Iterable[Slice]) -> list[tuple[object, ...]]:
    """Every event as a tuple of its kind and its fields, batch by batch: equal lists mean equal events in equal order
    within each kind."""
    by_kind: dict[str, list[tuple[object, ...]]] = {}
    for slice_ in slices:
        for batch in slice_.batches:
            names = sorted(batch.columns)
            rows = zip(*(plain(batch, name) for name in names), strict=True)
            by_kind.setdefault(batch.kind, []).extend((batch.kind, *row) for row in rows)
    return [event for kind in sorted(by_kind) for event in by_kind[kind]]


def plain(batch: Batch, name: str) -> list[object]:
    """A column as plain values."""
    values = batch.columns[name]
    assert isinstance(values, np.ndarray | Strings | Blobs)
    return list(values.tolist())


def unpack_tree(archive: Path, folder: Path) -> None:
    """Write the capture tree of a recording's archive into a folder."""
    # Python's safe way to unpack came with 3.11.4; Debian 12 has 3.11.2, where nothing warns of the older way.
    safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as tar:
        tar.extractall(folder, **safely)
