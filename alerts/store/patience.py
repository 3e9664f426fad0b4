"""How long we wait for a database, and what that makes together (`tests/unit/test_store_patience.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text

TRIES = 3
"""How often a transaction is tried that finds SQLite's file locked, or whose connection ends."""
PAUSE_S = 0.1
"""Between two tries."""
BUSY_S = 2.0
"""How long one try waits for SQLite's write lock."""
LOCKED_MOST_S = TRIES * BUSY_S + (TRIES - 1) * PAUSE_S
"""The wait of all tries for a file that another process keeps locked: far longer than any transaction takes."""
LOCK_TRIES = round(TRIES * BUSY_S / PAUSE_S)
"""How often the service's lock is asked for before a migration, `PAUSE_S` apart: as long as for SQLite's write lock."""
CONNECT_S = 5
"""One try to connect: a lost packet is sent again after 1 s, then 2 s (RFC 6298, 2.1 and 5.5), so two may be lost."""
STATEMENT_S = 10
"""One statement, its wait for locks included. Ours take thousandths of a second (`make bench`)."""
MARGIN_S = 5
"""How much longer than the server's own limit the client waits: the server's error message says more."""
SILENCE_S = STATEMENT_S + MARGIN_S
"""One wait for a server that says nothing; then its connection is closed, and the transaction tried again."""
SERVER_MOST_S = SILENCE_S + TRIES * (CONNECT_S + SILENCE_S) + (TRIES - 1) * PAUSE_S
"""What all tries of one statement wait for a server that takes each connection and then falls silent: first on one of
the pool, which is looked at before it is used, then on a new one in each try."""
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_PROBES = 10, 5, 3
"""An idle connection, as the lock's is, to a host that is gone ends after 10 + 3 * 5 s. Linux alone waits two hours
(tcp(7): 7200 s, 9 probes, 75 s between them)."""
MIGRATION_S = 3_600
"""One statement of a migration: an index over millions of rows takes minutes on a slow disk."""
RETENTION_S = 120
"""One statement of retention: removing an incident reads and writes in six tables, on a disk that has other work."""


@contextmanager
def patience(connection: Connection, seconds: float) -> Iterator[None]:
    """Set the time limit of the transaction's statements within the block."""
    if connection.dialect.name != "postgresql":
        yield
        return
    raw: Any = connection.connection.driver_connection  # a BoundedConnection: `server_engine` makes no other
    connection.execute(text(f"SET LOCAL statement_timeout = {round(seconds * 1_000)}"))
    raw.patience_s = seconds + MARGIN_S
    try:
        yield
    finally:
        del raw.patience_s  # that of its class holds again
