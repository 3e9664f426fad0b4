"""The frame: what an events file is made of.

A file is `FILE_HEADER` bytes (magic, version, CRC) and then frames, one behind the other.
Version 2 marks each block and each end of a slice with its source, and its first frame has the
kinds of each source, so that a file replays as the sources it was recorded from; version 1
has neither and replays as one source.
A frame is a header of `FRAME_HEADER` bytes with a CRC of its own, and a payload padded with
zeros to a multiple of 8 bytes, whose CRC stands in the header. So a torn or damaged frame is
noticed before anything in it is used, and sizes are checked before memory is asked for.
All numbers are little-endian.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import zstandard

from watchdog.core.errors import SourceError

MAGIC = b"BWEVENTS"
VERSION = 2
READABLE = (1, 2)
MAX_PAYLOAD = 64 << 20  # bytes, stored and unpacked; the writer splits what is larger
WINDOW = 8 << 20  # bytes of zstd history that a reader grants; levels 1 to 3 use at most 4 MiB

INFO, BLOCK, SLICE_END, INDEX = 1, 2, 3, 4
COMPRESSED = 1  # flag

_FILE = struct.Struct("<8sIII4x")  # magic, version, reserved, crc of the bytes before it
FILE_HEADER = _FILE.size

_MARK = b"BWFR"
_FRAME = struct.Struct("<4sBBHIIIIqqI")  # the H: `source_mark`, 0 in version 1
_CRC = struct.Struct("<I")
FRAME_HEADER = _FRAME.size + _CRC.size


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame header.

    stored: payload bytes in the file, padding not counted; size: payload bytes when
    unpacked; rows and tag (see `tag_of`): of a block, else 0; first_ns, last_ns: time range of
    a block, watermark of a slice end. source: `source_mark` of a block or a slice end, else 0.
    """

    type: int
    flags: int
    stored: int
    size: int
    rows: int
    tag: int
    first_ns: int
    last_ns: int
    crc: int
    source: int = 0

    @property
    def length(self) -> int:
        """Bytes in the file, header and padding included."""
        return FRAME_HEADER + padded(self.stored)


class DamagedFrameError(SourceError):
    """A frame is not what its checksum or its sizes say."""


def padded(size: int) -> int:
    """Return the next multiple of 8, so that every message starts on a word."""
    return (size + 7) & ~7


def tag_of(kind: str) -> int:
    """Return the number in a block's header by which a reader skips unread kinds."""
    return zlib.crc32(kind.encode())


def source_mark(name: str) -> int:
    """Return 1 to 65,535, by which a reader skips the frames of other sources; two names may share a number."""
    return zlib.crc32(name.encode("utf-8", "backslashreplace")) % 65_535 + 1


def file_header() -> bytes:
    """Return the first bytes of a file."""
    crc = zlib.crc32(_FILE.pack(MAGIC, VERSION, 0, 0)[:16])
    return _FILE.pack(MAGIC, VERSION, 0, crc)


def check_file_header(raw: bytes, path: str) -> int:
    """Return the version of an events file from its first bytes; SourceError for another file or version."""
    if len(raw) < FILE_HEADER or raw[:8] != MAGIC:
        raise SourceError(f"'{path}' is not an events file")
    _, version, _, crc = _FILE.unpack(raw[:FILE_HEADER])
    if crc != zlib.crc32(raw[:16]):
        raise SourceError(f"'{path}': the file header fails its checksum")
    if version not in READABLE:
        versions = " and ".join(map(str, READABLE))
        raise SourceError(f"'{path}' has version {version} of the events format; this program reads {versions}")
    return int(version)


def pack_frame(
    kind: int,
    payload: bytes,
    compressor: zstandard.ZstdCompressor | None = None,
    *,
    rows: int = 0,
    tag: int = 0,
    source: int = 0,
    span: tuple[int, int] = (0, 0),
) -> bytes:
    """Return a whole frame, ready to be written; compressed when that makes it smaller."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame of {len(payload)} bytes is larger than {MAX_PAYLOAD}")
    stored, flags = payload, 0
    if compressor is not None:
        packed = compressor.compress(payload)
        if len(packed) < len(payload):
            stored, flags = packed, COMPRESSED
    body = stored.ljust(padded(len(stored)), b"\0")
    head = _FRAME.pack(_MARK, kind, flags, source, len(stored), len(payload), rows, tag, *span, zlib.crc32(body))
    return b"".join((head, _CRC.pack(zlib.crc32(head)), body))


def read_header(raw: bytes) -> Frame:
    """Return the header of a frame; DamagedFrameError when it cannot be trusted."""
    if len(raw) < FRAME_HEADER:
        raise DamagedFrameError("the frame header is cut off")
    head = raw[: _FRAME.size]
    (crc,) = _CRC.unpack(raw[_FRAME.size : FRAME_HEADER])
    if crc != zlib.crc32(head):
        raise DamagedFrameError("the frame header fails its checksum")
    mark, kind, flags, source, stored, size, rows, tag, first_ns, last_ns, body_crc = _FRAME.unpack(head)
    if mark != _MARK:
        raise DamagedFrameError("there is no frame")
    if stored > MAX_PAYLOAD or size > MAX_PAYLOAD:
        raise DamagedFrameError(f"the frame says {max(stored, size)} bytes, more than {MAX_PAYLOAD}")
    return Frame(kind, flags, stored, size, rows, tag, first_ns, last_ns, body_crc, source)


def unpack_payload(frame: Frame, body: bytes, unpacker: zstandard.ZstdDecompressor) -> bytes:
    """Return the payload from the padded bytes behind the header; DamagedFrameError when they do not fit it."""
    if len(body) != padded(frame.stored) or zlib.crc32(body) != frame.crc:
        raise DamagedFrameError("the frame fails its checksum")
    stored = body if len(body) == frame.stored else body[: frame.stored]
    if not frame.flags & COMPRESSED:
        if frame.stored != frame.size:
            raise DamagedFrameError("the frame's sizes contradict each other")
        return stored
    try:
        if zstandard.get_frame_parameters(stored).content_size != frame.size:
            raise DamagedFrameError("the compressed frame has another size than its header says")
        return unpacker.decompress(stored, max_output_size=frame.size, read_across_frames=False, allow_extra_data=False)
    except zstandard.ZstdError as fault:
        raise DamagedFrameError("the frame cannot be decompressed") from fault


def new_unpacker() -> zstandard.ZstdDecompressor:
    """Return a decompressor with a bounded window."""
    return zstandard.ZstdDecompressor(max_window_size=WINDOW)
