"""What databases say when they fail, as errors for people."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from watchdog.core.errors import StateError

PASSING_STATES = ("08", "53", "57", "40", "55P03")
"""SQLSTATE classes after which another try may succeed (PostgreSQL, appendix A: connection exception, insufficient
resources, operator intervention, transaction rollback, lock not available)."""


class StoreUnavailableError(StateError):
    """The database does not take it now (locked, full, gone); nothing was written, another try may succeed."""


def is_locked(error: DBAPIError) -> bool:
    """Whether another process holds SQLite's write lock."""
    cause = error.orig
    return isinstance(cause, sqlite3.OperationalError) and _code(cause) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def as_state_error(error: DBAPIError, place: str) -> StateError:
    """One line for people. The statement and its values stay out: they hold what peers sent."""
    cause = error.orig
    said = (str(cause).strip().splitlines() or ["no reason given"])[0]
    if isinstance(cause, sqlite3.Error):
        return _sqlite_error(_code(cause), said, place)
    state = getattr(cause, "sqlstate", None) or ""
    passing = state.startswith(PASSING_STATES) or (not state and isinstance(error, OperationalError | InterfaceError))
    if passing or error.connection_invalidated:
        return StoreUnavailableError(f"database '{place}': {said}")
    return StateError(f"database '{place}': {said}")


def _code(cause: BaseException) -> int:
    """SQLite's primary result code: the low byte of the extended one; 0 when the driver itself complains."""
    return int(getattr(cause, "sqlite_errorcode", 0)) & 0xFF


def _sqlite_error(code: int, said: str, place: str) -> StateError:
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreUnavailableError(f"database '{place}': locked by another process; nothing was written")
    if code == sqlite3.SQLITE_FULL:
        return StoreUnavailableError(f"database '{place}': the disk is full; nothing was written")
    if code == sqlite3.SQLITE_IOERR:
        return StoreUnavailableError(f"database '{place}': {said}; nothing was written")
    if code == sqlite3.SQLITE_NOTADB:
        return StateError(f"database '{place}': not an SQLite database")
    if code == sqlite3.SQLITE_CORRUPT:
        return StateError(f"database '{place}': damaged ({said}); restore a backup or remove it to start anew")
    return StateError(f"database '{place}': {said}")
