"""A fault that comes and goes is one episode of the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from alerts.delivery.ledger import Ledger
from alerts.delivery.ports import Fate, Outcome
from tests.support.delivery import MemoryOutbox, VirtualClock, notice
from watchdog.core.episode import STEADY_S, TEXTS_MOST, Episode
from watchdog.core.errors import StoreUnavailableError


def test_the_end_is_reported_once_it_has_lasted() -> None:
    fault = Episode()
    assert not fault.worked(0.0)
    assert fault.failed("full")
    assert [fault.failed("full") for _ in range(3)] == [False] * 3
    for second in range(100):  # on and off, for a long time
        assert not fault.worked(second)
        assert not fault.failed("full")
    assert not fault.worked(100.0)
    assert not fault.over(100.0 + STEADY_S - 1)
    assert fault.over(100.0 + STEADY_S)
    assert not fault.over(200.0)
    assert fault.failed("full")


def test_another_reason_is_reported_too_but_not_one_after_another() -> None:
    fault = Episode()
    assert [fault.failed(text) for text in ("full", "locked", "full", "locked")] == [True, True, False, False]
    assert sum(fault.failed(f"page {number}") for number in range(1_000)) == TEXTS_MOST - 2


class FullDisk(MemoryOutbox):
    """Answers reads and refuses writes."""

    full = True

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        if self.full:
            raise StoreUnavailableError("the disk is full")
        super().settle(outcomes)


def test_a_disk_that_stays_full_is_logged_once_though_reads_work(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> None:
        clock, outbox = VirtualClock(), FullDisk(notice(1))
        ledger = Ledger(outbox, clock)
        keeping = asyncio.create_task(ledger.run())
        stored = ledger.note(Outcome(notice(1).id, Fate.SENT, 204, clock.wall_ns()))
        for _ in range(20):
            await clock.advance(1)
            assert await ledger.due("test", 1) is not None
        assert ledger.failures > 1
        outbox.full = False
        await clock.advance(2)
        await stored
        await clock.advance(STEADY_S)
        await ledger.due("test", 1)
        await ledger.close(keeping)

    asyncio.run(story())
    lines = [record.getMessage().split(" error=")[0].split(" failures=")[0] for record in caplog.records]
    assert lines == ["outbox-failing what=write", "outbox-works-again what=write"]
