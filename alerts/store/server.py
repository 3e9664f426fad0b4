"""Connections to PostgreSQL that end: none of them waits for a server for ever. Needs psycopg, so import it late."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, cast

import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from alerts.store.patience import (
    CONNECT_S,
    KEEPALIVE_EVERY_S,
    KEEPALIVE_IDLE_S,
    KEEPALIVE_PROBES,
    MARGIN_S,
    STATEMENT_S,
)
from watchdog.core.errors import StateError

Parameters = dict[str, Any]  # Any: libpq's own types of values


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which no wait for the server takes longer than `patience_s`; it is closed then.

    `statement_timeout` is not enough: a server that is stopped, or a host that hangs, cancels nothing. Nor are
    TCP's own limits: the kernel of a stopped server goes on acknowledging what we send.
    """

    patience_s: float = STATEMENT_S + MARGIN_S

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:  # Any: psycopg's releases differ in what they take
        """As psycopg's own, for so long."""
        return super().wait(self._bounded(gen), *args, **options)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The generator is resumed by psycopg at least each tenth of a second, with nothing when nothing came."""
        end_s = time.monotonic() + self.patience_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > end_s:
                    gen.close()
                    self.close()
                    raise psycopg.OperationalError(f"the server did not answer within {self.patience_s:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


def server_engine(address: URL, **pool: Any) -> Engine:  # Any: settings of SQLAlchemy's pool
    """An engine whose connections are bounded. What the URL itself says of these limits stays as it says."""
    engine = create_engine(address, connect_args=limits(address), **pool)

    def connect(
        _dialect: Dialect, _entry: ConnectionPoolEntry, arguments: tuple[str, ...], parameters: Parameters
    ) -> DBAPIConnection:
        return cast("DBAPIConnection", BoundedConnection.connect(*arguments, **parameters))

    event.listen(engine, "do_connect", connect)
    return engine


def limits(address: URL) -> Parameters:
    """Parameters of libpq (https://www.postgresql.org/docs/current/libpq-connect.html, 34.1.2) for an address."""
    own: Parameters = {
        "application_name": "watchdog",
        "connect_timeout": CONNECT_S,
        "keepalives_idle": KEEPALIVE_IDLE_S,
        "keepalives_interval": KEEPALIVE_EVERY_S,
        "keepalives_count": KEEPALIVE_PROBES,
        "tcp_user_timeout": (STATEMENT_S + MARGIN_S) * 1_000,
    }
    given = {name: value for name, value in own.items() if name not in address.query}
    theirs = address.query.get("options", "")
    behind = theirs if isinstance(theirs, str) else " ".join(theirs)  # the last one of a setting holds: theirs
    return {**given, "options": f"-c statement_timeout={STATEMENT_S}s {behind}".strip()}


def check_parameters(address: URL) -> None:
    """StateError when libpq knows a parameter of the URL not; asks nobody."""
    try:
        arguments, parameters = _dialect(address).create_connect_args(address)
        make_conninfo(*arguments, **parameters)
    except (psycopg.Error, ArgumentError, ValueError) as error:
        said = (str(error).strip().splitlines() or ["not understood"])[0]
        raise StateError(f"database URL: {said}") from None


def _dialect(address: URL) -> Dialect:
    return address.get_dialect()()
