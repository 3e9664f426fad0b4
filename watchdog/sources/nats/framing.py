"""Records of an archive: a length as a varint, then that many bytes. The first record is the head of the file.

Archives of the first weeks begin with 16 bytes instead of the head: "PA", a version, and what nothing needs.
Packed files (`.zst`) are unpacked as they are read, in bounded memory: a window of 128 MiB at most, as the archiver's
strongest level (22) has it.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO, Final, NamedTuple

import zstandard

from watchdog.core.errors import SourceError
from watchdog.core.text import printable

PACKED: Final = ".zst"
OLD_MAGIC, OLD_HEAD_BYTES = b"PA", 16
CHUNK: Final = 1 << 20
LONGEST: Final = 32 << 20
"""Bytes of a record: a block of 4 MB with its ids has 5 MB, and getpeerinfo of 5,000 peers 8 MB."""
_WINDOW: Final = 128 << 20
_VARINT_BYTES: Final = 5  # for `LONGEST`; protobuf's own limit is 10


class Record(NamedTuple):
    """A record. end: offset behind it in the unpacked text."""

    data: bytes
    end: int


def _opened(path: Path) -> tuple[IO[bytes], int]:
    """Open an ordinary file; return it with its size. A pipe would block, and a device may never end. OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not an ordinary file")
    return os.fdopen(handle, "rb"), status.st_size


class RecordFile:
    """Records of one file in order. torn: why no further record can be read, "" while nothing is wrong.

    grows: the file may grow, so half a record at its end is no damage. SourceError when the file cannot be opened.
    """

    def __init__(self, path: Path, *, grows: bool) -> None:
        self._path, self._grows = path, grows and path.suffix != PACKED
        try:
            self._file, self._size = _opened(path)
        except (OSError, ValueError) as error:
            why = error.strerror or "failed" if isinstance(error, OSError) else "no file can have this name"
            raise SourceError(f"'{printable(str(path))}': {why.lower()}") from None
        self._unpacked = self._file if path.suffix != PACKED else self._unpack()
        self._buffer, self._from = b"", 0  # what was read, and the place of the first byte in it that was not taken
        self._at = 0  # offset of that byte in the unpacked text
        self.torn = ""
        self.whole = False  # the end was reached

    def _unpack(self) -> IO[bytes]:
        return zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(
            self._file, read_across_frames=True, closefd=False
        )

    @property
    def offset(self) -> int:
        """Offset of the next record in the unpacked text."""
        return self._at

    @property
    def progress(self) -> float:
        """Share of the file that was read, 0 to 1."""
        return min(1.0, self._file.tell() / max(1, self._size))

    def begin(self) -> bytes | None:
        """Return the head record, or b"" for a file of the first weeks; None while it is not there."""
        self._fill(OLD_HEAD_BYTES)
        if self._buffer.startswith(OLD_MAGIC, self._from):
            self._consume(min(OLD_HEAD_BYTES, self._pending))
            return b""
        head = self.next()
        return None if head is None else head.data

    def skip(self, offset: int) -> bool:
        """Go to an offset in the unpacked text, from the start; return whether there is that much."""
        if self._unpacked is self._file:
            self._file.seek(min(offset, self._size))
            self._at, self._buffer, self._from = min(offset, self._size), b"", 0
            return self._at == offset
        while self._at < offset and self._fill(1):
            self._consume(min(self._pending, offset - self._at))
        return self._at == offset

    def next(self) -> Record | None:
        """Return the next record; None at the end, for now or, with `whole` or `torn`, for good."""
        if self.torn:
            return None
        size, width = self._length()
        if size < 0:
            return None
        if not self._fill(width + size):
            self._short(f"a record of {size} bytes is cut off")
            return None
        data = self._buffer[self._from + width : self._from + width + size]
        self._consume(width + size)
        return Record(data, self._at)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _length(self) -> tuple[int, int]:
        """Return the length of the next record and the bytes that say it; -1 at the end."""
        if not self._fill(1):
            self.whole = not self._grows and not self.torn
            return -1, 0
        self._fill(_VARINT_BYTES)
        size = 0
        for place, byte in enumerate(self._buffer[self._from : self._from + _VARINT_BYTES]):
            size |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                if size <= LONGEST:
                    return size, place + 1
                break
        else:
            if self._pending < _VARINT_BYTES:
                self._short("the length of a record is cut off")
                return -1, 0
        self.torn = f"a record is longer than {LONGEST >> 20} MiB"
        return -1, 0

    def _short(self, why: str) -> None:
        if not self._grows and not self.torn:
            self.torn = why

    @property
    def _pending(self) -> int:
        """Bytes that were read and not taken."""
        return len(self._buffer) - self._from

    def _fill(self, wanted: int) -> bool:
        """Read until this many bytes are pending; return whether they are."""
        while self._pending < wanted:
            try:
                chunk = self._unpacked.read(max(CHUNK, wanted - self._pending))
            except zstandard.ZstdError as error:
                self.torn = f"cannot be unpacked: {printable(str(error), 100).lower()}"
                return False
            except OSError as error:
                raise SourceError(f"'{printable(str(self._path))}': {(error.strerror or 'failed').lower()}") from None
            if not chunk:
                return False
            self._buffer, self._from = self._buffer[self._from :] + chunk, 0
        return True

    def _consume(self, size: int) -> None:
        self._from += size
        self._at += size
