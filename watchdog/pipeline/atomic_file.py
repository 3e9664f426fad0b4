"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path


def check_place(path: Path) -> None:
    """Raise OSError, with `path`, when a file cannot be created or replaced there; leave nothing behind."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not an ordinary file", str(path))
    handle, name = _temporary(path)
    os.close(handle)
    Path(name).unlink()


def write_whole(path: Path, content: bytes, *, private: bool = False, follow: bool = True) -> None:
    """Write a file so that its name holds the old or the new content, never half of it. OSError names `path`.

    private: only its owner can read it. follow: write where a symbolic link of that name leads; else replace the link.
    """
    target = path.resolve() if follow else path.parent.resolve() / path.name
    handle, name = _temporary(target)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o600 if private else 0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _temporary(path: Path) -> tuple[int, str]:
    try:
        return tempfile.mkstemp(prefix=f".{path.name}.", dir=path.resolve().parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
