"""The source `ipc:` against a fake node behind a real Unix socket: every Init, every failure."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ipc_node import IpcNode
from tests.support.ipc_taken import Open, Taken, children, opened_sources
from tests.support.waiting import wait_until
from watchdog.core.errors import SourceError
from watchdog.core.source import Lacking, Refused, SourceOptions, Stretching, Tallying, Troubled
from watchdog.core.tip_signal import TipSignal
from watchdog.sources.ipc.ipc_source import IpcSource
from watchdog.sources.registry import open_sources

ROOT = Path(__file__).resolve().parents[2]
TX = "0100000001" + "11" * 32 + "00000000" + "00" + "ffffffff" + "01" + "0100000000000000" + "00" + "00000000"
BLOCK = "00" * 80 + "fd2c01"  # a header, and a count of 300 transactions


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens sources, and sees that each has left its node at the end of the test."""
    yield from opened_sources()


def named(source: IpcSource) -> str:
    wait_until(lambda: source.offered is not None, lambda: f"not connected: {source.trouble}")
    assert source.offered is not None
    return source.offered.name


@pytest.mark.parametrize("layout", ["v31-rpc", "tracing", "pr-ipc"])
def test_a_node_that_answers_calls_is_polled_as_rpc_polls(tmp_path: Path, opened: Open, layout: str) -> None:
    with IpcNode(tmp_path, layout) as node:
        source = opened(node)
        taken = Taken(source)
        taken.until("rpc:chain")
        assert named(source) == layout
        (chain,), peers = taken.of("rpc:chain"), taken.of("rpc:peer")
        assert chain.numbers("blocks").tolist() == [100]
        assert sum(one.rows for one in peers) == 10
        assert {one.source for one in taken.batches} == {source.name}
        assert node.report()["makeWalletLoader"] == 0


@pytest.mark.parametrize("layout", ["v30", "v31", "odd"])
def test_a_node_without_calls_gives_its_tip_and_no_trouble(tmp_path: Path, opened: Open, layout: str) -> None:
    with IpcNode(tmp_path, layout) as node:
        source = opened(node)
        taken = Taken(source)
        assert named(source) == (layout if layout != "odd" else "unknown")
        wait_until(lambda: node.report()["waitTipChanged"], "the tip is not watched")
        node.tip(101, branch=7)
        (tip,) = taken.until("chain:tip")
        assert tip.numbers("height").tolist() == [101]
        assert tip.strings("hash").tolist() == [(bytes([7]) * 16 + (101).to_bytes(16, "little"))[::-1].hex()]
        assert source.trouble == ""
        assert taken.of("source:gap") == []
        assert node.report()["rpc:uptime"] == 0
        assert source.kinds - source.lacking == {"chain:tip", "source:gap"}, "another source must give the others"


def test_an_init_without_anything_is_named_and_costs_nothing(
    tmp_path: Path, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with IpcNode(tmp_path, "bare") as node:
        assert named(opened(node)) == "unknown"
        wait_until(lambda: any("a node of an unknown kind; it gives no calls" in line for line in caplog.messages))


def test_a_new_tip_is_polled_at_once_and_announced_to_other_sources(tmp_path: Path, opened: Open) -> None:
    rung: list[float] = []
    tips = TipSignal()
    tips.listen(lambda: rung.append(time.monotonic()))
    with IpcNode(tmp_path) as node:
        taken = Taken(opened(node, tips=tips))
        taken.until("rpc:chain")
        wait_until(lambda: node.report()["waitTipChanged"], "the tip is not watched")
        assert not rung
        chain = {"chain": "main", "blocks": 101, "headers": 101, "bestblockhash": "ab" * 32, "time": 1}
        node.answer(getblockchaininfo=chain)
        node.tip(101)
        (tip,) = taken.until("chain:tip")
        assert tip.numbers("height").tolist() == [101]
        assert len(rung) == 1


@pytest.mark.slow
def test_a_node_that_starts_is_not_asked_for_its_tip(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path, warmup=2) as node:
        source = opened(node)
        wait_until(lambda: source.trouble, "no trouble")
        assert "the node is starting" in source.trouble
        Taken(source).until("rpc:chain")
        assert node.report()["early"] == 0
        assert node.report()["clients"] == 1, "a node that starts keeps its one connection"
        assert source.trouble == ""


@pytest.mark.slow
def test_a_node_without_calls_is_left_alone_after_its_start(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path, "v30") as node:
        node.end()
        node.start(age_s=57.5)
        source = opened(node)
        wait_until(lambda: source.trouble, "no trouble")
        assert "60 s after its start" in source.trouble
        assert node.report()["getTip"] == 0
        assert named(source) == "v30"
        wait_until(lambda: source.trouble == "", "still in trouble")
        assert node.report()["getTip"] == 1


def test_a_node_that_hangs_keeps_one_connection(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path, hanging=["makeMining"]) as node:
        source = opened(node)
        wait_until(lambda: source.trouble, "no trouble")
        assert "does not answer yet" in source.trouble
        wait_until(lambda: node.report()["makeMining"], "not asked")
        node.set(hanging=[])
        Taken(source).until("rpc:chain")
        assert node.report()["clients"] == 1


@pytest.mark.slow
def test_a_node_that_hangs_at_its_tip_alone_is_polled(
    tmp_path: Path, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with IpcNode(tmp_path, hanging=["getTip"]) as node:
        taken = Taken(opened(node))
        taken.until("rpc:chain")
        assert node.report()["clients"] == 1
        assert any("its chain is polled" in line for line in caplog.messages)


def test_a_call_that_hangs_ends_at_its_deadline_and_no_other_is_queued(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path) as node:
        node.set(hanging=["getpeerinfo"])
        source = opened(node, settings={"timeout": 1_000_000_000})
        taken = Taken(source)
        wait_until(lambda: taken.rows("source:gap") and source.calls["getpeerinfo"].errors["timeout"], "no timeout")
        assert node.report()["rpc:getpeerinfo"] == 1
        assert node.report()["rpc:getnetworkinfo"] == 0, "a call was queued behind one that hangs"
        node.set(hanging=[])
        taken.until("rpc:peer")
        assert node.report()["clients"] == 1


@pytest.mark.parametrize("garbage", ["{nonsense", "[]", "\x00\x01", '{"result": {"blocks": [[[['])
def test_garbage_is_a_gap_and_no_harm(tmp_path: Path, opened: Open, garbage: str) -> None:
    with IpcNode(tmp_path) as node:
        source = opened(node)
        Taken(source).until("rpc:chain")
        source.close()
        node.set(garbage=garbage)
        again = opened(node)
        taken = Taken(again)
        wait_until(lambda: again.trouble or taken.rows("source:gap"), "nothing is said")
        assert taken.rows("rpc:chain") == 0
        node.set(garbage="")
        taken.until("rpc:chain")


@pytest.mark.parametrize("answer", ["", "null"])
def test_an_answer_of_nothing_is_a_whitelist(tmp_path: Path, opened: Open, answer: str) -> None:
    with IpcNode(tmp_path) as node:
        source = opened(node)
        Taken(source).until("rpc:chain")
        source.close()
        node.set(garbage=answer or " ")
        again = opened(node)
        wait_until(lambda: "getpeerinfo" in again.forbidden, "not refused")
        assert "rpcwhitelist" in wait_until(lambda: again.trouble)


def test_an_answer_beyond_its_limit_is_refused_and_the_next_one_counts(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path) as node:
        node.set(huge=2 << 20)
        source = opened(node)
        taken = Taken(source)
        wait_until(lambda: source.calls.get("getnetworkinfo") and taken.rows("source:gap"), "no gap")
        assert source.calls["getnetworkinfo"].errors["too-large"]
        node.set(huge=0)
        taken.until("rpc:network")


@pytest.mark.slow
def test_an_answer_beyond_the_message_limit_ends_the_connection_only(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path) as node:
        node.set(huge=120 << 20)
        source = opened(node)
        assert wait_until(lambda: source.trouble)
        node.set(huge=0)
        Taken(source).until("rpc:chain")


@pytest.mark.slow
def test_a_node_that_restarts_is_seen_at_once(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path) as node:
        source = opened(node)
        taken = Taken(source)
        taken.until("rpc:uptime")
        node.end()
        wait_until(lambda: source.trouble, "no trouble")
        node.start()
        node.answer(uptime=1)
        (started,) = taken.until("node:started")
        assert started.strings("reason").tolist() == ["uptime-reset"]


def test_a_node_may_come_back_as_another_version(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path, "v30") as node:
        source = opened(node)
        assert named(source) == "v30"
        node.end()
        node.start("v31-rpc")
        Taken(source).until("rpc:chain")
        assert named(source) == "v31-rpc"


def test_a_killed_child_is_replaced(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path) as node:
        source = opened(node)
        taken = Taken(source)
        taken.until("rpc:chain")
        os.kill(children()[0], signal.SIGKILL)
        wait_until(lambda: node.report()["clients"] == 2, "no other connection")
        taken.until("rpc:uptime", 2)


def test_no_socket_is_a_trouble_that_ends(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path) as node:
        node.end()
        node.socket.unlink()
        source = opened(node)
        assert "no such file" in wait_until(lambda: source.trouble)
        node.start()
        Taken(source).until("rpc:chain")


def test_another_chain_is_not_judged(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path) as node:
        source = opened(node, settings={"chain": "regtest"})
        assert "the node is on the chain 'main'" in wait_until(lambda: source.trouble)
        taken = Taken(source)
        taken.look()
        assert taken.batches == []


def test_protocols_of_a_polled_source_hold(tmp_path: Path, opened: Open) -> None:
    with IpcNode(tmp_path, "v30") as node:
        source = opened(node)
        for protocol in (Troubled, Stretching, Refused, Tallying, Lacking):
            assert isinstance(source, protocol)


@pytest.mark.parametrize(("place", "why"), [("/x" * 60, "120 bytes"), ("a\0b", "zero byte")])
def test_a_path_that_no_socket_can_have_is_refused(place: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        open_sources([f"ipc:{place}"], SourceOptions())
