"""The pack that compares keys: floods that no rule names are found, what all peers do is not, and a majority is not."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.incident import Incident
from tests.support.packs import MINUTE, Rows, honest, incidents, of_rule, opened_s, peer

pytestmark = pytest.mark.scenario

START = 20 * MINUTE
ATTACKER = peer(900, "84.141.0.17")
PEERS = 30
PEER, NETBLOCK = "peer-unlike-others", "netblock-unlike-others"


def found(extra: dict[str, Rows], *, peers: int = PEERS, until: float = 45 * MINUTE) -> list[Incident]:
    """The incidents of the pack among honest peers, and what comes on top."""
    events: dict[str, Rows] = {"net:inbound_message": [], "net:outbound_message": []}
    for n in range(peers):
        for type_, gap in (("ping", 120.0), ("inv", 6.0), ("getdata", 30.0)):
            events["net:inbound_message"] += every(gap, n % 5, until, honest(n), type=type_, size=40)
        events["net:outbound_message"] += every(8.0, n % 7, until, honest(n), type="tx", size=250)
    for kind, rows in extra.items():
        events[kind] = events.get(kind, []) + rows
    return incidents("unlike-others", events, until=until)


def every(gap: float, start: float, end: float, who: dict[str, Any], **fields: Any) -> Rows:
    return [{**who, "t": start + n * gap, "flow": "received", **fields} for n in range(int((end - start) / gap))]


# type       ::::::::::                          one peer, no other sends it
@pytest.mark.parametrize("type_", ["getdata", "sendcmpct", "getcfilters", "notfound", "ping", "headers"])
@pytest.mark.attack("peer-unlike-others")
@pytest.mark.attack("netblock-unlike-others")
def test_a_flood_of_any_type_is_found_and_its_peer_named(type_: str) -> None:
    flood = every(0.5, START, START + 10 * MINUTE, ATTACKER, type=type_, size=40)
    seen = found({"net:inbound_message": flood})
    (odd,) = of_rule(seen, PEER)
    assert opened_s(odd) - START <= 2 * MINUTE
    assert "84.141.0.17" in odd.entities
    assert "the median of 31 peers" in odd.summary
    (block,) = of_rule(seen, NETBLOCK)
    assert "84.141.0.0/16" in block.entities


# peers      .:.:.:.:.:                          forty connections of one netblock, each like any other peer
@pytest.mark.attack("netblock-unlike-others")
def test_a_netblock_of_ordinary_peers_is_found_by_its_number() -> None:
    crowd = [{**peer(1_000 + n, f"137.190.{n}.1"), "t": START + n} for n in range(40)]
    spoken = [row for n in range(40) for row in every(60, START + n, 45 * MINUTE, crowd[n], type="inv", size=40)]
    seen = found({"net:inbound_connection": crowd, "net:inbound_message": spoken})
    assert ["137.190.0.0/16" in one.entities for one in of_rule(seen, NETBLOCK)] == [True]
    assert of_rule(seen, PEER) == []


# AS         ::::::::::                          peers of five netblocks, all of one AS; the others have an AS each
@pytest.mark.parametrize(
    ("gap", "wanted"),
    [
        pytest.param(4.0, [("info", True)], marks=pytest.mark.attack("as-unlike-others")),
        pytest.param(120.0, [], marks=pytest.mark.benign("as-unlike-others")),
    ],
)
def test_an_as_of_flooding_peers_is_found(gap: float, wanted: list[tuple[str, bool]]) -> None:
    crowd = [peer(1_000 + n, f"{137 + n}.190.1.1", asn=64_500) for n in range(5)]
    floods = [row for one in crowd for row in every(gap, START, START + 10 * MINUTE, one, type="ping", size=8)]
    others = [
        row
        for n in range(20)
        for row in every(60, n, 45 * MINUTE, {**honest(n), "asn": 1_000 + n}, type="ping", size=8)
    ]
    seen = of_rule(found({"net:inbound_message": [*floods, *others]}), "as-unlike-others")
    assert [(one.severity, "AS64500" in one.entities) for one in seen] == wanted


# AS         .:.:.:.:.:                          no asmap: no peer has one
@pytest.mark.evasion("as-unlike-others")
def test_without_an_asmap_no_as_is_judged() -> None:
    flood = every(0.5, START, START + 10 * MINUTE, ATTACKER, type="ping", size=8)
    assert of_rule(found({"net:inbound_message": flood}), "as-unlike-others") == []


# all peers  ..../::::\\....                     a surge: everybody announces and asks twenty times as much
@pytest.mark.benign("peer-unlike-others")
@pytest.mark.benign("netblock-unlike-others")
def test_a_surge_that_all_peers_share_is_silent() -> None:
    rows = [
        row
        for n in range(PEERS)
        for type_, gap in (("inv", 0.3), ("getdata", 1.5), ("tx", 2.0))
        for row in every(gap, START + n % 3, START + 10 * MINUTE, honest(n), type=type_, size=40)
    ]
    assert found({"net:inbound_message": rows}) == []


# hostile    ::::::::::                          more peers than the honest ones: they are the median
@pytest.mark.evasion("peer-unlike-others")
@pytest.mark.evasion("netblock-unlike-others")
def test_a_majority_is_the_median() -> None:
    rows = [
        row
        for n in range(12)
        for row in every(1, START, START + 10 * MINUTE, peer(900 + n, f"{90 + n}.1.0.1"), type="ping", size=8)
    ]
    assert found({"net:inbound_message": rows}, peers=8) == []


# peers      a a a                               three peers: nothing is compared
@pytest.mark.benign("peer-unlike-others")
def test_a_node_with_three_peers_is_not_judged() -> None:
    flood = every(0.5, START, START + 10 * MINUTE, ATTACKER, type="ping", size=8)
    assert found({"net:inbound_message": flood}, peers=2) == []


# flood      .:.:.:.:.:                          less than four floors, as the page of the rule accepts
@pytest.mark.evasion("peer-unlike-others")
def test_a_flood_of_less_than_four_floors_passes() -> None:
    slow = every(30, START, START + 20 * MINUTE, ATTACKER, type="headers", size=82)
    assert of_rule(found({"net:inbound_message": slow}), PEER) == []
