"""The service's files: its process id, locked while it runs, and the answer to the last reload."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from watchdog.core.errors import ServiceError
from watchdog.core.own_file import open_own
from watchdog.pipeline.atomic_file import write_whole

PID_FILE, ANSWER_FILE = "watchdog.pid", "watchdog.reload"
ANSWER_S = 30.0
LOOK_S = 0.05


class ReloadAnswer(msgspec.Struct, frozen=True):
    """The result of a reload. number: counts the reloads of a process, from 1. text: what changed or why not."""

    pid: int
    number: int
    ok: bool
    text: str


class PidFile:
    """A locked file with our process id. The system releases the lock however the process ends."""

    def __init__(self, folder: Path) -> None:
        """Create and lock the file. ServiceError when another service holds it, or when it cannot be created."""
        self.path = folder / PID_FILE
        self._descriptor = _opened(self.path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ServiceError(f"'{self.path}': another watchdog service runs with this checkpoint folder") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode("ascii"), 0)

    def answer(self, number: int, *, ok: bool, text: str) -> None:
        """Write the answer to a reload for `watchdog reload`. OSError when that fails."""
        body = msgspec.json.encode(ReloadAnswer(os.getpid(), number, ok, text))
        write_whole(self.path.with_name(ANSWER_FILE), body, follow=False)

    def release(self) -> None:
        """Release the lock; the file stays, empty."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def running(folder: Path) -> int | None:
    """Return the process id of the service that uses this folder; None without one. ServiceError: cannot be read."""
    try:
        descriptor = open_own(folder / PID_FILE, os.O_RDWR)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ServiceError(f"'{folder / PID_FILE}': {(error.strerror or 'cannot be read').lower()}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        found = os.read(descriptor, 32).decode("ascii", "replace").strip()
        return int(found) if found.isdigit() else None
    else:
        return None
    finally:
        os.close(descriptor)


def ask_reload(folder: Path, *, wait_s: float = ANSWER_S, pause: Callable[[float], None] = time.sleep) -> ReloadAnswer:
    """Make the running service reload; return its answer. ServiceError when none runs or none answers."""
    pid = running(folder)
    if pid is None:
        raise ServiceError(f"no watchdog service runs with '{folder}'")
    before = _last_answer(folder)
    try:
        os.kill(pid, signal.SIGHUP)
    except (ProcessLookupError, PermissionError) as error:
        raise ServiceError(f"service {pid}: {(error.strerror or 'cannot be asked').lower()}") from None
    for _ in range(max(1, int(wait_s / LOOK_S))):
        pause(LOOK_S)
        answer = _last_answer(folder)
        if answer is not None and answer != before and answer.pid == pid:
            return answer
    raise ServiceError(f"service {pid} has not answered within {wait_s:g} s; see its log")


def _last_answer(folder: Path) -> ReloadAnswer | None:
    try:
        return msgspec.json.decode((folder / ANSWER_FILE).read_bytes(), type=ReloadAnswer)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _opened(path: Path, flags: int) -> int:
    try:
        return open_own(path, flags)
    except OSError as error:
        raise ServiceError(f"'{path}': {(error.strerror or 'cannot be opened').lower()}") from None
