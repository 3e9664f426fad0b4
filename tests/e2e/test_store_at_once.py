"""Several real processes that open one database at the same time: an old one, or one that is not there yet."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from alerts.store.database import Database
from alerts.store.schema import HEAD
from tests.support.service_process import ROOT
from tests.unit.test_store_database import differences, older_database, url

PROCESSES, ROUNDS = 4, 2
OPEN = """
import pathlib, sys, time
from alerts.store.database import Database
from watchdog.core.errors import StoreError
import alembic.command  # so that all of them come to the migration at once
print("ready", flush=True)
sys.stdin.readline()
try:
    Database.open(sys.argv[1]).close()
except StoreError as error:
    print(error)
else:
    print("open")
"""
NOTICES = """
INSERT INTO outbox (id, receiver, incident_id, type, severity, status, claimed, attempts, created_ns, next_ns, body)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
SELECT printf('msg_%032x', i), 'team', '0123456789abcdef', 'incident.opened', 'high', 'sent', 0, 1, i, i,
    hex(zeroblob(400))
FROM n
"""


def at_once(folder: Path, path: Path) -> list[str]:
    """What processes say that open a database in the same moment."""
    opening = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, url(path)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    try:
        for one in opening:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        return [said.strip() for said, _ in (_told(one) for one in _started(opening))]
    finally:
        for one in opening:
            one.kill()
            one.wait(300)


def _started(opening: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for one in opening:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    return opening


def _told(one: subprocess.Popen[str]) -> tuple[str, str]:
    return one.communicate(timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("wal", [False, True])
def test_one_of_many_migrates_an_old_database_and_the_others_wait(tmp_path: Path, wal: bool) -> None:
    older = tmp_path / "older.db"
    older_database(older)
    with closing(sqlite3.connect(older)) as raw:
        raw.execute(NOTICES)
        raw.commit()
        if wal:
            raw.execute("PRAGMA journal_mode = WAL")
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "h.db"
        shutil.copy(older, path)
        said = at_once(folder, path)
        assert [one.splitlines()[-1] for one in said] == ["open"] * PROCESSES
        assert sum("from revision 0001" in one for one in said) == 1
        assert [one.name for one in folder.glob("*backup*")] == ["h.db.backup-0001"], "one has migrated"
        database = Database.open(url(path), create=False)
        assert differences(database.engine) == []
        database.close()
        with closing(sqlite3.connect(folder / "h.db.backup-0001")) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert raw.execute("SELECT count(*), (SELECT version_num FROM alembic_version) FROM outbox").fetchall() == [
                (20_000, "0001")
            ]


@pytest.mark.slow
def test_many_make_a_database_that_is_not_there_yet(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert at_once(folder, folder / "h.db") == ["open"] * PROCESSES
        with closing(sqlite3.connect(folder / "h.db")) as raw:
            assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
        assert not list(folder.glob("*backup*"))


@pytest.mark.slow
def test_who_waits_in_vain_says_so_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    older_database(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")  # a migration that takes long
        done = subprocess.run(
            [sys.executable, "-c", OPEN, url(path)],
            cwd=ROOT,
            input="go\n",
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.stdout == f"ready\ndatabase '{path}': locked by another process; nothing was written\n"
        other.execute("ROLLBACK")
    assert not list(tmp_path.glob("*backup*"))
