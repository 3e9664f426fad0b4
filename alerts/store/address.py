"""Where a history is kept: a database's URL, checked without opening or making anything."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from watchdog.core.errors import StoreError

FORMS = "sqlite:///file.db or postgresql://user@host/name"
LAST_PORT = 65_535


def checked_address(url: str) -> URL:
    """Return the URL with our driver. StoreError: the watchdog cannot use such a database."""
    try:
        address = make_url(url)
    except ArgumentError:
        raise StoreError(f"database URL: not of the form {FORMS}") from None
    except ValueError:  # what SQLAlchemy makes of `host:port` with another word than a number
        raise StoreError(f"database URL: the port is not a number; use {FORMS}") from None
    backend = address.get_backend_name()
    if backend == "sqlite":
        return _sqlite_address(address)
    if backend in ("postgresql", "postgres"):
        return _server_address(address)
    raise StoreError(f"database URL: {backend!r} is not supported; use {FORMS}")


def database_file(address: URL) -> Path:
    """Return the file of an SQLite URL, which may not exist yet. StoreError: it cannot be a database of the watchdog.

    A file with two names is refused: SQLite names its journal, and we our lock, after the name that was given, so two
    services, or a service and a command, would damage it (https://www.sqlite.org/howtocorrupt.html, 2.5). A symbolic
    link is fine: SQLite and the lock follow it.
    """
    path = Path(address.database or "")
    if path.is_dir():
        raise StoreError(f"database '{path}': that is a folder; name the file in it")
    if path.exists():
        if not path.is_file():
            raise StoreError(f"database '{path}': not an ordinary file")
        links = path.stat().st_nlink
        if links > 1:
            raise StoreError(f"database '{path}': the file has {links} names (hard links); remove all but one")
    elif not path.parent.is_dir():
        raise StoreError(f"database '{path}': no such folder '{path.parent}'")
    return path


def address_fault(url: str) -> str:
    """Return why a service cannot keep its history there, in one line; "" when nothing speaks against it.

    Looks at folders and names of files, opens none, makes none, asks no server.
    """
    try:
        address = checked_address(url)
        if address.get_backend_name() == "sqlite":
            database_file(address)
    except StoreError as error:
        return str(error)
    return ""


def shown_address(url: str) -> str:
    """Return a URL that `checked_address` takes, as it was typed, without its password."""
    address = make_url(url)
    if "password" in address.query:  # libpq takes it there, too
        address = address.update_query_dict({"password": "***"})
    return address.render_as_string(hide_password=True)


def _sqlite_address(address: URL) -> URL:
    if not address.database or address.database == ":memory:":
        raise StoreError(f"database URL: a file is needed, for example {FORMS}")
    if "\0" in address.database:
        raise StoreError("database URL: no file can have a NUL in its name")
    if address.query:  # 'uri=true' would give the file another name than the one that we lock
        raise StoreError("database URL: nothing may stand behind a '?' of an SQLite file")
    return address.set(drivername="sqlite+pysqlite")


def _server_address(address: URL) -> URL:
    if address.port is not None and not 1 <= address.port <= LAST_PORT:
        raise StoreError(f"database URL: port {address.port} is not from 1 to {LAST_PORT}")
    address = address.set(drivername="postgresql+psycopg")
    try:
        from alerts.store.server import check_parameters  # noqa: PLC0415 (psycopg is an extra)
    except ImportError:
        raise StoreError("PostgreSQL needs the package psycopg: install bitcoin-watchdog[postgres]") from None
    check_parameters(address)
    return address
