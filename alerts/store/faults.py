"""What databases say when they fail, as errors for people."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from watchdog.core.errors import StoreError, StoreUnavailableError

PASSING_STATES = ("08", "53", "57", "40", "55P03", "58000", "58030", "25006")
"""SQLSTATE classes after which another try may succeed (PostgreSQL, appendix A: connection exception, insufficient
resources, operator intervention, transaction rollback, lock not available, errors of system and disk, and a transaction
that may only read: a standby has no others until it is promoted)."""
PASSING_CODES = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL)
"""SQLite's temporary errors without a text of their own here: no file could be opened (too many are open), and a race
of openings (https://www.sqlite.org/rescode.html)."""


def is_locked(error: DBAPIError) -> bool:
    """Return whether another process holds SQLite's write lock."""
    cause = error.orig
    return isinstance(cause, sqlite3.OperationalError) and _code(cause) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def as_store_error(error: DBAPIError, place: str) -> StoreError:
    """Return one line for people, without the statement and its values: they hold peers' text."""
    cause = error.orig
    said = (str(cause).strip().splitlines() or ["no reason given"])[0]
    if isinstance(cause, sqlite3.Error):
        return _sqlite_error(_code(cause), said, place)
    state = getattr(cause, "sqlstate", None) or ""
    passing = state.startswith(PASSING_STATES) or (not state and isinstance(error, OperationalError | InterfaceError))
    if passing or error.connection_invalidated:
        return StoreUnavailableError(f"database '{place}': {said}")
    return StoreError(f"database '{place}': {said}")


def _code(cause: BaseException) -> int:
    """Return SQLite's primary result code: the low byte of the extended one; 0 for an error of the driver."""
    return int(getattr(cause, "sqlite_errorcode", 0)) & 0xFF


def _sqlite_error(code: int, said: str, place: str) -> StoreError:
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailableError(f"database '{place}': locked by another process; nothing was written")
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailableError(f"database '{place}': the disk is full; nothing was written")
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailableError(f"database '{place}': {said}; nothing was written")
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(f"database '{place}': not an SQLite database")
    if code == sqlite3.SQLITE_CORRUPT:
        remedy = "restore a backup, or remove it to start with an empty history"
        return StoreError(f"database '{place}': damaged ({said}); {remedy}")
    kind = StoreUnavailableError if code in PASSING_CODES else StoreError
    return kind(f"database '{place}': {said}")
