"""Opening a database: versions, locks, and what a full disk or another process does to it."""

from __future__ import annotations

import logging
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

from alerts.store import server
from alerts.store.database import Database
from alerts.store.incidents import IncidentFilter, IncidentQueries
from alerts.store.lock import AnotherServiceError, file_lock, server_lock
from alerts.store.outbox import Outbox
from alerts.store.patience import LOCK_TRIES, RETENTION_S, STATEMENT_S, TRIES, patience
from alerts.store.revision import SCRIPTS, upgrade
from alerts.store.schema import HEAD, metadata
from alerts.store.writer import IncidentWriter
from tests.support.history import START, incident, record, told
from tests.support.postgres import Server
from watchdog.core.errors import StoreError, StoreUnavailableError

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


def test_an_older_database_migrates_and_leaves_a_backup(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "h.db"
    older_database(path)
    (tmp_path / "h.db.backup-0001").write_bytes(b"an earlier backup")
    with caplog.at_level(logging.WARNING, "watchdog.store"):
        database = Database.open(url(path))
    assert [row["id"] for row in IncidentQueries(database).page(IncidentFilter()).rows] == ["0123456789abcdef"]
    assert caplog.messages == [
        f"database '{path}': from revision 0001 to {HEAD}, kept as it was in '{path}.backup-0001-2'"
    ]
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


def test_who_only_works_with_a_database_does_not_change_its_version(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    older_database(path)
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=r"older version \(revision 0001, this one needs \d+\); 'watchdog run' of this"
    ):
        Database.open(url(path), create=False)
    assert path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} == {"h.db"}


def test_nobody_migrates_under_a_service_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    older_database(path)
    lock = file_lock(path)  # as a service of the older version holds it
    pauses: list[float] = []
    with pytest.raises(AnotherServiceError, match=f"another watchdog service uses it \\(process {os.getpid()}"):
        Database.open(url(path), pause=pauses.append)
    assert len(pauses) == LOCK_TRIES
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
    raw.close()
    lock.release()
    Database.open(url(path)).close()
    file_lock(path).release()  # it was given back


def test_a_migration_on_a_server_is_told_and_waits_for_its_services_end(
    postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    address = postgres.url("older")
    engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        upgrade(connection, "0001")
    service = server_lock(lambda: create_engine(engine.url), "older")
    with pytest.raises(StoreError, match=r"older version \(revision 0001"):
        Database.open(address, create=False)
    with pytest.raises(AnotherServiceError):
        Database.open(address, pause=lambda _: None)
    service.release()
    engine.dispose()
    with caplog.at_level(logging.WARNING, "watchdog.store"):
        Database.open(address).close()
    assert f"from revision 0001 to {HEAD}, in one transaction, without a backup" in caplog.text
    Database.open(address, create=False).close()


@pytest.mark.parametrize("made", ["empty", "foreign"])
def test_looking_at_a_file_that_is_not_ours_does_not_write_to_it(tmp_path: Path, made: str) -> None:
    path = tmp_path / "some.db"
    path.touch()
    if made == "foreign":
        with sqlite3.connect(path) as raw:
            raw.execute("CREATE TABLE cookies (id INTEGER)")
        raw.close()
    before = path.read_bytes()
    for create in (False, True) if made == "foreign" else (False,):
        with pytest.raises(StoreError):
            Database.open(url(path), create=create)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["some.db"]


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
    with pytest.raises(StoreError, match=r"written by a newer version of the watchdog \(revision 0099") as caught:
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
        ("postgresql://u@h:port/x", "the port is not a number", False),
        ("postgresql://u@h:70000/x", "port 70000 is not from 1 to 65535", False),
        ("postgresql://u@h/x?sslmood=on", 'invalid connection option "sslmood"', False),
        ("sqlite:///", "a file is needed", True),
        ("sqlite:///:memory:", "a file is needed", True),
        (f"sqlite:///file:{tmp_path}/other.db?uri=true", "nothing may stand behind a '\\?'", True),
        (url(tmp_path), "that is a folder", True),
    ):
        with pytest.raises(StoreError, match=said) as caught:
            Database.open(given, create=create)
        assert "secret" not in str(caught.value)
    assert not (tmp_path / "none.db").exists()


def test_a_second_service_says_that_there_is_one_and_takes_over_when_it_ends(tmp_path: Path) -> None:
    first = Database.open(url(tmp_path / "h.db"), exclusive=True)
    with pytest.raises(StoreError, match=r"another watchdog service uses it \(process \d+\)"):
        Database.open(url(tmp_path / "h.db"), exclusive=True)
    Database.open(url(tmp_path / "h.db")).close()  # the command line works beside the service
    first.close()
    Database.open(url(tmp_path / "h.db"), exclusive=True).close()


def test_a_file_with_two_names_is_refused_by_all(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    Database.open(url(path)).close()
    (tmp_path / "other.db").hardlink_to(path)
    for name in ("h.db", "other.db"):
        for create in (True, False):
            with pytest.raises(StoreError, match=r"the file has 2 names \(hard links\); remove all but one$"):
                Database.open(url(tmp_path / name), create=create)
    (tmp_path / "other.db").unlink()
    Database.open(url(path)).close()


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_process_that_comes_by_a_symbolic_link_meets_the_lock(tmp_path: Path, link: str) -> None:
    real, other = tmp_path / "real" / "h.db", tmp_path / "other" / "h.db"
    real.parent.mkdir()
    if link == "file":
        other.parent.mkdir()
        other.symlink_to(real)
    else:
        other.parent.symlink_to(real.parent)
    first = Database.open(url(real), exclusive=True)
    code = f"from alerts.store.database import Database\nDatabase.open({url(other)!r}, exclusive=True)"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=root, timeout=300, capture_output=True, text=True
    )
    assert f"another watchdog service uses it (process {os.getpid()})" in done.stderr
    first.close()
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root, timeout=300).returncode == 0


def test_the_lock_of_a_killed_service_is_free(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom alerts.store.database import Database\n"
        f"Database.open({url(tmp_path / 'h.db')!r}, exclusive=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root, timeout=300).returncode == -9
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
    with pytest.raises(StoreError) as caught:
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
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root, timeout=300).returncode == -9
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
    with pytest.raises(StoreError, match="another watchdog service uses it"):
        Database.open(address, exclusive=True)
    postgres.stop()
    postgres.start()
    second = Database.open(address, exclusive=True)
    with pytest.raises(StoreUnavailableError, match="another watchdog service uses it"):
        IncidentWriter(first).record([record(incident())], [])
    first.close()
    assert IncidentWriter(second).record([record(incident())], []).new == 1
    second.close()


def test_a_server_that_is_not_there_is_named_as_it_was_typed() -> None:
    typed = "postgresql://ana:hunter2@127.0.0.1:1/watchdog"
    with pytest.raises(StoreError) as fault:
        Database.open(typed, create=False, pause=lambda _: None)
    assert "postgresql://ana:***@127.0.0.1:1/watchdog" in str(fault.value)
    assert "psycopg" not in str(fault.value)


def test_a_server_that_stands_still_is_given_up(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bound of our own each of these calls would wait for as long as the server is stopped: for ever here."""
    monkeypatch.setattr(server, "CONNECT_S", 2)
    database = Database.open(postgres.url("stands_still"), exclusive=True, pause=lambda _: None)
    writer = IncidentWriter(database)
    writer.record([record(incident())], [])
    monkeypatch.setattr(server.BoundedConnection, "patience_s", 0.3)
    with postgres.frozen():
        with pytest.raises(StoreUnavailableError):
            IncidentQueries(database).page(IncidentFilter())
        with pytest.raises(StoreUnavailableError):
            writer.record([record(incident(2))], [])
    monkeypatch.undo()
    assert writer.record([record(incident()), record(incident(2))], []).new == 1
    database.close()


def test_the_server_itself_ends_a_statement_that_takes_too_long(postgres: Server) -> None:
    database = Database.open(postgres.url("limits"))

    def limit(connection: Connection) -> str:
        return str(connection.execute(text("SHOW statement_timeout")).scalar())

    def raised(connection: Connection) -> tuple[str, float]:
        with patience(connection, RETENTION_S):
            raw = connection.connection.driver_connection
            assert isinstance(raw, server.BoundedConnection)
            return limit(connection), raw.patience_s

    def slow(connection: Connection) -> None:
        connection.execute(text("SET LOCAL statement_timeout = 50"))
        connection.execute(text("SELECT pg_sleep(60)"))

    assert database.read(limit) == f"{STATEMENT_S}s"
    assert database.read(raised) == ("2min", RETENTION_S + 5)
    assert database.read(limit) == f"{STATEMENT_S}s"
    with pytest.raises(StoreUnavailableError, match="canceling statement due to statement timeout"):
        database.read(slow)
    database.close()
    own = Database.open(f"{database.place}&options=-c%20statement_timeout%3D7s", create=False)
    assert own.read(limit) == "7s", "what the operator says in the URL holds"
    own.close()


def test_a_password_in_the_query_of_a_url_is_not_shown() -> None:
    with pytest.raises(StoreError) as fault:
        Database.open("postgresql://ana@127.0.0.1:1/watchdog?password=hunter2", create=False, pause=lambda _: None)
    assert "hunter2" not in str(fault.value)
