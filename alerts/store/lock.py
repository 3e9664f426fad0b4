"""The service's lock: one service at a time on one database."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from alerts.store.faults import as_store_error
from watchdog.core.errors import StoreError, StoreUnavailableError
from watchdog.core.own_file import open_own

LOCK_KEY = 0x7761746368646F67
"""The name of PostgreSQL's advisory lock, within one database: "watchdog" as a number of 64 bits."""


class AnotherServiceError(StoreUnavailableError):
    """Another process holds the lock. On a server it may be our own session of before, which that has yet to miss."""


class ServiceLock(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """Raise StoreError when the lock was lost and cannot be taken again."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class FileLock:
    """`flock` of a file beside the database: the system gives it back when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def check(self) -> None:
        """Do nothing: no other process can take the lock away."""

    def release(self) -> None:
        """Release the lock. The file stays: removing it would let two services lock two files of one name."""
        os.close(self._descriptor)


def file_lock(path: Path) -> FileLock:
    """Lock `<path>.lock`; AnotherServiceError with the holder's process id when another service has it.

    It lies beside the file itself, not beside a symbolic link to it, so that all who come by other names meet there.
    The database's own file must not be locked, nor opened: closing it would drop the locks that SQLite holds on it
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    real = path.resolve()
    place = real.with_name(f"{real.name}.lock")
    try:
        descriptor = open_own(place, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise StoreError(f"lock '{place}': {(error.strerror or 'cannot be opened').lower()}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        told = f"process {holder}" if holder.isdigit() else "its lock is held"
        raise AnotherServiceError(_taken(str(path), told)) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return FileLock(descriptor)


class ServerLock:
    """An advisory lock of a PostgreSQL session; the server gives it back when the session ends.

    A server that restarts ends the session, so `check` looks whether it lives and takes the lock again if not.
    """

    def __init__(self, make_engine: Callable[[], Engine], place: str) -> None:
        self._engine, self._place = make_engine(), place
        self._session: Connection | None = None
        self._take()

    def check(self) -> None:
        """Raise StoreUnavailableError while the server is away, AnotherServiceError when another service came first."""
        try:
            if self._session is not None:
                self._session.execute(text("SELECT 1"))
                return
        except DBAPIError:
            self._drop()
        self._take()

    def release(self) -> None:
        """End the session."""
        self._drop()
        self._engine.dispose()

    def _take(self) -> None:
        try:
            session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            taken = session.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}).scalar_one()
        except DBAPIError as error:
            raise as_store_error(error, self._place) from None
        if not taken:
            session.close()
            self._engine.dispose()
            raise AnotherServiceError(_taken(self._place, "its lock is held"))
        self._session = session

    def _drop(self) -> None:
        if self._session is not None:
            self._session.invalidate()
            self._session.close()
            self._session = None


def server_lock(make_engine: Callable[[], Engine], place: str) -> ServerLock:
    """Take the lock on a server; AnotherServiceError when another service has it."""
    return ServerLock(make_engine, place)


def _taken(place: str, holder: str) -> str:
    return f"database '{place}': another watchdog service uses it ({holder}); end that one or give another database"
