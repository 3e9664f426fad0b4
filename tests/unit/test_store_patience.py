"""How long we wait for a database, against everything that waits for us: what the comments say holds."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from alerts.store import patience
from alerts.store.database import Database
from watchdog.core.errors import StoreUnavailableError
from watchdog.service.bounded_executor import ANSWER_S
from watchdog.service.vitals import LOST_S, SILENT_S
from watchdog.web.problem import RETRY_S


def test_a_locked_file_has_told_of_itself_before_anybody_speaks_of_silence() -> None:
    assert patience.BUSY_S < RETRY_S
    assert min(SILENT_S, ANSWER_S, patience.STATEMENT_S) > patience.LOCKED_MOST_S
    assert patience.TRIES * patience.BUSY_S <= patience.LOCK_TRIES * patience.PAUSE_S <= patience.LOCKED_MOST_S


def test_a_statement_that_takes_too_long_is_told_in_the_servers_own_words() -> None:
    assert min(patience.SILENCE_S, ANSWER_S) > patience.STATEMENT_S
    assert patience.STATEMENT_S < patience.RETENTION_S < patience.MIGRATION_S


def test_a_server_that_says_nothing_is_told_of_while_we_still_wait_for_it() -> None:
    assert SILENT_S < LOST_S < patience.SERVER_MOST_S
    assert ANSWER_S < patience.SERVER_MOST_S, "otherwise the database's own limit is enough"


def test_all_tries_at_a_locked_file_take_as_long_as_is_computed(tmp_path: Path) -> None:
    path, pauses = tmp_path / "a.db", list[float]()
    database = Database.open(f"sqlite:///{path}", busy_s=0.2, pause=pauses.append)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="locked"):
            database.write(lambda connection: connection.execute(text("SELECT 1")))
        took_s = time.monotonic() - begun
    database.close()
    tries_s = patience.LOCKED_MOST_S - sum(pauses)
    assert tries_s == pytest.approx(patience.TRIES * patience.BUSY_S)
    assert took_s >= tries_s * 0.2 / patience.BUSY_S * 0.9
