"""What a service reports of a polled node by itself: slow and refused calls, a clock that was set, a node down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest

from rules.load import load
from watchdog.core.batch import Slice
from watchdog.core.source import SourceOptions
from watchdog.pipeline.clock import SystemClock
from watchdog.service.channel import Channel
from watchdog.service.feed import Feed
from watchdog.service.self_watch import SlowCheck, clock_check, refusal_log

NAME = "rpc:http://127.0.0.1:8332"


@dataclass
class Polled:
    """A source as the checks see it."""

    name: str = NAME
    kinds: frozenset[str] = frozenset({"rpc:network"})
    ended: bool = False
    progress: float = 0.0
    trouble: str = ""
    slow_call: tuple[str, float] = ("", 1.0)
    clock_step: str = ""
    forbidden: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def poll(self) -> Slice | None:
        return None

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def source() -> Polled:
    return Polled()


@pytest.fixture
def feed(source: Polled) -> Feed:
    one = Feed([NAME], SourceOptions(), SystemClock())
    one.channels = [Channel(NAME, NAME, source)]
    return one


def test_a_slow_call_is_named_and_cleared(feed: Feed, source: Polled) -> None:
    check = SlowCheck(feed)
    assert list(check(0.0)) == []
    source.slow_call = ("getrawaddrman", 3.4)
    (slow,) = check(1.0)
    assert (slow.rule, slow.holds) == ("source-slow", True)
    assert slow.key == {"source": NAME, "call": "getrawaddrman"}
    assert "getrawaddrman" in slow.summary
    source.slow_call = ("getpeerinfo", 4.0)
    assert [(one.key["call"], one.holds) for one in check(2.0)] == [("getpeerinfo", True), ("getrawaddrman", False)]
    source.slow_call = ("", 1.0)
    assert [one.holds for one in check(3.0)] == [False, False]


def test_a_refused_call_is_logged_once_with_its_rules(
    feed: Feed, source: Polled, caplog: pytest.LogCaptureFixture
) -> None:
    plans = load([], packs=True).plans
    check = refusal_log(feed, lambda: plans)
    source.forbidden = {"getnetworkinfo": frozenset({"rpc:network"}), "getnettotals": frozenset()}
    for second in range(3):
        assert list(check(float(second))) == []
    told = [line for line in caplog.messages if "getnetworkinfo" in line]
    assert len(told) == 1
    assert "clock-offset, network-inactive" in told[0]
    assert "rpcwhitelist" in told[0]
    source.forbidden = {}
    list(check(4.0))
    source.forbidden = {"getnetworkinfo": frozenset({"rpc:network"})}
    list(check(5.0))
    assert len([line for line in caplog.messages if "getnetworkinfo" in line]) == 2


def test_a_clock_that_was_set_is_data_clock(feed: Feed, source: Polled) -> None:
    check = clock_check(feed)
    source.clock_step = "the clock of the node was set back by 3600 seconds"
    (verdict,) = check(0.0)
    assert (verdict.rule, verdict.holds) == ("data-clock", True)
    assert verdict.summary.endswith("set back by 3600 seconds")
    source.clock_step = ""
    feed.channels[0].heard_s = 1.0
    assert [one.holds for one in check(1.0)] == [False]


def test_a_node_without_answers_is_down_though_its_source_is_open(feed: Feed, source: Polled) -> None:
    channel = feed.channels[0]
    assert not channel.note_trouble(100.0)
    source.trouble = "getblockchaininfo: connection refused"
    assert channel.note_trouble(110.0)
    assert channel.note_trouble(120.0)
    assert (channel.error, channel.down_s, channel.errors) == (source.trouble, 110.0, 1)
    feed.clock = cast(SystemClock, _At(130.0))
    assert feed.down == []
    feed.clock = cast(SystemClock, _At(141.0))
    assert feed.down == [NAME]
    source.trouble = ""
    assert not channel.note_trouble(150.0)


@dataclass
class _At:
    now_s: float

    def monotonic(self) -> float:
        return self.now_s
