"""`stream:SOCKET` and a server that answers and yet gives no time: it may not hold up rules in silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.stream_rig import ADDED, TIME_NS, added
from tests.support.stream_service import StreamService, batches_of
from tests.support.waiting import wait_until
from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.sources.live.inbox import Inbox, Limits
from watchdog.sources.stream.intake import Intake
from watchdog.sources.stream.source import StreamSource
from watchdog.sources.stream.subscription import Subscribed
from watchdog.stream.client import StreamLoss

WANTED = frozenset({"mempool:added", "source:gap"})


@pytest.fixture
def opening() -> Iterator[ExitStack]:
    """What is closed at the end."""
    with ExitStack() as stack:
        yield stack


def opened(path: Path, opening: ExitStack) -> StreamSource:
    source = StreamSource(str(path), SourceOptions("mine", WANTED))
    opening.callback(source.close)
    return source


def served(path: Path, opening: ExitStack) -> StreamService:
    service = StreamService(path, (ADDED,))
    opening.callback(service.stop)
    return service


def gaps(slices: list[Slice]) -> list[tuple[int, int, str]]:
    """All gaps: from, to, reason."""
    return [
        tuple(batch.columns[name].tolist()[0] for name in ("from_ns", "to_ns", "reason"))  # type: ignore[misc]
        for batch in batches_of(slices, "source:gap")
    ]


def slices_now(source: StreamSource) -> list[Slice]:
    """All slices that wait."""
    return list(iter(source.poll, None))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that count as down after a moment."""
    monkeypatch.setattr("watchdog.sources.stream.source.DOWN_S", 0.5)
    monkeypatch.setattr("watchdog.sources.stream.source.GAP_STEP_NS", 100_000_000)
    monkeypatch.setattr("watchdog.sources.stream.source.PAUSES_S", (0.2,))


@pytest.mark.usefixtures("hasty")
def test_a_server_whose_time_stands_still_holds_up_no_rule(
    tmp_path: Path, opening: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    service = served(tmp_path / "s", opening)
    source = opened(tmp_path / "s", opening)
    assert wait_until(lambda: service.subscribers == 1)
    service.publish([added(1)], TIME_NS)
    taken: list[Slice] = []
    for later_ns in range(100):  # it is never silent, and its time creeps
        service.beat(TIME_NS + later_ns)
        taken += slices_now(source)
        if len(gaps(taken)) >= 2 and source.trouble:
            break
        time.sleep(0.1)
    (from_ns, to_ns, reason), (following_ns, *_), *_ = gaps(taken)
    assert TIME_NS <= from_ns < TIME_NS + 100
    assert (to_ns, reason) == (following_ns, "stream-not-connected")
    assert taken[-1].until_ns > TIME_NS + 10**8
    assert "the server's time has not advanced" in source.trouble
    assert "the server's time has not advanced" in caplog.text
    service.beat(TIME_NS + 3_600 * 10**9)
    assert wait_until(lambda: source.trouble == "")


@pytest.mark.usefixtures("hasty")
def test_a_server_that_greets_and_hangs_up_holds_up_no_rule(tmp_path: Path, opening: ExitStack) -> None:
    begun_ns = time.time_ns()
    service = served(tmp_path / "s", opening)
    source = opened(tmp_path / "s", opening)
    taken: list[Slice] = []
    for _ in range(30):
        assert wait_until(lambda now=service: now.subscribers == 1)  # type: ignore[misc] # the default binds it
        service.stop()
        taken += slices_now(source)
        if len(gaps(taken)) >= 2:
            break
        service = served(tmp_path / "s", opening)
    assert [reason for *_, reason in gaps(taken)][:2] == ["stream-not-connected"] * 2
    assert taken[-1].until_ns > begun_ns


def test_many_small_batches_of_one_time_are_not_held_for_their_few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchdog.sources.stream.intake.HELD_MOST", 100_000)
    inbox = Inbox("stream:s", "mine", policy="wait", limits=Limits(wait_s=0.0))
    intake = Intake(inbox, SourceOptions("mine", WANTED), None)
    intake.begin(Subscribed(WANTED, {}, decodes=False))
    for _ in range(100):  # 70 bytes in the columns of each
        asyncio.run(intake.deliver([], [added(1) for _ in range(10)], 0))
    assert inbox.waiting[1] > 900


def test_losses_of_one_time_are_not_held_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchdog.sources.stream.intake.HELD_MOST", 100_000)
    inbox = Inbox("stream:s", "mine", policy="wait", limits=Limits(wait_s=0.0))
    intake = Intake(inbox, SourceOptions("mine", WANTED), None)
    intake.begin(Subscribed(WANTED, {}, decodes=False))
    for _ in range(100):
        lost = [StreamLoss("mempool:added", 1, TIME_NS, TIME_NS) for _ in range(10)]
        asyncio.run(intake.deliver(lost, [], 0))
    assert inbox.waiting[1] > 900
