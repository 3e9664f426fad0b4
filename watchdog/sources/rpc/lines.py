"""Lines of a growing, rotated or packed text file, with their places in it."""

from __future__ import annotations

import os
import zlib
from codecs import BOM_UTF8
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from watchdog.core.errors import SourceError
from watchdog.sources.faults import TornError
from watchdog.sources.line_seek import Spot, poll_time, seek
from watchdog.sources.ordinary import open_ordinary
from watchdog.sources.packed import FORMATS, UNPACK_ERRORS, Unpacked, unpacked

MAX_LINE = 64 << 20  # bytes; a getrawaddrman of full tables is about 18 MB
READ_AHEAD = 1 << 18  # bytes asked from the file at once
HEAD_BYTES = 256  # a file is known again by the start of its first line
MAGIC = {b"\x1f\x8b": ".gz", b"\xfd7zXZ\x00": ".xz"}  # a packed file is known by its first bytes, whatever its name


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line: its offset in the unpacked text and its bytes, None when it is over MAX_LINE."""

    offset: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Head:
    """What a file is known by: CRC-32 of the first `size` bytes of its first line; size 0 for an empty file."""

    size: int = 0
    crc: int = 0


class LineReader:
    """Reads `path` line by line: plain, gzip or xz, told by its first bytes.

    Offsets are bytes of the unpacked text. A last line without line end is held back
    (see `rest`). Raises SourceError with the place if the file cannot be opened or unpacked.
    """

    def __init__(self, path: str, named: str | None = None) -> None:
        self.path = path
        self._named = named or path  # where a newer file of the series would appear
        self.offset = 0
        self._torn = bytearray()
        self._dropping = False
        try:
            self._file: IO[bytes] = open_ordinary(Path(path), READ_AHEAD)
            magic = self._file.peek(6)[:6] if hasattr(self._file, "peek") else b""
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
        ending = next((ending for start, ending in MAGIC.items() if magic.startswith(start)), "")
        self.packed = bool(ending)
        self._text: IO[bytes] | Unpacked = unpacked(self._file, ending) if ending else self._file
        try:
            self._head = self._read_head()
        except SourceError:
            self.close()
            raise

    def _read_head(self) -> Head:
        start = self._readline(HEAD_BYTES)
        self._seek(0)
        return Head(len(start), zlib.crc32(start)) if start.endswith(b"\n") or len(start) == HEAD_BYTES else Head()

    @property
    def head(self) -> Head:
        """What the file is known by; size 0 until it has a first line."""
        if not self._head.size and not self.packed and self.offset:
            start = os.pread(self._file.fileno(), HEAD_BYTES, 0)
            first = start[: start.find(b"\n") + 1] or start
            self._head = Head(len(first), zlib.crc32(first))
        return self._head

    def _readline(self, limit: int) -> bytes:
        try:
            return self._text.readline(limit)
        except UNPACK_ERRORS as error:
            raise TornError(
                f"{self.path}: packed data is cut off or damaged after byte {self.offset + len(self._torn)} of the text"
            ) from error
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read: {(error.strerror or str(error)).lower()}") from error

    def _seek(self, offset: int) -> None:
        try:
            self._text.seek(offset)
        except (*UNPACK_ERRORS, OSError) as error:
            raise SourceError(f"{self.path}: has no byte {offset}: cut off or damaged") from error

    def read(self) -> Line | None:
        """Return the next whole line, or None when the file has no more of them now."""
        while True:
            part = self._readline(READ_AHEAD if self._dropping else MAX_LINE + 1 - len(self._torn))
            if part.endswith(b"\n"):
                break
            self._hold(part)
            if not part or not self._dropping:
                return None
        start, size = self.offset, len(self._torn) + len(part)
        data = None if self._dropping else bytes(self._torn) + part if self._torn else part
        self.offset += size
        self._torn.clear()
        self._dropping = False
        return Line(start, data if start or data is None else data.removeprefix(BOM_UTF8))

    def _hold(self, part: bytes) -> None:
        self._torn += part
        if len(self._torn) > MAX_LINE:
            self._dropping = True
        if self._dropping:
            self.offset += len(self._torn)
            self._torn.clear()

    def rest(self) -> Line | None:
        """Return the last line of a file that no longer grows, when it has no line end."""
        if not self._torn and not self._dropping:
            return None
        left = bytes(self._torn) if self.offset else bytes(self._torn).removeprefix(BOM_UTF8)
        line = Line(self.offset, None if self._dropping else left)
        self.offset += len(self._torn)
        self._torn.clear()
        self._dropping = False
        return line

    def go_to(self, offset: int) -> None:
        """Continue at an offset of a line's start."""
        self._torn.clear()
        self._dropping = False
        self._seek(offset)
        self.offset = offset

    def seek_time(self, since_ns: int) -> Spot:
        """Continue at the first line of this time; where that is. SourceError when the file cannot be read."""
        try:
            spot = seek(self._file.fileno(), since_ns, poll_time)
        except OSError as error:
            raise SourceError(f"{self.path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
        self.go_to(spot.offset)
        return spot

    def line_number(self, offset: int) -> int:
        """Return which line begins at an offset that was read before, counted from 1. Reads up to there once more."""
        other = LineReader(self.path)
        try:
            left, ends = offset, 0
            while left > 0 and (piece := other._text.read(min(left, READ_AHEAD))):
                left -= len(piece)
                ends += piece.count(b"\n")
            return ends + 1
        finally:
            other.close()

    def check_packed(self) -> None:
        """SourceError for a file that is packed by its name, and empty: whole ones have a head and an end."""
        if not self.packed and self.path.endswith(tuple(FORMATS)) and not os.fstat(self._file.fileno()).st_size:
            raise TornError(f"{self.path}: packed data is cut off: the file is empty")

    def reaches(self, offset: int) -> bool:
        """Return whether a plain file has that many bytes; packed ones are taken at their word until they are read."""
        return self.packed or os.fstat(self._file.fileno()).st_size >= offset

    def succession(self) -> Literal["same", "rotated", "truncated"]:
        """Return whether the path still names this file, another one, or the same one cut short."""
        try:
            named = Path(self._named).stat()
        except OSError:
            return "same"  # between the two steps of a rotation; the next look will tell
        own = os.fstat(self._file.fileno())
        if (named.st_dev, named.st_ino) != (own.st_dev, own.st_ino):
            return "rotated"
        cut = not self.packed and own.st_size < self.offset + len(self._torn)
        return "truncated" if cut else "same"

    @property
    def progress(self) -> float:
        """Share of the file's bytes (packed ones, if packed) that were read, 0 to 1."""
        size = os.fstat(self._file.fileno()).st_size
        done = self._file.tell() if self.packed else self.offset
        return min(1.0, done / size) if size else 1.0

    def close(self) -> None:
        """Close the file."""
        self._text.close()
        self._file.close()
