"""Reads small files of other users: whole or not at all, and never waits."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

LARGEST: Final = 1 << 20  # bytes of a bitcoin.conf or settings.json; real ones have a few kB


class UnusableFileError(OSError):
    """A file is no regular file or too large; the text says which."""


def read_small(path: Path, limit: int = LARGEST) -> bytes:
    """Return a whole regular file of at most `limit` bytes.

    Raises OSError when it cannot be read, UnusableFileError when it is a pipe, a device, a folder or larger. Neither
    a pipe nor a file that another process has leased makes it wait.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:  # a zero byte in the name
        raise UnusableFileError("no file can have this name") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise UnusableFileError("no regular file")
        parts: list[bytes] = []
        left = limit + 1
        while left and (part := os.read(file, left)):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(file)
    if not left:
        raise UnusableFileError(f"larger than {limit >> 10} KiB")
    return b"".join(parts)


def reason(error: OSError) -> str:
    """Return the reason of an error in lower case, without its number and path."""
    return (error.strerror or str(error) or type(error).__name__).lower()
