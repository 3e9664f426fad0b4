"""Big answers of several nodes take turns: one at a time in this process, and no other call waits for them."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

from tests.support.fake_node import FakeNode, fault, slow, status, v30
from tests.support.virtual_node import START, VirtualTime, rpc_source, slices_of
from tests.support.waiting import wait_until
from watchdog.core.source import SourceOptions
from watchdog.sources.rpc.rpc_source import RpcSource
from watchdog.sources.rpc.turns import BIG_CALL, OF_THIS_PROCESS, BigTurns

COUNT = 6


def test_one_answer_at_a_time_and_every_node_gets_its_turn(tmp_path: Path) -> None:
    """Real pollers: the first node holds its answer back; meanwhile the others make all their other calls."""
    release, lock, open_now, most = threading.Event(), threading.Lock(), [0], [0]

    def enter() -> None:
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        release.wait(100)
        with lock:
            open_now[0] -= 1

    with ExitStack() as stack:
        nodes, sources = [], []
        for number in range(COUNT):
            (tmp_path / str(number)).mkdir()
            node = stack.enter_context(FakeNode(tmp_path / str(number), v30()))
            node.behave(BIG_CALL, slow(enter, status(200, b'{"result":{"new":{},"tried":{}}}')))
            source = RpcSource(node.url, SourceOptions(settings={"cookie": node.cookie}))
            stack.callback(source.close)
            nodes.append(node)
            sources.append(source)
        stack.callback(release.set)
        wait_until(lambda: all(node.count("getchaintips") for node in nodes), "a call waits for a big answer")
        wait_until(lambda: sum(node.count(BIG_CALL) for node in nodes) == 1, "none has the turn")
        assert all(not source.trouble for source in sources)
        release.set()
        wait_until(lambda: all(node.count(BIG_CALL) for node in nodes), "a node got no turn")
        assert most[0] == 1


def test_a_node_that_waits_makes_its_other_calls_and_asks_once(tmp_path: Path) -> None:
    time, asked = VirtualTime(START + 100), []

    def each(now_s: float) -> None:
        asked.append((now_s, node.count(BIG_CALL)))
        if now_s > START + 65 and OF_THIS_PROCESS._taken.locked() and not freed:
            freed.append(now_s)
            OF_THIS_PROCESS._taken.release()

    freed: list[float] = []
    with FakeNode(tmp_path, v30(now_s=START)) as node:
        assert OF_THIS_PROCESS._taken.acquire(blocking=False)
        time.each = each
        source = rpc_source(node, time)
        list(slices_of(source))
        source.close()
        assert freed
        assert {count for now_s, count in asked if now_s < freed[0]} == {0}
        assert node.count("getblockchaininfo") == 4
        assert node.count("getchaintips") == 1
        assert node.count(BIG_CALL) == 1


def test_a_failed_answer_gives_the_turn_back(tmp_path: Path) -> None:
    time = VirtualTime(START + 700)
    with FakeNode(tmp_path, v30(now_s=START)) as node:
        node.behave(BIG_CALL, fault(-32603, "internal"))
        source = rpc_source(node, time)
        list(slices_of(source))
        source.close()
        assert node.count(BIG_CALL) == 2
    turns = BigTurns()
    assert turns.in_turn(lambda: turns.in_turn(lambda: True) is None)
    assert turns.in_turn(lambda: True)
    assert OF_THIS_PROCESS.in_turn(lambda: True)
