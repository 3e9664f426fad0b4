"""The place of capture files: a folder on disk, or a tar archive read into memory.

The layout (Bitcoin Core's CaptureMessageToFile): one folder for each peer address with ':' written
as '_', in it `msgs_recv.dat` and `msgs_sent.dat`.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from watchdog.core.errors import SourceError
from watchdog.core.text import counted, is_encodable, printable
from watchdog.sources.capture.notices import Notices
from watchdog.sources.faults import TornError
from watchdog.sources.packed import FORMATS, UNPACK_ERRORS, unpacked

RECEIVED_FILE = "msgs_recv.dat"
SENT_FILE = "msgs_sent.dat"
FILES = {SENT_FILE: False, RECEIVED_FILE: True}  # name -> written by received messages
ARCHIVE_LIMIT = 512 * 1024 * 1024  # bytes unpacked; a larger archive is better unpacked to disk (or is a bomb)
MEMBER_LIMIT = 200_000  # of one archive: two files and a folder for each of some 65,000 connections
_READ_STEP = 4 * 1024 * 1024
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe that took the place of a file must not make it wait
_LOG = logging.getLogger("watchdog.sources")


class CaptureTree(Protocol):
    """A place that capture files are read from."""

    def folders(self) -> list[str]:
        """Return the names of the peer folders seen for the first time since the last call."""
        ...

    def notices(self) -> Notices | None:
        """Return the kernel's notices of growth; None where it has no such notices."""
        ...

    def gone(self) -> list[str]:
        """Return names of known folders that the last call of `folders` no longer found."""
        ...

    def state(self, folder: str, received: bool) -> tuple[int, int]:
        """Return the bytes of a file now, 0 when it does not exist (yet), and the time of its last write (ns)."""
        ...

    def read(self, folder: str, received: bool, offset: int, count: int) -> bytes:
        """Read at most `count` bytes from `offset`; fewer at the end of the file."""
        ...

    def next_data(self, folder: str, received: bool, offset: int) -> int:
        """Return the first byte from `offset` on that is in no hole of the file; `offset` where that is unknown."""
        ...


class DiskTree:
    """A -capturemessages tree on disk; it may grow while it is read. No file stays open."""

    def __init__(self, root: str) -> None:
        """root: the folder that holds one folder for each peer. SourceError if it cannot be listed."""
        self.root = root
        self._known: set[str] = set()
        self._foreign: set[str] = set()
        self._gone: list[str] = []
        self._stamp = -1
        self._calm = False
        check_folder(root)

    def folders(self) -> list[str]:
        """Return new peer folders, by name; the listing is read only when the folder changed."""
        try:
            self._gone = []
            stamp = os.stat(self.root).st_mtime_ns  # noqa: PTH116 - with Path, half of a quiet poll is making objects
            if self._calm and stamp == self._stamp:
                return []
            found, there = [], set()
            with os.scandir(self.root) as entries:
                for entry in entries:
                    there.add(entry.name)
                    if entry.name not in self._known and entry.name not in self._foreign and _is_folder(entry):
                        found.append(entry.name)
        except OSError as error:
            raise SourceError(f"cannot list the capture folder {self.root!r}: {error.strerror}") from error
        # a folder made within the same tick of the file system's clock would not change the stamp again,
        # so a stamp is believed only after a second listing
        self._calm = stamp == self._stamp
        self._stamp = stamp
        self._gone = sorted(self._known - there)
        self._known.difference_update(self._gone)
        found, foreign = _told_apart(found, self.root)
        self._foreign = (self._foreign & there).union(foreign)
        self._known.update(found)
        return sorted(found)

    def gone(self) -> list[str]:
        """Return the folders that were removed or renamed since the call of `folders` before the last."""
        return self._gone

    def notices(self) -> Notices | None:
        """Return the kernel's notices, where it has them."""
        return Notices.start(self.root)

    def state(self, folder: str, received: bool) -> tuple[int, int]:
        """Return size and last change of one file; (0, 0) when it is not a file. SourceError when unreadable."""
        path = self._path(folder, received)
        try:
            about = os.stat(path)  # noqa: PTH116 - as above
            return (about.st_size, about.st_mtime_ns) if stat.S_ISREG(about.st_mode) else (0, 0)
        except (FileNotFoundError, NotADirectoryError):
            return 0, 0
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link to itself
                return 0, 0
            # not "empty": that would read everything again once the disk answers
            raise SourceError(f"cannot look at capture file {path!r}: {error.strerror}") from error

    def read(self, folder: str, received: bool, offset: int, count: int) -> bytes:
        """Read at most `count` bytes from `offset`, none of a removed file; SourceError when it cannot be read."""
        path = self._path(folder, received)
        try:
            file = os.open(path, _READING)  # a third of what a file object costs, for a few bytes
            try:
                return os.pread(file, count, offset)
            finally:
                os.close(file)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError as error:
            raise SourceError(f"cannot read capture file {path!r}: {error.strerror}") from error

    def next_data(self, folder: str, received: bool, offset: int) -> int:
        """Return the first byte from `offset` on that is in no hole of the file; `offset` where that is unknown."""
        try:
            file = os.open(self._path(folder, received), _READING)
            try:
                return os.lseek(file, offset, os.SEEK_DATA)
            finally:
                os.close(file)
        except OSError:
            return offset

    def _path(self, folder: str, received: bool) -> str:
        return f"{self.root}/{folder}/{RECEIVED_FILE if received else SENT_FILE}"


class ArchiveTree:
    """Capture files inside a tar archive (plain, .xz or .gz), unpacked into memory in one pass."""

    def __init__(self, path: str, limit: int = ARCHIVE_LIMIT) -> None:
        """limit: bytes unpacked that are accepted. SourceError for torn, corrupt or too large archives."""
        self._files: dict[tuple[str, bool], memoryview] = {}
        data = _unpacked(path, limit)
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                self._index(archive, memoryview(data))
        except (tarfile.TarError, EOFError, OverflowError, ValueError) as error:
            raise TornError(f"archive {path!r} is not a readable tar file: {error}") from error
        folders, foreign = _told_apart({folder for folder, _ in self._files}, path)
        self._files = {place: content for place, content in self._files.items() if place[0] not in foreign}
        self._new = sorted(folders)
        if not self._new:
            raise SourceError(f"archive {path!r} holds no capture files; expected <address>_<port>/{RECEIVED_FILE}")

    def _index(self, archive: tarfile.TarFile, data: memoryview) -> None:
        for number, member in enumerate(archive):
            # a negative size leads tarfile back to the same header for ever; each member costs it about 1 kB
            if member.size < 0 or number >= MEMBER_LIMIT:
                raise tarfile.ReadError("a member of negative size" if member.size < 0 else "too many members")
            parts = member.name.split("/")
            if member.isreg() and len(parts) >= 2 and parts[-1] in FILES:
                if member.offset_data + member.size > len(data):
                    raise tarfile.ReadError(f"it ends inside of {member.name!r}")
                content = data[member.offset_data : member.offset_data + member.size]
                self._files[parts[-2], FILES[parts[-1]]] = content

    def folders(self) -> list[str]:
        """Return all folders at the first call, none after that."""
        new, self._new = self._new, []
        return new

    def notices(self) -> None:
        """Return None: an archive does not grow."""

    def gone(self) -> list[str]:
        """Return None: an archive stays as it is."""
        return []

    def state(self, folder: str, received: bool) -> tuple[int, int]:
        """Return the size of one file in bytes; the time of its last write does not matter."""
        content = self._files.get((folder, received))
        return (0 if content is None else len(content)), 0

    def read(self, folder: str, received: bool, offset: int, count: int) -> bytes:
        """Read at most `count` bytes from `offset`."""
        content = self._files.get((folder, received))
        return b"" if content is None else bytes(content[offset : offset + count])

    def next_data(self, folder: str, received: bool, offset: int) -> int:  # noqa: ARG002  (in memory)
        """Return `offset`: an unpacked file has no holes."""
        return offset


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a folder; no, when it cannot be asked (a link to itself): that must not hide all others."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _told_apart(names: Iterable[str], place: str) -> tuple[list[str], list[str]]:
    """Return the names that are UTF-8, and log the others: Core gives none such, and a checkpoint can hold none."""
    chosen: tuple[list[str], list[str]] = [], []
    for name in names:
        chosen[not is_encodable(name)].append(name)
    if chosen[1]:
        _LOG.warning(
            "capture %s: %s not read, as its name is not UTF-8: %s",
            printable(place),
            counted(len(chosen[1]), "folder"),
            printable(chosen[1][0]),
        )
    return chosen


def check_folder(root: str) -> None:
    """Raise SourceError, with the likely place, unless `root` is a folder that can hold capture files."""
    path = Path(root)
    if not path.exists():
        raise SourceError(f"no such folder: {root!r}; expected the node's message_capture folder")
    if not path.is_dir():
        raise SourceError(f"not a folder: {root!r}; a capture source wants the node's message_capture folder")
    for inner in ("message_capture", "capture", *(f"{chain}/message_capture" for chain in ("regtest", "signet"))):
        if (path / inner).is_dir():
            raise SourceError(f"{root!r} holds no peer folders; did you mean {str(path / inner)!r}?")


def _unpacked(path: str, limit: int) -> bytes:
    """Return the whole tar archive, decompressed; never more than `limit` bytes."""
    parts: list[bytes] = []
    total = 0
    try:
        with Path(path).open("rb") as file:
            ending = Path(path).suffix
            stream = unpacked(file, ending) if ending in FORMATS else file
            while part := stream.read(_READ_STEP):
                total += len(part)
                if total > limit:
                    wanted = f"{limit >> 20} MiB; unpack it and use capture:DIR"
                    raise SourceError(f"archive {path!r} unpacks to more than {wanted}")
                parts.append(part)
    except (*UNPACK_ERRORS, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TornError(f"cannot read archive {path!r}: torn or corrupt: {reason}") from error
    return b"".join(parts)
