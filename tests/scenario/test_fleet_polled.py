"""Nodes over real HTTP that the fleet compares at one height: a split is named, whatever the heights of the tips."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from alerts.incident import Incident
from rules.load import RuleSet, load
from tests.support.fake_node import status
from tests.support.polled_fleet import ChainNode, PolledFleet
from tests.support.virtual_node import START

PACK = Path(__file__).resolve().parents[2] / "rules" / "packs" / "fleet.yaml"
TIP = 900_000
Nodes = dict[str, ChainNode]


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([PACK], packs=False)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        made = {}
        for name in ("alice", "bob", "eve"):
            (tmp_path / name).mkdir()
            made[name] = stack.enter_context(ChainNode(tmp_path / name, {}))
            made[name].answers = {"uptime": 90_000}
            made[name].follow(TIP)
        yield made


def splits(incidents: list[Incident]) -> list[tuple[str, float]]:
    """The node that each split names, and when it was opened, in seconds since the start."""
    return [(one.node, one.opened_ns / 1e9 - START) for one in incidents if one.rule == "fleet-chain-split"]


def heights(node: ChainNode) -> set[int]:
    return {params[0] for method, params in node.asked if method == "getblockhash"}


@pytest.mark.parametrize("ahead", [0, 1, 5], ids=["equal heights", "one ahead", "five ahead"])
def test_a_split_six_blocks_deep_is_named_at_once(rules: RuleSet, nodes: Nodes, ahead: int) -> None:
    with PolledFleet(rules, nodes) as fleet:
        assert splits(fleet.run(300)) == []
        nodes["eve"].follow(TIP + ahead, fork=TIP - 20)
        ((name, opened_s),) = splits(fleet.run(300))
    assert name == "eve"
    assert 300 < opened_s < 300 + 150
    assert heights(nodes["alice"]) == heights(nodes["eve"]) == {TIP, TIP - 6}


def test_a_shallow_split_at_unequal_heights_waits_for_the_next_block(rules: RuleSet, nodes: Nodes) -> None:
    """Without answers to getblockhash the tips never have one height, so nothing could be compared."""
    with PolledFleet(rules, nodes) as fleet:
        nodes["eve"].follow(TIP + 1, fork=TIP)
        assert splits(fleet.run(600)) == []
        for name, height in (("alice", TIP + 2), ("bob", TIP + 2)):
            nodes[name].follow(height)
        ((name, opened_s),) = splits(fleet.run(600))
    assert name == "eve"
    assert 600 < opened_s < 600 + 300
    assert heights(nodes["bob"]) == {TIP, TIP - 6, TIP + 1, TIP - 5}


def test_unequal_tips_of_one_chain_are_no_split(rules: RuleSet, nodes: Nodes) -> None:
    with PolledFleet(rules, nodes) as fleet:

        def each(now_s: float) -> None:
            for number, node in enumerate(nodes.values()):
                node.follow(TIP + int((now_s - 20 * number) // 120))

        assert splits(fleet.run(1_800, each)) == []
    assert len(heights(nodes["alice"])) > 10


def test_a_node_that_refuses_the_call_is_compared_by_its_tip(rules: RuleSet, nodes: Nodes) -> None:
    nodes["eve"].behave("getblockhash", status(403))
    with PolledFleet(rules, nodes) as fleet:
        nodes["eve"].follow(TIP, fork=TIP - 20)
        fleet.run(1_200)
        assert fleet.sources["eve"].forbidden == {"getblockhash": frozenset({"rpc:block_hash"})}
        assert fleet.sources["eve"].trouble == ""
        for node in nodes.values():
            node.follow(TIP + 1, fork=node.fork)
        assert [name for name, _ in splits(fleet.run(300))] == ["eve"]
    assert 2 <= nodes["eve"].count("getblockhash") <= 6


def test_no_minute_has_more_than_two_calls(rules: RuleSet, nodes: Nodes) -> None:
    with PolledFleet(rules, nodes) as fleet:
        for step in range(20):
            for node in nodes.values():
                node.follow(TIP + step)  # another height to ask, three times a minute
            before = {name: node.count("getblockhash") for name, node in nodes.items()}
            fleet.run(60)
            assert all(node.count("getblockhash") - before[name] <= 2 for name, node in nodes.items())
        assert nodes["bob"].count("getblockhash") >= 30
        fleet.asks = False
        fleet.run(60)
        quiet = nodes["bob"].count("getblockhash")
        fleet.run(300)
    assert nodes["bob"].count("getblockhash") == quiet
