"""Opens files that are read, and never waits for who writes into a pipe of that name.

A pipe would hold up the thread that opens it, and with it all other sources: without a word, since nothing fails.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO, Final

NO_FILE: Final = "a pipe, a socket or a device, not a file"
_FLAGS: Final = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # of no effect on ordinary files


def open_ordinary(path: Path, buffering: int = 0) -> IO[bytes]:
    """Open a regular file for reading. Raise OSError, with the reason as its `strerror`, for anything else."""
    file = os.open(path, os.O_RDONLY | _FLAGS)
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(file, "rb", buffering)
    os.close(file)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, NO_FILE, str(path))
