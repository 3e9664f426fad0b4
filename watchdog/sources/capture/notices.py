"""Which capture files grew, told by the kernel: inotify, so that a poll does not ask hundreds of quiet files.

Linux only, and only where the kernel sees the writes: not across machines (NFS), not through another mount of the same
disk. So this is a hint, never a promise: its users still look at files in turn (see `FollowedFiles`).
Constants: Linux include/uapi/linux/inotify.h; the order of events and the overflow: man 7 inotify.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
from collections import OrderedDict
from contextlib import suppress
from struct import Struct
from typing import Final

IN_MODIFY: Final = 0x2
IN_CREATE: Final = 0x100
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ONLYDIR: Final = 0x01000000
_ASKED: Final = IN_MODIFY | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR
_GONE: Final = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED
_EVENT: Final = Struct("iIII")  # wd, mask, cookie, len; then the name, padded with NUL to len
_BUFFER: Final = 64 * 1024
_LARGEST: Final = 4096  # an event with its name takes less; a read that leaves more room than this has taken all
# Folders watched at once, about 1 kB of kernel memory each; the limit of the kernel may be lower. A node has a folder
# for each inbound connection, as each comes from a port of its own: a busy one thousands a day.
WATCH_LIMIT: Final = 65_536
_HINT: Final = "fs.inotify.max_user_watches is reached; findings about others come later"
_LOG = logging.getLogger("watchdog.sources")


class Notices:
    """Notices of growth in some of the folders below a root; None from `start` where there are none."""

    def __init__(self, root: str, descriptor: int, library: ctypes.CDLL) -> None:
        """descriptor: of inotify_init1; closed with this object."""
        self.root, self._descriptor, self._library = root, descriptor, library
        self._watches: OrderedDict[str, int] = OrderedDict()  # the longest quiet folder first
        self._folders: dict[int, str] = {}  # also of removed watches, until the kernel confirms it
        self._limit: int | None = None  # of the kernel, as found out
        self._lost: list[str] = []
        self._left_out: list[str] = []

    @classmethod
    def start(cls, root: str) -> Notices | None:
        """Start watching; None on another system, and when the kernel has no room for one more reader of notices."""
        try:
            library = ctypes.CDLL(None, use_errno=True)
            descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except (AttributeError, OSError, TypeError):
            return None
        return cls(root, descriptor, library) if descriptor >= 0 else None

    def __del__(self) -> None:
        self.close()

    def __len__(self) -> int:
        """Folders watched."""
        return len(self._watches)

    def __contains__(self, folder: str) -> bool:
        """Return whether the folder is watched."""
        return folder in self._watches

    def close(self) -> None:
        """Give the descriptor back; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        self._watches.clear()
        self._folders.clear()

    def watch(self, folder: str) -> bool:
        """Report this folder from now on; beyond the limit the folder that grew longest ago is dropped.

        Returns False when the kernel has no room for another watch. A folder that does not exist is dropped.
        """
        if folder in self._watches:
            self._watches.move_to_end(folder)
            return True
        self._make_room(WATCH_LIMIT if self._limit is None else self._limit)
        path = os.fsencode(f"{self.root}/{folder}")
        number = int(self._library.inotify_add_watch(self._descriptor, path, _ASKED))
        if number < 0 and ctypes.get_errno() == errno.ENOSPC and self._watches:
            self._limit = len(self._watches) * 3 // 4 + 1  # the rest is for other programs of this user
            _LOG.warning("capture folder %s: only %d peers are watched: %s", self.root, self._limit, _HINT)
            self._make_room(self._limit)
            number = int(self._library.inotify_add_watch(self._descriptor, path, _ASKED))
        if number < 0:
            return not os.path.isdir(path)  # noqa: PTH112 - bytes, as the kernel wants them
        older = self._folders.get(number, folder)
        if older != folder and self._watches.pop(older, None) is not None:
            self._left_out.append(older)  # the same folder under two names (a link): the last one counts
        self._watches[folder] = number
        self._folders[number] = folder
        return True

    def _make_room(self, limit: int) -> None:
        """Leave those out that are quiet for longest, until one more is within the limit."""
        while len(self._watches) >= limit:
            quiet = next(iter(self._watches))
            self.forget(quiet)
            self._left_out.append(quiet)

    def forget(self, folder: str, *, ended: bool = False) -> None:
        """Stop reporting this folder. ended: the watch may have ended, so the kernel is not asked to remove it."""
        number = self._watches.pop(folder, None)
        if number is not None and not ended:
            self._library.inotify_rm_watch(self._descriptor, number)

    def lost(self) -> list[str]:
        """Return the folders that were removed or renamed, as read by `changed` since the last call of this."""
        lost, self._lost = self._lost, []
        return lost

    def left_out(self) -> list[str]:
        """Return the folders that had to make room since the last call of this."""
        left_out, self._left_out = self._left_out, []
        return left_out

    def changed(self) -> dict[tuple[str, str], None] | None:
        """Read the folder and file names written or made since the last call, in the kernel's order.

        None when notices were lost: anything may have changed.
        """
        found: dict[tuple[str, str], None] = {}
        whole = True
        with suppress(BlockingIOError):  # nothing (more) to tell
            while True:
                data = os.read(self._descriptor, _BUFFER)
                whole &= self._noted(data, found)
                if len(data) < _BUFFER - _LARGEST:
                    break
        return found if whole else None

    def _noted(self, data: bytes, found: dict[tuple[str, str], None]) -> bool:
        """Add what a read gave; False when the queue has overflowed."""
        at, whole = 0, True
        while at < len(data):
            number, mask, _, size = _EVENT.unpack_from(data, at)
            at += _EVENT.size
            folder = self._folders.get(number)
            if mask & IN_Q_OVERFLOW:
                whole = False
            elif folder is not None and mask & _GONE:
                self._end(number, folder, going_on=bool(mask & IN_MOVE_SELF))
            elif folder is not None:
                found[folder, os.fsdecode(data[at : at + size].rstrip(b"\0"))] = None
            at += size
        return whole

    def _end(self, number: int, folder: str, *, going_on: bool) -> None:
        """End a watch, which may follow its folder to another name (going_on)."""
        if self._watches.get(folder) == number:
            self._lost.append(folder)
            self.forget(folder, ended=not going_on)
        if not going_on:
            del self._folders[number]
