"""Small files under a fixed name: a pid, a lock. A file that another user could plant there is refused."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def open_own(path: Path, flags: int) -> int:
    """Open or create a small file and return its descriptor; OSError with `path` and a plain reason.

    In a folder where others can write, the name may be a symbolic link, a hard link, a pipe or a device of theirs, and
    what we write would go there. `O_NOFOLLOW` refuses the first, `O_NONBLOCK` keeps a pipe from holding us up; the
    others show in what was opened, which is looked at before anything is read or written.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "a symbolic link, which is not followed; remove it", str(path)) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "not an ordinary file; remove it", str(path)) from None
        raise
    try:
        _check(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not an ordinary file; remove it", str(path))
    if status.st_nlink > 1:
        raise OSError(errno.EMLINK, "a file with another name (hard link), which is not written; remove it", str(path))
