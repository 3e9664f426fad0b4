"""Removes capture files that were read to their end, so that a tree stays below a size: `prune: {keep: 1GiB}`.

The node appends to a file by opening, writing and closing it for each message (Bitcoin Core's
CaptureMessageToFile). A file that is unlinked in between only loses that message: its descriptor is held until the next
pass, which reports a gap where the file has grown. Folders stay: the node creates a folder and then opens a file in it,
and a folder that vanishes in between would end the node with an exception. Nothing is truncated.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from watchdog.core.text import printable
from watchdog.sources.capture.files import MARK_BYTES, NO_MARK, CaptureFile
from watchdog.sources.capture.tree import RECEIVED_FILE, SENT_FILE

QUIET_S: Final = 60.0  # without a change, before a file is removed
EVERY_S: Final = 10.0  # between two passes: the time for which a descriptor is held
MOST_REMOVED: Final = 200  # files of one pass, each with an open descriptor until the next one
MOST_REFUSED: Final = 10_000  # files that are remembered as not ours to remove
WARN_EACH: Final = 1_000  # refused files, the first of which is logged, too
LOOKED_AT: Final = 50  # folders, when rights are checked
_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_LOG = logging.getLogger("watchdog.sources")

FileKey = tuple[str, bool]  # folder, and whether the file of received messages is meant


class Seen(NamedTuple):
    """A file as it was when it was first found unchanged. at_s: monotonic seconds."""

    size: int
    changed_ns: int
    inode: tuple[int, int]
    at_s: float


class Removed(NamedTuple):
    """A file that was unlinked, and its descriptor, by which a late write shows."""

    file: CaptureFile
    descriptor: int
    size: int


@dataclass(slots=True)
class Pass:
    """The outcome of one pass. removed: files that are gone. lost: files removed in earlier passes or this one to which
    the node wrote once more.
    """

    removed: list[CaptureFile] = field(default_factory=list)
    lost: list[CaptureFile] = field(default_factory=list)


class Pruner:
    """Keeps one tree below `keep` bytes; belongs to the thread that polls the source.

    is_stored: whether the place up to which a file was read is in a checkpoint on disk, so that no restart would read
    it again; None where none ever will be. monotonic: seconds, for tests to replace. removed, refused: files, since it
    was built.
    """

    def __init__(
        self,
        root: str,
        keep: int,
        is_stored: Callable[[CaptureFile], bool | None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.removed = self.refused = 0
        self._root, self._keep, self._is_stored, self._monotonic = root, keep, is_stored, monotonic
        self._seen: dict[FileKey, Seen] = {}
        self._refused: dict[FileKey, tuple[int, int]] = {}  # with size and change when it was refused
        self._held: list[Removed] = []
        self._next_s = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for another pass."""
        return self._monotonic() >= self._next_s

    def run(self, files: Iterable[CaptureFile]) -> Pass:
        """Remove the oldest files that may go until the others are within the limit. Never raises OSError."""
        self._next_s = self._monotonic() + EVERY_S
        done = Pass(lost=self._late_writes())
        known = [file for file in files if file.size]
        surplus = sum(file.size for file in known) - self._keep
        seen: dict[FileKey, Seen] = {}
        if surplus > 0:
            try:
                root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                _LOG.warning("%s is not pruned: %s", printable(self._root, 4_096), error.strerror)
                return done
            try:
                self._remove_oldest(root, known, surplus, seen, done)
            finally:
                os.close(root)
        self._seen = seen
        if done.removed:
            _LOG.debug("%s: %s files were read and are removed", printable(self._root, 4_096), len(done.removed))
        return done

    def close(self) -> None:
        """Close the descriptors that are held; a second call does nothing. No gap can follow, so a log line does."""
        late = sum(os.fstat(one.descriptor).st_size != one.size for one in self._held)
        if late:
            _LOG.warning("%s: %s messages came while their files were removed", printable(self._root, 4_096), late)
        for one in self._held:
            os.close(one.descriptor)
        self._held = []

    def _remove_oldest(
        self, root: int, known: list[CaptureFile], surplus: int, seen: dict[FileKey, Seen], done: Pass
    ) -> None:
        """Walk the files by their last change. One that must wait holds its place, so that no younger one goes."""
        for file in sorted(known, key=lambda one: (one.changed_ns, one.folder, one.received)):
            if surplus <= 0 or len(done.removed) >= MOST_REMOVED:
                return
            key = (file.folder, file.received)
            if self._refused.get(key) == (file.size, file.changed_ns):
                continue
            stored = self._is_stored(file) if _is_read(file) else False
            if stored is None:
                continue
            surplus -= file.size
            if not stored:
                continue
            now = self._look(root, file)
            if now is None:
                continue
            before = self._seen.get(key)
            if before is None or before[:3] != now[:3]:
                seen[key] = now
            elif now.at_s - before.at_s < QUIET_S:
                seen[key] = before
            else:
                self._remove(root, file, before, done)

    def _look(self, root: int, file: CaptureFile) -> Seen | None:
        """Look at a file without following links; None when it is not as it was read, or not ours to remove."""
        try:
            folder = os.open(file.folder, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=root)
            try:
                about = os.stat(_name(file), dir_fd=folder, follow_symlinks=False)
            finally:
                os.close(folder)
        except OSError as error:
            self._refuse(file, error.strerror or "cannot be looked at")
            return None
        if why := _not_ours(about):
            self._refuse(file, why)
            return None
        if (about.st_size, about.st_mtime_ns) != (file.size, file.changed_ns):
            return None  # it has just grown
        return Seen(about.st_size, about.st_mtime_ns, (about.st_dev, about.st_ino), self._monotonic())

    def _remove(self, root: int, file: CaptureFile, expected: Seen, done: Pass) -> None:
        """Unlink a file if it is still the one that was read; its descriptor is held to see a late write."""
        descriptor = -1
        try:
            folder = os.open(file.folder, os.O_RDONLY | os.O_DIRECTORY | _FLAGS, dir_fd=root)
            try:
                descriptor = os.open(_name(file), os.O_RDONLY | _FLAGS, dir_fd=folder)
                if not _is_same(descriptor, file, expected):
                    os.close(descriptor)
                    return
                os.unlink(_name(file), dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            self._refuse(file, error.strerror or "cannot be removed")
            return
        self.removed += 1
        done.removed.append(file)
        if os.fstat(descriptor).st_nlink:  # the name belonged to another file by then, which was not read
            done.lost.append(file)
        self._held.append(Removed(file, descriptor, file.size))

    def _late_writes(self) -> list[CaptureFile]:
        """Return the files of the last pass that the node wrote to after they were unlinked."""
        late = [one for one in self._held if os.fstat(one.descriptor).st_size != one.size]
        for one in self._held:
            os.close(one.descriptor)
        self._held = []
        return [one.file for one in late]

    def _refuse(self, file: CaptureFile, why: str) -> None:
        """Leave a file alone until it changes."""
        if len(self._refused) >= MOST_REFUSED:
            self._refused.clear()
        self._refused[file.folder, file.received] = (file.size, file.changed_ns)
        self.refused += 1
        if self.refused == 1 or self.refused % WARN_EACH == 0:
            path = printable(f"{self._root}/{file.folder}/{_name(file)}", 4_096)
            _LOG.warning("%s is not removed: %s (%s files so far)", path, why.lower(), self.refused)


def prune_fault(root: Path) -> str:
    """Return why this user cannot remove files of a tree; empty when nothing is known to prevent it."""
    if not root.is_dir():
        return "an archive, or a folder that does not exist, is not pruned"
    for folder in _folders(root):
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=bool(os.supports_effective_ids)):
            return f"{printable(str(folder), 4_096)} cannot be written by this user, so its files cannot be removed"
    return ""


def stored_place(
    file: CaptureFile, position: Mapping[str, object] | None, marked: Callable[[str], bool]
) -> bool | None:
    """Return whether a stored position of the source has all of a file; None where none ever will.

    marked: whether the source still marks a folder. Those silent for the longest time are unmarked, and known by the
    time before which all was taken.
    """
    read = position.get("read") if position is not None else None
    if not isinstance(read, Mapping):
        return False
    files, taken_us = read.get("files"), read.get("taken_us")
    mark = files.get(file.folder) if isinstance(files, Mapping) else None
    if isinstance(mark, list) and len(mark) == 6:
        return (mark[2 * file.received], mark[4 + file.received]) == (file.offset, file.mark)
    if marked(file.folder):
        return False
    if not file.given:
        return None  # skipped at the first start, or taken by a run that is over: nothing shows which
    return isinstance(taken_us, int) and file.clock_us < taken_us


def _is_read(file: CaptureFile) -> bool:
    """Return whether every byte of a file was read, and every record of it given."""
    return file.offset == file.size and not file.queued and file.next_us is None and not file.torn


def _is_same(descriptor: int, file: CaptureFile, expected: Seen) -> bool:
    """Return whether an open file is the one that was read: its number, size, time of change and last bytes."""
    about = os.fstat(descriptor)
    if _not_ours(about):
        return False
    if (about.st_size, about.st_mtime_ns, (about.st_dev, about.st_ino)) != expected[:3]:
        return False
    ahead = min(MARK_BYTES, file.size)
    return file.mark == NO_MARK or crc32(os.pread(descriptor, ahead, file.size - ahead)) == file.mark


def _not_ours(about: os.stat_result) -> str:
    """Return why a file is not removed whatever it holds; empty for an ordinary one."""
    if not stat.S_ISREG(about.st_mode):
        return "it is no regular file"
    return "it has another name (hard link)" if about.st_nlink > 1 else ""


def _name(file: CaptureFile) -> str:
    return RECEIVED_FILE if file.received else SENT_FILE


def _folders(root: Path) -> Iterator[Path]:
    """Yield some folders of peers; the tree itself while there are none."""
    with os.scandir(root) as entries:
        found = [Path(entry.path) for entry in islice(entries, LOOKED_AT) if entry.is_dir(follow_symlinks=False)]
    yield from found or [root]
