"""Where to start reading for a time: stretches of whole slices and their latest event."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from watchdog.archive.codec import decode_index, encode_index
from watchdog.archive.frames import INDEX, DamagedFrameError, Frame, new_unpacker, pack_frame, unpack_payload

STRETCH = 64 << 10  # bytes of file behind one entry, so that the index stays below 1/4000 of the file
NEVER_NS = -(1 << 63)  # latest event of a stretch without events

_TRAILER = struct.Struct("<4sIqI4x")  # mark, 0, offset of the index frame, crc of the bytes before it
_MARK = b"BWIX"
TRAILER = _TRAILER.size


class IndexEntries:
    """The entries of a file, grown slice by slice by the writer, or by a scan when a file has none."""

    def __init__(self) -> None:
        self._offsets: list[int] = []
        self._latest: list[int] = []

    def add(self, offset: int, latest_ns: int) -> None:
        """Note a slice that starts at byte `offset`; its latest event is `latest_ns`, or `NEVER_NS`."""
        if not self._offsets or offset - self._offsets[-1] >= STRETCH:
            self._offsets.append(offset)
            self._latest.append(latest_ns)
        else:
            self._latest[-1] = max(self._latest[-1], latest_ns)

    def start_for(self, start_ns: int) -> int | None:
        """Return the offset from which no event at or after `start_ns` is missed; None when there is no such event."""
        latest = np.maximum.accumulate(np.array(self._latest, np.int64))
        entry = int(np.searchsorted(latest, start_ns))
        return self._offsets[entry] if entry < len(self._offsets) else None

    def packed(self, offset: int) -> bytes:
        """Return the index frame and the trailer, to be written at byte `offset`, the end of the file."""
        offsets, latest = np.array(self._offsets, np.int64), np.array(self._latest, np.int64)
        head = _TRAILER.pack(_MARK, 0, offset, 0)[:16]
        return pack_frame(INDEX, encode_index(offsets, latest)) + _TRAILER.pack(_MARK, 0, offset, zlib.crc32(head))

    @classmethod
    def of(cls, offsets: NDArray[np.int64], latest_ns: NDArray[np.int64]) -> IndexEntries:
        """Return the entries that a file holds."""
        entries = cls()
        entries._offsets, entries._latest = offsets.tolist(), latest_ns.tolist()
        return entries


def index_offset(trailer: bytes) -> int | None:
    """Return where the index frame begins, by the last bytes of a file; None when they are no trailer."""
    if len(trailer) != TRAILER:
        return None
    mark, _, offset, crc = _TRAILER.unpack(trailer)
    return int(offset) if mark == _MARK and crc == zlib.crc32(trailer[:16]) and offset >= 0 else None


def entries_in(frame: Frame, body: bytes) -> IndexEntries:
    """Return the entries of an index frame; DamagedFrameError when it is none or is damaged."""
    if frame.type != INDEX:
        raise DamagedFrameError("the trailer points to no index")
    return IndexEntries.of(*decode_index(unpack_payload(frame, body, new_unpacker())))
