"""A database that no waiting can heal: the service ends and says so in one line, instead of trying for ever."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from alerts.delivery.ledger import Ledger
from alerts.delivery.ports import Due, Fate, Outcome, SystemDeliveryClock
from alerts.routing import Receiver
from alerts.store.faults import as_store_error
from tests.support.daemon import configure, serve, until
from tests.support.event_loops import scenery
from tests.support.service_process import WATCHING, ServiceProcess, mempool_line
from watchdog.core.errors import StoreError, StoreUnavailableError
from watchdog.service.daemon import Daemon


def tables_removed(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("PRAGMA foreign_keys = OFF; DROP TABLE incident_changes; DROP TABLE incidents")


def overwritten(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * len(content[4096:])
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (tables_removed, "no such table: incident"),
        (overwritten, "damaged |not an SQLite database"),
    ],
)
def test_a_service_whose_database_is_damaged_ends_with_its_line(
    tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    configure(tmp_path, sources="snapshots:polls.jsonl")
    polls = tmp_path / "polls.jsonl"
    polls.write_text("")

    async def story(daemon: Daemon, _clock: object) -> None:
        await until(lambda: daemon.stored.asked_s is None)
        scenery(lambda: damage(tmp_path / "watchdog.db"))
        lines = [mempool_line(10 * at, size) for at, size in enumerate([10, 600, 600, 600])]
        scenery(lambda: polls.write_text("".join(lines)))
        await until(lambda: not daemon.writer.alive or not daemon.engine.alive)

    with pytest.raises(StoreError, match=said) as caught:
        serve(tmp_path, story)
    assert not isinstance(caught.value, StoreUnavailableError)
    assert "\n" not in str(caught.value)


def test_the_command_of_such_a_service_ends_with_exit_code_2(tmp_path: Path) -> None:
    configure(tmp_path, sources="snapshots:polls.jsonl")
    polls = tmp_path / "polls.jsonl"
    polls.write_text("")
    service = ServiceProcess(tmp_path, "--no-web")
    try:
        service.wait_for(WATCHING)
        overwritten(tmp_path / "watchdog.db")
        polls.write_text("".join(mempool_line(10 * at, size) for at, size in enumerate([10, 600, 600, 600])))
        assert service.process.wait(300) == 2
    finally:
        service.kill()
    last = service.text().splitlines()[-1]
    assert re.match(rf"watchdog: database '{tmp_path}/watchdog\.db': (damaged \(|not an SQLite database)", last)
    assert "Traceback" not in service.text()


class Told:
    """An outbox whose database says so whatever it is asked; one `error` after the other, the last one for ever."""

    def __init__(self, *errors: StoreError) -> None:
        self.errors = list(errors)

    def _say(self) -> StoreError:
        return self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]

    def due(self, _now_ns: int, _receiver: str, _limit: int) -> Sequence[Due]:
        raise self._say()

    def merge(self, _now_ns: int, _receiver: str, _least: int, _in_hand: Collection[str]) -> int:
        raise self._say()

    def firing(self, _receiver: Receiver) -> Sequence[str]:
        raise self._say()

    def pictures(self, _receiver: Receiver, _ids: Sequence[str]) -> Sequence[Mapping[str, object]]:
        raise self._say()

    def settle(self, _outcomes: Sequence[Outcome]) -> None:
        raise self._say()


DAMAGED = StoreError("database 'x': damaged")


@pytest.mark.parametrize("reads", [True, False])
def test_the_ledger_retries_what_waiting_may_heal_and_ends_with_what_it_cannot(
    reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerts.delivery.ledger.RETRY_S", 0.01)

    async def story() -> None:
        ledger = Ledger(Told(StoreUnavailableError("database 'x': locked"), DAMAGED), SystemDeliveryClock())
        running = asyncio.create_task(ledger.run())
        if reads:
            assert await ledger.due("ops", 1) is None
            assert (ledger.failures, running.done()) == (1, False)
            assert await ledger.due("ops", 1) is None
        else:
            ledger.note(Outcome("msg", Fate.SENT, 204, 0))
        with pytest.raises(StoreError, match="damaged"):
            await asyncio.wait_for(running, 60)
        assert ledger.failures == 2
        await ledger.close(running)

    asyncio.run(story())


class Said(Exception):
    """What a driver of PostgreSQL raises."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("no\nmore")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "heals"),
    [
        *((state, True) for state in ("57P03", "58030", "25006", "40001", "55P03", "08006")),
        *((state, False) for state in ("58P01", "42501", "42P01", "23503", "XX001", "55000", "25001")),
    ],
)
def test_what_a_server_says_heals_by_waiting_or_does_not(sqlstate: str, heals: bool) -> None:
    error = as_store_error(DBAPIError("SELECT 1", {}, Said(sqlstate)), "postgresql://db/x")
    assert (isinstance(error, StoreUnavailableError), str(error)) == (heals, "database 'postgresql://db/x': no")
