"""Orphans of getorphantxs by the peers that announced them: over HTTP from a node, and odd answers by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.fake_node import FakeNode, status, v22, v30
from tests.support.virtual_node import START, Event, VirtualTime, rows_of, rpc_source, slices_of
from watchdog.sources.rpc import orphans
from watchdog.sources.rpc.columns import RpcRows, Values


def orphan(*peers: int, size: int = 400) -> dict[str, Any]:
    return {
        "txid": "aa" * 32,
        "wtxid": "bb" * 32,
        "bytes": size,
        "vsize": size,
        "weight": 4 * size,
        "from": list(peers),
    }


def polled(folder: Path, answers: dict[str, Any], *, refuse: bool = False) -> tuple[list[Event], list[Any]]:
    """Two minutes of a node: the rows, and the parameters of each request for orphans."""
    time = VirtualTime(START + 110)
    with FakeNode(folder, answers) as node:
        if refuse:
            node.behave("getorphantxs", status(403))
        source = rpc_source(node, time, "rpc:orphan_peer", "source:gap")
        rows = rows_of(slices_of(source))
        source.close()
        return rows, [params for method, params in node.asked if method == "getorphantxs"]


def test_each_peer_is_named_with_what_it_announced_and_what_nobody_else_did(tmp_path: Path) -> None:
    answers = v30(now_s=START) | {"getorphantxs": [orphan(3), orphan(3, size=900), orphan(3, 4), orphan(99)]}
    rows, params = polled(tmp_path, answers)
    addresses = {one["id"]: one["addr"] for one in answers["getpeerinfo"]}
    assert set(map(tuple, params)) == {(1,)}
    last = rows[-2:]
    assert [(row["peer"], row["txs"], row["txs_alone"], row["size_bytes"], row["orphans"]) for row in last] == [
        (addresses[3], 3, 2, 1_700, 4),
        (addresses[4], 1, 0, 400, 4),
    ], "a peer that has left is not named"
    assert last[0]["direction"] in {"in", "out"}
    assert last[0]["netblock"]


@pytest.mark.parametrize("refuse", [False, True])
def test_a_node_without_the_method_or_that_refuses_it_gives_no_rows_and_no_gap(tmp_path: Path, refuse: bool) -> None:
    rows, params = polled(tmp_path, (v30 if refuse else v22)(now_s=START), refuse=refuse)
    assert rows == []
    assert len(params) == 1, "it is not asked again at each poll"


def read(result: object) -> tuple[list[orphans.Orphan] | None, dict[str, int]]:
    lost: dict[str, int] = {}
    line = msgspec.json.encode({"result": result})
    return orphans.orphans(line, lambda reason, count: lost.update({reason: count})), lost


def test_odd_entries_are_counted_and_the_others_stay() -> None:
    found, lost = read([orphan(1), 7, {"from": "all"}, {"bytes": 1 << 70}, {}])
    assert found is not None
    assert [one.announcers for one in found] == [[1], []]
    assert lost == {orphans.NO_ORPHAN: 3}


@pytest.mark.parametrize("result", [{}, "none", 4, None])
def test_another_answer_is_unreadable(result: object) -> None:
    found, lost = read(result)
    assert found is None
    assert sum(lost.values()) == 1


def test_what_is_beyond_the_limits_is_left_out() -> None:
    found, lost = read([orphan(1)] * (orphans.MAX_ORPHANS + 5))
    assert found is not None
    assert len(found) == orphans.MAX_ORPHANS
    assert lost == {orphans.TOO_MANY: 5}
    asked: list[Sequence[int]] = []

    def peers(ids: Sequence[int]) -> tuple[list[int], dict[str, Values]]:
        asked.append(ids)
        return [], {}

    rows = RpcRows("n", "s", lambda _: True)
    orphans.report_orphans([orphans.Orphan(1, [number, -5]) for number in range(500)], peers, START, rows)
    assert len(asked[0]) == orphans.MAX_ROWS
    assert asked[0][0] == -5, "the one with the most stands first, whatever its id"
    assert rows.count == 0
