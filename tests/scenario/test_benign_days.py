"""All shipped packs together over what happens to every node: nothing of it is worth a warning.

Each scenario has what makes it hard. That the same node with an attack beside it raises alarms is a test of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.healthy_node import HealthyNode, incidents_of
from tests.support.packs import HOUR, MINUTE, alarms, honest, peer

pytestmark = pytest.mark.scenario

START = 2 * HOUR


def quiet(node: HealthyNode) -> HealthyNode:
    """An ordinary afternoon."""
    return node


def listeners(node: HealthyNode) -> HealthyNode:
    """No inbound peer gives a transaction: the ten outbound ones give all of them."""
    node.inbound_gives = False
    return node


def rotation(node: HealthyNode) -> HealthyNode:
    """The outbound peers are lost one by one, 20 minutes apart; each new one answers getaddr with 1,000 addresses."""
    for n in range(6):
        at = START + n * 20 * MINUTE
        node.leave(300 + n, at)
        node.join(honest(500 + n, "out"), at + 30)
        lost = {**honest(300 + n, "out"), "t": at + 60, "lived_s": 100_000}
        node.add("peer:outbound_lost", lost)
        node.add("peer:outbound_replaced", {**honest(500 + n, "out"), "t": at + 60, "lost_peer": lost["peer"]})
    return node


def restart(node: HealthyNode) -> HealthyNode:
    """Down for a minute; outbound peers within three minutes, inbound ones within 40."""
    up = START + MINUTE
    for stay in list(node.stays):
        stay.end = START
        inbound = stay.who["direction"] == "in"
        number = stay.who["conn"]
        again = {**stay.who, "conn": number + 1_000}
        node.join(again, up + (number * MINUTE if inbound else 10 + 15 * (number - 300)))
    node.off = (START, up)
    node.add("node:started", {"t": up, "reason": "uptime-reset"}, {"t": up, "reason": "log-start"})
    return node


def release_day(node: HealthyNode) -> HealthyNode:
    """Three in ten of the inbound peers restart with a new version within two hours, and two outbound ones."""
    for n in range(12):
        at = START + n * 9 * MINUTE
        node.leave(n, at)
        node.join({**honest(n), "conn": 2_000 + n}, at + 90)
    for n in (302, 305):
        node.leave(n, START + n * 10)
        node.join(honest(200 + n, "out"), START + n * 10 + 20)
    return node


def surge(node: HealthyNode) -> HealthyNode:
    """Ten times the usual transactions for an hour, refusals for low fees and queues included."""
    node.surge = lambda now: 10.0 if START <= now < START + HOUR else 1.0
    return node


def crawlers(node: HealthyNode) -> HealthyNode:
    """Twelve crawlers, each of which comes back after five and a half minutes for eight seconds."""
    for n in range(12):
        for visit in range(int((node.end - START) / 330)):
            node.join({**honest(600 + n), "conn": 5_000 + 100 * n + visit}, START + visit * 330 + n * 25, 8)
    return node


def burst(node: HealthyNode) -> HealthyNode:
    """Five blocks within a minute."""
    node.blocks = sorted([*node.blocks, *(START + 12 * n for n in range(5))])
    return node


@pytest.mark.parametrize("change", [quiet, listeners, rotation, restart, release_day, surge, crawlers, burst])
def test_nothing_of_an_ordinary_day_is_worth_a_warning(change: Callable[[HealthyNode], HealthyNode]) -> None:
    assert alarms(incidents_of(change(HealthyNode(hours=4)))) == []


def test_the_same_node_under_attack_raises_alarms() -> None:
    node = HealthyNode(hours=3)
    attacker = peer(900, "84.141.0.17")
    node.join(attacker, START)
    for n in range(600):
        node.add("p2p:ping", {**attacker, "t": START + 60 + n / 5, "flow": "received"})
        node.add("net:inbound_message", {**attacker, "t": START + 60 + n / 5, "type": "ping", "size": 8})
    found = incidents_of(node)
    assert {"ping-flood", "peer-unlike-others"} <= {one.rule for one in found if one.severity != "info"}
    assert all(
        "84.141.0.17" in " ".join(one.entities) for one in found if one.severity != "info" and "ping" in one.rule
    )
