"""A log file followed through rotation: renamed, copied and truncated, shrunk, compressed.

The place in a log is its offset together with the bytes just before it (the mark): a file in which
the mark ends at the offset is the file that was being read, whatever its name is by now.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from watchdog.core.errors import PositionError, SourceError
from watchdog.core.source import Skipped
from watchdog.sources.faults import TornError
from watchdog.sources.line_seek import log_time, seek
from watchdog.sources.ordinary import open_ordinary
from watchdog.sources.packed import FORMATS, UNPACK_ERRORS, unpacked

MARK = 200  # bytes before the offset; a log line's time and text make it unique
_SHRUNK = 16 << 20  # bytes; Core's ShrinkDebugFile keeps RECENT_DEBUG_HISTORY_SIZE, 10 MB, at the end


class LogFile:
    """One open file, plain, .gz or .xz, with bytes that were read and not yet consumed.

    `offset` counts consumed bytes (of the uncompressed text), `pending` is what follows.
    """

    def __init__(self, path: Path, offset: int = 0):
        self.path = path
        self.offset = 0
        self.mark = b""
        self.pending = b""
        self.torn = ""
        self._raw = open_ordinary(path)
        self.packed = path.suffix in FORMATS
        self._read = unpacked(self._raw, path.suffix).read1 if self.packed else self._raw.read
        self._seek(offset)

    def _seek(self, offset: int) -> None:
        start = max(offset - MARK, 0)
        if self.packed:
            left = start
            while left and (piece := self._stream_read(min(left, 1 << 20))):
                left -= len(piece)
        else:
            self._raw.seek(start)
        self.mark = self._stream_read(offset - start) if offset else b""
        self.offset = start + len(self.mark)

    def _stream_read(self, size: int) -> bytes:
        pieces, left = [], size
        while left > 0:
            try:
                piece = self._read(left)
            except UNPACK_ERRORS as error:
                self.torn = str(error)
                break
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def fill(self, size: int) -> bool:
        """Read on until `size` bytes are pending; whether there was anything new."""
        more = self._stream_read(size - len(self.pending)) if size > len(self.pending) and not self.torn else b""
        self.pending += more
        return bool(more)

    def consume(self, size: int) -> None:
        """Drop the first `size` pending bytes."""
        self.mark = (self.mark + self.pending[max(size - MARK, 0) : size])[-MARK:]
        self.pending = self.pending[size:]
        self.offset += size

    @property
    def stat(self) -> os.stat_result:
        """Of the open file, whatever its name is by now."""
        return os.fstat(self._raw.fileno())

    @property
    def handle(self) -> int:
        """The descriptor of the open file."""
        return self._raw.fileno()

    @property
    def share_read(self) -> float:
        """How much of the file was consumed, 0.0 to 1.0."""
        size = self.stat.st_size
        if not size:
            return 1.0
        return min(self._raw.tell() / size if self.packed else self.offset / size, 1.0)

    def still_whole(self) -> bool:
        """Return whether what was read still stands there: false after a truncation, also if it grew since."""
        if self.packed:
            return True
        if self.stat.st_size < self.offset + len(self.pending):
            return False
        behind = os.pread(self._raw.fileno(), len(self.mark), self.offset - len(self.mark))
        return behind == self.mark

    def close(self) -> None:
        """Close the file."""
        self._raw.close()


class LogFiles:
    """The chain of files that a log's name stands for over time; one of them is open.

    `lost` says why lines were lost before what comes next, empty if none were. `torn_lines`
    counts half lines at the end of files that no longer grow.
    """

    def __init__(self, path: str, *, follow: bool, position: Mapping[str, object] | None, since_ns: int = 0):
        self.path = Path(path)
        self.follow = follow
        self.lost = ""
        self.torn_lines = 0
        self.finished = False
        self.skipped = Skipped()
        self._later: list[Path] = []
        if position is None:
            self.file = self._open_since(since_ns) if since_ns else self._open(self.path)
        else:
            self.file = self._resume(position)

    def _open(self, path: Path, offset: int = 0) -> LogFile:
        try:
            file = LogFile(path, offset)
        except OSError as error:
            raise _unreadable(path, error) from None
        if file.packed and not file.stat.st_size:
            file.torn = "the file is empty"
        elif file.packed and not file.offset:
            file.fill(1)
            if file.torn and not file.pending:
                file.close()
                raise TornError(f"cannot read log file '{path}': not {FORMATS[path.suffix]} data ({file.torn.lower()})")
        return file

    def _open_since(self, since_ns: int) -> LogFile:
        """Open the first file that was written to since then, at its first line of that time."""
        if self.path.suffix in FORMATS:
            self.skipped = Skipped(note="a packed file cannot be passed over: it is read from its start")
            return self._open(self.path)
        earlier = self._rotated(after_ns=since_ns)
        packed = [path for path in earlier if path.suffix in FORMATS]
        self._later = [path for path in earlier if path not in packed] + [self.path]
        first = self._next()
        try:
            spot = seek(first.handle, since_ns, log_time)
        except OSError as error:
            raise _unreadable(first.path, error) from None
        finally:
            first.close()
        note = f"not read, as they are packed: {', '.join(path.name for path in packed)}" if packed else ""
        self.skipped = Skipped(spot.offset, spot.first_ns, note)
        return self._open(first.path, spot.offset)

    def fill(self, size: int) -> bool:
        """Get up to `size` bytes pending; whether anything changed. Sets `finished` at the end of all input."""
        if self.follow and not self.file.still_whole():
            self._truncated()
        if self.file.fill(size):
            return True
        if len(self.file.pending) >= size:
            return False
        if b"\n" in self.file.pending and not self._is_last:
            return False  # whole lines that are held back come before the next file
        if self._later:
            self._switch(self._next())
            return True
        if not self.follow:
            self.finished = True
            return False
        return self._renamed()

    @property
    def _is_last(self) -> bool:
        return not self.follow and not self._later

    def _switch(self, file: LogFile) -> None:
        self.torn_lines += bool(self.file.pending)
        self.file.close()
        self.file = file

    def _next(self) -> LogFile:
        """Open the file whose turn it is. A rotated one that cannot be read is lost: the log itself must not wait."""
        while True:
            path = self._later.pop(0)
            try:
                return self._open(path)
            except SourceError:
                if not self._later:
                    raise
                self.lost = "a rotated log cannot be read"

    def _renamed(self) -> bool:
        """Switch to the new file, once it holds something and the old one is read to its end."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        old = self.file.stat
        if (now.st_ino, now.st_dev) == (old.st_ino, old.st_dev) or not now.st_size:
            return False
        if self.file.fill(len(self.file.pending) + 1):
            return True
        self._later = [*self._rotated(after_ns=old.st_mtime_ns, but=old.st_ino), self.path]
        copy = self._find(self.file.offset, self.file.mark, self._later[:-1])  # packed under another number and time
        if copy is not None:
            del self._later[: self._later.index(copy) + 1]
        self._switch(self._next())
        return True

    def _truncated(self) -> None:
        """Find the rest of a file that lost what was read: in a copy, or in its own shrunk text."""
        if not self.path.is_file():
            return
        offset, mark = self.file.offset, self.file.mark
        copy = self._find(offset, mark, self._rotated())
        self.file.pending = b""
        if copy is not None:
            self._later = [self.path]
            self._switch(self._open(copy, offset))
            return
        self._switch(self._open(self.path, self._shrunk_offset(mark)))

    def _shrunk_offset(self, mark: bytes) -> int:
        """Return where the text continues after Core kept only its tail; 0, with lines lost, when it does not."""
        try:
            with open_ordinary(self.path, 1 << 16) as file:
                head = file.read(_SHRUNK)
        except OSError as error:
            raise _unreadable(self.path, error) from None
        at = head.find(mark) if mark else -1
        if at < 0:
            self.lost = "log was truncated" if mark else ""
            return 0
        return at + len(mark)

    def _rotated(self, after_ns: int = -1, but: int = 0) -> list[Path]:
        """Return rotated files of this log (debug.log.1, debug.log-20260121.gz), oldest first."""
        name = re.compile(re.escape(self.path.name) + r"[.-]\d{1,14}(?:\.[gx]z)?")
        found = []
        for entry in os.scandir(self.path.parent):
            if name.fullmatch(entry.name) and entry.is_file():
                stat = entry.stat()
                if stat.st_mtime_ns > after_ns and stat.st_ino != but:
                    found.append((stat.st_mtime_ns, entry.name))
        return [self.path.parent / entry_name for _, entry_name in sorted(found)]

    @staticmethod
    def _find(offset: int, mark: bytes, among: Sequence[Path]) -> Path | None:
        """Return the file in which `mark` ends at `offset`, the last of those that are so."""
        for path in reversed(among if mark else ()):
            if not path.is_file():
                continue
            try:
                file = LogFile(path, offset)
            except OSError:
                continue
            same = file.offset == offset and file.mark == mark
            file.close()
            if same:
                return path
        return None

    def _resume(self, position: Mapping[str, object]) -> LogFile:
        offset, mark, inode = position.get("offset"), position.get("mark"), position.get("inode")
        written_ns = position.get("mtime_ns", position.get("latest_ns"))  # positions of before have no `mtime_ns`
        if not (isinstance(offset, int) and isinstance(mark, str) and isinstance(inode, int)) or offset < 0:
            raise self._damaged()
        if not isinstance(written_ns, int):
            raise self._damaged()
        wanted = mark.encode("latin-1", "replace")
        if not wanted:
            return self._open(self.path)
        path = self._find(offset, wanted, [*self._rotated(), self.path])
        if path is None:
            if not self.path.is_file():
                return self._open(self.path)
            at = self._shrunk_offset(wanted)
            return self._open(self.path, at) if at else self._open_after(written_ns)
        if path != self.path:
            self._later = [*self._rotated(after_ns=path.stat().st_mtime_ns), self.path]
        return self._open(path, offset)

    def _damaged(self) -> PositionError:
        return PositionError(f"cannot resume log file '{self.path}': its saved position is damaged")

    def _open_after(self, written_ns: int) -> LogFile:
        """Open the oldest file that was written to after the one that was being read and is gone."""
        self.lost = "log was rotated away before its end was read"
        self._later = [*self._rotated(after_ns=written_ns), self.path]
        return self._next()

    def state(self) -> dict[str, object]:
        """Return the place, JSON-able. `mtime_ns`: when the file had last been written to; what follows it is newer."""
        stat = self.file.stat
        return {
            "offset": self.file.offset,
            "mark": self.file.mark.decode("latin-1"),
            "inode": stat.st_ino,
            "mtime_ns": stat.st_mtime_ns,
        }

    def close(self) -> None:
        """Close the open file."""
        self.file.close()


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(f"cannot read log file '{path}': {(error.strerror or '').lower()}")
