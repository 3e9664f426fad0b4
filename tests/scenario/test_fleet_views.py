"""Four simulated nodes: one gets its blocks a little late, or several see floods at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.load import RuleSet, load
from tests.support.fleet_world import DAY, HOUR, Chain, SimNode, World, batch, blocks, honest
from watchdog.core.enrich import Enricher

pytestmark = pytest.mark.scenario

PACK = Path(__file__).resolve().parents[2] / "rules" / "packs" / "fleet.yaml"
NETWORK = blocks(1, DAY)


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([PACK], packs=False)


def found(rules: RuleSet, last: SimNode, hours: float = 8) -> set[tuple[str, str, str]]:
    """Rules, nodes and severities of a fleet whose fourth node is `last`."""
    nodes = [SimNode(name, honest(number, NETWORK)) for number, name in enumerate("abc")]
    incidents = World(rules, [*nodes, last], poll_s=30).run(hours * HOUR)
    return {(one.rule, one.node, one.severity) for one in incidents}


# others     |  |  |  |
# late        |  |  |  |                         each block two minutes later, eight minutes later
@pytest.mark.parametrize(("delay_s", "severity"), [(120.0, "warning"), (480.0, "high")])
def test_a10_a_node_whose_blocks_are_late_is_named(rules: RuleSet, delay_s: float, severity: str) -> None:
    seen = found(rules, SimNode("late", honest(5, NETWORK, delay_s)))
    assert ("fleet-block-lag", "late", severity) in seen
    assert {node for _, node, _ in seen} == {"late"}


# late       |  |  |  |                          half a minute at most; a node that synchronises; one just started
@pytest.mark.parametrize(
    ("last", "hours"),
    [
        (SimNode("d", honest(5, NETWORK)), 24),
        (SimNode("d", honest(5, NETWORK, 25.0)), 24),
        (SimNode("new", Chain(), ibd=True), 8),
        (SimNode("fresh", honest(5, NETWORK, 120.0), started=-60.0), 0.5),
    ],
)
def test_honest_nodes_slow_lines_and_young_nodes_are_silent(rules: RuleSet, last: SimNode, hours: float) -> None:
    assert found(rules, last, hours) == set()


FLOOD = """
rules:
  flooded:
    title: A peer sends many addresses
    attack: addr-flooding
    severity: warning
    on: peer:connected
    by: [peer_addr]
    measure: {times: count()}
    over: 1m
    fire: times > 0
"""


# findings   a  b                                of different peers, half an hour apart; one node; two hours apart
@pytest.mark.parametrize(
    ("times", "wanted"),
    [((HOUR, 1.5 * HOUR), {("fleet-addr-flood-everywhere", "info")}), ((HOUR,), set()), ((HOUR, 3 * HOUR), set())],
)
def test_floods_at_several_nodes_are_told_as_the_networks(
    tmp_path: Path, times: tuple[float, ...], wanted: set[tuple[str, str]]
) -> None:
    (tmp_path / "flood.yaml").write_text(FLOOD)
    nodes = [SimNode(name, honest(number, NETWORK)) for number, name in enumerate("abcd")]
    for number, (node, at) in enumerate(zip(nodes, times, strict=False)):
        address = f"{81 + number}.2.113.9"
        who = Enricher().peer(address)
        groups = {"netgroup": who.netgroup, "netblock": who.netblock}
        rows = [{"at": at, "peer_addr": address, "peer": f"{address}:8333", "network": "ipv4", **groups}]
        node.extra.append(batch("peer:connected", node.name, rows))
    world = World(load([PACK, tmp_path / "flood.yaml"], packs=False), nodes)
    assert {(one.rule, one.severity) for one in world.run(4 * HOUR)} == wanted
