"""A tip that ZMQ announces is polled at once, seldom enough, and within the budget; what polls cost is in /metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import fake_node
from tests.support.fake_node import FakeNode, v30
from tests.support.virtual_node import START, VirtualTime, slices_of
from tests.support.waiting import wait_until
from tests.support.zmq_node import zmq_node
from watchdog.core.source import SourceOptions
from watchdog.core.tip_signal import TipSignal
from watchdog.pipeline.clock import SystemClock
from watchdog.service.exposition import Exposition
from watchdog.service.feed import Feed
from watchdog.service.rpc_metrics import rpc_metrics
from watchdog.sources.rpc.rpc_source import RpcSource
from watchdog.sources.rpc.schedule import Interval
from watchdog.sources.rpc.spare import SpareTime
from watchdog.sources.rpc.tip_polls import TIP_CALL, TipPolls

QUICK = {TIP_CALL: Interval(30.0, 30.0, 0.001)}


def test_one_poll_answers_all_announcements_before_it() -> None:
    polls = TipPolls(SpareTime(0.01))
    assert not polls.due(0.0, QUICK)
    polls.ring()
    polls.ring()
    assert polls.due(0.0, QUICK)
    assert not polls.due(100.0, QUICK)


def test_polls_are_two_seconds_apart_and_the_last_announcement_counts() -> None:
    polls = TipPolls(SpareTime(0.01))
    times = []
    for tenth in range(100):
        if tenth < 35:
            polls.ring()
        if polls.due(tenth / 10, QUICK):
            times.append(tenth / 10)
    assert times == [0.0, 2.0, 4.0]


def test_a_slow_node_is_polled_within_its_budget() -> None:
    slow = {TIP_CALL: Interval(30.0, 100.0, 0.5)}  # 0.5 % of the time, so as much is left
    polls = TipPolls(SpareTime(0.01))
    times = []
    for second in range(1_000):
        polls.ring()
        if polls.due(float(second), slow):
            times.append(second)
    assert times == list(range(0, 1_000, 100))
    full = {**slow, "uptime": Interval(30.0, 100.0, 0.5)}
    assert not polls.due(5_000.0, full), "no room at all: the regular poll has to do"
    assert not polls.due(5_000.0, {}), "the call is off"


def test_an_announcement_makes_one_call_more(tmp_path: Path) -> None:
    tips, time = TipSignal(), VirtualTime(START + 25)
    with FakeNode(tmp_path, v30(now_s=START)) as node:
        options = SourceOptions(wall_ns=time.wall_ns, settings={"cookie": node.cookie}, tips=tips)
        source = RpcSource(node.url.removeprefix("rpc:"), options, time.timing())
        time.each = lambda now_s: tips.ring() if 10 <= now_s - START < 11 else None
        assert list(slices_of(source))
        source.close()
        assert node.count("getblockchaininfo") == 2
        assert node.count("getpeerinfo") == 1
        tips.ring()  # the only listener has left


@pytest.mark.slow
def test_a_tip_over_zmq_is_polled_by_rpc_and_the_metrics_show_the_calls(tmp_path: Path) -> None:
    with FakeNode(tmp_path, v30()) as node, zmq_node() as publisher:
        node.behave("getmempoolinfo", fake_node.status(500))
        texts = [f"rpc:{node.url}", f"zmq:hashblock={publisher.endpoint}"]
        settings = {texts[0]: {"cookie": node.cookie}}
        feed = Feed(texts, SourceOptions(follow=True, settings=settings), SystemClock())
        feed.open({})
        try:
            wait_until(lambda: publisher.subscribed("hashblock") and node.count("getmempoolinfo") > 0)
            before = node.count("getblockchaininfo")
            publisher.tip()
            wait_until(lambda: node.count("getblockchaininfo") > before)
            out = Exposition()
            rpc_metrics(out, feed.channels, {"node": "alice"})
            lines = out.text().splitlines()
        finally:
            feed.close()
    calls = next(line for line in lines if line.startswith('watchdog_rpc_seconds_count{method="getblockchaininfo"'))
    assert float(calls.split()[-1]) >= before
    assert any(line.startswith("watchdog_rpc_errors_total{") and "getmempoolinfo" in line for line in lines)
    assert 'watchdog_rpc_interval_seconds{method="getpeerinfo",node="alice"} 30.0' in lines
    ends = [line for line in lines if 'method="uptime"' in line and 'le="+Inf"' in line]
    counts = [line for line in lines if line.startswith('watchdog_rpc_seconds_count{method="uptime"')]
    assert [line.split()[-1] for line in ends] == [line.split()[-1] for line in counts]
