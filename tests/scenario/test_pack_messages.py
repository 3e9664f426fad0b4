"""The message pack on scripted time lines: attacks are seen in time, hard benign times raise no alert."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.incident import Incident
from tests.support.packs import HOUR, MINUTE, Rows, alarms, incidents, of_rule, opened_s, peer

pytestmark = pytest.mark.scenario

START = 30 * MINUTE
ATTACKER = peer(900, "84.141.0.17")


def honest(number: int, direction: str = "in") -> dict[str, Any]:
    """The n-th honest peer, of a netgroup and a range of its own."""
    first, second = 20 + number // 200, number % 200
    return {**peer(number, f"{first}.{second}.7.9", direction), "subnet": f"{first}.{second}.7.0/24"}


def found(events: dict[str, Rows], *, until: float = 2 * HOUR) -> list[Incident]:
    """The incidents of the pack, until a time in seconds after the start."""
    return incidents("message-anomaly", events, until=until)


def every(gap: float, start: float, end: float, who: dict[str, Any], **fields: Any) -> Rows:
    """The same event of a peer again and again, `gap` seconds apart."""
    return [{**who, "t": start + n * gap, "flow": "received", **fields} for n in range(int((end - start) / gap))]


def from_range(number: int, group: str = "137.190", third: int = 44) -> dict[str, Any]:
    """The n-th peer of a /24."""
    who = peer(1_000 + number, f"{group}.{third}.{number % 250 + 1}")
    return {**who, "subnet": f"{group}.{third}.0/24"}


def quiet_hour(peers: int = 40) -> dict[str, Rows]:
    """What honest peers do in an hour: pings, announcements, deliveries and blocks each 10 minutes."""
    events: dict[str, Rows] = {kind: [] for kind in ("p2p:ping", "p2p:inv", "p2p:getdata", "p2p:tx", "p2p:headers")}
    for n in range(peers):
        who, shift = honest(n), n * 1.7
        events["p2p:ping"] += every(120, shift, HOUR, who, has_nonce=True)
        events["p2p:inv"] += every(6, shift, HOUR, who, entries=30, tx=30)  # mainnet: five transactions a second
        events["p2p:getdata"] += every(30, shift, HOUR, {**who}, flow="sent", tx=5, entries=5)
        events["p2p:tx"] += every(6, shift, HOUR, who)
        events["p2p:headers"] += every(600, 300 + shift, HOUR, who, entries=1, solicited=False)
    return events


# all peers  . . . . . . . . . . . . . . . . .   each as often as Core does it
@pytest.mark.benign("inv-flood", "silent-listeners", "block-gap")
def test_an_hour_of_honest_peers_is_silent() -> None:
    assert found(quiet_hour(), until=HOUR) == []


# pings/s               /````\                   one peer, for a minute
@pytest.mark.parametrize("per_s", [1, 10, 100])
@pytest.mark.attack("ping-flood")
def test_a17_a_ping_flood_is_seen_within_twenty_seconds(per_s: int) -> None:
    pings = every(1 / per_s, START, START + MINUTE, ATTACKER)
    (flood,) = of_rule(found({"p2p:ping": pings}), "ping-flood")
    assert opened_s(flood) - START <= (20 if per_s == 1 else 5)
    assert "84.141.0.17" in flood.entities
    assert flood.severity == ("high" if per_s == 100 else "warning")


# pings      .  .  .  .  .  |::|  .  .  .        `ping` over RPC at all their nodes, four times within a minute
@pytest.mark.benign("ping-flood")
def test_b14_pings_by_operators_wake_nobody() -> None:
    pings: Rows = []
    for n in range(40):
        pings += every(120, n, HOUR, honest(n)) + every(15, START, START + MINUTE, honest(n))
    assert found({"p2p:ping": pings}) == []


# inv/min               /````\                   forty peers of one group flood together
def test_a_flood_by_many_peers_of_one_group_is_one_incident() -> None:
    pings = [row for n in range(40) for row in every(1, START + n, START + 5 * MINUTE, from_range(n))]
    (flood,) = of_rule(found({"p2p:ping": pings}), "ping-flood")
    assert flood.key == {"netgroup": "137.190.0.0/16"}


# inv        .........../````\.........          announcements beyond Core's own rate, small ones and large ones
@pytest.mark.parametrize(("size", "gap"), [(300, 4.0), (1_000, 10.0), (1, 0.05)])
@pytest.mark.attack("inv-flood")
def test_a16_an_inv_flood_is_seen_within_a_minute(size: int, gap: float) -> None:
    (flood,) = of_rule(
        found({"p2p:inv": every(gap, START, START + 4 * MINUTE, ATTACKER, tx=size, entries=size)}), "inv-flood"
    )
    assert opened_s(flood) - START <= MINUTE


# asked      ---------  100 requests a minute, none answered; or all answered with notfound
@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.attack("announced-not-delivered")
def test_a16_announcements_of_transactions_that_do_not_exist_are_seen(answer: bool) -> None:
    asked = every(3, START, START + 4 * MINUTE, ATTACKER, flow="sent", tx=5, entries=5)
    events = {"p2p:getdata": asked}
    if answer:
        events["p2p:notfound"] = every(3, START + 1, START + 4 * MINUTE, ATTACKER, tx=5, entries=5)
    (empty,) = of_rule(found(events), "announced-not-delivered")
    assert opened_s(empty) - START <= MINUTE
    assert "84.141.0.17" in empty.entities


# asked      .:.:.:.:.:.:                        1.4 % unanswered, as on mainnet
@pytest.mark.benign("announced-not-delivered")
def test_a_peer_that_delivers_nearly_everything_is_silent() -> None:
    asked = every(1, 0, HOUR, ATTACKER, flow="sent", tx=2, entries=2)
    given = [row for n, row in enumerate(every(0.5, 0, HOUR, ATTACKER)) if n % 70]
    seen = found({"p2p:getdata": asked, "p2p:tx": given})
    assert not of_rule(seen, "announced-not-delivered")


# headers    .     .  |||||||||||  .             one peer, nobody asked
@pytest.mark.parametrize(("gap", "entries", "limit_s"), [(30, 8, 490), (5, 8, 90), (1, 2_000, 60)])
@pytest.mark.attack("headers-spam")
def test_a18_headers_that_nobody_asked_for_are_seen(gap: float, entries: int, limit_s: float) -> None:
    spam = every(gap, START, START + 10 * MINUTE, ATTACKER, entries=entries, solicited=False)
    (incident,) = of_rule(found({"p2p:headers": spam}), "headers-spam")
    assert opened_s(incident) - START <= limit_s


# headers    |  |  ||||||||||                    ten blocks within a minute, then again; answers to our getheaders
@pytest.mark.benign("headers-spam")
def test_b03_a_burst_of_blocks_and_a_catching_up_node_are_silent() -> None:
    burst = [row for n in range(40) for row in every(6, START, START + MINUTE, honest(n), entries=1, solicited=False)]
    sync = every(1, 0, 20 * MINUTE, honest(50, "out"), entries=2_000, solicited=True)
    assert found({"p2p:headers": [*burst, *sync]}) == []


# types      x x x x x x x                       six types, one a second
@pytest.mark.parametrize("per_s", [0.2, 1, 100])
@pytest.mark.attack("unknown-messages")
def test_a17_unknown_messages_are_seen(per_s: float) -> None:
    rows = every(1 / per_s, START, START + 5 * MINUTE, ATTACKER, type="getutxos", size=40)
    (incident,) = of_rule(found({"p2p:unknown": rows}), "unknown-messages")
    assert opened_s(incident) - START <= 22 / per_s + 5


def test_one_large_unknown_message_is_enough() -> None:
    large = [{**ATTACKER, "t": START, "flow": "received", "type": "zzz", "size": 2_000_000}]
    assert of_rule(found({"p2p:unknown": large}), "unknown-messages")


@pytest.mark.benign("unknown-messages")
def test_a_new_extension_in_every_handshake_is_silent() -> None:
    new = [row for n in range(100) for row in every(1, n * 30, n * 30 + 2, honest(n), type="sendnew", size=4)]
    assert found({"p2p:unknown": new}) == []


# broken     :  :  :  :  :                       each minute a few connections of one group, each with another mistake
@pytest.mark.attack("malformed-messages")
def test_unreadable_messages_and_strikes_of_a_group_are_told_by_group() -> None:
    peers = [from_range(n, "84.141", n % 250) for n in range(60)]
    broken = [{**who, "t": START + n * 10, "flow": "received", "type": "inv"} for n, who in enumerate(peers)]
    strikes = [{**who, "t": START + n * 10, "reason": "inv message size = 60000"} for n, who in enumerate(peers[:20])]
    seen = found({"p2p:malformed": broken, "log:misbehaving": strikes})
    (unreadable,) = of_rule(seen, "malformed-messages")
    (misbehaving,) = of_rule(seen, "misbehaving-peer")
    assert opened_s(unreadable) - START <= 40
    assert unreadable.severity == "warning"
    assert unreadable.key == {"netblock": "84.141.0.0/16"}
    assert misbehaving.severity == "warning"
    assert not of_rule(seen, "misbehaving-peers"), "one group is no spread"


# errors     .       .    .        .             scanners of many networks, one each
@pytest.mark.benign("malformed-messages", "misbehaving-peers")
def test_single_errors_of_scanners_are_silent_and_a_single_strike_wakes_nobody() -> None:
    errors = [{**honest(n), "t": n * 300, "reason": "magic"} for n in range(24)]
    assert found({"log:protocol_error": errors}) == []
    strike = [{**honest(3), "t": START, "reason": "headers message size = 2001"}]
    told = found({"log:misbehaving": strike})
    opened = sorted((one.rule, one.severity) for one in told)  # both in one pane
    assert opened == [("misbehaving-peer", "info"), ("oversized-messages", "info")]


# messages  . . 60,000 entries, 5 MB . .         one fact in two sources is one message
@pytest.mark.parametrize(("messages", "severity"), [(1, "info"), (3, "warning"), (100, "high")])
def test_oversized_messages_are_told_as_such_once_for_each(messages: int, severity: str) -> None:
    peers = [peer(700 + n, f"84.141.{n}.7") for n in range(messages)]
    wire = [
        {**who, "t": START + n, "flow": "received", "type": "inv", "reason": "over-limit"}
        for n, who in enumerate(peers)
    ]
    logged = [{**who, "t": START + n, "reason": "inv message size = 60000"} for n, who in enumerate(peers)]
    (many,) = of_rule(found({"p2p:malformed": wire, "log:misbehaving": logged}), "oversized-messages")
    assert many.severity == severity
    assert many.peak["oversized"] == messages
    header = [{**who, "t": START + n, "reason": "oversized"} for n, who in enumerate(peers)]
    (heavy,) = of_rule(found({"log:protocol_error": header}), "oversized-messages")
    assert heavy.peak["bytes_in_log"] == messages


def test_other_errors_are_not_called_oversized() -> None:
    rows = [{**peer(700 + n, f"84.141.{n}.7"), "t": START + n, "flow": "received", "type": "inv"} for n in range(9)]
    errors = [{**row, "reason": reason} for row, reason in zip(rows, ("magic", "checksum", "parse") * 3, strict=True)]
    strikes = [{**row, "reason": "mutated block"} for row in rows]
    short = [{**row, "reason": "truncated"} for row in rows]
    sent = [{**row, "reason": "over-limit", "flow": "sent"} for row in rows]
    events = {"log:protocol_error": errors, "log:misbehaving": strikes, "p2p:malformed": [*short, *sent]}
    assert of_rule(found(events), "oversized-messages") == []


@pytest.mark.attack("misbehaving-peers")
def test_mutated_blocks_are_critical_and_strikes_of_many_groups_are_one_incident() -> None:
    mutated = [{**ATTACKER, "t": START + n, "reason": "mutated block"} for n in range(2)]
    (incident,) = of_rule(found({"net:misbehaving_connection": mutated}), "misbehaving-peer")
    assert incident.severity == "critical"
    strikes = [{**honest(n), "t": START + n * 60, "reason": "headers message size = 2001"} for n in range(8)]
    (many,) = of_rule(found({"log:misbehaving": strikes}), "misbehaving-peers")
    assert many.severity == "warning"


# getaddr    ::  ::  ::  ::                      one range, connect, ask, leave
@pytest.mark.parametrize(("gap", "repeats", "severity"), [(10, 3, "warning"), (60, 1, "info"), (90, 2, "info")])
@pytest.mark.attack("getaddr-scraping")
def test_scraping_of_addresses_is_told_by_range(gap: int, repeats: int, severity: str) -> None:
    asked = [
        {**from_range(n), "t": START + n * gap + again, "flow": "received", "repeat": again + 1}
        for n in range(600 // gap)
        for again in range(repeats)
    ]
    (scrape,) = of_rule(found({"p2p:getaddr": asked}), "getaddr-scraping")
    assert scrape.severity == severity
    assert scrape.entities[0] == "137.190.44.0/24"


# getaddr    . . . . . . . . . .                 25 a minute from 140 addresses in 7 ranges, once each connection
@pytest.mark.benign("getaddr-surge", "connection-churn", "connection-surge")
def test_b07_crawlers_wake_nobody() -> None:
    asked: Rows = []
    opened: Rows = []
    for n in range(140):
        for visit in range(20):
            who = {**from_range(n % 20, "52.30", n // 20), "conn": n * 100 + visit}
            opened.append({**who, "t": n * 2.4 + visit * 340})
            asked.append({**who, "t": n * 2.4 + visit * 340 + 1, "flow": "received", "repeat": 1})
    seen = found({"net:inbound_connection": opened, "p2p:getaddr": asked})
    assert alarms(seen) == []


def listening(ranges: int, gap: float, count: int, relay: bool = True) -> Rows:
    """Connections that ask for announcements, from a few ranges in turn."""
    said = {"flow": "received", "relay": relay}
    return [{**from_range(n, "110.19", n % ranges), "t": START + n * gap, **said} for n in range(count)]


# version    | | | | | | |                       connections from four ranges, and nothing after that
@pytest.mark.parametrize(("gap", "severity"), [(9, "warning"), (23, "info"), (40, "info")])
@pytest.mark.attack("silent-listeners")
def test_listeners_are_told_by_range_and_only_many_wake_somebody(gap: float, severity: str) -> None:
    seen = found({"p2p:version": listening(4, gap, 60)})
    assert {one.severity for one in of_rule(seen, "silent-listeners")} == {severity}
    assert {one.entities[0] for one in seen} == {f"110.19.{n}.0/24" for n in range(4)}


def test_peers_of_one_range_that_ask_and_peers_that_want_no_transactions_are_no_listeners() -> None:
    busy = listening(1, 20, 60)
    asks = [{**row, "t": row["t"] + 5, "tx": 2} for row in busy]
    assert found({"p2p:version": busy, "p2p:getdata": asks}) == []
    assert found({"p2p:version": listening(1, 20, 60, relay=False)}) == []


def test_known_spy_ranges_are_context_only() -> None:
    spies = [{**from_range(n, "162.218", 65), "t": n * 23, "flow": "received", "relay": True} for n in range(100)]
    seen = found({"p2p:version": spies, "net:inbound_connection": spies})
    assert [one.rule for one in seen if one.rule != "connection-churn"] == ["known-spy-range"]
    assert alarms(seen) == []


# accepted/min          /````````\               40, 200, 1,000; one AS, four groups
@pytest.mark.parametrize(("per_minute", "severity"), [(40, "warning"), (200, "warning"), (1_000, "high")])
@pytest.mark.attack("connection-churn")
def test_a08_churn_is_seen_within_two_minutes(per_minute: int, severity: str) -> None:
    opened = [
        {**from_range(n, f"219.{n % 4}", n % 250), "t": START + n * 60 / per_minute} for n in range(per_minute * 5)
    ]
    churn = of_rule(found({"log:connection_accepted": opened}), "connection-churn")
    assert {one.severity for one in churn} == {severity}
    assert {one.entities[0] for one in churn} == {f"219.{n}.0.0/16" for n in range(4)}
    assert max(opened_s(one) for one in churn) - START <= 2 * MINUTE


@pytest.mark.attack("connection-surge")
def test_churn_from_very_many_groups_is_one_surge_and_both_sources_count_once() -> None:
    opened = [{**peer(n, f"{30 + n % 100}.9.{n % 250}.7"), "t": START + n * 1.5} for n in range(500)]
    (surge,) = found({"log:connection_accepted": opened, "net:inbound_connection": opened})
    assert (surge.rule, surge.severity) == ("connection-surge", "warning")
    assert surge.measures["opened"] <= 401


# accepted   . . |||||||||||||  .                forty peers come back within a minute, then 5.5 a minute
@pytest.mark.benign("connection-surge", "getaddr-scraping", "getaddr-surge")
def test_b01_peers_that_come_back_after_a_restart_are_silent() -> None:
    back = [{**honest(n), "t": MINUTE + n * 1.5} for n in range(40)]
    visits = [{**honest(100 + n), "t": 5 * MINUTE + n * 11} for n in range(300)]
    opened = [*back, *visits]
    asked = [{**row, "t": row["t"] + 1, "flow": "received", "repeat": 1} for row in opened]
    assert found({"log:connection_accepted": opened, "p2p:getaddr": asked}) == []


def blocks_and_txs(gaps: list[float]) -> dict[str, Rows]:
    """Blocks with these minutes between them, as a capture names and relays them; a transaction each 10 s all the time.

    The last gap is not ended by a block.
    """
    at, named = 0.0, []
    for gap in gaps[:-1]:
        at += gap * MINUTE
        named += [{**honest(n, "out"), "t": at + n, "flow": flow} for n, flow in enumerate(("received", "sent"))]
    end = at + gaps[-1] * MINUTE
    looks = [{"t": now} for now in range(0, int(end), 180)]
    return {"p2p:new_block": named, "chain:block_age": looks, "p2p:tx": every(10, 0, end, honest(1, "out"))}


# blocks     | | |                               no more of them, transactions continue
@pytest.mark.attack("block-gap", "blocks-stalled")
def test_a11_blocks_that_stay_away_are_info_after_an_hour_and_wake_after_ninety_minutes() -> None:
    events = blocks_and_txs([10, 10, 10, 150])
    seen = found(events, until=175 * MINUTE)
    (gap,), (stalled,) = of_rule(seen, "block-gap"), of_rule(seen, "blocks-stalled")
    assert 60 * MINUTE <= opened_s(gap) - 30 * MINUTE <= 64 * MINUTE
    assert 90 * MINUTE <= opened_s(stalled) - 30 * MINUTE <= 94 * MINUTE
    assert (gap.severity, stalled.severity) == ("info", "warning")
    assert stalled.entities, "names peers that send other messages"


# blocks     |  |    |            |  |           55 minutes; 75 minutes: rare, but chance
@pytest.mark.benign("blocks-stalled")
def test_b10_long_natural_gaps_wake_nobody() -> None:
    assert found(blocks_and_txs([10, 55, 10, 20]), until=95 * MINUTE) == []
    seen = found(blocks_and_txs([10, 75, 10, 30]), until=125 * MINUTE)
    assert [one.rule for one in seen] == ["block-gap"]
    assert seen[0].resolved_ns is not None


def test_a_node_that_hears_nothing_at_all_or_was_restarted_is_no_stall() -> None:
    events = blocks_and_txs([10, 0])
    assert found(events, until=3 * HOUR) == []
    events = blocks_and_txs([10, 95])
    events["node:started"] = [{"t": 50 * MINUTE, "reason": "log-start"}]
    assert found(events, until=108 * MINUTE) == []
