"""What an attacker who has read the rules would do: networks left out, discounts for nothing, diluted averages."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.incident import Incident
from tests.support.packs import HOUR, MINUTE, Rows, alarms, gossip, honest, incidents, of_rule, opened_s, peer
from watchdog.core.finding import SEVERITIES

pytestmark = pytest.mark.scenario

START = 30 * MINUTE
ONION = {"peer": "127.0.0.1:40000", "peer_addr": "127.0.0.1", "network": "unroutable", "direction": "in"}
OVERLAYS = ("unroutable", "onion", "i2p", "cjdns")


def onion(conn: int, network: str = "unroutable") -> dict[str, Any]:
    """An inbound peer on Tor, as capture and log see it: all of them have this node's own address."""
    return {**ONION, "conn": conn, "network": network}


def found(events: dict[str, Rows], *, pack: str = "message-anomaly", until: float = 2 * HOUR) -> list[Incident]:
    """The incidents of a pack."""
    return incidents(pack, events, until=until)


def severity(seen: list[Incident], rule: str) -> str:
    """The worst of a rule's incidents; empty without one."""
    return max((one.severity for one in of_rule(seen, rule)), key=SEVERITIES.index, default="")


# F4 onion   ::::::::::                          1,000 connections a minute, seen by the capture or by the log
@pytest.mark.parametrize("kind", ["net:inbound_connection", "log:connection_accepted"])
@pytest.mark.parametrize("network", OVERLAYS)
def test_f4_a_connection_flood_through_an_overlay_is_told(kind: str, network: str) -> None:
    opened = [{**onion(n, network), "t": START + n * 0.06} for n in range(10_000)]
    seen = found({kind: opened})
    assert severity(seen, "connection-surge-overlay") == "high"


def test_f4_a_flood_over_several_overlays_counts_together_and_a_getaddr_takes_nothing_out() -> None:
    opened = [{**onion(n, OVERLAYS[n % 4]), "t": START + n * 1.2} for n in range(600)]
    asked = [{**row, "t": row["t"] + 0.1, "flow": "received", "repeat": 1} for row in opened]
    seen = found({"net:inbound_connection": opened, "p2p:getaddr": asked})
    assert severity(seen, "connection-surge-overlay") == "warning"


def test_ordinary_onion_peers_are_silent() -> None:
    opened = [{**onion(n), "t": n * 14} for n in range(500)]
    spoken = [{**row, "t": row["t"] + 1, "flow": "received", "relay": True, "repeat": 1} for row in opened]
    events = {"net:inbound_connection": opened, "p2p:version": spoken, "p2p:getaddr": spoken[::2]}
    assert found(events) == []


# F4 getaddr ::::::::::                          20 onion connections, 500 requests each
def test_f4_scraping_through_an_overlay_is_told() -> None:
    asked = [{**onion(n % 20), "t": START + n * 0.06, "flow": "received", "repeat": n // 20 + 1} for n in range(10_000)]
    seen = found({"p2p:getaddr": asked})
    assert severity(seen, "getaddr-scraping-overlay") == "high"
    assert severity(seen, "getaddr-surge") == "high"


def test_f4_listeners_through_an_overlay_are_told() -> None:
    listening = [{**onion(n), "t": START + n * 2, "flow": "received", "relay": True} for n in range(400)]
    seen = found({"p2p:version": listening})
    assert severity(seen, "silent-listeners-overlay") == "warning"
    takers = [{**row, "t": row["t"] + 1, "tx": 1} for row in listening]
    assert severity(found({"p2p:version": listening, "p2p:getdata": takers}), "silent-listeners-overlay")


def test_f4_evictions_and_slots_of_overlay_peers_are_told() -> None:
    evicted = [{**onion(n), "t": START + n} for n in range(1_500)]
    assert severity(found({"log:evicted": evicted}, pack="eclipse"), "eclipse-evictions-overlay") == "high"
    polls, rows = [], []
    for now in range(0, 4 * HOUR, 60):
        held = 5 if now < 3 * HOUR else 60
        polls.append({"t": now, "inbound": 40 + held, "outbound": 10, "uptime_s": 90_000 + now})
        rows += [{**onion(n), "t": now, "interval_s": 60, "direction_total": 40 + held} for n in range(held)]
    seen = found({"rpc:peers": polls, "rpc:peer": rows}, pack="eclipse", until=4 * HOUR)
    assert severity(seen, "eclipse-inbound-overlay") == "warning"


def test_f4_a_slow_swarm_through_an_overlay_is_told_and_its_decoys_change_nothing() -> None:
    events = [row for n in range(30) for row in gossip(onion(n), 0, 3 * HOUR)]
    events += [row for n in range(30) for row in gossip(onion(100 + n), 2 * HOUR, 3 * HOUR, per_s=0.09)]
    decoy = {"flow": "received", "entries": 1, "processed": 1}
    events += [{**onion(1_000 + n), **decoy, "t": 2 * HOUR + n * 4} for n in range(900)]
    seen = found({"p2p:addr": events}, pack="addr-flooding", until=3 * HOUR)
    assert severity(seen, "addr-slow-swarm-overlay")
    honest_only = [row for n in range(30) for row in gossip(onion(n), 0, 3 * HOUR)]
    assert alarms(found({"p2p:addr": honest_only}, pack="addr-flooding", until=3 * HOUR)) == []


def crawled(per_minute: int, minutes: int, groups: int) -> dict[str, Rows]:
    """Connections that pose as crawlers: each asks for addresses once, spread over /24 of some /16."""
    opened = []
    for n in range(per_minute * minutes):
        group, third = n % groups, n // groups % 250
        who = {**peer(1_000 + n, f"137.{group}.{third}.{n % 200 + 1}"), "subnet": f"137.{group}.{third}.0/24"}
        opened.append({**who, "t": START + n * 60 / per_minute})
    asked = [{**row, "t": row["t"] + 0.1, "flow": "received", "repeat": 1} for row in opened]
    return {"net:inbound_connection": opened, "p2p:getaddr": asked}


# F5         ::::::::::                          each connection asks once: a getaddr costs nothing
@pytest.mark.parametrize(
    ("per_minute", "minutes", "groups", "least"),
    [(100, 10, 1, "warning"), (45, 20, 1, "warning"), (1_000, 4, 20, "high"), (60, 20, 100, "warning")],
)
def test_f5_posing_as_a_crawler_hides_no_flood(per_minute: int, minutes: int, groups: int, least: str) -> None:
    seen = found(crawled(per_minute, minutes, groups))
    told = {one.rule: one.severity for one in seen}
    assert least in told.values() or "high" in told.values(), told


@pytest.mark.attack("getaddr-surge")
def test_f5_crawlers_in_the_hours_before_do_not_make_it_usual() -> None:
    before = crawled(15, 170, 60)
    flood = crawled(100, 10, 1)
    moved = {
        kind: before[kind] + [{**row, "t": row["t"] + 3 * HOUR, "conn": row["conn"] + 90_000} for row in flood[kind]]
        for kind in flood
    }
    seen = found(moved, until=4 * HOUR)
    late = [one for one in seen if one.opened_ns / 1e9 - 1_700_000_000 > START + 3 * HOUR - MINUTE]
    assert "warning" in {one.severity for one in late} or "high" in {one.severity for one in late}


# four netblocks, each below what connection-churn says of one
def test_a_surge_of_few_netblocks_below_churn_is_told() -> None:
    opened = [{**peer(n, f"84.{n % 4}.{n % 250}.7"), "t": START + n * 4} for n in range(450)]
    seen = found({"log:connection_accepted": opened})
    assert severity(seen, "connection-surge") == "info"


def test_listeners_that_ask_once_or_have_takers_beside_them_are_told() -> None:
    said = {"flow": "received", "relay": True}
    lurk = [
        {**peer(n, f"110.19.44.{n % 250}"), "subnet": "110.19.44.0/24", "t": START + n * 5, **said} for n in range(240)
    ]
    asks = [{**row, "t": row["t"] + 1, "tx": 1} for row in lurk]
    assert severity(found({"p2p:version": lurk, "p2p:getdata": asks}), "silent-listeners")


# F7 swarm   ----------  10 at the limit, and decoys of one address each, which pull every mean down
@pytest.mark.parametrize("decoys", [0, 10, 200])
def test_f7_decoys_do_not_hide_a_slow_swarm(decoys: int) -> None:
    start = HOUR
    events = [row for n in range(40) for row in gossip(honest(n), 0, 3 * HOUR)]
    for n in range(10):
        events += gossip(peer(900 + n, f"84.141.{n}.7"), start, start + 90 * MINUTE, per_s=0.095)
    one = {"flow": "received", "entries": 1, "processed": 1}
    for n in range(decoys):
        who = peer(2_000 + n, f"84.141.{n % 250}.9")
        events += [{**who, **one, "t": start + n / 10 + again * 19 * MINUTE} for again in range(6)]
    (swarm,) = of_rule(found({"p2p:addr": events}, pack="addr-flooding", until=3 * HOUR), "addr-slow-swarm")
    assert swarm.severity == "high"
    assert opened_s(swarm) - start < HOUR


# F7 inflow  ::::::::::  forty slow peers of as many groups, and decoys that send one address in ten minutes
@pytest.mark.parametrize("decoys", [0, 60, 400])
def test_f7_decoys_do_not_hide_an_inflow(decoys: int) -> None:
    events = [row for n in range(42) for row in gossip(honest(n), 0, 4 * HOUR)]
    events += [row for n in range(40) for row in gossip(honest(200 + n), 3 * HOUR, 4 * HOUR, per_s=0.095)]
    one = {"flow": "received", "entries": 1, "processed": 1}
    for n in range(decoys):
        events += [{**honest(400 + n), **one, "t": 3 * HOUR + n + again * 590} for again in range(6)]
    assert of_rule(found({"p2p:addr": events}, pack="addr-flooding", until=4 * HOUR), "addr-inflow")


def test_a_million_connections_do_not_hide_an_inflow() -> None:
    told = {"flow": "received", "entries": 10, "processed": 1, "beyond_limit": 9}
    events = [{**peer(n, f"{20 + n % 200}.{n // 200 % 250}.7.9"), **told, "t": HOUR + n * 0.02} for n in range(60_000)]
    inflow = of_rule(found({"p2p:addr": events}, pack="addr-flooding"), "addr-inflow")
    assert severity(inflow, "addr-inflow") == "high"


def test_older_stamps_mixed_in_do_not_hide_those_of_the_future() -> None:
    told = {"flow": "received", "entries": 10, "processed": 1, "beyond_limit": 9, "ahead": 2}
    events = [{**peer(900, "84.141.0.17"), **told, "t": START + n * 5} for n in range(80)]
    assert of_rule(found({"p2p:addr": events}, pack="addr-flooding"), "addr-fresh-stamps")


# F7 headers :::::::::::  invented announcements make us ask: the headers are answers
@pytest.mark.parametrize(("gap", "entries"), [(0.1, 20), (1, 8), (30, 1)])
def test_f7_headers_after_an_invented_announcement_are_spam(gap: float, entries: int) -> None:
    who = {**peer(900, "84.141.0.17"), "flow": "received", "entries": entries, "solicited": True}
    rows = [{**who, "t": START + n * gap} for n in range(int(600 / gap))]
    assert of_rule(found({"p2p:headers": rows}), "headers-spam")


def test_full_messages_of_headers_are_spam_when_they_are_more_than_a_chain_has() -> None:
    who = {**peer(900, "84.141.0.17"), "flow": "received", "entries": 2_000, "solicited": True}
    assert of_rule(found({"p2p:headers": [{**who, "t": START + n * 0.2} for n in range(3_000)]}), "headers-spam")
    assert not of_rule(found({"p2p:headers": [{**who, "t": START + n} for n in range(950)]}), "headers-spam")


def test_answers_not_found_are_told_whatever_else_is_sent() -> None:
    who = {**peer(900, "84.141.0.17"), "flow": "received"}
    asked = [{**who, "t": START + n, "flow": "sent", "tx": 2, "entries": 2} for n in range(300)]
    missing = [{**who, "t": START + n + 0.5, "tx": 2, "entries": 2} for n in range(300)]
    unwanted = [{**who, "t": START + n / 2} for n in range(600)]
    seen = found({"p2p:getdata": asked, "p2p:notfound": missing, "p2p:tx": unwanted})
    assert of_rule(seen, "announced-not-delivered")


# offered    101  .  101  .  101                 a peer that saves its tokens looks like an answer to getaddr
def test_large_batches_of_a_patient_source_are_told() -> None:
    batch = {"source_addr": "84.141.0.17", "source_netblock": "84.141.0.0/16", "offered": 101, "added": 101}
    rows = [{**batch, "t": n * 17 * MINUTE} for n in range(1, 8)]
    assert of_rule(found({"log:addrman_batch": rows}, pack="eclipse"), "eclipse-new-table-source")
    answer = [{**batch, "t": START, "offered": 1_000, "added": 1_000}]
    assert not of_rule(found({"log:addrman_batch": answer}, pack="eclipse"), "eclipse-new-table-source")
