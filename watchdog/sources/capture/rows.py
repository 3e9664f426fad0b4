"""One cut of a capture tree as columns over messages, by time: types, sizes, payloads, connections."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from watchdog.core.batch import Strings
from watchdog.sources.capture.connections import Connection, ConnectionTracker, FolderRows
from watchdog.sources.capture.cut import Cut
from watchdog.sources.capture.files import HEADER_BYTES, RecordSpan
from watchdog.sources.messages.rows import CODES, KNOWN_TYPES, MessageRows, stable_order, type_text
from watchdog.sources.wire.messages import PADDING

_RECORD: Final = np.dtype([("time_us", "<u8"), ("head", "<u8"), ("tail", "<u4"), ("size", "<u4")])
_MIX_HEAD: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_TAIL: Final = np.uint64(0xC2B2AE3D27D4EB4F)


def message_rows(cut: Cut, tracker: ConnectionTracker, ended: bool = False) -> MessageRows:
    """Join the parts of a cut, find the connections, sort by time.

    ended: this cut is the last, so no connection is silent beyond the last message.
    """
    parts, folders = _flat(cut)
    data = b"".join([*(part.data for part in parts), bytes(PADDING)])
    lengths = np.array([len(part.starts) for part in parts])
    bases = np.cumsum([0, *(len(part.data) for part in parts[:-1])])
    starts = np.concatenate([part.starts for part in parts]) + np.repeat(bases, lengths)
    every: NDArray[np.void] = np.ndarray((len(data) - HEADER_BYTES + 1,), _RECORD, data, strides=(1,))
    records = every[starts]
    time_us = records["time_us"].astype(np.int64)
    codes, names = _types(records["head"], records["tail"])
    received = np.zeros(len(starts), np.bool_)
    for one in folders:
        received[one.middle : one.stop] = True
    slots, connections = _connections(folders, tracker, time_us, codes)
    changes = tracker.finish(int(time_us.max()) if ended else cut.until_us)
    for change in changes:
        connections.setdefault(change.connection, len(connections))
    order = stable_order(time_us)
    return MessageRows(
        time_us[order],
        Strings(codes[order], names),
        records["size"][order],
        received[order],
        slots[order],
        data,
        starts[order] + HEADER_BYTES,
        list(connections),
        changes,
    )


@dataclass(slots=True)
class _Folder:
    """Rows [start, middle) were sent to, rows [middle, stop) received from, one folder's peer."""

    name: str
    start: int
    middle: int
    stop: int
    fresh: bool


def _flat(cut: Cut) -> tuple[list[RecordSpan], list[_Folder]]:
    """Return all parts, folder by folder, sent ones first; and where the rows of each folder are."""
    parts: list[RecordSpan] = []
    folders: list[_Folder] = []
    row = 0
    for name, (sent, received) in cut.folders.items():
        parts += sent
        parts += received
        middle = row + sum(len(part.starts) for part in sent)
        stop = middle + sum(len(part.starts) for part in received)
        folders.append(_Folder(name, row, middle, stop, bool(received) and received[0].fresh))
        row = stop
    return parts, folders


def _types(head: NDArray[np.uint64], tail: NDArray[np.uint32]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return the dictionary codes of the 12-byte types: known types have fixed codes, others follow as they appear."""
    mixed = head * _MIX_HEAD ^ tail * _MIX_TAIL
    at = np.minimum(np.searchsorted(_KNOWN_MIXED, mixed), len(KNOWN_TYPES) - 1)
    codes = _KNOWN_ORDER[at]
    unknown = np.flatnonzero((_KNOWN_HEAD[codes] != head) | (_KNOWN_TAIL[codes] != tail))
    if not len(unknown):
        return codes, KNOWN_TYPES
    found = dict(CODES)
    pairs = zip(head[unknown].tolist(), tail[unknown].tolist(), strict=True)
    texts = [(a.to_bytes(8, "little") + b.to_bytes(4, "little")).rstrip(b"\0").decode("latin-1") for a, b in pairs]
    codes[unknown] = [found.setdefault(text, len(found)) for text in texts]
    return codes, tuple(type_text(text) for text in found)


def _mixed_known() -> tuple[NDArray[np.uint64], NDArray[np.int32], NDArray[np.uint64], NDArray[np.uint64]]:
    raw = np.frombuffer(b"".join(name.encode().ljust(12, b"\0") for name in KNOWN_TYPES), np.uint8).reshape(-1, 12)
    head = raw[:, :8].copy().view("<u8")[:, 0]
    tail = raw[:, 8:].copy().view("<u4")[:, 0].astype(np.uint64)
    mixed = head * _MIX_HEAD ^ tail * _MIX_TAIL
    order = np.argsort(mixed).astype(np.int32)
    return mixed[order], order, head, tail


_KNOWN_MIXED, _KNOWN_ORDER, _KNOWN_HEAD, _KNOWN_TAIL = _mixed_known()


def _connections(
    folders: list[_Folder], tracker: ConnectionTracker, time_us: NDArray[np.int64], codes: NDArray[np.int32]
) -> tuple[NDArray[np.int32], dict[Connection, int]]:
    """Return the slot of each row (rows folder by folder, sent first), and the connections with their slots."""
    greetings = np.flatnonzero(codes == CODES["version"]).tolist()
    asking = np.flatnonzero(codes == CODES["getaddr"]).tolist()
    times = time_us.tolist()
    connections: dict[Connection, int] = {}
    slots: list[int] = []
    lengths: list[int] = []
    for one in folders:
        row, middle, stop = one.start, one.middle, one.stop
        greeted = bisect_left(greetings, row)
        quiet = greeted == len(greetings) or greetings[greeted] >= stop
        known = tracker.going_on(one.name, times[row:middle], times[middle:stop]) if quiet else None
        if known is not None:
            slots.append(connections.setdefault(known, len(connections)))
            lengths.append(stop - row)
            continue
        rows = FolderRows(
            times[row:middle],
            times[middle:stop],
            _within(greetings, row, middle),
            _within(greetings, middle, stop),
            [times[row + at] for at in _within(asking, row, middle)],
            one.fresh,
        )
        stretches = tracker.assign(one.name, rows)
        own = [connections.setdefault(stretch.connection, len(connections)) for stretch in stretches]
        sent = [*(stretch.sent for stretch in stretches), middle - row]
        received = [*(stretch.received for stretch in stretches), stop - middle]
        for marks in (sent, received):
            slots += own
            lengths += [b - a for a, b in pairwise(marks)]
    return np.repeat(np.array(slots, np.int32), lengths), connections


def _within(indexes: list[int], start: int, stop: int) -> list[int]:
    """Return the indexes in [start, stop), counted from start."""
    return [index - start for index in indexes[bisect_left(indexes, start) : bisect_left(indexes, stop)]]
