"""The feed of the service, on a virtual clock: silence, sources that are down, gaps."""

from __future__ import annotations

import queue
import re
from dataclasses import replace

import numpy as np
import pytest

from alerts.notice import ChangeRecord
from rules.load import load
from tests.support.catalogue import check_batch
from tests.support.scripted_feed import SECOND, START, Said, VirtualClock, drained, feed_of, marks, mempool, scripted
from watchdog.core.batch import Batch, Slice, Strings
from watchdog.core.errors import SourceError
from watchdog.core.source import END_OF_TIME_NS, SourceOptions
from watchdog.service.engine_thread import Bundle, EngineLoop
from watchdog.service.feed import Feed
from watchdog.service.live_pipeline import LivePipeline


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    return scripted(monkeypatch)


def test_silence_becomes_a_promise_that_trails_the_first_of_two_polls(
    said: Said,
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
    said: Said,
) -> None:
    whole = [replace(mempool("capture:a", at), caught_up=True) for at in (10, 11)]
    said["capture:a"], said["log:b"] = [*whole], [mempool("log:b", 1), mempool("log:b", 2)]
    feed, _ = feed_of("capture:a", "log:b")
    assert [one.source for one in drained(feed)] == ["capture:a", "log:b", "log:b", "capture:a"]
    said["capture:a"] += whole
    assert len(drained(feed)) == 1
    assert len(drained(feed)) == 1


def test_a_source_that_never_spoke_holds_nobody_up(said: Said) -> None:
    said["capture:a"], said["log:b"] = [mempool("capture:a", 10)], []
    feed, clock = feed_of("capture:a", "log:b")
    drained(feed)
    clock.now += 1.0
    drained(feed)
    clock.now += 1.0
    drained(feed)
    assert marks(feed)["log:b"] >= 10


def test_steps_of_the_wall_clock_do_not_exist_for_the_feed(said: Said) -> None:
    said["capture:a"] = [mempool("capture:a", 3600), mempool("capture:a", 1800, until=3600)]
    feed, clock = feed_of("capture:a")
    drained(feed)
    clock.now += 2.0
    drained(feed)
    clock.now += 2.0
    drained(feed)
    assert marks(feed) == {"capture:a": 3600 + 2.0 - 0.25}, "an event an hour back moves no promise"


def test_a_failing_source_is_tried_again_and_others_go_on(said: Said) -> None:
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
    assert marks(feed)["log:b"] > 10, "after half a minute the others no longer wait"
    said["log:b"] = [*kept, mempool("log:b", 61)]
    clock.now += 60
    drained(feed)
    assert (broken.error, broken.source is not None) == ("", True)


def test_a_source_that_is_not_there_yet_is_opened_when_it_comes(said: Said) -> None:
    feed, clock = feed_of("log:b")
    assert "no such file" in feed.channels[0].error
    assert drained(feed) == []
    said["log:b"] = [mempool("log:b", 5)]
    clock.now += 61
    assert len(drained(feed)) == 1
    assert feed.channels[0].error == ""


def test_sources_that_are_all_down_become_gaps_by_the_clock_and_an_incident(
    said: Said,
) -> None:
    clock = VirtualClock()
    feed = Feed(["log:a", "log:b"], SourceOptions(follow=True), clock, lambda: START + int(clock.now * SECOND))
    feed.open({})
    shipped = load([], packs=True)
    watch = LivePipeline(shipped, "node", feed.kinds)
    told: list[ChangeRecord] = []
    for _ in range(12):
        told += [record for piece in drained(feed) for record in watch.process(piece)]
        clock.now += 10
    opened = next(record for record in told if record.change.reason.value == "opened")
    assert (opened.incident.rule, opened.change.severity) == ("data-gap", "warning")
    for _ in range(100):
        told += [record for piece in drained(feed) for record in watch.process(piece)]
        clock.now += 10
    assert told[-1].incident.severity == "high"
    assert {record.incident.id for record in told} == {opened.incident.id}
    said["log:a"], said["log:b"] = [mempool("log:a", clock.now + 5)], []
    clock.now += 61
    drained(feed)
    assert feed.down == []


def test_a_source_that_opens_but_cannot_be_read_is_down_and_said_again_and_again(
    said: Said, caplog: pytest.LogCaptureFixture
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
    assert texts[0] == "source log:b: 'b': input/output error; retrying"
    assert len(texts) == 2
    assert texts[1].startswith("source log:b: 'b': input/output error; retrying (down for 1")
    assert re.search(r"\(down for 1\dm( \d+s)?\)$", texts[1])
    said["log:b"].clear()
    clock.now += 61
    drained(feed)
    assert feed.down == []
    clock.now += 11
    drained(feed)
    assert caplog.records[-1].message.startswith("source log:b: working again after 2")


def test_a_source_that_fails_now_and_then_is_one_episode_of_the_log(
    said: Said, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broken = SourceError("'b': input/output error")
    said["log:b"] = []
    feed, clock = feed_of("log:b")
    for _ in range(100):
        said["log:b"][:] = [broken]
        drained(feed)
        clock.now += 2
        said["log:b"].clear()
        drained(feed)
        clock.now += 1
    assert len(caplog.records) == 1


def gap(source: str, second: float, until: float) -> Slice:
    """Lines between two seconds were lost; told at the first of them, together with an event at each."""
    seen = [mempool(source, at).batches[0] for at in (second, until)]
    from_ns, to_ns = (np.array([START + int(at * SECOND)], np.int64) for at in (second, until))
    columns = {"time_ns": from_ns, "from_ns": from_ns, "to_ns": to_ns, "lost": np.zeros(1, np.uint64)}
    texts = {"reason": Strings.of(["log was truncated"]), "kinds": Strings.of([""])}
    lost = Batch("source:gap", "node", source, {**columns, **texts})
    return Slice(source, (lost, *seen), int(to_ns[0]) - 2 * SECOND, {})


def times(found: Slice) -> dict[str, list[float]]:
    """Seconds of events by kind."""
    by_kind: dict[str, list[float]] = {}
    for batch in found.batches:
        by_kind.setdefault(batch.kind, []).extend((batch.time_ns - START) / SECOND)
    return by_kind


def test_a_gap_of_a_source_that_was_quiet_is_told_at_what_was_promised_in_its_place_and_nothing_else_is(
    said: Said,
) -> None:
    said["log:b"] = [mempool("log:b", 10)]
    feed, clock = feed_of("log:b")
    watch = LivePipeline(load([], packs=True), "node", feed.kinds)
    told = [record for piece in drained(feed) for record in watch.process(piece)]
    for _ in range(4):
        clock.now += 5
        told += [record for piece in drained(feed) for record in watch.process(piece)]
    promised = marks(feed)["log:b"]
    assert promised == 10 + 15 - 0.25
    said["log:b"].append(gap("log:b", 10, 40))
    [found] = drained(feed)
    assert times(found) == {"source:gap": [promised], "rpc:mempool": [10, 40]}
    [lost] = [batch for batch in found.batches if batch.kind == "source:gap"]
    check_batch(lost)
    assert [(int(lost.numbers(name)[0]) - START) / SECOND for name in ("from_ns", "to_ns")] == [10, 40]
    told += watch.process(found)
    assert watch.engine.statistics.late == {"rpc:mempool": 1}, "other events are late as ever"
    told += watch.process(mempool("log:b", 200))
    assert [record.incident.rule for record in told] == ["data-gap"]


def test_a_gap_after_a_restart_is_told_at_what_the_run_before_had_promised(
    said: Said,
) -> None:
    said["log:b"], said["log:c"] = [mempool("log:b", 10)], [mempool("log:c", 12)]
    feed, clock = feed_of("log:b", "log:c")
    before = LivePipeline(load([], packs=True), "node", feed.kinds)
    for _ in range(4):
        for piece in drained(feed):
            before.process(piece)
        clock.now += 5
    promised = marks(feed)["log:b"]
    assert promised > 10
    watch = LivePipeline(load([], packs=True), "node", feed.kinds)
    watch.resume(before.checkpoint(["log:b", "log:c"], ""))
    said["log:b"], said["log:c"] = [gap("log:b", 10, 40), gap("log:b", 41, 60)], [gap("log:c", 90, 95)]
    again, _ = feed_of("log:b", "log:c")
    again.keep_promises(watch.engine.marks)
    assert marks(again) == {}, "what others may promise by it must be of this run"
    found = drained(again)
    assert [times(piece)["source:gap"] for piece in found] == [[promised], [90], [41]]
    for piece in found:
        watch.process(piece)
    assert watch.engine.statistics.late == {"rpc:mempool": 1}
    assert watch.engine.statistics.events["source:gap"] == 3


def test_a_kill_after_a_gap_of_a_quiet_source_makes_no_second_incident(
    said: Said,
) -> None:
    lost = [gap("log:b", 10, 400), mempool("log:b", 500)]
    said["log:b"] = [mempool("log:b", 10)]
    feed, clock = feed_of("log:b")
    shipped, bundles = load([], packs=True), queue.Queue[Bundle](100)
    engine = EngineLoop(LivePipeline(shipped, "node", feed.kinds), feed, bundles, clock, every_s=3_600.0)
    for _ in range(40):
        for piece in drained(feed):
            engine.watch.process(piece)
        clock.now += 5
    said["log:b"] += lost
    for _ in range(2):
        engine.step()
    kept, *others = [bundles.get_nowait() for _ in range(bundles.qsize())]
    assert kept.checkpoint is not None
    first = [record.incident.id for bundle in others for record in bundle.records]
    assert len(first) == 1

    said["log:b"] = [*lost]
    again, _ = feed_of("log:b")
    watch = LivePipeline(shipped, "node", again.kinds)
    watch.resume(kept.checkpoint)
    again.keep_promises(watch.engine.marks)
    assert [record.incident.id for piece in drained(again) for record in watch.process(piece)] == first


def test_a_gap_that_is_not_late_is_left_as_it_is(said: Said) -> None:
    given = gap("log:b", 10, 40)
    said["log:b"] = [mempool("log:b", 10), given]
    feed, _ = feed_of("log:b")
    assert drained(feed)[1] is given


def test_a_source_that_had_ended_keeps_no_promise_over_a_restart(said: Said) -> None:
    given = gap("log:b", 10, 40)
    said["log:b"] = [given]
    feed, _ = feed_of("log:b")
    feed.keep_promises({"log:b": END_OF_TIME_NS, "log:gone": START})
    assert drained(feed) == [given]


def test_an_ended_source_says_so_once_and_promises_for_ever(said: Said) -> None:
    last = mempool("events:a", 10)
    said["events:a"] = [Slice(last.source, last.batches, END_OF_TIME_NS, {})]
    feed, _ = feed_of("events:a")
    assert len(drained(feed)) == 1
    assert feed.ended
    assert [one.until_ns for one in feed.promises()] == [END_OF_TIME_NS]
    assert drained(feed) == []
