"""The contract of live sources: every way to run a producer passes all of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.producers import SECOND_NS, WAYS, Script, batch_at, started
from tests.support.waiting import wait_until
from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.sources.live.inbox import Inbox, Limits, Policy
from watchdog.sources.live.source import LiveSource

NAME = "fake:1"


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened() -> Iterator[list[LiveSource]]:
    """Sources to be closed at the end."""
    sources: list[LiveSource] = []
    yield sources
    for source in sources:
        source.close()


def live(
    way: str,
    script: Script,
    opened: list[LiveSource],
    *,
    policy: Policy = "wait",
    limits: Limits | None = None,
    position: dict[str, object] | None = None,
) -> LiveSource:
    options = SourceOptions(follow=True, position=position)
    source = LiveSource(
        NAME,
        frozenset({"p2p:ping"}),
        started(way, script),
        options,
        policy=policy,
        limits=limits,
    )
    opened.append(source)
    return source


def drained(source: LiveSource, enough: int) -> list[Slice]:
    """Slices with batches until there are enough of them, or the source ends."""
    found: list[Slice] = []

    def taken() -> bool:
        slice_ = source.poll()
        if slice_ is not None and slice_.batches:
            found.append(slice_)
        return len(found) >= enough or source.ended

    assert wait_until(taken), "the source handed over too little"
    return found


def seconds(slices: list[Slice]) -> list[int]:
    return [int(batch.time_ns[0]) // SECOND_NS for one in slices for batch in one.batches if batch.kind == "p2p:ping"]


def test_events_arrive_in_order_with_watermark_and_position(way: str, opened: list[LiveSource]) -> None:
    source = live(way, Script(batches=3), opened)
    slices = drained(source, 3)
    assert seconds(slices) == [1, 2, 3]
    assert [one.until_ns // SECOND_NS for one in slices] == [1, 2, 3]
    assert slices[-1].position == {"next": 4}


def test_a_slow_source_is_waited_for_by_nobody(way: str, opened: list[LiveSource]) -> None:
    source = live(way, Script(batches=2, pause_s=0.3), opened)
    begun = time.thread_time()
    assert seconds(drained(source, 2)) == [1, 2]
    assert source.poll() is None or not source.ended
    assert time.thread_time() - begun < 5.0  # polls return at once: the wait is the test's own


def test_a_dying_source_gives_what_it_had_and_then_its_error(way: str, opened: list[LiveSource]) -> None:
    source = live(way, Script(batches=3, then="fail"), opened)
    assert seconds(drained(source, 3)) == [1, 2, 3]
    failures: list[str] = []

    def failed() -> bool:
        try:
            source.poll()
        except SourceError as error:
            failures.append(str(error))
        return bool(failures)

    assert wait_until(failed)
    assert "the wire was cut" in failures[0]
    assert not source.ended


def test_a_source_that_ends_has_ended_once_all_is_taken(way: str, opened: list[LiveSource]) -> None:
    source = live(way, Script(batches=2, then="end"), opened)
    assert wait_until(lambda: source.inbox.counts.rows == 2)
    assert not source.ended
    assert seconds(drained(source, 3)) == [1, 2]
    assert wait_until(lambda: source.ended)


def test_a_hanging_source_is_abandoned_and_named(
    way: str, opened: list[LiveSource], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(batches=1, then="hang")
    source = live(way, script, opened)
    drained(source, 1)
    assert wait_until(lambda: source.poll() is not None)  # a heartbeat: it hangs from here on
    join, let_join = source._runner.join, threading.Event()
    monkeypatch.setattr(source._runner, "join", lambda limit_s: let_join.wait(60) and join(limit_s))
    source.close()
    assert source.abandoned is None, "closing waits for the producer's end"
    let_join.set()
    assert wait_until(lambda: f"{NAME}: did not end within 2 s and was abandoned" in caplog.text)
    assert wait_until(lambda: source.abandoned is True)
    script.released.set()


def test_a_silent_source_moves_its_watermark_by_heartbeats(way: str, opened: list[LiveSource]) -> None:
    source = live(way, Script(batches=0), opened)
    beats: list[Slice] = []

    def beaten() -> bool:
        slice_ = source.poll()
        if slice_ is not None:
            beats.append(slice_)
        return len(beats) > 2

    assert wait_until(beaten)
    assert all(not one.batches for one in beats)


def test_a_flooding_source_that_can_wait_loses_nothing(way: str, opened: list[LiveSource]) -> None:
    limits = Limits(rows=20, wait_s=0.01)
    script = Script(batches=60, rows=10, then="end")
    source = live(way, script, opened, limits=limits)
    assert wait_until(lambda: bool(script.refused))
    assert source.inbox.waiting[1] <= limits.rows
    slices = drained(source, 1_000)
    assert seconds(slices) == list(range(1, 61))
    assert source.counters["dropped"] == 0
    assert source.counters["waits"] > 0


def test_a_flooding_source_that_cannot_wait_drops_the_newest_and_reports_a_gap(
    way: str, opened: list[LiveSource]
) -> None:
    source = live(way, Script(batches=50, rows=10, then="end"), opened, policy="drop", limits=Limits(rows=100))
    assert wait_until(lambda: source.counters["rows"] + source.counters["dropped"] == 500)
    slices = drained(source, 1_000)
    assert seconds(slices) == list(range(1, 11))
    gaps = [batch for one in slices for batch in one.batches if batch.kind == "source:gap"]
    assert [batch.numbers("lost").tolist() for batch in gaps] == [[400]]
    assert gaps[0].strings("kinds").tolist() == ["p2p:ping"]
    assert gaps[0].numbers("from_ns").tolist() == [11 * SECOND_NS]
    assert gaps[0].numbers("to_ns").tolist() == [50 * SECOND_NS + 1]
    assert slices[-1].position == {"next": 51}  # it cannot be read again, so it is not tried


def test_a_source_restarts_at_its_position(way: str, opened: list[LiveSource]) -> None:
    first = live(way, Script(batches=2, then="fail"), opened)
    position = dict(drained(first, 2)[-1].position)
    first.close()
    second = live(way, Script(batches=4, then="end"), opened, position=position)
    assert seconds(drained(second, 10)) == [3, 4]


def test_a_closed_source_gives_nothing(way: str, opened: list[LiveSource]) -> None:
    source = live(way, Script(batches=3), opened)
    assert wait_until(lambda: source.inbox.counts.rows == 3)
    source.close()
    assert source.poll() is None
    assert not source.inbox.put((batch_at(9),), 9)


def test_closing_wakes_a_producer_that_waits() -> None:
    inbox = Inbox(NAME, "node", policy="wait", limits=Limits(rows=1, wait_s=60.0))
    assert inbox.put((batch_at(1),), 1)
    answers: list[bool] = []
    producer = threading.Thread(target=lambda: answers.append(inbox.put((batch_at(2),), 2)))
    producer.start()
    assert wait_until(lambda: inbox.counts.waits == 1)
    inbox.close()
    producer.join(60)
    assert answers == [False]


def test_one_batch_beyond_the_limits_fits_into_an_empty_inbox() -> None:
    inbox = Inbox(NAME, "node", policy="drop", limits=Limits(size_bytes=8, rows=1))
    assert inbox.put((batch_at(1, rows=100),), SECOND_NS)
    assert not inbox.put((batch_at(2),), 2 * SECOND_NS)
    slices = [inbox.take(), inbox.take()]
    assert [one.until_ns // SECOND_NS for one in slices if one] == [1, 2]


def test_heartbeats_fill_nothing() -> None:
    inbox = Inbox(NAME, "node", policy="wait")
    for second in range(100_000):
        inbox.heartbeat(second)
        inbox.put((), second, {"next": second})
    found = inbox.take()
    assert found is not None
    assert found.until_ns == 99_999
    assert found.position == {"next": 99_999}
    assert inbox.take() is None


def test_losses_are_counted_by_kind_in_the_order_of_events() -> None:
    # time:      1 (kept)   2 ping, 3 addr (dropped)   4 (kept after a take)
    inbox = Inbox(NAME, "node", policy="drop", limits=Limits(rows=1))
    inbox.put((batch_at(1),), SECOND_NS)
    inbox.put((batch_at(2), batch_at(3, 5, "p2p:addr")), 3 * SECOND_NS)
    first = inbox.take()
    inbox.put((batch_at(4),), 4 * SECOND_NS)
    loss, last = inbox.take(), inbox.take()
    assert first is not None
    assert loss is not None
    assert last is not None
    assert [batch.kind for batch in loss.batches] == ["source:gap", "source:gap"]
    assert [(batch.strings("kinds").tolist(), batch.numbers("lost").tolist()) for batch in loss.batches] == [
        (["p2p:addr"], [5]),
        (["p2p:ping"], [1]),
    ]
    assert loss.until_ns == 3 * SECOND_NS
    assert seconds([last]) == [4]
