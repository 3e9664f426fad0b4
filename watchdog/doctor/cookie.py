"""Reads the cookie of a detected node so that another user's program cannot obtain the cookie of a real node.

Any local user may start a program named bitcoind whose cookie is a link to that of a real node, and wait for it on a
port of their own. So a cookie is used only if its file belongs to the user of the node and is no link.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from watchdog.sources.rpc.credentials import COOKIE_BYTES, PasswordCredentials
from watchdog.sources.rpc.errors import RpcCredentialsError


class OwnedCookie:
    """The cookie at a path, read once, if it belongs to `owner` (a user's number). For the thread that asks."""

    def __init__(self, path: Path, owner: int | None) -> None:
        self._path, self._owner = path, owner

    def authorization(self, method: str) -> str:
        """Return the header of the cookie. Raise RpcCredentialsError, chained to the OSError where there is one."""
        try:
            text = self._read(method)
        except OSError as error:
            raise RpcCredentialsError(method, why(error)) from error
        user, colon, secret = text.partition(":")
        if not colon or not user or not text.isprintable():
            raise RpcCredentialsError(method, "it is not a cookie of a node")
        return PasswordCredentials(user, lambda: secret).authorization(method)

    def renew(self) -> bool:
        """Return False: doctor asks once."""
        return False

    def _read(self, method: str) -> str:
        file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            about = os.fstat(file)
            if not stat.S_ISREG(about.st_mode):
                raise RpcCredentialsError(method, "it is no regular file")
            if self._owner is not None and about.st_uid != self._owner:
                raise RpcCredentialsError(method, "it belongs to another user than the node")
            return os.read(file, COOKIE_BYTES).decode("utf-8", "replace").strip()
        finally:
            os.close(file)


def why(error: OSError) -> str:
    """Return the reason for people."""
    if error.errno == errno.ELOOP:
        return "it is a symbolic link, which is not followed"
    return (error.strerror or "failed").lower()
