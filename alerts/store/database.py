"""One database: opening, transactions with bounded patience, and errors in one line."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from alerts.store.address import checked_address, database_file, shown_address
from alerts.store.faults import as_store_error, is_locked
from alerts.store.lock import AnotherServiceError, ServiceLock, file_lock, server_lock
from alerts.store.patience import BUSY_S, LOCK_TRIES, PAUSE_S, TRIES
from alerts.store.revision import bring_up_to_date, refuse_older, revision_of
from alerts.store.schema import HEAD
from watchdog.core.errors import StoreError, StoreUnavailableError

Result = TypeVar("Result")

LATEST_NS = (1 << 63) - 1
"""The latest time that a column holds."""


class Database:
    """An open database of the current version. Threads may share it; each transaction has a connection of its own.

    `read` and `write` take a function of a connection and run it in one transaction, again when the database was
    locked or the connection lost, at most `TRIES` times: the function must change nothing but the database.
    StoreUnavailableError when that did not help, StoreError for what waiting cannot heal.
    """

    def __init__(self, engine: Engine, place: str, pause: Callable[[float], None] = time.sleep) -> None:
        self.engine, self.place = engine, place
        self.found_revision = ""  # what the database was when it was opened; empty for a new one
        self._pause = pause
        self._lock: ServiceLock | None = None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        create: bool = True,
        exclusive: bool = False,
        busy_s: float = BUSY_S,
        pause: Callable[[float], None] = time.sleep,
    ) -> Database:
        """Connect to a database.

        create: make it when it is not there, and bring an older one up to date, under the service's lock: not while
        another version works with it. Without, nothing is written here, and an older one is refused.
        exclusive: take the service's lock, which one process at a time can hold, and keep it.
        StoreError in one line: a wrong URL, another version, another service, no such database.
        """
        address = checked_address(url)
        place = shown_address(url)  # as it was typed, without our driver's name
        if address.get_backend_name() == "sqlite":
            place = _checked_file(address, create=create)
        database = cls(_engine(address, busy_s), place, pause)
        try:
            if exclusive:
                database._lock = database._taken_lock(address)
            database._settle_version(address, create=create)
        except StoreError:
            database.close()
            raise
        return database

    @property
    def on_sqlite(self) -> bool:
        """Whether this is an SQLite file, not a server."""
        return self.engine.dialect.name == "sqlite"

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Return the function's result from one consistent view."""
        return self._attempts(lambda: self._transaction(work, {"begin": "BEGIN"}))

    def write(self, work: Callable[[Connection], Result], *, durable: bool = False) -> Result:
        """Run the function in one transaction and return its result.

        durable: it must survive a loss of power, so SQLite waits for the disk at the commit; without, only the end of
        this process. AnotherServiceError when the lock of an exclusive database is gone and another service has it.
        """
        if self._lock is not None:
            self._lock.check()
        options = {"begin": "BEGIN IMMEDIATE", "synchronous": "FULL" if durable else "NORMAL"}
        return self._attempts(lambda: self._transaction(work, options))

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """Return an INSERT that supports ON CONFLICT."""
        return sqlite.insert(table) if self.on_sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Let go of connections and lock."""
        self.engine.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _transaction(self, work: Callable[[Connection], Result], options: dict[str, str]) -> Result:
        with self.engine.connect() as connection:
            if self.on_sqlite:
                connection.execution_options(**options)
            with connection.begin():
                return work(connection)

    def _attempts(self, attempt: Callable[[], Result]) -> Result:
        for left in reversed(range(TRIES)):
            try:
                return attempt()
            except DBAPIError as error:
                failure = as_store_error(error, self.place)
                again = is_locked(error) or error.connection_invalidated
                if not left or not again or not isinstance(failure, StoreUnavailableError):
                    raise failure from None
                self._pause(PAUSE_S)
        raise AssertionError("a last try either returns or raises")

    def _settle_version(self, address: URL, *, create: bool) -> None:
        """Leave with a database of our version, or with StoreError."""
        found = self.found_revision = self._revision()
        if not create:
            refuse_older(found, self.place)
            return
        if self.on_sqlite:  # only now: a file that is not ours, or only read, keeps its kind of journal
            event.listen(self.engine, "connect", _use_wal)
            self.engine.dispose()
        if found == "":  # a new database is in use by no other process, so the lock is not needed
            self._attempts(lambda: bring_up_to_date(self.engine, self.place))
        elif found != HEAD:
            self._migrate(address)

    def _migrate(self, address: URL) -> None:
        """Bring it up to date with the service's lock in hand."""
        lock = None if self._lock is not None else self._awaited_lock(address)
        try:
            self._attempts(lambda: bring_up_to_date(self.engine, self.place))
        finally:
            if lock is not None:
                lock.release()

    def _awaited_lock(self, address: URL) -> ServiceLock | None:
        """Return the service's lock; None when another process held it and brought the database up to date."""
        for _ in range(LOCK_TRIES):
            try:
                return self._taken_lock(address)
            except AnotherServiceError:
                self._pause(PAUSE_S)
            if self._revision() == HEAD:
                return None
        return self._taken_lock(address)

    def _revision(self) -> str:
        return self._attempts(lambda: revision_of(self.engine, self.place))

    def _taken_lock(self, address: URL) -> ServiceLock:
        if self.on_sqlite:
            return file_lock(Path(self.place))
        return server_lock(lambda: _server_engine(address, pool_size=1, max_overflow=0), self.place)


def stored_text(text: str) -> str:
    r"""Text that every database takes: NUL and lone surrogates, which peers may send, become `\x00` and `\udcff`."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def stored_json(value: object) -> str:
    """Return a document as one line of ASCII."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def make_private(path: Path) -> None:
    """Create an empty file that only its owner can read: it will hold peers' addresses and operators' notes.

    SQLite gives its journal the same rights. A file that is there keeps its own: they are its owner's choice.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(f"database '{path}': {(error.strerror or 'cannot be made').lower()}") from None


def _checked_file(address: URL, *, create: bool) -> str:
    """Return the file of an SQLite URL, created if allowed. StoreError: it is missing and must not be created."""
    path = database_file(address)
    if not path.exists():
        if not create:
            raise StoreError(f"database '{path}': no such file")
        make_private(path)
    return str(path)


def _engine(address: URL, busy_s: float) -> Engine:
    if address.get_backend_name() != "sqlite":
        return _server_engine(address, pool_pre_ping=True)
    engine = create_engine(address, connect_args={"timeout": busy_s, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _server_engine(address: URL, **pool: Any) -> Engine:  # Any: settings of SQLAlchemy's pool
    from alerts.store.server import server_engine  # noqa: PLC0415 (psycopg is an extra)

    return server_engine(address, **pool)


def _prepare_sqlite(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where we say so, not where the driver guesses
    for pragma in ("foreign_keys = ON", "journal_size_limit = 67108864"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    """Let readers and a writer work at the same time. The file keeps the mode, so readers need not set it."""
    connection.execute("PRAGMA journal_mode = WAL")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if "synchronous" in options:
        connection.exec_driver_sql(f"PRAGMA synchronous = {options['synchronous']}")
    connection.exec_driver_sql(options.get("begin", "BEGIN"))
