"""Watch and writer of the service, on a virtual clock."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from alerts.notice import ChangeRecord, Notice
from alerts.store.actions import Action
from alerts.store.writer import Written
from rules.load import load_text
from tests.support.rulesets import FULL_MEMPOOL
from tests.support.scripted_feed import SECOND, START, Said, VirtualClock, feed_of, mempool, scripted
from tests.support.waiting import wait_until
from watchdog.core.batch import Slice
from watchdog.core.errors import StoreUnavailableError
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import END_OF_TIME_NS
from watchdog.pipeline.checkpoint import Checkpoint
from watchdog.service.engine_thread import Bundle, EngineLoop
from watchdog.service.live_pipeline import LivePipeline
from watchdog.service.writer_thread import Routes, WriterLoop


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return scripted(monkeypatch)


def watched(
    *seconds: float, watch: LivePipeline | None = None, transactions: int = 500
) -> tuple[LivePipeline, list[ChangeRecord]]:
    watch = watch or LivePipeline(load_text(FULL_MEMPOOL), "node", {"capture:a": ALL_KINDS})
    records = [record for second in seconds for record in watch.process(mempool("capture:a", second, transactions))]
    return watch, records


def reasons(records: Sequence[ChangeRecord]) -> list[str]:
    return [record.change.reason.value for record in records]


def test_an_action_waits_for_its_moment_in_event_time() -> None:
    watch, records = watched(0, 5)
    [opened] = records
    action = Action(7, opened.incident.id, "ack", "ada", "", START + 8 * SECOND)
    assert watch.act(action) == []
    assert len(watch.actions) == 1
    _, records = watched(9, watch=watch)
    assert reasons(records) == ["acknowledged"]
    assert (records[0].key, records[0].incident.acknowledged_by) == (-7, "ada")
    assert watch.actions.last_id == 7


def test_an_action_that_no_event_reaches_is_hurried_and_one_on_an_old_recording_is_at_once() -> None:
    watch, [opened] = watched(0, 5)
    assert watch.act(Action(1, opened.incident.id, "ack", "ada", "", START + 60 * SECOND)) == []
    assert reasons(watch.hurry()) == ["acknowledged"]
    assert reasons(watch.act(Action(2, opened.incident.id, "resolve", "ada", "", START + 10**9 * SECOND))) == [
        "resolved by operator"
    ]
    assert watch.act(Action(3, "0" * 16, "ack", "ada", "", START)) == []
    assert watch.refused == 1


def test_a_run_that_goes_on_from_a_checkpoint_acts_at_the_same_moment() -> None:
    watch, [opened] = watched(0, 5)
    blob = watch.checkpoint(["capture:a"], "")
    resolve = Action(1, opened.incident.id, "resolve", "ada", "", START + 8 * SECOND)
    watch.act(resolve)
    _, first = watched(9, 20, 40, 60, watch=watch)
    again = LivePipeline(load_text(FULL_MEMPOOL), "node", {"capture:a": ALL_KINDS})
    assert again.resume(blob) == []
    again.act(resolve)
    _, second = watched(9, 20, 40, 60, watch=again)
    assert [(record.key, record.change) for record in first] == [(record.key, record.change) for record in second]
    assert "resolved by operator" in reasons(first)


def test_an_action_does_not_run_ahead_of_findings_that_came_with_it() -> None:
    # seconds  0 full ... 11 clear ... 30 acknowledged ... 40 full again ... 51 clear ... 100
    pieces = [mempool("capture:a", second, 500) for second in (0, 5, 40, 45)]
    whole = Slice("capture:a", tuple(batch for piece in pieces for batch in piece.batches), START + 100 * SECOND, {})
    apart, [opened] = watched(0, 5)
    told = []
    for watch, slices in ((apart, [*pieces[2:], Slice("capture:a", (), whole.until_ns, {})]), (watched()[0], [whole])):
        watch.act(Action(1, opened.incident.id, "ack", "ada", "", START + 30 * SECOND))
        told.append([record.change for piece in slices for record in watch.process(piece)])
    assert [opened.change, *told[0]] == told[1]
    assert "resolved" not in [change.reason.value for change in told[1]]


def test_other_rules_clear_what_fires_and_keep_the_incidents() -> None:
    watch, [opened] = watched(0, 5)
    other = load_text(FULL_MEMPOOL.replace("> 100", "> 200"))
    promise = Slice("capture:a", (), START + 5 * SECOND, {})
    assert reasons(watch.change_rules(other, [promise])) == ["cleared"]
    _, records = watched(7, 9, watch=watch)
    assert {record.incident.id for record in records} == {opened.incident.id}, "it fires again and goes on"
    watch.change_rules(
        load_text(FULL_MEMPOOL.replace("> 100", "> 9000")), [Slice("capture:a", (), START + 9 * SECOND, {})]
    )
    _, records = watched(30, 80, watch=watch)
    assert reasons(records)[-1] == "resolved"


def test_a_checkpoint_of_other_rules_gives_positions_and_incidents() -> None:
    watch, [opened] = watched(0, 5)
    blob = watch.checkpoint(["capture:a"], "")
    other = LivePipeline(load_text(FULL_MEMPOOL.replace("> 100", "> 200")), "node", {"capture:a": ALL_KINDS})
    assert reasons(other.resume(blob)) == ["cleared"]
    assert [one.id for one in other.books.incidents()] == [opened.incident.id]
    assert other.checkpoint(["capture:a"], "").positions == {"capture:a": {"at": 5}}


class Stubborn:
    """A store that fails as often as told, then takes everything."""

    def __init__(self, failures: int) -> None:
        self.failures, self.taken = failures, list[ChangeRecord]()

    def record(
        self, records: Sequence[ChangeRecord], notices: Sequence[Notice], cases: object, made: object, /
    ) -> Written:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("database 'x': locked")
        self.taken += records
        return Written(len(records), records)


def test_a_checkpoint_is_written_only_when_everything_before_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchdog.service.writer_thread.FIRST_RETRY_S", 0.01)
    watch, records = watched(0, 5)
    path, bundles, store = tmp_path / "checkpoint", queue.Queue[Bundle](10), Stubborn(2)
    seen: list[bool] = []

    def stored(_records: Sequence[ChangeRecord]) -> None:
        seen.append(path.exists())

    routes = Routes([], lambda id_: id_)
    writer = WriterLoop(
        store, bundles, routes, checkpoint=lambda _: path, clock=VirtualClock(), wall_ns=lambda: START, stored=stored
    )
    checkpoint: Checkpoint = watch.checkpoint(["capture:a"], "")
    for bundle in (Bundle(records), Bundle(checkpoint=checkpoint), Bundle(last=True)):
        bundles.put(bundle)
    writer.start()
    assert writer.join(60)
    assert (store.taken, seen, path.exists()) == (records, [False], True)
    assert (writer.counts.failures, writer.counts.error) == (2, "")


def test_a_writer_that_gives_up_leaves_no_checkpoint(tmp_path: Path) -> None:
    watch, records = watched(0, 5)
    path, bundles = tmp_path / "checkpoint", queue.Queue[Bundle](10)
    writer = WriterLoop(
        Stubborn(10**9),
        bundles,
        Routes([], lambda id_: id_),
        checkpoint=lambda _: path,
        clock=VirtualClock(),
        wall_ns=lambda: START,
        stored=lambda _: None,
    )
    bundles.put(Bundle(records, watch.checkpoint(["capture:a"], "")))
    writer.start()
    writer.give_up()
    assert writer.join(60)
    assert not path.exists()


def test_a_store_that_stands_still_does_not_hold_the_engine_up(tmp_path: Path, said: Said) -> None:
    polls = 200
    said["snapshots:a"] = [mempool("snapshots:a", 20.0 * n, 500 * (n % 2)) for n in range(polls)]
    said["snapshots:a"].append(Slice("snapshots:a", (), END_OF_TIME_NS, {"at": polls}))
    feed, clock = feed_of("snapshots:a")
    watch, bundles = LivePipeline(load_text(FULL_MEMPOOL), "node", feed.kinds), queue.Queue[Bundle](1_000)
    engine = EngineLoop(watch, feed, bundles, clock, every_s=3_600.0)
    store = Blocked()
    writer = WriterLoop(
        store,
        bundles,
        Routes([], lambda id_: id_),
        checkpoint=lambda _: tmp_path / "checkpoint",
        clock=clock,
        wall_ns=lambda: START,
        stored=lambda _: None,
    )
    writer.start()
    engine.start()
    try:
        assert store.entered.wait(60), "the writer has something to store"
        wait_until(lambda: engine.finished, "not every event was judged while nothing could be stored")
        assert (watch.events, store.taken, engine.counts.full) == (polls, [], 0)
    finally:
        store.open.set()
        engine.stop()
    assert engine.join(60)
    writer.finish()
    assert writer.join(60)
    assert len(store.taken) == sum(engine.counts.changes.values()) >= polls / 2


class Blocked:
    """A store whose transaction lasts until the test opens it."""

    def __init__(self) -> None:
        self.entered, self.open, self.taken = threading.Event(), threading.Event(), list[ChangeRecord]()

    def record(
        self, records: Sequence[ChangeRecord], notices: Sequence[Notice], cases: object, made: object, /
    ) -> Written:
        self.entered.set()
        assert self.open.wait(60)
        self.taken += records
        return Written(len(records), records)
