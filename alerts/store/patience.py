"""How long we wait for a database server, and where that is longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text

CONNECT_S = 5
"""One try to connect: a lost packet is sent again after 1 s, then 2 s (RFC 6298, 2.1 and 5.5), so two may be lost."""
STATEMENT_S = 10
"""One statement, its wait for locks included. Ours take thousandths of a second (`make bench`); SQLite may wait 6 s."""
MARGIN_S = 5
"""How much later than the server we give up: its own answer says more, and must first come to us."""
KEEPALIVE_IDLE_S, KEEPALIVE_EVERY_S, KEEPALIVE_PROBES = 10, 5, 3
"""An idle connection, as the lock's is, to a host that is gone ends after 10 + 3 * 5 s. Linux alone waits two hours
(tcp(7): 7200 s, 9 probes, 75 s between them)."""
MIGRATION_S = 3_600
"""One statement of a migration: an index over millions of rows takes minutes on a slow disk."""
RETENTION_S = 120
"""One statement of retention: removing an incident reads and writes in six tables, on a disk that has other work."""


@contextmanager
def patience(connection: Connection, seconds: float) -> Iterator[None]:
    """Let statements of the transaction take so long, within the block."""
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
