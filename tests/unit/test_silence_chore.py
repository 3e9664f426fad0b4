"""Silences on their way to the engines: given once, again after a change, and without a database that responds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from alerts.delivery.encoding import SILENCE_ENDING
from alerts.silence import ClaimSilence
from alerts.store.database import Database
from alerts.store.silences import Silences
from tests.support.event_loops import scenery
from watchdog.core.errors import StoreUnavailableError
from watchdog.pipeline.clock import SystemClock
from watchdog.service import silence_chore
from watchdog.service.assembly import ServiceParts
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.silence_chore import SilenceChore
from watchdog.service.vitals import Stored

NOW_NS = 1_790_000_000 * 10**9
HOUR_NS = 3_600 * 10**9


class TakingEngine:
    """An engine that notes what it is given; busy: it takes no more commands."""

    def __init__(self) -> None:
        self.watch = SimpleNamespace(last_event_ns=NOW_NS)
        self.given: list[list[str]] = []
        self.busy = False

    def silence(self, silences: tuple[ClaimSilence, ...], _windows: object) -> bool:
        if not self.busy:
            self.given.append([one.id for one in silences])
        return not self.busy


class OneNode:
    """The nodes of a service: one."""

    def __init__(self, engine: TakingEngine) -> None:
        self.loops = [engine]

    def __iter__(self) -> Any:
        return iter(self.loops)


def during(
    folder: Path, story: Callable[[SilenceChore, TakingEngine, Silences, Stored], Any], standing: tuple[Any, ...] = ()
) -> None:
    async def run() -> None:
        database = scenery(lambda: Database.open(f"sqlite:///{folder / 'h.db'}"))
        engine, stored = TakingEngine(), Stored({}, {})
        config = SimpleNamespace(silences=standing, maintenance=())
        parts = SimpleNamespace(
            nodes=OneNode(engine), in_force=SimpleNamespace(config=config), store=SimpleNamespace(database=database)
        )
        executor = BoundedExecutor("chores")
        chore = SilenceChore(
            cast("ServiceParts", parts), executor, stored, clock=SystemClock(), wall_ns=lambda: NOW_NS + 1
        )
        try:
            await story(chore, engine, Silences(database), stored)
        finally:
            executor.close()
            scenery(database.close)

    asyncio.run(run())


def made(until_ns: int = NOW_NS + 48 * HOUR_NS) -> ClaimSilence:
    return ClaimSilence("", 0, until_ns, "anna", "x", party="203.0.113.7")


def test_an_engine_gets_silences_once_and_after_each_change(tmp_path: Path) -> None:
    async def story(chore: SilenceChore, engine: TakingEngine, kept: Silences, stored: Stored) -> None:
        await chore.first()
        assert engine.given == [[]]  # also none: those of its checkpoint may be over
        await chore.pass_on()
        scenery(lambda: kept.add(made(), NOW_NS))
        engine.busy = True
        await chore.pass_on()
        engine.busy = False
        await chore.pass_on()
        await chore.pass_on()
        assert engine.given == [[], ["1"]]
        assert (stored.silences, stored.silences_ending) == (1, 0)
        scenery(lambda: kept.expire("1", "ben", NOW_NS + 1))
        await chore.pass_on()
        assert engine.given == [[], ["1"], ["1"]]  # with its new end
        assert stored.silences == 0

    during(tmp_path, story)


def test_an_end_is_logged_once_a_day_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    announced: list[tuple[object, ...]] = []
    standing = (ClaimSilence("file:01234567", 0, NOW_NS + 2 * HOUR_NS, "anna", "x", technique="spy"),)

    async def story(chore: SilenceChore, _engine: TakingEngine, kept: Silences, stored: Stored) -> None:
        chore.announce = lambda kind, data: announced.append((kind, data["silence"], data["author"]))
        scenery(lambda: kept.add(made(NOW_NS - 24 * HOUR_NS + 40 * HOUR_NS), NOW_NS - 24 * HOUR_NS))
        for _ in range(3):
            await chore.pass_on()
        assert (stored.silences, stored.silences_ending) == (2, 2)

    during(tmp_path, story, standing)
    assert [line.split(" ends ")[0] for line in caplog.messages] == [
        "silence file:01234567 by anna",
        "silence 1 by anna",
    ]
    assert announced == [(SILENCE_ENDING, "file:01234567", "anna"), (SILENCE_ENDING, "1", "anna")]


def test_a_start_does_not_wait_for_a_database_that_does_not_respond(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(silence_chore, "FIRST_S", 0.2)
    responds = threading.Event()
    monkeypatch.setattr(Silences, "since", lambda _self, _time_ns: responds.wait(100) and [])

    async def story(chore: SilenceChore, engine: TakingEngine, _kept: Silences, _stored: Stored) -> None:
        await chore.first()
        assert engine.given == []
        responds.set()
        await chore.pass_on()
        assert engine.given == [[]]

    during(tmp_path, story)
    assert "silences: the database does not respond; they begin when it does" in caplog.messages


def test_a_database_that_fails_takes_no_silence_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_self: Silences, _time_ns: int) -> list[ClaimSilence]:
        raise StoreUnavailableError("database 'h.db': locked")

    async def story(chore: SilenceChore, engine: TakingEngine, kept: Silences, _stored: Stored) -> None:
        scenery(lambda: kept.add(made(), NOW_NS))
        await chore.pass_on()
        monkeypatch.setattr(Silences, "since", fail)
        for _ in range(3):
            await chore.pass_on()
        assert engine.given == [["1"]]

    during(tmp_path, story)
    assert caplog.messages == ["silences: database 'h.db': locked"]
