"""Which version a database is of, and how an older one becomes current; Alembic does the steps."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from alerts.store.patience import MIGRATION_S, patience
from alerts.store.schema import HEAD, metadata
from watchdog.core.errors import StoreError

_LOG = logging.getLogger("watchdog.store")
SCRIPTS = Path(__file__).resolve().parent / "migrations"


def revision_of(engine: Engine, place: str) -> str:
    """Return the database's revision, "" for an empty one, without writing. StoreError: it is not a usable history."""
    with engine.connect() as connection, connection.begin():
        return _checked(connection, place)


def refuse_older(found: str, place: str) -> None:
    """Raise StoreError for a database that is not of our version, where it must not be changed."""
    if not found:
        raise StoreError(f"database '{place}': is empty, no incidents were ever kept in it")
    if found != HEAD:
        raise StoreError(
            f"database '{place}': is of an older version (revision {found}, this one needs {HEAD}); "
            "'watchdog run' of this version brings it up to date"
        )


def bring_up_to_date(engine: Engine, place: str) -> None:
    """Make the tables in an empty database, or take an older one to `HEAD`; nothing when it is there.

    StoreError: it was written by a newer version, or it holds foreign tables. All steps are one transaction, on
    SQLite too: a kill leaves the old version.
    """
    with engine.connect() as connection:
        connection.execution_options(begin="BEGIN IMMEDIATE", synchronous="FULL")
        with connection.begin(), patience(connection, MIGRATION_S):
            on_server = engine.dialect.name == "postgresql"
            if on_server:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 0x6D696772})
            found = _checked(connection, place)  # another process may have been faster
            if found == HEAD:
                return
            if found:
                target = None if on_server else _free_name(Path(place).resolve(), found)
                kept = f"kept as it was in '{target}'" if target else "in one transaction, without a backup"
                _LOG.warning("database '%s': from revision %s to %s, %s", place, found, HEAD, kept)
                if target:
                    _back_up(Path(place), target)
            upgrade(connection, HEAD)


def upgrade(connection: Connection, revision: str) -> None:
    """Take the database of a connection, within its transaction, to a revision."""
    from alembic import command  # noqa: PLC0415 (a tenth of a second that only a database of another version pays)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _checked(connection: Connection, place: str) -> str:
    """Return the database's revision, "" for an empty one. StoreError: it is not a usable history."""
    names = set(inspect(connection).get_table_names())
    if "alembic_version" not in names:
        foreign = sorted(names & set(metadata.tables)) or sorted(names)
        if foreign:
            raise StoreError(f"database '{place}': holds tables of something else ({foreign[0]!r}); give another one")
        return ""
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""
    if not (found.isdigit() and len(found) == len(HEAD)):
        raise StoreError(f"database '{place}': holds tables of something else (version {found!r}); give another one")
    if found > HEAD:
        raise StoreError(
            f"database '{place}': was written by a newer version of the watchdog (revision {found}, this one knows "
            f"{HEAD}); upgrade the watchdog"
        )
    return found


def _free_name(path: Path, revision: str) -> Path:
    """Return `<name>.backup-<revision>` beside the database's own file, with a number when that is taken."""
    target = path.with_name(f"{path.name}.backup-{revision}")
    count = 1
    while target.exists():
        count += 1
        target = path.with_name(f"{path.name}.backup-{revision}-{count}")
    return target


def _back_up(path: Path, target: Path) -> None:
    """Copy an SQLite database, with its rights."""
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, stat.S_IMODE(path.stat().st_mode)))
    except OSError as error:
        raise StoreError(f"backup '{target}': {(error.strerror or 'cannot be made').lower()}") from None
    source, copy = sqlite3.connect(path), sqlite3.connect(target)
    try:
        source.backup(copy)
    except sqlite3.Error as error:
        copy.close()
        target.unlink(missing_ok=True)
        raise StoreError(f"backup '{target}': {error}; the database was left as it is") from None
    finally:
        source.close()
        copy.close()
