"""Block hashes that the fleet asks of a node: rate, budget, refusals, and answers that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_node import FakeNode, NodeError, fault, garbage, status, tip_hash, v30
from tests.support.ports import free_port
from tests.support.virtual_node import START, Event, VirtualTime, rows_of, slices_of
from watchdog.core.source import SourceOptions
from watchdog.sources.rpc.hash_polls import HASH_CALL, HashPolls
from watchdog.sources.rpc.rpc_source import RpcSource
from watchdog.sources.rpc.schedule import Interval
from watchdog.sources.rpc.snapshots_source import SnapshotsSource
from watchdog.sources.rpc.spare import SpareTime

IDLE = {"getblockchaininfo": Interval(30.0, 30.0, 0.003)}
ASKED = (900_000, 899_994)


def polled(
    folder: Path,
    seconds: float,
    heights: Callable[[], tuple[int, ...]] = lambda: ASKED,
    wanted: frozenset[str] | None = None,
    begin: Callable[[FakeNode, VirtualTime], object] = lambda _node, _time: None,
) -> tuple[list[Event], FakeNode, RpcSource]:
    time = VirtualTime(START + seconds)
    with FakeNode(folder, v30(now_s=START)) as node:
        begin(node, time)
        settings = {"cookie": node.cookie}
        options = SourceOptions(wanted=wanted, wall_ns=time.wall_ns, settings=settings, asked_heights=heights)
        source = RpcSource(node.url, options, time.timing())
        rows = rows_of(slices_of(source))
        source.close()
        return rows, node, source


def of_kind(rows: list[Event], kind: str) -> list[Event]:
    return [row for row in rows if row["kind"] == kind]


def test_heights_are_asked_twice_a_minute_and_are_events(tmp_path: Path) -> None:
    rows, node, _ = polled(tmp_path, 200)
    hashes = of_kind(rows, "rpc:block_hash")
    assert [(row["height"], row["hash"]) for row in hashes] == [(h, tip_hash(h)) for h in ASKED] * 4
    assert [round(row["time_ns"] / 1e9 - START) // 60 for row in hashes] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert node.count(HASH_CALL) == len(hashes)
    assert not of_kind(rows, "source:gap")


@pytest.mark.parametrize(("heights", "wanted"), [((), None), (ASKED, frozenset({"rpc:chain"}))])
def test_nothing_is_asked_when_no_reader_wants_it(
    tmp_path: Path, heights: tuple[int, ...], wanted: frozenset[str] | None
) -> None:
    _, node, _ = polled(tmp_path, 300, lambda: heights, wanted)
    assert node.count("getblockchaininfo") > 5
    assert node.count(HASH_CALL) == 0


def test_no_more_than_two_heights_are_asked_at_once(tmp_path: Path) -> None:
    rows, node, _ = polled(tmp_path, 50, lambda: (5, -1, 5, 4, 3, 2))
    assert [row["height"] for row in of_kind(rows, "rpc:block_hash")] == [5, 4]
    assert node.count(HASH_CALL) == 2


def test_a_height_beyond_the_tip_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def begin(node: FakeNode, _time: VirtualTime) -> None:
        def answer(params: list[Any]) -> str:
            if params[0] == 900_000:
                raise NodeError(-8, "Block height out of range")
            return tip_hash(params[0])

        node.answers[HASH_CALL] = answer

    rows, node, source = polled(tmp_path, 100, begin=begin)
    assert [row["height"] for row in of_kind(rows, "rpc:block_hash")] == [899_994] * 2
    assert node.count(HASH_CALL) == 4
    assert not of_kind(rows, "source:gap")
    assert not source.calls[HASH_CALL].errors
    assert HASH_CALL not in caplog.text


WRONG = [
    (fault(-32603, "internal"), "getblockhash: fault"),
    (fault(-5, "Block not found"), "getblockhash: fault"),
    (garbage(b"\x00" * 80), "getblockhash: garbage"),
    (status(200, b'{"result":5}'), "block hashes that cannot be read"),
    (status(200, b'{"result":null}'), "block hashes that cannot be read"),
    (status(200, json.dumps({"result": "G" * 64}).encode()), "block hashes that cannot be read"),
    (status(200, json.dumps({"result": "a" * 64 + "\n"}).encode()), "block hashes that cannot be read"),
    (status(200, json.dumps({"result": "a" * 100_000}).encode()), "block hashes that cannot be read"),
    (status(200, json.dumps({"result": {"hash": "a" * 64}}).encode()), "block hashes that cannot be read"),
    (status(200, b'{"result":' + b"[" * 5_000), None),
]


@pytest.mark.parametrize(("behaviour", "reason"), WRONG)
def test_a_wrong_answer_is_a_gap_and_the_node_is_still_polled(
    tmp_path: Path, behaviour: Any, reason: str | None
) -> None:
    rows, node, source = polled(tmp_path, 100, begin=lambda node, _: node.behave(HASH_CALL, behaviour))
    assert not of_kind(rows, "rpc:block_hash")
    gaps = of_kind(rows, "source:gap")
    assert len(gaps) == 2  # one each minute
    assert {row["lost"] for row in gaps} == {2}
    assert reason is None or {row["reason"] for row in gaps} == {reason}
    assert source.trouble == ""
    assert len(of_kind(rows, "rpc:chain")) == 4
    assert node.count(HASH_CALL) == 4


def test_a_refused_call_is_named_and_tried_again_after_ten_minutes(tmp_path: Path) -> None:
    rows, node, source = polled(tmp_path, 900, begin=lambda node, _: node.behave(HASH_CALL, status(403)))
    assert source.forbidden == {HASH_CALL: frozenset({"rpc:block_hash"})}
    assert node.count(HASH_CALL) == 4
    assert not of_kind(rows, "source:gap")


def test_a_restart_of_the_node_ends_the_wait_but_not_the_rate(tmp_path: Path) -> None:
    def begin(node: FakeNode, time: VirtualTime) -> None:
        node.behave(HASH_CALL, status(403))

        def each(now_s: float) -> None:
            if node.count(HASH_CALL) == 2 and now_s > START + 30 and time.waits == []:
                time.waits.append(now_s)
                node.restart()
                node.behave(HASH_CALL, None)

        time.each = each

    rows, node, _ = polled(tmp_path, 100, begin=begin)
    assert [row["height"] for row in of_kind(rows, "rpc:block_hash")] == list(ASKED)
    assert node.count(HASH_CALL) == 4


def test_a_node_that_does_not_answer_is_not_asked(tmp_path: Path) -> None:
    time = VirtualTime(START + 100)
    options = SourceOptions(wall_ns=time.wall_ns, settings={"cookie": tmp_path / "none"}, asked_heights=lambda: ASKED)
    source = RpcSource(f"http://127.0.0.1:{free_port()}", options, time.timing())
    list(slices_of(source))
    source.close()
    assert source.trouble
    assert HASH_CALL not in source.calls


def test_a_slow_node_is_asked_within_its_budget() -> None:
    polls = HashPolls(lambda: ASKED, SpareTime(0.01))
    asked = []
    for second in range(10_000):
        for height in polls.due(float(second), IDLE):
            asked.append((second, height))
            polls.asked(10.0, second + 10.0, IDLE)
    spent = 10.0 * len(asked)
    assert spent <= 0.01 * 10_000 + 2 * 10.0
    assert len(asked) >= 6
    full = {"getblockchaininfo": Interval(30.0, 100.0, 1.0)}
    assert not HashPolls(lambda: ASKED, SpareTime(0.01)).due(0.0, full), "the regular calls use it all"


def test_a_file_of_polls_may_have_block_hashes(tmp_path: Path) -> None:
    items = [{"height": 7, "hash": tip_hash(7)}, {"height": -1, "hash": tip_hash(1)}, {"height": 8, "hash": 5}, 3]
    line = {"time": START, "kind": HASH_CALL, "result": items}
    path = tmp_path / "node.jsonl"
    path.write_text(json.dumps(line) + "\n")
    source = SnapshotsSource(str(path), SourceOptions())
    rows = rows_of(slices_of(source))
    source.close()
    assert [(row["height"], row["hash"]) for row in of_kind(rows, "rpc:block_hash")] == [(7, tip_hash(7))]
    assert [(row["reason"], row["lost"]) for row in of_kind(rows, "source:gap")] == [
        ("block hashes that cannot be read", 3)
    ]
