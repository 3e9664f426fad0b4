"""How a node knows this program: the cookie that it writes at each start, or a user with a password."""

from __future__ import annotations

import errno
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from watchdog.core.text import printable
from watchdog.sources.rpc.errors import RpcCredentialsError

COOKIE_BYTES: Final = 4_096  # Core writes about 75
PASSWORD_BYTES: Final = 4_096


class Credentials(Protocol):
    """What a call is authorized with."""

    def authorization(self, method: str) -> str:
        """Return the value of the header `Authorization`. Raise RpcCredentialsError, naming the method."""
        ...

    def renew(self) -> bool:
        """Return whether there are other credentials now, after a node has refused the last ones."""
        ...


class CookieCredentials:
    """The cookie at a path; read when it is first needed, and again after the node refused it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cookie = ""

    def __repr__(self) -> str:
        return f"CookieCredentials({str(self.path)!r})"

    def authorization(self, method: str) -> str:
        """Return the header of the cookie."""
        if not self._cookie:
            self._cookie = self._read(method)
        return _basic(self._cookie)

    def renew(self) -> bool:
        """Forget the cookie; return whether the file has another one."""
        before, self._cookie = self._cookie, ""
        try:
            self._cookie = self._read("")
        except RpcCredentialsError:
            return False
        return self._cookie != before

    def _read(self, method: str) -> str:
        try:
            text = read_small(self.path, COOKIE_BYTES, own_name=True).strip()
        except OSError as error:
            why = (error.strerror or "failed").lower()
            raise RpcCredentialsError(method, f"cookie '{printable(str(self.path))}': {why}") from None
        user, colon, _ = text.partition(":")
        if not colon or not user or not text.isprintable():
            raise RpcCredentialsError(method, f"cookie '{printable(str(self.path))}': is not a cookie of a node")
        return text


class PasswordCredentials:
    """A user and a password. password: called for each request, so that only its owner keeps it."""

    def __init__(self, user: str, password: Callable[[], str]) -> None:
        self.user, self._password = user, password

    def __repr__(self) -> str:
        return f"PasswordCredentials({self.user!r})"

    def authorization(self, method: str) -> str:
        """Return the header of user and password."""
        try:
            return _basic(f"{self.user}:{self._password()}")
        except OSError as error:
            raise RpcCredentialsError(method, f"the password: {(error.strerror or 'failed').lower()}") from None

    def renew(self) -> bool:
        """Return False: another password comes with a reload."""
        return False


def password_from(path: Path) -> Callable[[], str]:
    """Return what reads a password from a file, without the line end, at each call. It raises OSError."""

    def read() -> str:
        return read_small(path, PASSWORD_BYTES).strip("\r\n")

    return read


def read_small(path: Path, limit: int, *, own_name: bool = False) -> str:
    """Return the text of a small regular file; a pipe never blocks. Raise OSError, also when it is larger.

    own_name: refuse symbolic and hard links. Another user might make them, so that we send a secret to their program.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (os.O_NOFOLLOW if own_name else 0)
    try:
        handle = os.open(path, flags)
    except ValueError:  # a zero byte
        raise OSError(0, "no file can have this name") from None
    except OSError as error:
        if own_name and error.errno == errno.ELOOP:
            raise OSError(0, "is a symbolic link, which is not followed: name the file itself") from None
        raise
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(0, "is not a file")
        if own_name and about.st_nlink > 1:
            raise OSError(0, "has further names (hard links), so it may be another node's")
        text = file.read(limit + 1)
    if len(text) > limit:
        raise OSError(0, "is too large")
    return text.decode("utf-8", "backslashreplace")


def _basic(text: str) -> str:
    return f"Basic {b64encode(text.encode('utf-8', 'surrogateescape')).decode()}"  # of $VARIABLES that are not UTF-8


def secrets_in(authorization: str) -> tuple[str, ...]:
    """Return what of the header `Authorization` nobody else may see: all of it, and the password."""
    coded = authorization.partition(" ")[2]
    plain = b64decode(coded).decode("utf-8", "backslashreplace")
    return coded, plain, plain.partition(":")[2]
