"""Connections to PostgreSQL that end: none of them waits for a server for ever. Needs psycopg, so import it late."""

from __future__ import annotations

import select
from collections.abc import Generator
from typing import Any, TypeVar, cast

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.waiting import Ready
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
    SILENCE_S,
    STATEMENT_S,
)
from watchdog.core.errors import StoreError

T = TypeVar("T")
READABLE, WRITABLE = select.POLLIN, select.POLLOUT
ConnectParameters = dict[str, Any]  # Any: libpq's own types of values


class BoundedConnection(psycopg.Connection[Any]):
    """A connection on which no wait for the server takes longer than `patience_s`; it is closed then.

    `statement_timeout` is not enough: a server that is stopped, or a host that hangs, cancels nothing. Nor are
    TCP's own limits: the kernel of a stopped server keeps acknowledging our data.
    """

    patience_s: float = SILENCE_S

    def wait(self, gen: Generator[Any, Any, T], *_args: Any, **_options: Any) -> T:  # Any: releases of psycopg differ
        """Resume a generator of psycopg when its socket is ready for it, until it is done; its value.

        A loop of our own: psycopg 3.2 knows no limit, and its compiled loop resumes nothing until something has come.
        """
        socket = self.pgconn.socket
        try:
            wanted = next(gen)
            poll = select.poll()
            while True:
                poll.register(socket, READABLE * bool(wanted & Ready.R) | WRITABLE * bool(wanted & Ready.W))
                found = poll.poll(self.patience_s * 1_000)
                if not found:
                    gen.close()
                    self.close()
                    raise psycopg.OperationalError(f"the server did not answer within {self.patience_s:g} s")
                events = found[0][1]  # of a connection that has ended: neither, but the generator finds that out
                ready = Ready.R * bool(events & ~WRITABLE) | Ready.W * bool(events & ~READABLE)
                wanted = gen.send(Ready(ready))
        except StopIteration as done:
            return cast("T", done.value)


def server_engine(address: URL, **pool: Any) -> Engine:  # Any: settings of SQLAlchemy's pool
    """Return an engine with time limits on its connections. Limits given in the URL take precedence."""
    engine = create_engine(address, connect_args=limits(address), **pool)

    def connect(
        _dialect: Dialect, _entry: ConnectionPoolEntry, arguments: tuple[str, ...], parameters: ConnectParameters
    ) -> DBAPIConnection:
        return cast("DBAPIConnection", BoundedConnection.connect(*arguments, **parameters))

    event.listen(engine, "do_connect", connect)
    return engine


def limits(address: URL) -> ConnectParameters:
    """Return libpq parameters (https://www.postgresql.org/docs/current/libpq-connect.html, 34.1.2) for an address."""
    own: ConnectParameters = {
        "application_name": "watchdog",
        "connect_timeout": CONNECT_S,
        "keepalives_idle": KEEPALIVE_IDLE_S,
        "keepalives_interval": KEEPALIVE_EVERY_S,
        "keepalives_count": KEEPALIVE_PROBES,
        "tcp_user_timeout": SILENCE_S * 1_000,
    }
    given = {name: value for name, value in own.items() if name not in address.query}
    theirs = address.query.get("options", "")
    behind = theirs if isinstance(theirs, str) else " ".join(theirs)  # the last one of a setting holds: theirs
    return {**given, "options": f"-c statement_timeout={STATEMENT_S}s {behind}".strip()}


def check_parameters(address: URL) -> None:
    """Check the URL's parameters without a connection. StoreError: libpq does not know one."""
    try:
        arguments, parameters = _dialect(address).create_connect_args(address)
        make_conninfo(*arguments, **parameters)
    except (psycopg.Error, ArgumentError, ValueError) as error:
        said = (str(error).strip().splitlines() or ["not understood"])[0]
        raise StoreError(f"database URL: {said}") from None


def _dialect(address: URL) -> Dialect:
    return address.get_dialect()()
