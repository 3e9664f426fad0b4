"""The addr-flooding pack on scripted time lines: attacks are seen in time, hard benign traffic is not taken for one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.packs import (
    HOUR,
    MINUTE,
    Rows,
    alarms,
    gossip,
    honest,
    incidents,
    of_rule,
    opened_s,
    peer,
)

pytestmark = pytest.mark.scenario

PEERS = 40


def background(hours: float, *, peers: int = PEERS, start: float = 0) -> Rows:
    """Honest gossip of inbound peers."""
    return [row for number in range(peers) for row in gossip(honest(number), start, start + hours * HOUR)]


def burst(who: dict[str, Any], start: float, *, messages: int, size: int, every: float, **fields: Any) -> Rows:
    """Messages of one size in a row; Core takes one address of them."""
    limits = [(1, size - 1)] + [(0, size)] * (messages - 1)
    return [
        {
            **who,
            "t": start + n * every,
            "flow": "received",
            "entries": size,
            "processed": p,
            "beyond_limit": b,
            **fields,
        }
        for n, (p, b) in enumerate(limits)
    ]


def flood_2021(address: str, conn: int, start: float) -> Rows:
    """One connection of the 2021 kind: 500 messages of 10 random addresses, 1 of 8 impossible, 6 of 10 ahead."""
    return burst(peer(conn, address), start, messages=500, size=10, every=0.1, impossible=1, ahead=6)


# conn 900   |#####|                      500 messages of 10 in 50 s
# conn 901              |#####|           the next one, of another group
# conn 902                       |#####|
@pytest.mark.attack("addr-beyond-limit", "addr-pattern-2021", "addr-fresh-stamps", "addr-impossible")
def test_a_wave_of_2021_is_one_incident_with_all_its_connections() -> None:
    start = HOUR
    events = background(2)
    groups = ("136.43", "28.55", "91.165")
    for number, group in enumerate(groups):
        events += flood_2021(f"{group}.9.{number}", 900 + number, start + number * 90)
    found = incidents("addr-flooding", {"p2p:addr": events}, until=2 * HOUR)
    (pattern,) = of_rule(found, "addr-pattern-2021")
    assert 0 <= opened_s(pattern) - start <= 10
    assert pattern.severity == "high"
    assert {f"{group}.9.{number}" for number, group in enumerate(groups)} <= set(pattern.entities)
    assert "3 connections" in pattern.summary
    by_group = of_rule(found, "addr-beyond-limit")
    assert [one.key["netgroup"] for one in by_group] == [f"{group}.0.0/16" for group in groups]
    for rule in ("addr-impossible", "addr-fresh-stamps"):
        (incident,) = of_rule(found, rule)
        assert 0 <= opened_s(incident) - start <= 15


# |^    ^    ^    ^|   1000 addresses every 45 s, which nobody asked for
@pytest.mark.attack("addr-unsolicited-large")
def test_a_single_peer_with_large_messages_is_named_at_once() -> None:
    attacker = peer(900, "217.94.191.240")
    events = background(2) + burst(attacker, HOUR, messages=40, size=1000, every=45)
    found = incidents("addr-flooding", {"p2p:addr": events}, until=2 * HOUR)
    for rule in ("addr-unsolicited-large", "addr-beyond-limit"):
        (incident,) = of_rule(found, rule)
        assert opened_s(incident) - HOUR <= 10
        assert incident.entities[:2] == ("217.94.0.0/16", "217.94.191.240")
        assert incident.severity == "high"


# group 84.8   peers 1 2 3    ----------------------------  0.08 to 0.09 a second each
# group 95.7   peers 1 2 3    ----------------------------
@pytest.mark.parametrize(("groups", "each", "per_s"), [(2, 3, 0.085), (4, 10, 0.09), (10, 4, 0.095)])
@pytest.mark.attack("addr-slow-swarm")
def test_a_slow_swarm_is_found_within_the_hour_as_one_incident(groups: int, each: int, per_s: float) -> None:
    start, events = HOUR, background(3)
    for number in range(groups * each):
        who = peer(900 + number, f"84.{number % groups}.{number}.7")
        events += gossip(who, start, start + 90 * MINUTE, per_s=per_s)
    found = incidents("addr-flooding", {"p2p:addr": events}, until=3 * HOUR)
    (swarm,) = of_rule(found, "addr-slow-swarm")
    assert opened_s(swarm) - start <= 45 * MINUTE
    assert any(name.startswith("84.") for name in swarm.entities[:1])
    assert not of_rule(found, "addr-beyond-limit")


# all peers  ......................::::::::::::::::  five times as much from everybody
@pytest.mark.attack("addr-inflow")
def test_a_network_wide_flood_shows_as_inflow_of_the_node() -> None:
    start = 2 * HOUR
    events = background(2)
    events += [row for number in range(PEERS) for row in gossip(honest(number), start, start + HOUR, per_s=0.1)]
    found = incidents("addr-flooding", {"p2p:addr": events}, until=3 * HOUR)
    (inflow,) = of_rule(found, "addr-inflow")
    assert opened_s(inflow) - start <= 15 * MINUTE
    assert not of_rule(found, "addr-slow-swarm")


# |#####|....................   a wave in the first minutes, before anything is known of what is usual
def test_a_flood_at_the_very_start_is_found_and_ends() -> None:
    events = background(2)
    for number in range(3):
        events += flood_2021(f"136.43.9.{number}", 900 + number, 120 + number * 60)
    found = incidents("addr-flooding", {"p2p:addr": events}, until=2 * HOUR)
    assert {one.rule for one in found} >= {"addr-inflow", "addr-pattern-2021", "addr-beyond-limit", "addr-impossible"}
    assert all(opened_s(one) < 10 * MINUTE for one in found)
    assert all(one.resolved_ns is not None for one in found)


# night ....  day ::::  (twice as much), one busy relay at 0.16 a second all the time
@pytest.mark.benign("addr-beyond-limit", "addr-pattern-2021", "addr-fresh-stamps", "addr-inflow", "addr-slow-swarm")
def test_quiet_hours_with_a_busy_relay_are_silent() -> None:
    events = [row for n in range(PEERS) for row in gossip(honest(n), 0, 3 * HOUR, per_s=0.014)]
    events += [row for n in range(PEERS) for row in gossip(honest(n), 3 * HOUR, 6 * HOUR, per_s=0.03)]
    events += gossip(honest(900), 0, 6 * HOUR, per_s=0.16)
    assert alarms(incidents("addr-flooding", {"p2p:addr": events}, until=6 * HOUR)) == []


# old peers  -------------|        restart        |-------- new connections refill
#                                  ^ ^ ^ ^ ^ ^ ^ ^           8 getaddr answers of 1000
@pytest.mark.benign("addr-unsolicited-large", "addr-inflow")
def test_b01_and_b05_a_restart_with_getaddr_answers_is_silent() -> None:
    restart = 2 * HOUR
    events = background(2)
    for number in range(8):
        answer = {"flow": "received", "entries": 1000, "processed": 1000, "solicited": True}
        events.append({**honest(500 + number, "out"), **answer, "t": restart + 60 + 20 * number})
        events += gossip(honest(500 + number, "out"), restart + 90, 4 * HOUR)
    for number in range(PEERS):
        events += gossip({**honest(number), "conn": 600 + number}, restart + 30 * number, 4 * HOUR)
    started = [{"t": restart, "reason": "uptime-reset"}]
    found = incidents("addr-flooding", {"p2p:addr": events, "node:started": started}, until=4 * HOUR)
    assert alarms(found) == []


# | | | | | | |   a visitor every few seconds, who announces one address and leaves
@pytest.mark.benign("addr-beyond-limit", "addr-slow-swarm")
def test_b07_and_b08_crawlers_and_spies_are_silent() -> None:
    events = background(3)
    for number in range(1500):
        visitor = peer(2000 + number, f"162.218.65.{number % 200}")
        told = {"flow": "received", "entries": 1, "processed": 1, "unroutable": 1, "self_announced": True}
        events.append({**visitor, **told, "t": HOUR + number * 4})
    assert alarms(incidents("addr-flooding", {"p2p:addr": events}, until=3 * HOUR)) == []


# | | | | |      honest peers; one in a hundred messages relays an impossible address of a flood elsewhere
@pytest.mark.benign("addr-impossible")
def test_a_few_relayed_impossible_addresses_are_silent() -> None:
    events = [{**row, "impossible": int(int(row["t"]) % 100 == 0)} for row in background(3)]
    assert incidents("addr-flooding", {"p2p:addr": events}, until=3 * HOUR) == []


def test_what_we_send_is_no_flood() -> None:
    sent = [{**row, "flow": "sent"} for row in flood_2021("136.43.9.1", 900, HOUR)]
    assert incidents("addr-flooding", {"p2p:addr": background(2) + sent}, until=2 * HOUR) == []
