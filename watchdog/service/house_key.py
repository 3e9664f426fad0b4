"""The key of the house: makes the hashes of `redact: hash`, the same in every notice of this installation."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from alerts.store.redact import LEAST_KEY_BYTES, MOST_KEY_BYTES
from watchdog.core.errors import ServiceError

FILE: Final = "redaction.key"
BYTES: Final = 32


def house_key(folder: Path) -> bytes:
    """Return the key in a folder, and create a missing one. ServiceError: it cannot be read or created."""
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise ServiceError(f"{path}: the key for 'redact: hash' cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(made, "wb") as file:
            file.write(secrets.token_hex(BYTES).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key would be refused at the next start
        raise ServiceError(f"{path}: the key for 'redact: hash' cannot be written: {error.strerror}") from None
    return _read(path)


def any_key(folder: Path) -> bytes:
    """Return the key in a folder, for a test message; a random one if the folder has none yet."""
    return _read(folder / FILE) if (folder / FILE).exists() else secrets.token_bytes(BYTES)


def _read(path: Path) -> bytes:
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise ServiceError(f"{path}: the key for 'redact: hash' cannot be read: {error.strerror}") from None
    if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        bounds = f"{LEAST_KEY_BYTES} to {MOST_KEY_BYTES}"
        raise ServiceError(f"{path}: the key for 'redact: hash' has {len(key)} bytes; {bounds} are needed")
    return key
