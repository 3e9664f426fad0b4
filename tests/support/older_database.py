"""A database of an earlier version, without incidents."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, create_engine, event

from alerts.store.revision import upgrade


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def make_older_database(path: Path, revision: str) -> None:
    """Make an SQLite database as the version of this revision made it."""
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    event.listen(engine, "begin", _begin)
    with engine.begin() as connection:
        upgrade(connection, revision)
    engine.dispose()
