"""Export of messages in the layout that Bitcoin Core writes with -capturemessages, which Core's own parser reads.

    DIR/<address and port, ':' as '_'>/msgs_recv.dat and msgs_sent.dat
    a record: time u64 in microseconds, message type 12 bytes padded with NUL, payload length u32, payload; all little
    endian

Only whole messages are written: a record whose payload is cut or missing would be read as another message. Peers'
addresses come from strangers, or from a file of strangers: no name leads out of the folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchdog.archive.reader import EventsFile, Torn
from watchdog.core.batch import Batch, Blobs, Strings
from watchdog.core.errors import WatchdogError
from watchdog.core.source import END_OF_TIME_NS

FILES: Final = {"net:inbound_message": "msgs_recv.dat", "net:outbound_message": "msgs_sent.dat"}
"""By kind, the file of a peer's folder."""
LONGEST_NAME: Final = 120  # characters of a folder's name; an onion address with its port has 68
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9.\[\]_-]|^\.")
_TYPE: Final = re.compile(r"[!-\[\]-~]{1,12}")  # without the backslash that begins an escape
_HEADER: Final = np.dtype([("time_us", "<u8"), ("type", "S12"), ("size", "<u4")])


@dataclass(slots=True)
class CaptureExport:
    """What was written. cut: messages left out because their payload is not whole. odd: because of their type.

    torn_at: where the events file was torn, None when it was whole.
    """

    messages: int = 0
    cut: int = 0
    odd: int = 0
    peers: set[str] = field(default_factory=set)
    torn_at: Torn | None = None


def export_capture(path: str, out: Path, since_ns: int | None = None, until_ns: int | None = None) -> CaptureExport:
    """Write the messages of an events file into a folder that is empty or not there yet.

    since_ns, until_ns: times from the one on and before the other. SourceError: the file cannot be read.
    WatchdogError: the folder holds something. OSError: it cannot be written.
    """
    with EventsFile(path, tuple(FILES)) as file:  # first, so that a mistyped name is the only error
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise WatchdogError(f"'{out}' is no empty folder; a capture goes into a folder of its own")
        out.mkdir(parents=True, exist_ok=True)
        done = CaptureExport()
        for piece in file.slices():
            for batch in piece.batches:
                first_ns, end_ns = since_ns or 0, END_OF_TIME_NS if until_ns is None else until_ns
                chosen = (batch.time_ns >= first_ns) & (batch.time_ns < end_ns)
                _write(batch if chosen.all() else batch.take(np.flatnonzero(chosen)), out, done)
        done.torn_at = file.torn_at
    return done


def folder_name(peer: str) -> str:
    """Return the name of a peer's folder: as Core writes it, other characters as `%XX`."""
    raw = peer.replace(":", "_").encode("utf-8", "backslashreplace")
    name = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], raw).decode() or "%"
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 17]}-{hashlib.sha256(raw).hexdigest()[:16]}"


def _write(batch: Batch, out: Path, done: CaptureExport) -> None:
    """Append the whole messages of a batch to the files of their peers."""
    sizes = batch.numbers("size").astype(np.int64)
    payload = batch.columns.get("payload")
    present = batch.numbers("payload_size").astype(np.int64) if isinstance(payload, Blobs) else np.zeros(batch.rows)
    whole = present == sizes
    done.cut += int((~whole).sum())
    types = batch.strings("type")
    plain = np.array([_TYPE.fullmatch(text) is not None for text in types.values], np.bool_)[types.codes]
    done.odd += int((whole & ~plain).sum())
    rows = np.flatnonzero(whole & plain)
    for peer, own in _by_peer(batch.strings("peer"), rows):
        name = folder_name(peer)
        place = out / name
        if name not in done.peers:
            place.mkdir(exist_ok=True)
            done.peers.add(name)
        with (place / FILES[batch.kind]).open("ab") as file:
            file.writelines(_records(batch, types, sizes, own))
        done.messages += len(own)


def _by_peer(peers: Strings, rows: NDArray[np.intp]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Yield each peer with its rows, in their order."""
    if not len(rows):
        return
    codes = peers.codes[rows]
    order = np.argsort(codes, kind="stable")
    found, starts = np.unique(codes[order], return_index=True)
    for code, own in zip(found.tolist(), np.split(rows[order], starts[1:]), strict=True):
        yield peers.values[code], own


def _records(batch: Batch, types: Strings, sizes: NDArray[np.int64], rows: NDArray[np.intp]) -> Iterator[bytes]:
    """Yield header and payload of each message in turn."""
    heads = np.zeros(len(rows), _HEADER)
    heads["time_us"] = batch.time_ns[rows] // 1_000
    heads["type"] = [text.encode() for text in types.take(rows).tolist()]
    heads["size"] = sizes[rows]
    payload = batch.columns.get("payload")
    bodies = payload.take(rows).tolist() if isinstance(payload, Blobs) else [b""] * len(rows)
    for head, body in zip(heads, bodies, strict=True):
        yield head.tobytes()
        yield body
