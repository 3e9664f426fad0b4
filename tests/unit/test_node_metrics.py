"""The node in `/metrics`: from a real file of polls, through the source, to the text that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.scripted_feed import VirtualClock
from tests.support.snapshot_polls import START, Poll, peer, poll, text_of
from watchdog.core.source import SourceOptions
from watchdog.service.channel import Channel
from watchdog.service.exposition import Exposition
from watchdog.service.feed import Feed
from watchdog.service.node_metrics import READ, UP_S, NodeState, node_metrics, version_text
from watchdog.sources.ipc.records import TIP_UPDATE

NODE = {"node": "alice"}


class Watched:
    """A feed over one file of polls, and the state that the metrics show."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "snapshots.jsonl"
        self.path.touch()
        self.clock, self.state = VirtualClock(), NodeState()
        options = SourceOptions("alice", READ, follow=True)
        self.feed = Feed([f"snapshots:{self.path}"], options, self.clock)
        self.feed.open({})

    def add(self, *polls: Poll) -> None:
        """Write a round; it is read once the next one begins."""
        with self.path.open("ab") as file:
            file.write(text_of(polls))
        self.clock.now += 1.0
        while (slice_ := self.feed.next()) is not None:
            self.state.note(slice_.batches)

    def lines(self) -> dict[str, float]:
        out = Exposition()
        node_metrics(out, self.state, self.feed.channels, NODE, self.clock.now)
        samples = (line.rpartition(" ") for line in out.text().splitlines() if line.startswith("watchdog_"))
        return {name: float(value) for name, _, value in samples}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    one = Watched(tmp_path)
    yield one
    one.feed.close()


def round_at(second: int, peers: Sequence[dict[str, Any]]) -> list[Poll]:
    chain = {"chain": "main", "blocks": 800_000, "headers": 800_001, "time": START, "initialblockdownload": False}
    tables = {"ipv4": {"new": 50, "tried": 9, "total": 59}, "onion": {"new": 5, "tried": 1, "total": 6}}
    answers = {
        "getblockchaininfo": {**chain, "size_on_disk": 1, "pruned": False, "warnings": "", "verificationprogress": 0.5},
        "uptime": 3_600 + second,
        "getpeerinfo": peers,
        "getnetworkinfo": {"version": 290_100, "networkactive": True, "timeoffset": 0, "subversion": "/x/"},
        "getnettotals": {
            "totalbytesrecv": 1_000 + second,
            "totalbytessent": 500,
            "timemillis": (START + second) * 1000,
        },
        "getmempoolinfo": {"loaded": True, "size": 42, "bytes": 9_000, "usage": 1, "maxmempool": 300_000_000},
        "getaddrmaninfo": {**tables, "all_networks": {"new": 55, "tried": 10, "total": 65}},
    }
    return [poll(START + second, kind, result) for kind, result in answers.items()]


PEERS = [
    peer(1, "8.8.4.1:8333", START, network="ipv4"),
    peer(2, "8.8.4.2:8333", START, network="ipv4"),
    peer(3, "9.9.9.3:50000", START, "inbound", network="ipv4"),
]


def test_every_metric_of_a_node_is_there_with_its_name(watched: Watched) -> None:
    watched.add(*round_at(0, PEERS))
    watched.add(*round_at(60, PEERS))
    watched.add(*round_at(120, PEERS))
    lines = watched.lines()
    expected = {
        'watchdog_node_up{node="alice"}': 1,
        'watchdog_node_blocks{node="alice"}': 800_000,
        'watchdog_node_headers{node="alice"}': 800_001,
        'watchdog_node_ibd{node="alice"}': 0,
        'watchdog_node_mempool_transactions{node="alice"}': 42,
        'watchdog_node_mempool_bytes{node="alice"}': 9_000,
        'watchdog_node_mempool_max_bytes{node="alice"}': 300_000_000,
        'watchdog_node_verification_progress{node="alice"}': 0.5,
        'watchdog_node_uptime_seconds{node="alice"}': 3_660,
        'watchdog_node_peers{direction="out",network="ipv4",node="alice",type="outbound-full-relay"}': 2,
        'watchdog_node_peers{direction="in",network="ipv4",node="alice",type="inbound"}': 1,
        'watchdog_node_addrman_addresses{network="ipv4",node="alice",table="new"}': 50,
        'watchdog_node_addrman_addresses{network="onion",node="alice",table="tried"}': 1,
        'watchdog_node_bytes_total{direction="received",node="alice"}': 1_060,
        'watchdog_node_bytes_total{direction="sent",node="alice"}': 500,
        'watchdog_node_version_info{node="alice",version="29.1.0"}': 1,
    }
    assert {name: lines.get(name) for name in expected} == expected
    assert lines['watchdog_node_tip_age_seconds{node="alice"}'] >= 60
    assert not any('network="all"' in name for name in lines), "a sum beside its parts counts twice"


def test_peers_that_are_gone_count_zero(watched: Watched) -> None:
    watched.add(*round_at(0, PEERS))
    watched.add(*round_at(60, PEERS[:1]))
    watched.add(*round_at(120, []))
    inbound = 'watchdog_node_peers{direction="in",network="ipv4",node="alice",type="inbound"}'
    assert watched.lines()[inbound] == 0
    watched.add(*round_at(180, []))
    assert {value for name, value in watched.lines().items() if "node_peers" in name} == {0}


def test_what_a_peer_or_a_new_version_says_is_no_label(watched: Watched) -> None:
    odd = [peer(n, f"203.0.113.{n}:8333", START, f"type-{n}", network=f"net-{n}", subver=f"/u{n}/") for n in range(50)]
    watched.add(*round_at(0, odd))
    watched.add(*round_at(60, odd))
    names = [name for name in watched.lines() if "node_peers" in name]
    assert 1 <= len(names) <= 2
    assert all('type="other"' in name or 'type="unknown"' in name for name in names)
    assert not any("203.0.113" in name for name in watched.lines())


def test_a_node_that_no_longer_answers_is_down_and_shows_no_old_numbers(watched: Watched) -> None:
    watched.add(*round_at(0, PEERS))
    watched.add(*round_at(60, PEERS))
    watched.clock.now += UP_S + 1
    assert {name: value for name, value in watched.lines().items() if "node" in name} == {
        'watchdog_node_up{node="alice"}': 0
    }
    watched.add(*round_at(900, PEERS))
    assert watched.lines()['watchdog_node_up{node="alice"}'] == 1


def test_a_log_alone_says_nothing_of_whether_the_node_is_up(tmp_path: Path) -> None:
    (tmp_path / "debug.log").touch()
    clock = VirtualClock()
    feed = Feed([f"log:{tmp_path}/debug.log"], SourceOptions(follow=True), clock)
    feed.open({})
    out = Exposition()
    node_metrics(out, NodeState(), feed.channels, NODE, clock.now)
    feed.close()
    assert "watchdog_node" not in out.text()


class Reporting:
    """A source that counts what its node reports."""

    name, kinds, ended, progress, trouble = "ipc:/x", frozenset({"rpc:chain"}), False, 0.0, ""
    tallies: ClassVar = {
        "utxocache:add": (7, 300), "chain:block_connected": (2, 0), TIP_UPDATE: (3, 0), "chain:tx_added": (5, 0),
    }  # fmt: skip

    def poll(self) -> None:
        return None

    def close(self) -> None:
        """Nothing is open."""


def test_what_a_node_reports_over_ipc_is_counted() -> None:
    channel = Channel("ipc:/x", "ipc:/x", Reporting(), kinds=frozenset({"rpc:chain"}), heard_s=0.0)
    out = Exposition()
    node_metrics(out, NodeState(), [channel], NODE, 1.0)
    lines = [line for line in out.text().splitlines() if line.startswith("watchdog_") and "node_up" not in line]
    assert sorted(lines) == [
        'watchdog_node_blocks_connected_total{node="alice"} 2.0',
        'watchdog_node_mempool_added_total{node="alice"} 5.0',
        'watchdog_node_tip_updates_total{node="alice"} 3.0',
        'watchdog_node_utxo_cache_satoshi_total{change="add",node="alice"} 300.0',
        'watchdog_node_utxo_cache_total{change="add",node="alice"} 7.0',
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [(290_100, "29.1.0"), (220_000, "22.0.0"), (210_100, "0.21.1"), (200_000, "0.20.0"), (1, "0.0.0")],
)
def test_a_version_is_written_as_people_write_it(number: int, text: str) -> None:
    assert version_text(number) == text
