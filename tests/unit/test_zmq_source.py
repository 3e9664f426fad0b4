"""The source `zmq:` against real publishers: connections, restarts of the node, health, what a feed makes of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.live_taken import has, live_sources, of_kind, reasons, taken
from tests.support.waiting import wait_until
from tests.support.zmq_node import ZmqNode, zmq_node
from watchdog.core.batch import Batch
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.core.tip_signal import TipSignal
from watchdog.pipeline.clock import SystemClock
from watchdog.service.feed import Feed
from watchdog.sources.registry import kinds_of, open_sources
from watchdog.sources.zmq import source as zmq_source
from watchdog.sources.zmq.source import ZmqSource

BOTH = ("hashblock", "sequence")


@pytest.fixture
def node() -> Iterator[ZmqNode]:
    with zmq_node() as publisher:
        yield publisher


@pytest.fixture
def opened() -> Iterator[Callable[..., ZmqSource]]:
    yield from live_sources(ZmqSource)


def text_of(node: ZmqNode, *topics: str) -> str:
    return "zmq:" + ",".join(f"{topic}={node.endpoint}" for topic in topics or BOTH)


def test_both_topics_of_one_endpoint_arrive(node: ZmqNode, opened: Callable[..., ZmqSource]) -> None:
    source = opened(text_of(node))
    wait_until(lambda: node.subscribed(*BOTH))
    node.tip()
    node.block()
    node.mempool(7)
    batches = taken(source, has("zmq:mempool"))
    assert {batch.kind for batch in batches} == {"zmq:tip", "zmq:block", "zmq:mempool"}
    assert all(batch.source == text_of(node) for batch in batches)


def test_topics_may_have_endpoints_of_their_own(opened: Callable[..., ZmqSource], tmp_path: Path) -> None:
    with zmq_node() as first, zmq_node(f"ipc://{tmp_path}/sequence") as second:
        source = opened(f"zmq:hashblock={first.endpoint},sequence={second.endpoint}")
        wait_until(lambda: first.subscribed("hashblock") and second.subscribed("sequence"))
        first.tip()
        second.mempool(1)
        taken(source, lambda batches: has("zmq:tip")(batches) and has("zmq:mempool")(batches))


def test_messages_lost_on_the_way_are_a_gap_with_their_count(node: ZmqNode, opened: Callable[..., ZmqSource]) -> None:
    source = opened(text_of(node))
    wait_until(lambda: node.subscribed(*BOTH))
    node.tip()
    taken(source, has("zmq:tip"))
    node.tip(skipped=4)
    node.mempool(1)
    node.mempool(9)
    batches = taken(source, has("zmq:mempool", 2))
    assert sorted(reasons(batches)) == [("zmq-counter", 4), ("zmq-mempool-sequence", 7)]


def test_a_node_that_restarts_is_seen_and_what_was_missed_is_a_gap(
    node: ZmqNode, opened: Callable[..., ZmqSource]
) -> None:
    source = opened(text_of(node))
    wait_until(lambda: node.subscribed(*BOTH))
    for _ in range(3):
        node.tip()
    taken(source, has("zmq:tip", 3))
    node.stop()
    with zmq_node(node.endpoint) as again:
        wait_until(lambda: again.subscribed(*BOTH))
        again.tip(skipped=2)
        batches = taken(source, has("zmq:tip"))
    assert [batch.strings("reason").tolist() for batch in of_kind(batches, "node:started")] == [["zmq-counter"]]
    assert set(reasons(batches)) == {("zmq-not-connected", 0), ("node-restart", 2)}
    away = of_kind(batches, "source:gap")[0]
    assert away.numbers("from_ns")[0] < away.numbers("to_ns")[0]


def test_a_connection_that_breaks_without_a_restart_is_no_restart(
    node: ZmqNode, opened: Callable[..., ZmqSource]
) -> None:
    source = opened(text_of(node, "hashblock"))
    wait_until(lambda: node.subscribed("hashblock"))
    node.count_from("hashblock", 2**32 - 1)
    node.tip()
    taken(source, has("zmq:tip"))
    node.stop()
    with zmq_node(node.endpoint) as again:
        wait_until(lambda: again.subscribed("hashblock"))
        again.tip()
        batches = taken(source, has("zmq:tip"))
    assert not of_kind(batches, "node:started")
    assert reasons(batches) == [("zmq-not-connected", 0)]


def test_quiet_is_no_fault_and_the_watermark_follows_the_clock(node: ZmqNode, opened: Callable[..., ZmqSource]) -> None:
    clock = [1_768_212_000_000_000_000]
    source = opened(text_of(node), wall_ns=lambda: clock[0])
    marks: set[int] = set()

    def moved(mark: int) -> bool:
        slice_ = source.poll()
        marks.update([slice_.until_ns] if slice_ is not None else [])
        return mark in marks

    wait_until(lambda: moved(clock[0]))
    clock[0] += 3_600_000_000_000
    wait_until(lambda: moved(clock[0]))
    assert source.trouble == ""


@pytest.mark.slow
def test_nothing_to_connect_to_is_named_and_promises_nothing(opened: Callable[..., ZmqSource]) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        source = opened(f"zmq:hashblock={endpoint}")
        wait_until(lambda: source.trouble)
    assert source.trouble == f"no connection to {endpoint}"
    assert source.poll() is None


@pytest.mark.slow
def test_an_endpoint_that_stays_down_holds_nothing_up(
    opened: Callable[..., ZmqSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_source, "DOWN_S", 0.1)
    monkeypatch.setattr(zmq_source, "GAP_STEP_NS", 1)
    with zmq_node() as node:
        source = opened(text_of(node))
        wait_until(lambda: node.subscribed(*BOTH))
        node.tip()
        taken(source, has("zmq:tip"))
    batches = taken(source, has("source:gap", 6))
    spans = [(int(one.numbers("from_ns")[0]), int(one.numbers("to_ns")[0])) for one in of_kind(batches, "source:gap")]
    tips = [
        span
        for span, one in zip(spans, of_kind(batches, "source:gap"), strict=True)
        if one.strings("kinds").tolist() == ["zmq:tip"]
    ]
    assert len(tips) > 1
    assert all(later[0] == earlier[1] - 1 for earlier, later in pairwise(tips)), "no time is left out or told twice"
    assert reasons(batches) == [("zmq-not-connected", 0)] * len(spans)


@pytest.mark.slow
def test_a_server_of_another_kind_is_named(opened: Callable[..., ZmqSource]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        endpoint = f"tcp://127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 4)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        source = opened(f"zmq:hashblock={endpoint}")
        wait_until(lambda: "not as a publisher" in source.trouble, lambda: source.trouble)
        server.shutdown(socket.SHUT_RDWR)
    thread.join(60)


def test_what_no_node_sends_is_reported_and_breaks_nothing(node: ZmqNode, opened: Callable[..., ZmqSource]) -> None:
    source = opened(text_of(node))
    wait_until(lambda: node.subscribed(*BOTH))
    node.raw(b"hashblock")
    node.raw(b"hashblock", bytes(3_000), b"\0\0\0\0")
    node.raw(b"sequence", *[b"x"] * 500)
    node.tip()
    batches = taken(source, has("zmq:tip"))
    assert sum(lost for reason, lost in reasons(batches) if reason == "zmq-unreadable") == 3


@pytest.mark.slow
def test_a_frame_beyond_the_limit_costs_the_connection_and_is_survived(
    node: ZmqNode, opened: Callable[..., ZmqSource]
) -> None:
    source = opened(text_of(node, "hashblock"))
    wait_until(lambda: node.subscribed("hashblock"))
    node.tip()
    taken(source, has("zmq:tip"))
    node.raw(b"hashblock", bytes(10_000_000), b"\0\0\0\0")
    batches = taken(source, has("source:gap"))  # reconnected
    assert reasons(batches) == [("zmq-not-connected", 0)]
    wait_until(lambda: node.subscribed("hashblock"))
    node.tip()
    taken(source, has("zmq:tip"))


def test_a_run_that_resumes_reports_the_time_and_the_messages_between(
    node: ZmqNode, opened: Callable[..., ZmqSource]
) -> None:
    source = opened(text_of(node, "hashblock"))
    wait_until(lambda: node.subscribed("hashblock"))
    node.tip()
    position: list[object] = []

    def positioned() -> bool:
        slice_ = source.poll()
        position.extend([slice_.position] if slice_ is not None and slice_.batches else [])
        return bool(position)

    wait_until(positioned)
    source.close()
    wait_until(lambda: not node.subscribed("hashblock"))
    for _ in range(5):
        node.tip()
    again = opened(text_of(node, "hashblock"), position={text_of(node, "hashblock"): position[-1]})
    wait_until(lambda: node.subscribed("hashblock"))
    node.tip()
    batches = taken(again, has("zmq:tip"))
    assert reasons(batches) == [("zmq-not-connected", 0), ("zmq-counter", 5)]


def test_a_tip_is_announced_to_the_other_sources_of_the_node(node: ZmqNode, opened: Callable[..., ZmqSource]) -> None:
    tips, rung = TipSignal(), threading.Event()
    leave = tips.listen(rung.set)
    opened(text_of(node, "hashblock"), tips=tips, wanted=frozenset())
    wait_until(lambda: node.subscribed("hashblock"))
    node.tip()
    assert rung.wait(60)
    leave()
    rung.clear()
    tips.ring()
    assert not rung.is_set()


@pytest.mark.slow
def test_a_feed_names_an_endpoint_that_is_down_and_goes_on_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    with zmq_node() as node:
        endpoint = node.endpoint
    feed = Feed([f"zmq:hashblock={endpoint}"], SourceOptions(follow=True), SystemClock())
    feed.open({})
    try:
        (channel,) = feed.channels

        def polled(done: Callable[[], bool]) -> bool:
            feed.next()
            return done()

        wait_until(lambda: polled(lambda: bool(channel.error)))
        assert channel.error == f"no connection to {endpoint}"
        assert channel.source is not None, "the library reconnects by itself"
        assert (channel.errors, channel.restarts) == (1, 0)
        assert f"no connection to {endpoint}; retrying" in caplog.text
        with zmq_node(endpoint):
            wait_until(lambda: polled(lambda: not channel.error and channel.watermark_ns > 0))
        assert channel.heard_s is not None, "a quiet connection is no silent source"
    finally:
        feed.close()


def test_a_clock_that_is_set_back_restarts_the_source_with_a_gap() -> None:
    now = [1_768_212_000_000_000_000]
    with zmq_node() as node:
        options = SourceOptions(follow=True, wall_ns=lambda: now[0], skew_ns=120_000_000_000)
        feed = Feed([text_of(node)], options, SystemClock(), lambda: now[0])
        feed.open({})
        (channel,) = feed.channels
        seen: list[Batch] = []

        def polled(done: Callable[[], bool]) -> bool:
            slice_ = feed.next()
            seen.extend(slice_.batches if slice_ is not None else ())
            return done()

        try:
            wait_until(lambda: polled(lambda: channel.watermark_ns == now[0]))
            now[0] -= 3_600_000_000_000
            wait_until(lambda: polled(lambda: channel.watermark_ns == now[0]))
            wait_until(lambda: node.subscribed(*BOTH))
            node.tip()
            wait_until(lambda: polled(lambda: bool(of_kind(seen, "zmq:tip"))))
        finally:
            feed.close()
    assert ("clock", 0) in reasons(seen)
    assert of_kind(seen, "zmq:tip")[0].time_ns.tolist() == [now[0]]


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("hashblok=tcp://127.0.0.1:1", "names no topic; did you mean 'hashblock'?"),
        ("tcp://127.0.0.1:28332", "names no topic; write zmq:hashblock="),
        ("hashblock=tcp://127.0.0.1:1,hashblock=tcp://127.0.0.1:2", "'hashblock' is given twice"),
        ("hashblock=http://127.0.0.1:1", "write tcp://HOST:PORT"),
        ("hashblock=tcp://*:28332", "'*' is where the node listens"),
        ("hashblock=tcp://0.0.0.0:28332", "is where the node listens"),
        ("hashblock=tcp://127.0.0.1", "it needs a port"),
        ("hashblock=tcp://127.0.0.1:0", "it needs a port"),
        ("hashblock=tcp://127.0.0.1:65536", "it needs a port"),
        ("hashblock=tcp://127.0.0.1:²", "it needs a port"),
        ("hashblock=tcp://:28332", "'' is no host"),
        ("hashblock=tcp://a b:28332", "'a b' is no host"),
        ("hashblock=tcp://[::g]:28332", "is no host"),
        ("hashblock=tcp://127.0.0.1:1;127.0.0.1:2", "is no host"),
        ("hashblock=ipc://node.sock", "an ipc path is absolute"),
        (f"hashblock=ipc:///{'x' * 120}", "at most 100 bytes"),
    ],
)
def test_a_place_that_cannot_be_read_says_what_to_write(place: str, fault: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_sources([f"zmq:{place}"], SourceOptions(follow=True))
    assert fault in str(caught.value)


def test_a_source_has_the_kinds_of_its_topics() -> None:
    both = kinds_of("zmq:hashblock=tcp://a:1,sequence=tcp://a:1")
    assert both - kinds_of("zmq:hashblock=tcp://a:1") == {"zmq:block", "zmq:mempool"}
    assert both - kinds_of("zmq:sequence=tcp://a:1") == {"zmq:tip"}
