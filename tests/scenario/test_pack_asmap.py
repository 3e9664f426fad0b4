"""The shipped packs on a watchdog with an asmap: nothing cried about hosting companies, AS and netblock both seen."""

from __future__ import annotations

import re
from typing import Any

import pytest

from rules.load import PACKS
from tests.support.packs import HOUR, MINUTE, Rows, incidents, of_rule, opened_s, peer

pytestmark = pytest.mark.scenario

HOSTER = 16509  # threats.md#groups-and-systems: the largest AS has 14 % of the nodes
# Peers of each AS: 67 honest inbound peers in 41 ASs, as one recording of a real node had, none with another's /16.
HONEST = (9, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2, *[1] * 30)


def honest_peers(sizes: tuple[int, ...] = HONEST) -> list[dict[str, Any]]:
    """Return inbound peers, a number for each AS, each in its own netblock."""
    systems = [HOSTER + n for n, size in enumerate(sizes) for _ in range(size)]
    return [peer(n, f"{20 + n // 200}.{n % 200}.7.9", asn=asn) for n, asn in enumerate(systems)]


def polls(hours: float, attackers: list[dict[str, Any]], *, start: float = HOUR, every: float = 20) -> Rows:
    """rpc:peer once a minute: honest peers, and attackers who come one after the other and stay."""
    rows: Rows = []
    for now in range(0, int(hours * HOUR), MINUTE):
        here = honest_peers() + attackers[: max(0, int((now - start) / every))]
        rows += [{**one, "t": now, "interval_s": MINUTE, "direction_total": len(here)} for one in here]
    return rows


# inbound    9 4 4 3 3 3 3 2 ... 1 1 1      peers of an AS, all of different netblocks
def test_honest_peers_of_few_systems_are_no_concentration() -> None:
    assert (sum(HONEST), len(HONEST)) == (67, 41)
    assert incidents("eclipse", {"rpc:peer": polls(2, [])}, until=2 * HOUR) == []


# inbound    67 honest     \____  60 of one AS, each of another netblock
@pytest.mark.parametrize(("peers", "severity"), [(20, None), (60, "warning"), (110, "high")])
def test_an_as_with_many_netblocks_is_seen_once_it_holds_a_third_of_the_slots(peers: int, severity: str | None) -> None:
    attackers = [peer(900 + n, f"84.{n}.1.9", asn=60_000) for n in range(peers)]
    found = incidents("eclipse", {"rpc:peer": polls(3, attackers)}, until=3 * HOUR)
    assert [(one.rule, one.severity) for one in found] == ([("eclipse-inbound-as", severity)] if severity else [])
    for one in found:
        assert one.entities[0] == "AS60000"
        assert opened_s(one) - HOUR <= 25 * MINUTE
    plain = [{**one, "asn": 0} for one in polls(3, attackers)]
    assert incidents("eclipse", {"rpc:peer": plain}, until=3 * HOUR) == [], "without an asmap no AS is known"


# inbound    67 honest, 9 of them of the hoster     \____  12 of one netblock of the hoster
def test_a_netblock_inside_a_large_as_is_seen_and_named() -> None:
    attackers = [peer(900 + n, f"84.8.{n}.9", asn=HOSTER) for n in range(12)]
    (found,) = incidents("eclipse", {"rpc:peer": polls(2, attackers)}, until=2 * HOUR)
    assert (found.rule, found.entities[0]) == ("eclipse-inbound-group", "84.8.0.0/16")


def entry(time: float, asn: int, block: str, table_total: int) -> dict[str, Any]:
    """An addrman:insert of a new address."""
    return {
        "t": time,
        "table": "new",
        "first": True,
        "table_total": table_total,
        "entry_network": "ipv4",
        "entry_netgroup": f"AS{asn}",
        "entry_netblock": block,
        "entry_asn": asn,
    }


def told(addresses: int, blocks: int, asn: int, *, table: int) -> Rows:
    """Return new addresses within an hour, of one AS and a number of its netblocks."""
    return [entry(HOUR * n / addresses, asn, f"200.{n % blocks}.0.0/16", table) for n in range(addresses)]


def gossip(addresses: int, *, table: int) -> Rows:
    """What honest gossip brings within an hour: 14 % of one AS, the rest of 86 others, of a thousand netblocks."""
    return [
        entry(
            HOUR * n / addresses,
            HOSTER if n * 37 % 100 < 14 else 1000 + n * 37 % 100,
            f"{20 + n % 1000 // 200}.{n % 200}.0.0/16",
            table or n,
        )
        for n in range(addresses)
    ]


# new table   ||||||||||||||||||||      the first hour of a young node: a seventh of all is of one AS
@pytest.mark.benign("eclipse-new-table-group")
def test_a_hosting_company_in_a_young_table_is_no_flood() -> None:
    assert incidents("eclipse", {"addrman:insert": gossip(1000, table=0)}, until=2 * HOUR) == []


# new table   | | | | | | | |  \____    900 addresses of one AS, nine of each netblock, beside 300 of gossip
@pytest.mark.parametrize(("addresses", "severities"), [(100, []), (300, ["warning"]), (900, ["high"])])
def test_an_as_with_many_netblocks_is_seen_in_the_new_table(addresses: int, severities: list[str]) -> None:
    rows = gossip(300, table=50_000) + told(addresses, 100, 60_000, table=50_000)
    found = incidents("eclipse", {"addrman:insert": rows}, until=1.5 * HOUR)
    assert [(one.rule, one.severity) for one in found] == [("eclipse-new-table-as", text) for text in severities]
    assert all(one.entities[0] == "AS60000" for one in found)


# new table   | | | | | | | |  \____    60 addresses of one netblock of the hoster, beside 300 of gossip
@pytest.mark.attack("eclipse-new-table-group")
def test_a_netblock_inside_a_large_as_is_seen_in_the_new_table() -> None:
    rows = gossip(300, table=5_000) + told(60, 1, HOSTER, table=5_000)
    found = incidents("eclipse", {"addrman:insert": rows}, until=1.5 * HOUR)
    (named,) = of_rule(found, "eclipse-new-table-group")
    assert named.entities == ("200.0.0.0/16",)
    assert found == [named], "102 of 360 of one AS are less than a third"


# connections, evictions and messages of one AS, every one of another netblock
def test_many_strangers_of_one_as_are_no_group() -> None:
    strangers = [peer(n, f"{20 + n // 200}.{n % 200}.7.9", asn=HOSTER) for n in range(400)]
    evicted = [{**one, "t": 30.0 * n} for n, one in enumerate(strangers)]
    assert incidents("eclipse", {"log:evicted": evicted}, until=4 * HOUR) == []
    opened = [{**one, "t": 10.0 * n} for n, one in enumerate(strangers)]
    errors = [{**one, "t": 300.0 * n, "reason": "magic"} for n, one in enumerate(strangers[:40])]
    events = {"log:connection_accepted": opened, "log:protocol_error": errors}
    assert incidents("message-anomaly", events, until=4 * HOUR) == []


def test_no_shipped_rule_asks_for_what_depends_on_the_asmap_alone() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in PACKS.glob("*.yaml")}
    assert len(texts) == 11
    assert {name: re.findall(r"\w*netgroup\w*", text) for name, text in texts.items()} == {name: [] for name in texts}
    assert any("netblock" in text for text in texts.values())
