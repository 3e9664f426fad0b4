"""Rules over nodes in cases: a claim of the node that they accuse, or a case of the house."""

from __future__ import annotations

from dataclasses import replace

from alerts.case.feed import CaseFeed
from alerts.case.house import HOUSE, HouseFeed
from alerts.case.render import case_object
from alerts.cases import CasePicture
from tests.support.case_rig import START_NS, made_finding, shipped_words
from watchdog.core.durations import HOUR_NS, MINUTE_NS
from watchdog.core.finding import FLEET, Finding

A = "91.165.48.111"


class HouseRig:
    """Two nodes and the rules over them."""

    def __init__(self) -> None:
        self.nodes = {name: CaseFeed(name, shipped_words()) for name in ("alice", "bob")}
        self.house = HouseFeed(shipped_words())
        for name, feed in self.nodes.items():
            self.house.adopt(name, feed)

    def say(self, node: str, finding: Finding) -> None:
        self.nodes[node].take(finding.time_ns, finding.rule, finding)

    def over_nodes(self, finding: Finding) -> None:
        self.house.take(finding.time_ns, f"{finding.node} {finding.rule}", finding)

    def finish(self) -> list[CasePicture]:
        for feed in self.nodes.values():
            assert feed.finish(START_NS + HOUR_NS) == [], "it waits for the rules over nodes"
        self.house.finish(START_NS + HOUR_NS)
        return [one for feed in (*self.nodes.values(), self.house) for one in feed.book.pictures()]


def test_a_rule_over_nodes_that_names_one_is_a_claim_of_that_node() -> None:
    rig = HouseRig()
    rig.say("alice", made_finding("eclipse-outbound-replaced", [A], 0))
    rig.over_nodes(replace(made_finding("fleet-behind", [], 10), node="alice"))
    (case,) = rig.finish()
    assert (case.life.node, case.life.stages) == ("alice", ["outbound", "view"])


def test_a_case_of_the_house_lists_the_nodes_with_its_party_and_never_merges() -> None:
    rig = HouseRig()
    for node in ("alice", "bob"):
        rig.say(node, made_finding("eclipse-inbound-group", [A], 0))
    many = made_finding("fleet-attack-on-many", [], 10, key={"party": "91.165.0.0/16"})
    rig.over_nodes(replace(many, node=FLEET))
    alice, bob, house = rig.finish()
    assert (alice.life.node, bob.life.node, house.life.node) == ("alice", "bob", HOUSE)
    data = case_object(house, [alice, bob, house])
    assert data["related"] == [{"node": "alice", "id": alice.life.id}, {"node": "bob", "id": bob.life.id}]
    assert [party.name for party in house.parties] == ["91.165.0.0/16"]


def test_a_node_waits_for_the_rules_over_nodes() -> None:
    rig = HouseRig()
    rig.say("alice", made_finding("ping-flood", [A], 0))
    mark_ns = START_NS + 10 * MINUTE_NS
    assert rig.nodes["alice"].reach([mark_ns], [mark_ns]) == []
    assert rig.nodes["alice"].book.pictures() == []
    rig.house.reach([mark_ns], [mark_ns])
    assert len(rig.nodes["alice"].reach([mark_ns], [mark_ns])) == 1
