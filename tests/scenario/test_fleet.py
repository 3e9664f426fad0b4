"""Four simulated nodes: the one in trouble is named, by its own rule; honest ones are not, in 30 days of blocks."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from alerts.incident import Incident
from rules.load import RuleSet, load
from tests.support.fleet_world import DAY, HOUR, MINUTE, START_S, Chain, SimNode, World, batch, blocks, honest
from watchdog.core.batch import Slice
from watchdog.core.enrich import Enricher

PACK = Path(__file__).resolve().parents[2] / "rules" / "packs" / "fleet.yaml"
NETWORK = blocks(1, 2 * DAY)


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([PACK], packs=False)


def healthy(count: int, days: float = 2.0, seed: int = 1) -> list[SimNode]:
    network = blocks(seed, days * DAY)
    return [SimNode(name, honest(number, network)) for number, name in enumerate("abcd"[:count])]


def eclipsed(begin_s: float, mean_s: float = 1_800.0) -> Chain:
    """A node that gets only an attacker's blocks from a time on: a third of the work."""
    chance, chain, before = random.Random(9), Chain(), honest(5, NETWORK)
    for at, (height, hash_) in zip(before.times, before.tips, strict=True):
        if at < begin_s:
            chain.accept(at, height, hash_)
    at, height = begin_s, chain.tip(begin_s)[0]
    while at < 2 * DAY:
        at, height = at + chance.expovariate(1 / mean_s), height + 1
        chain.accept(at, height, f"{height:032x}{7:032x}")
    return chain


def named(incidents: list[Incident]) -> set[tuple[str, str]]:
    return {(one.rule, one.node) for one in incidents}


def test_an_eclipsed_node_is_named_by_the_split_before_it_is_far_behind(rules: RuleSet) -> None:
    found = World(rules, [*healthy(3), SimNode("eve", eclipsed(HOUR))]).run(12 * HOUR)
    assert named(found) == {(rule, "eve") for rule in ("fleet-chain-split", "fleet-behind", "fleet-block-lag")}
    split = min(one.opened_ns for one in found if one.rule == "fleet-chain-split")
    assert split < min(one.opened_ns for one in found if one.rule == "fleet-behind")
    assert split < (START_S + 3 * HOUR) * 10**9
    assert {one.severity for one in found if one.rule == "fleet-chain-split"} == {"critical"}


def test_a_fast_attacker_is_named_by_the_split_alone(rules: RuleSet) -> None:
    found = World(rules, [*healthy(3), SimNode("eve", eclipsed(HOUR, 500.0))]).run(6 * HOUR)
    assert ("fleet-chain-split", "eve") in named(found)
    assert {node for _, node in named(found)} == {"eve"}


def test_a_slow_node_is_behind_and_its_severity_rises(rules: RuleSet) -> None:
    found = World(rules, [*healthy(3), SimNode("slow", honest(5, NETWORK, 2_700.0))]).run(12 * HOUR)
    assert named(found) == {("fleet-behind", "slow"), ("fleet-block-lag", "slow")}
    assert {"high"} <= {one.severity for one in found}


def test_a_node_in_initial_download_is_not_named(rules: RuleSet) -> None:
    assert World(rules, [*healthy(3), SimNode("new", Chain(), ibd=True)]).run(12 * HOUR) == []


def test_a_node_that_was_just_started_is_not_named_for_being_behind(rules: RuleSet) -> None:
    fresh = SimNode("fresh", honest(5, NETWORK, 2_700.0), started=-60.0)
    found = World(rules, [*healthy(3), fresh]).run(30 * MINUTE)
    assert found == [], "15 minutes after its start the 20 minutes begin"


def test_a_stopped_node_is_named_as_silent(rules: RuleSet) -> None:
    found = World(rules, [*healthy(3), SimNode("dead", honest(5, NETWORK), stops=5 * HOUR)]).run(8 * HOUR)
    assert named(found) == {("fleet-node-silent", "dead")}
    assert [one.opened_ns // 10**9 - START_S for one in found] == [pytest.approx(5 * HOUR + 6 * MINUTE, abs=90)]


def test_all_four_at_once_are_told_apart(rules: RuleSet) -> None:
    nodes = [
        *healthy(3),
        SimNode("eve", eclipsed(HOUR)),
        SimNode("slow", honest(5, NETWORK, 2_700.0)),
        SimNode("new", Chain(), ibd=True),
        SimNode("dead", honest(6, NETWORK), stops=5 * HOUR),
    ]
    assert named(World(rules, nodes).run(12 * HOUR)) == {
        ("fleet-chain-split", "eve"),
        ("fleet-behind", "eve"),
        ("fleet-behind", "slow"),
        ("fleet-block-lag", "eve"),
        ("fleet-block-lag", "slow"),
        ("fleet-node-silent", "dead"),
    }


def test_two_nodes_that_disagree_accuse_the_fleet(rules: RuleSet) -> None:
    found = World(rules, [*healthy(1), SimNode("eve", eclipsed(HOUR, 600.0))]).run(6 * HOUR)
    assert ("fleet-chain-split", "*fleet*") in named(found)
    assert not any(rule == "fleet-chain-split" and node != "*fleet*" for rule, node in named(found))


def test_no_honest_node_is_named_in_thirty_days(rules: RuleSet) -> None:
    days = 30.0
    network = blocks(7, days * DAY)
    times = [at for at, *_ in network]
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) > 90 * MINUTE, "the law's long stretches are among them"
    assert sum(bool(race) for *_, race in network) >= 5, "and races"
    nodes = [SimNode(name, honest(number, network)) for number, name in enumerate("abcd")]
    assert World(rules, nodes, poll_s=120.0).run(days * DAY, 3_600.0) == []


@pytest.mark.parametrize(("hit", "wanted"), [(1, set()), (2, {("fleet-outbound-lost", "*fleet*")})])
def test_lost_outbound_peers_at_half_of_the_nodes(rules: RuleSet, hit: int, wanted: set[tuple[str, str]]) -> None:
    nodes = healthy(4)
    for number, node in enumerate(nodes[:hit]):
        rows = [{"at": HOUR + 20 * number + peer, "peer": f"192.0.2.{peer}:8333"} for peer in range(3)]
        node.extra.append(batch("peer:outbound_lost", node.name, rows))
    nodes[3].extra.append(batch("peer:outbound_lost", "d", [{"at": HOUR}, {"at": HOUR + 1}]))  # too few to count
    assert named(World(rules, nodes).run(3 * HOUR)) == wanted


def inserts(node: SimNode, each_minute: int, begin_s: float, end_s: float) -> None:
    rows = [
        {"at": begin_s + 60 * minute + one / 100, "table": "new", "entry_network": "ipv4"}
        for minute in range(int((end_s - begin_s) / 60))
        for one in range(each_minute)
    ]
    node.extra.append(batch("addrman:insert", node.name, rows))


@pytest.mark.parametrize(
    ("rate", "usual", "wanted"),
    [
        (20, 1, {("fleet-inflow", "a")}),  # 1200 an hour, the others 60
        (8, 1, set()),  # 480: at most 500
        (20, 5, set()),  # 300 at the others: less than five times as many
    ],
)
def test_inflow_of_one_node(rules: RuleSet, rate: int, usual: int, wanted: set[tuple[str, str]]) -> None:
    nodes = healthy(4)
    for node in nodes:
        inserts(node, usual, 60.0, 4 * HOUR)
    inserts(nodes[0], rate - usual, 2 * HOUR, 3.5 * HOUR)
    assert named(World(rules, nodes).run(4 * HOUR)) == wanted


FLOOD = """
rules:
  flooded:
    title: A peer is loud
    attack: eclipse
    severity: warning
    on: peer:connected
    by: [peer_addr]
    measure: {times: count()}
    over: 1m
    fire: times > 0
"""


@pytest.mark.parametrize(
    ("hit", "addresses", "wanted"),
    [
        (2, ("136.43.100.1", "136.43.7.9"), {("fleet-attack-on-many", "*fleet*")}),  # of one /16
        (1, ("136.43.100.1", "136.43.7.9"), set()),
        (2, ("136.43.100.1", "81.2.113.9"), set()),
    ],
)
def test_one_network_in_findings_of_several_nodes(
    tmp_path: Path, hit: int, addresses: tuple[str, str], wanted: set[tuple[str, str]]
) -> None:
    (tmp_path / "flood.yaml").write_text(FLOOD)
    nodes = healthy(4)
    for node, address in zip(nodes[:hit], addresses, strict=False):
        who = Enricher().peer(address)
        groups = {"netgroup": who.netgroup, "netblock": who.netblock}
        rows = [{"at": HOUR, "peer_addr": address, "peer": f"{address}:8333", "network": "ipv4", **groups}]
        node.extra.append(batch("peer:connected", node.name, rows))
    world = World(load([PACK, tmp_path / "flood.yaml"], packs=False), nodes)
    assert named(world.run(2 * HOUR)) == wanted


def test_a_node_whose_time_stands_is_left_out_and_comes_back(rules: RuleSet) -> None:
    nodes = healthy(4)
    world = World(rules, nodes)
    world.run(HOUR)
    for number in range(6, 12):  # d gives nothing for an hour
        for node in nodes[:3]:
            world.pipelines[node.name].process(world.portion(node, 600.0 * number, 600.0 * (number + 1)))
    assert world.fleet.stage.members.until_ns == (START_S + int(HOUR)) * 10**9, "the fleet waits for it"
    world.fleet.stage.members.leave("d", int(HOUR) * 10**9)
    world.fleet.drain()
    assert world.fleet.stage.members.until_ns == (START_S + 2 * int(HOUR)) * 10**9
    assert list(world.fleet.stage.members.away) == ["d"]
    late: Slice = world.portion(nodes[3], HOUR, HOUR + 600.0)
    world.pipelines["d"].process(late)
    assert world.fleet.stage.members.dropped == sum(one.rows for one in late.batches), (
        "what it catches up on is not compared"
    )
    world.fleet.stage.members.come_back("d")
    assert list(world.fleet.stage.members.marks) == ["a", "b", "c", "d"]


def test_nodes_of_other_chains_are_not_compared(rules: RuleSet) -> None:
    nodes = [*healthy(3), SimNode("testnet", honest(5, blocks(9, 2 * DAY), 2_700.0), network="test")]
    assert World(rules, nodes).run(12 * HOUR) == []


def test_a_node_that_is_polled_rarely_is_not_silent(rules: RuleSet) -> None:
    nodes = [*healthy(3), SimNode("rare", honest(5, NETWORK), poll_s=1_800.0)]
    assert World(rules, nodes).run(12 * HOUR, 3_600.0) == []
