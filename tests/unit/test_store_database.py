"""Opening a database: versions, locks, and what a full disk or another process does to it."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text

from alerts.store.database import TRIES, Database
from alerts.store.faults import StoreUnavailableError
from alerts.store.incidents import IncidentFilter, IncidentQueries
from alerts.store.outbox import Outbox
from alerts.store.revision import SCRIPTS, upgrade
from alerts.store.schema import HEAD, metadata
from alerts.store.writer import IncidentWriter
from tests.support.history import START, incident, record, told
from tests.support.postgres import Server
from watchdog.core.errors import StateError

FIRST_VERSION_INCIDENT = (
    "INSERT INTO incidents VALUES ('0123456789abcdef', 5, 'open', 'high', 'eclipse', 'node', 'rule', 'title', 'f', 6, "
    'NULL, NULL, NULL, \'summary\', 1, 1, 1, 1.0, \'{"key":{},"entities":[],"entities_beyond":0}\', 1, 0)'
)


def begins_immediately(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def older_database(path: Path) -> None:
    """A database as revision 0001 made it, with an incident in it."""
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    event.listen(engine, "begin", begins_immediately)
    with engine.begin() as connection:
        upgrade(connection, "0001")
        connection.exec_driver_sql(FIRST_VERSION_INCIDENT)
    engine.dispose()


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def test_the_migrations_make_what_the_schema_says(tmp_path: Path) -> None:
    database = Database.open(url(tmp_path / "h.db"))
    assert differences(database.engine) == []
    assert ScriptDirectory(str(SCRIPTS)).get_current_head() == HEAD
    database.close()


def test_the_migrations_make_what_the_schema_says_on_a_server(postgres: Server) -> None:
    database = Database.open(postgres.url("migrations"))
    assert differences(database.engine) == []
    database.close()


def test_an_older_database_migrates_and_leaves_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    older_database(path)
    (tmp_path / "h.db.backup-0001").write_bytes(b"an earlier backup")
    database = Database.open(url(path))
    assert [row["id"] for row in IncidentQueries(database).page(IncidentFilter()).rows] == ["0123456789abcdef"]
    assert differences(database.engine) == []
    database.close()
    assert (tmp_path / "h.db.backup-0001").read_bytes() == b"an earlier backup"
    backup = sqlite3.connect(tmp_path / "h.db.backup-0001-2")
    assert backup.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    assert backup.execute("SELECT id FROM incidents").fetchall() == [("0123456789abcdef",)]
    backup.close()


def test_a_current_database_is_opened_without_a_backup(tmp_path: Path) -> None:
    for _ in range(2):
        Database.open(url(tmp_path / "h.db")).close()
    assert not list(tmp_path.glob("*backup*"))


def test_only_its_owner_can_read_a_new_database_and_its_journal(tmp_path: Path) -> None:
    path, mask = tmp_path / "h.db", os.umask(0o022)
    try:
        database = Database.open(url(path))
        database.write(lambda connection: connection.exec_driver_sql("PRAGMA user_version = 1"))
        found = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
        database.close()
        assert found == {"h.db": 0o600, "h.db-wal": 0o600, "h.db-shm": 0o600}
        path.chmod(0o640)
        Database.open(url(path)).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, "what its owner chose stays"
    finally:
        os.umask(mask)


def test_a_backup_has_the_rights_of_its_database(tmp_path: Path) -> None:
    older_database(tmp_path / "h.db")
    (tmp_path / "h.db").chmod(0o600)
    Database.open(url(tmp_path / "h.db")).close()
    assert stat.S_IMODE((tmp_path / "h.db.backup-0001").stat().st_mode) == 0o600


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    Database.open(url(path)).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '0099'")
    raw.close()
    with pytest.raises(StateError, match=r"written by a newer version of the watchdog \(revision 0099") as caught:
        Database.open(url(path))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*backup*"))


def test_what_is_no_database_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello, this is no database at all\n" * 100)
    with sqlite3.connect(tmp_path / "foreign.db") as raw:
        raw.execute("CREATE TABLE cookies (id INTEGER)")
    raw.close()
    (tmp_path / "empty.db").touch()
    for given, said, create in (
        (url(tmp_path / "text"), "not an SQLite database", True),
        (url(tmp_path / "foreign.db"), "tables of something else \\('cookies'\\)", True),
        (url(tmp_path / "none.db"), "no such file", False),
        (url(tmp_path / "empty.db"), "no incidents were ever kept", False),
        (url(tmp_path / "no" / "folder.db"), "no such folder", True),
        ("sqlite://", "a file is needed", True),
        ("mysql://root:secret@host/db", "'mysql' is not supported", True),
        ("nonsense", "not of the form", True),
    ):
        with pytest.raises(StateError, match=said) as caught:
            Database.open(given, create=create)
        assert "secret" not in str(caught.value)
    assert not (tmp_path / "none.db").exists()


def test_a_second_service_says_that_there_is_one_and_takes_over_when_it_ends(tmp_path: Path) -> None:
    first = Database.open(url(tmp_path / "h.db"), exclusive=True)
    with pytest.raises(StateError, match=r"another watchdog service uses it \(process \d+\)"):
        Database.open(url(tmp_path / "h.db"), exclusive=True)
    Database.open(url(tmp_path / "h.db")).close()  # the command line works beside the service
    first.close()
    Database.open(url(tmp_path / "h.db"), exclusive=True).close()


def test_the_lock_of_a_killed_service_is_free(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom alerts.store.database import Database\n"
        f"Database.open({url(tmp_path / 'h.db')!r}, exclusive=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root, timeout=60).returncode == -9
    Database.open(url(tmp_path / "h.db"), exclusive=True).close()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Database, sqlite3.Connection, list[float]]]:
    """A database whose write lock another connection holds, and the pauses that were made."""
    pauses: list[float] = []
    database = Database.open(url(tmp_path / "h.db"), busy_s=0.01, pause=pauses.append)
    other = sqlite3.connect(tmp_path / "h.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield database, other, pauses
    other.close()
    database.close()


def test_a_locked_database_is_tried_some_times_then_said_in_one_line(
    held: tuple[Database, sqlite3.Connection, list[float]],
) -> None:
    database, other, pauses = held
    with pytest.raises(StoreUnavailableError, match="locked by another process; nothing was written"):
        IncidentWriter(database).record([record(incident())], [])
    assert len(pauses) == TRIES - 1
    assert IncidentQueries(database).page(IncidentFilter()).rows == ()  # reading goes on
    other.execute("ROLLBACK")
    assert IncidentWriter(database).record([record(incident())], []).new == 1


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    database = Database.open(url(tmp_path / "h.db"))
    IncidentWriter(database).record([record(incident())], told([record(incident())]))

    def limit(raw: sqlite3.Connection, *_: object) -> None:
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
        raw.execute(f"PRAGMA max_page_count = {pages + 8}")

    event.listen(database.engine, "checkout", limit)
    many = [record(incident(number, summary="x" * 2_000)) for number in range(200)]
    with pytest.raises(StoreUnavailableError, match="the disk is full; nothing was written"):
        IncidentWriter(database).record(many, told(many))
    assert len(IncidentQueries(database).page(IncidentFilter(), 1_000).rows) == 1
    assert len(Outbox(database).due(START, "team", 1_000)) == 1
    event.remove(database.engine, "checkout", limit)
    database.engine.dispose()
    assert IncidentWriter(database).record(many, told(many)).new == 199
    database.close()


def test_the_text_of_an_error_holds_no_statement_and_no_value(tmp_path: Path) -> None:
    database = Database.open(url(tmp_path / "h.db"))
    with pytest.raises(StateError) as caught:
        database.write(
            lambda connection: connection.execute(text("INSERT INTO nothing VALUES (:x)"), {"x": "a peer's text"})
        )
    assert "peer" not in str(caught.value)
    assert "INSERT" not in str(caught.value)
    database.close()


def test_a_kill_in_the_middle_of_writing_leaves_whole_transactions(tmp_path: Path) -> None:
    code = (
        "import os, signal, threading\n"
        "from alerts.store.database import Database\nfrom alerts.store.writer import IncidentWriter\n"
        "from tests.support.history import incident, record, told\n"
        f"database = Database.open({url(tmp_path / 'h.db')!r})\nwriter = IncidentWriter(database)\n"
        "threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "for n in range(0, 10**9, 10):\n"
        "    records = [record(incident(m)) for m in range(n, n + 10)]\n    writer.record(records, told(records))\n"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root, timeout=60).returncode == -9
    with sqlite3.connect(tmp_path / "h.db") as raw:
        counts = {
            raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("incidents", "incident_pictures", "incident_changes", "outbox")
        }
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()
    assert len(counts) == 1
    assert counts.pop() % 10 == 0


def test_a_server_that_stops_and_comes_back_is_found_again(postgres: Server) -> None:
    database = Database.open(postgres.url("comes_back"), exclusive=True, pause=lambda _: None)
    writer = IncidentWriter(database)
    writer.record([record(incident())], told([record(incident())]))
    postgres.stop()
    try:
        with pytest.raises(StoreUnavailableError):
            writer.record([record(incident(2))], [])
        with pytest.raises(StoreUnavailableError):
            IncidentQueries(database).page(IncidentFilter())
    finally:
        postgres.start()
    assert writer.record([record(incident()), record(incident(2))], told([record(incident())])).new == 1
    assert len(Outbox(database).due(START, "team", 10)) == 1
    database.close()


def test_a_second_service_on_a_server_says_so_also_after_the_server_came_back(postgres: Server) -> None:
    address = postgres.url("two_services")
    first = Database.open(address, exclusive=True, pause=lambda _: None)
    with pytest.raises(StateError, match="another watchdog service uses it"):
        Database.open(address, exclusive=True)
    postgres.stop()
    postgres.start()
    second = Database.open(address, exclusive=True)
    with pytest.raises(StateError, match="another watchdog service uses it"):
        IncidentWriter(first).record([record(incident())], [])
    first.close()
    assert IncidentWriter(second).record([record(incident())], []).new == 1
    second.close()


def test_a_server_that_is_not_there_is_named_as_it_was_typed() -> None:
    typed = "postgresql://ana:hunter2@127.0.0.1:1/watchdog"
    with pytest.raises(StateError) as fault:
        Database.open(typed, create=False, pause=lambda _: None)
    assert "postgresql://ana:***@127.0.0.1:1/watchdog" in str(fault.value)
    assert "psycopg" not in str(fault.value)
