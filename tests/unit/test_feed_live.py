"""Live sources in the feed of a service: their own watermarks, restarts, `source-flapping`, abandoned producers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from tests.support.producers import SECOND_NS, batch_at
from tests.support.waiting import wait_until
from watchdog.core.batch import Slice
from watchdog.core.source import Source, SourceOptions
from watchdog.service.feed import LAST_RETRY_S, Feed
from watchdog.service.self_watch import FlapCheck
from watchdog.service.vitals import _abandoned_text
from watchdog.sources.live.inbox import Inbox
from watchdog.sources.live.runners import Runner, ThreadRunner
from watchdog.sources.live.source import LiveSource
from watchdog.sources.registry import SCHEMES
from watchdog.sources.scheme import Scheme

NAME = "fake:1"
KINDS = frozenset({"p2p:ping"})


@dataclass
class HandClock:
    """A clock that only the test moves."""

    now_s: float = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@dataclass
class Node:
    """The far end of the test's live sources: each start runs `produce` in a thread."""

    produce: Callable[[Inbox, threading.Event], None]
    starts: list[Mapping[str, object] | None] = field(default_factory=list)
    inboxes: list[Inbox] = field(default_factory=list)

    def open(self, place: str, options: SourceOptions, _torn_later: bool) -> list[Source]:
        name = f"fake:{place}"
        position = options.position.get(name) if options.position else None
        own = SourceOptions(options.node, position=position if isinstance(position, Mapping) else None)
        return [LiveSource(name, KINDS, self._start, own, policy="wait")]

    def _start(self, inbox: Inbox, position: Mapping[str, object] | None) -> Runner:
        self.starts.append(position)
        self.inboxes.append(inbox)
        return ThreadRunner(self.produce, inbox)


@pytest.fixture
def feed_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Node], tuple[Feed, HandClock]]]:
    feeds: list[Feed] = []

    def opened(node: Node) -> tuple[Feed, HandClock]:
        row = Scheme("fake", "NAME", node.open, lambda: KINDS, mode="live", place_is_path=False, idle_slices=False)
        monkeypatch.setitem(SCHEMES, "fake", row)
        clock = HandClock()
        feed = Feed([NAME], SourceOptions(follow=True), clock)
        feed.open({})
        feeds.append(feed)
        return feed, clock

    yield opened
    for feed in feeds:
        feed.close()


def next_of(feed: Feed) -> Slice:
    slices: list[Slice] = []

    def taken() -> bool:
        slice_ = feed.next()
        slices.extend([slice_] if slice_ is not None else [])
        return bool(slices)

    assert wait_until(taken)
    return slices[0]


def idle(inbox: Inbox, stopping: threading.Event) -> None:
    stopping.wait()


def test_the_watermark_comes_from_heartbeats_and_never_from_silence(
    feed_of: Callable[[Node], tuple[Feed, HandClock]],
) -> None:
    node = Node(idle)
    feed, clock = feed_of(node)
    for _ in range(600):  # ten minutes of silence promise nothing
        clock.now_s += 1.0
        assert feed.next() is None
    node.inboxes[0].heartbeat(7 * SECOND_NS)
    beat = next_of(feed)
    assert (beat.batches, beat.until_ns, beat.caught_up) == ((), 7 * SECOND_NS, True)
    clock.now_s += 60.0
    assert feed.next() is None
    assert feed.channels[0].watermark_ns == 7 * SECOND_NS


def test_a_failed_source_restarts_at_its_position_and_flapping_is_reported(
    feed_of: Callable[[Node], tuple[Feed, HandClock]],
) -> None:
    def produce(inbox: Inbox, _stopping: threading.Event) -> None:
        if len(node.starts) == 1:
            inbox.put((batch_at(5),), 5 * SECOND_NS, {"next": 6})
        inbox.heartbeat(6 * SECOND_NS)  # keeps the position
        raise OSError("the wire was cut")

    node = Node(produce)
    feed, clock = feed_of(node)
    check = FlapCheck(feed, clock.now_s)
    assert [one.holds for one in check(clock.now_s)] == [None]
    channel, begun_s = feed.channels[0], clock.now_s
    for restart in range(1, 12):
        assert wait_until(lambda: feed.next() is None and channel.source is None)
        clock.now_s = channel.retry_s
        feed.next()
        assert channel.restarts == restart
        assert [one.holds for one in check(clock.now_s)] == [True if restart > 10 else None]
    assert node.starts[0] is None
    assert all(position == {"next": 6} for position in node.starts[1:])
    assert clock.now_s - begun_s <= 12 * LAST_RETRY_S
    (verdict,) = check(clock.now_s)
    assert verdict.summary == f"{NAME} was restarted more than 10 times within an hour: OSError: the wire was cut"
    (verdict,) = check(clock.now_s + 3_601.0)
    assert verdict.holds is False


def test_a_producer_that_does_not_end_is_named_and_blocks_nobody(
    feed_of: Callable[[Node], tuple[Feed, HandClock]], monkeypatch: pytest.MonkeyPatch
) -> None:
    released, let_join = threading.Event(), threading.Event()

    def produce(inbox: Inbox, _stopping: threading.Event) -> None:
        released.wait(60)

    feed, _ = feed_of(Node(produce))
    join = ThreadRunner.join
    monkeypatch.setattr(ThreadRunner, "join", lambda one, limit_s: let_join.wait(60) and join(one, limit_s))
    channel = feed.channels[0]
    feed.want(KINDS, {})
    feed.next()
    assert channel.abandoned == 0, "the feed waits for the producer's end"
    let_join.set()
    assert wait_until(lambda: feed.next() is None and channel.abandoned == 1)
    assert _abandoned_text([channel]) == "; producers that did not end: fake:1 (1)"
    assert channel.restarts == 0, "other kinds are no failure"
    released.set()
