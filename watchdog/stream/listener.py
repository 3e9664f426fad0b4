"""The socket that a stream is served at: who may connect is decided by its file."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from pathlib import Path
from typing import Final

from watchdog.core.errors import SourceError
from watchdog.core.text import printable

PATH_MOST: Final = 107
"""Bytes of a path; sockaddr_un holds 108, and a zero ends them (Linux unix(7))."""
MODE: Final = 0o660
"""Its user and its group may connect, and no one else."""
QUEUE: Final = 64  # connections that wait to be accepted


def listen_at(path: Path, group: str = "") -> socket.socket:
    """Return a listening socket at a path, for its user and group only; a socket that no one serves is replaced.

    group: whose members may connect, empty for the user's own. Raises SourceError in one line.
    """
    shown = printable(str(path))
    if len(os.fsencode(path)) > PATH_MOST:
        raise SourceError(f"'{shown}': the path of a socket has at most {PATH_MOST} bytes")
    number = _group(group)
    _make_way(path, shown)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o777 & ~MODE)  # so that the file never exists with more rights
    try:
        listener.bind(str(path))
        if number is not None:
            os.chown(path, -1, number)
        listener.listen(QUEUE)
    except OSError as error:
        listener.close()
        raise SourceError(f"'{shown}': cannot serve there: {(error.strerror or 'failed').lower()}") from None
    finally:
        os.umask(before)
    return listener


def _group(name: str) -> int | None:
    if not name:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise SourceError(f"there is no group '{printable(name)}'") from None


def _make_way(path: Path, shown: str) -> None:
    """Remove a socket that a killed program left; SourceError where a program serves, or where another file is."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise SourceError(f"'{shown}': {(error.strerror or 'failed').lower()}") from None
    if not stat.S_ISSOCK(mode):
        raise SourceError(f"'{shown}' exists and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        code = probe.connect_ex(str(path))
    if code != errno.ECONNREFUSED:
        why = "a program serves there" if code in {0, errno.EAGAIN} else os.strerror(code).lower()
        raise SourceError(f"'{shown}': {why}")
    path.unlink(missing_ok=True)
