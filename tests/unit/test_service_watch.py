"""Feed, watch and writer of the service, on a virtual clock."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alerts.notice import ChangeRecord, Notice
from alerts.store.actions import Action
from alerts.store.writer import Written
from rules.load import load, load_text
from tests.support.catalogue import check_batch
from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import SourceError, StoreUnavailableError
from watchdog.core.source import END_OF_TIME_NS, Source, SourceOptions
from watchdog.service import feed as feed_module
from watchdog.service.checkpoint import Checkpoint
from watchdog.service.engine_loop import Bundle, EngineLoop
from watchdog.service.feed import Feed
from watchdog.service.watch import Watch
from watchdog.service.writer_loop import Routes, WriterLoop

SECOND = 1_000_000_000
START = 1_768_212_000 * SECOND
RULES = """
rules:
  full-mempool:
    title: Mempool is full
    attack: resource
    severity: warning
    on: rpc:mempool
    by: []
    measure: {most: max(txs)}
    over: 10s
    pane: 1s
    fire: most > 100
    resolve_after: 1m
"""


class VirtualClock:
    """Time that passes only when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Script:
    """A source that gives what a test has put into it; an error is raised."""

    kinds = None

    def __init__(self, name: str, said: list[Slice | SourceError]) -> None:
        self.name, self.said, self.ended, self.progress, self.closed = name, said, False, 0.0, False

    def poll(self) -> Slice | None:
        if not self.said:
            return None
        found = self.said.pop(0)
        if isinstance(found, SourceError):
            raise found
        self.ended = found.until_ns == END_OF_TIME_NS
        return found

    def close(self) -> None:
        self.closed = True


def mempool(source: str, second: float, transactions: int = 10, until: float | None = None) -> Slice:
    time_ns = START + int(second * SECOND)
    columns = {"time_ns": np.array([time_ns], np.int64), "txs": np.array([transactions], np.uint64)}
    until_ns = time_ns if until is None else START + int(until * SECOND)
    return Slice(source, (Batch("rpc:mempool", "node", source, columns),), until_ns, {"at": second})


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Slice | SourceError]]:
    """What sources say, by name; opening one that is not there fails."""
    scripts: dict[str, list[Slice | SourceError]] = {}

    def opened(texts: Sequence[str], _options: SourceOptions) -> list[Source]:
        for text in texts:
            if text not in scripts:
                raise SourceError(f"{text!r}: no such file")
        return [Script(text, scripts[text]) for text in texts]

    monkeypatch.setattr(feed_module, "open_sources", opened)
    return scripts


def feed_of(*texts: str) -> tuple[Feed, VirtualClock]:
    clock = VirtualClock()
    found = Feed(texts, SourceOptions(follow=True), clock)
    found.open({})
    return found, clock


def marks(feed: Feed) -> dict[str, float]:
    return {one.name: (one.mark_ns - START) / SECOND for one in feed.channels if one.mark_ns}


def drained(feed: Feed) -> list[Slice]:
    return list(iter(feed.next, None))


def test_silence_becomes_a_promise_that_trails_the_first_of_two_polls(
    said: dict[str, list[Slice | SourceError]],
) -> None:
    said["capture:a"] = [mempool("capture:a", 10)]
    feed, clock = feed_of("capture:a")
    assert len(drained(feed)) == 1
    clock.now += 4.0
    assert drained(feed) == [], "one poll without news proves nothing yet: what it read may be held back"
    clock.now += 1.0
    [promise] = drained(feed)
    assert (promise.batches, promise.position) == ((), {"at": 10})
    assert marks(feed) == {"capture:a": 10 + 4.0 - 0.25}
    said["capture:a"].append(mempool("capture:a", 14.5))
    drained(feed)
    assert marks(feed) == {"capture:a": 14.5}


def test_a_source_that_has_given_all_it_has_is_not_asked_again_in_the_same_round(
    said: dict[str, list[Slice | SourceError]],
) -> None:
    whole = [replace(mempool("capture:a", at), caught_up=True) for at in (10, 11)]
    said["capture:a"], said["log:b"] = [*whole], [mempool("log:b", 1), mempool("log:b", 2)]
    feed, _ = feed_of("capture:a", "log:b")
    assert [one.source for one in drained(feed)] == ["capture:a", "log:b", "log:b", "capture:a"]
    said["capture:a"] += whole
    assert len(drained(feed)) == 1
    assert len(drained(feed)) == 1


def test_a_source_that_never_spoke_holds_nobody_up(said: dict[str, list[Slice | SourceError]]) -> None:
    said["capture:a"], said["log:b"] = [mempool("capture:a", 10)], []
    feed, clock = feed_of("capture:a", "log:b")
    drained(feed)
    clock.now += 1.0
    drained(feed)
    clock.now += 1.0
    drained(feed)
    assert marks(feed)["log:b"] >= 10


def test_steps_of_the_wall_clock_do_not_exist_for_the_feed(said: dict[str, list[Slice | SourceError]]) -> None:
    said["capture:a"] = [mempool("capture:a", 3600), mempool("capture:a", 1800, until=3600)]
    feed, clock = feed_of("capture:a")
    drained(feed)
    clock.now += 2.0
    drained(feed)
    clock.now += 2.0
    drained(feed)
    assert marks(feed) == {"capture:a": 3600 + 2.0 - 0.25}, "an event an hour back moves no promise"


def test_a_failing_source_is_tried_again_and_others_go_on(said: dict[str, list[Slice | SourceError]]) -> None:
    said["capture:a"] = [mempool("capture:a", 10)]
    said["log:b"] = [mempool("log:b", 10), SourceError("'b': input/output error")]
    feed, clock = feed_of("capture:a", "log:b")
    drained(feed)
    broken = feed.channels[1]
    assert (broken.error, broken.source, broken.errors) == ("'b': input/output error", None, 1)
    kept = said.pop("log:b")
    found: list[Slice] = []
    for second in range(20, 60, 10):
        said["capture:a"].append(mempool("capture:a", second))
        clock.now += 10
        found = drained(feed)
    gaps = [batch for piece in found for batch in piece.batches if batch.kind == "source:gap"]
    assert len(gaps) == 1
    check_batch(gaps[0])
    assert broken.errors >= 3
    assert marks(feed)["log:b"] > 10, "after half a minute the others do not wait any more"
    said["log:b"] = [*kept, mempool("log:b", 61)]
    clock.now += 60
    drained(feed)
    assert (broken.error, broken.source is not None) == ("", True)


def test_a_source_that_is_not_there_yet_is_opened_when_it_comes(said: dict[str, list[Slice | SourceError]]) -> None:
    feed, clock = feed_of("log:b")
    assert "no such file" in feed.channels[0].error
    assert drained(feed) == []
    said["log:b"] = [mempool("log:b", 5)]
    clock.now += 61
    assert len(drained(feed)) == 1
    assert feed.channels[0].error == ""


def test_sources_that_are_all_down_become_gaps_by_the_clock_and_an_incident(
    said: dict[str, list[Slice | SourceError]],
) -> None:
    clock = VirtualClock()
    feed = Feed(["log:a", "log:b"], SourceOptions(follow=True), clock, lambda: START + int(clock.now * SECOND))
    feed.open({})
    shipped = load([], packs=True)
    watch = Watch(shipped, "node", feed.kinds)
    told: list[ChangeRecord] = []
    for _ in range(12):
        told += [record for piece in drained(feed) for record in watch.take(piece)]
        clock.now += 10
    opened = next(record for record in told if record.change.reason.value == "opened")
    assert (opened.incident.rule, opened.change.severity) == ("data-gap", "warning")
    for _ in range(100):
        told += [record for piece in drained(feed) for record in watch.take(piece)]
        clock.now += 10
    assert told[-1].incident.severity == "high"
    assert {record.incident.id for record in told} == {opened.incident.id}
    said["log:a"], said["log:b"] = [mempool("log:a", clock.now + 5)], []
    clock.now += 61
    drained(feed)
    assert feed.down == []


def test_a_source_that_opens_but_cannot_be_read_is_down_and_said_again_and_again(
    said: dict[str, list[Slice | SourceError]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broken = SourceError("'b': input/output error")
    said["log:b"] = [broken]
    feed, clock = feed_of("log:b")
    for second in range(1200):
        said["log:b"][:] = [broken]
        drained(feed)
        clock.now += 1
        assert feed.down == (["log:b"] if second >= 30 else [])
    texts = [record.message for record in caplog.records]
    assert texts[0] == "source log:b: 'b': input/output error; it will be tried again"
    assert len(texts) == 2
    assert texts[1].startswith("source log:b: 'b': input/output error; it will be tried again (down for 1")
    assert re.search(r"\(down for 1\dm( \d+s)?\)$", texts[1])
    said["log:b"].clear()
    clock.now += 61
    drained(feed)
    assert feed.down == []
    assert caplog.records[-1].message.startswith("source log:b: works again, after 2")


def test_an_ended_source_says_so_once_and_promises_for_ever(said: dict[str, list[Slice | SourceError]]) -> None:
    last = mempool("events:a", 10)
    said["events:a"] = [Slice(last.source, last.batches, END_OF_TIME_NS, {})]
    feed, _ = feed_of("events:a")
    assert len(drained(feed)) == 1
    assert feed.ended
    assert [one.until_ns for one in feed.promises()] == [END_OF_TIME_NS]
    assert drained(feed) == []


def watched(*seconds: float, watch: Watch | None = None, transactions: int = 500) -> tuple[Watch, list[ChangeRecord]]:
    watch = watch or Watch(load_text(RULES), "node", {"capture:a": None})
    records = [record for second in seconds for record in watch.take(mempool("capture:a", second, transactions))]
    return watch, records


def reasons(records: Sequence[ChangeRecord]) -> list[str]:
    return [record.change.reason.value for record in records]


def test_an_action_waits_for_its_moment_in_event_time() -> None:
    watch, records = watched(0, 5)
    [opened] = records
    action = Action(7, opened.incident.id, "ack", "ada", "", START + 8 * SECOND)
    assert watch.act(action) == []
    assert watch.waiting == 1
    _, records = watched(9, watch=watch)
    assert reasons(records) == ["acknowledged"]
    assert (records[0].key, records[0].incident.acknowledged_by) == (-7, "ada")
    assert watch.last_action == 7


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
    again = Watch(load_text(RULES), "node", {"capture:a": None})
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
        told.append([record.change for piece in slices for record in watch.take(piece)])
    assert [opened.change, *told[0]] == told[1]
    assert "resolved" not in [change.reason.value for change in told[1]]


def test_other_rules_clear_what_fires_and_keep_the_incidents() -> None:
    watch, [opened] = watched(0, 5)
    other = load_text(RULES.replace("> 100", "> 200"))
    promise = Slice("capture:a", (), START + 5 * SECOND, {})
    assert reasons(watch.change_rules(other, [promise])) == ["cleared"]
    _, records = watched(7, 9, watch=watch)
    assert {record.incident.id for record in records} == {opened.incident.id}, "it fires again and goes on"
    watch.change_rules(load_text(RULES.replace("> 100", "> 9000")), [Slice("capture:a", (), START + 9 * SECOND, {})])
    _, records = watched(30, 80, watch=watch)
    assert reasons(records)[-1] == "resolved"


def test_a_checkpoint_of_other_rules_gives_positions_and_incidents() -> None:
    watch, [opened] = watched(0, 5)
    blob = watch.checkpoint(["capture:a"], "")
    other = Watch(load_text(RULES.replace("> 100", "> 200")), "node", {"capture:a": None})
    assert reasons(other.resume(blob)) == ["cleared"]
    assert [one.id for one in other.books.incidents()] == [opened.incident.id]
    assert other.checkpoint(["capture:a"], "").positions == {"capture:a": {"at": 5}}


class Stubborn:
    """A store that fails as often as told, then takes everything."""

    def __init__(self, failures: int) -> None:
        self.failures, self.taken = failures, list[ChangeRecord]()

    def record(self, records: Sequence[ChangeRecord], notices: Sequence[Notice], /) -> Written:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("database 'x': locked")
        self.taken += records
        return Written(len(records), records)


def test_a_checkpoint_is_written_only_when_everything_before_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchdog.service.writer_loop.FIRST_RETRY_S", 0.01)
    watch, records = watched(0, 5)
    path, bundles, store = tmp_path / "checkpoint", queue.Queue[Bundle](10), Stubborn(2)
    seen: list[bool] = []

    def stored(_records: Sequence[ChangeRecord]) -> None:
        seen.append(path.exists())

    routes = Routes([], lambda id_: id_)
    writer = WriterLoop(
        store, bundles, routes, checkpoint=path, clock=VirtualClock(), wall_ns=lambda: START, stored=stored
    )
    checkpoint: Checkpoint = watch.checkpoint(["capture:a"], "")
    for bundle in (Bundle(records), Bundle(checkpoint=checkpoint), Bundle(last=True)):
        bundles.put(bundle)
    writer.start()
    assert writer.join(10)
    assert (store.taken, seen, path.exists()) == (records, [False], True)
    assert (writer.counts.failures, writer.counts.error) == (2, "")


def test_a_writer_that_gives_up_leaves_no_checkpoint(tmp_path: Path) -> None:
    watch, records = watched(0, 5)
    path, bundles = tmp_path / "checkpoint", queue.Queue[Bundle](10)
    writer = WriterLoop(
        Stubborn(10**9),
        bundles,
        Routes([], lambda id_: id_),
        checkpoint=path,
        clock=VirtualClock(),
        wall_ns=lambda: START,
        stored=lambda _: None,
    )
    bundles.put(Bundle(records, watch.checkpoint(["capture:a"], "")))
    writer.start()
    writer.give_up()
    assert writer.join(10)
    assert not path.exists()


def test_a_store_that_stands_still_does_not_hold_the_engine_up(
    tmp_path: Path, said: dict[str, list[Slice | SourceError]]
) -> None:
    polls = 200
    said["snapshots:a"] = [mempool("snapshots:a", 20.0 * n, 500 * (n % 2)) for n in range(polls)]
    said["snapshots:a"].append(Slice("snapshots:a", (), END_OF_TIME_NS, {"at": polls}))
    feed, clock = feed_of("snapshots:a")
    watch, bundles = Watch(load_text(RULES), "node", feed.kinds), queue.Queue[Bundle](1_000)
    engine = EngineLoop(watch, feed, bundles, clock, every_s=3_600.0)
    store = Blocked()
    writer = WriterLoop(
        store,
        bundles,
        Routes([], lambda id_: id_),
        checkpoint=tmp_path / "checkpoint",
        clock=clock,
        wall_ns=lambda: START,
        stored=lambda _: None,
    )
    writer.start()
    engine.start()
    try:
        assert store.entered.wait(30), "the writer has something to store"
        for _ in range(3_000):
            if engine.finished:
                break
            time.sleep(0.01)
        assert engine.finished, "every event was judged while nothing could be stored"
        assert (watch.events, store.taken, engine.counts.full) == (polls, [], 0)
    finally:
        store.open.set()
        engine.stop()
    assert engine.join(30)
    assert writer.join(30)
    assert len(store.taken) == sum(engine.counts.changes.values()) >= polls / 2


class Blocked:
    """A store whose transaction takes until it is told to go on."""

    def __init__(self) -> None:
        self.entered, self.open, self.taken = threading.Event(), threading.Event(), list[ChangeRecord]()

    def record(self, records: Sequence[ChangeRecord], notices: Sequence[Notice], /) -> Written:
        self.entered.set()
        assert self.open.wait(60)
        self.taken += records
        return Written(len(records), records)
