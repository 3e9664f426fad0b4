"""State rows, peers come and gone, and restarts: hand-made polls in, events out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.snapshot_polls import START, Json, Poll, peer, poll, read, restart_polls
from watchdog.core.prefix import prefix_texts

# ---- state ----


def test_a_peer_row_says_what_getpeerinfo_says(tmp_path: Path) -> None:
    one = peer(
        7, "[2a01:4f8:1::5]:8333", START - 90, services="0000000000000409", pingtime=0.25, subver="/S:30/",
        last_block=0, inflight=[1, 2], permissions=["relay", "noban"], transport_protocol_type="v2", synced_headers=9,
    )  # fmt: skip
    (row,) = read(tmp_path, [poll(START, "getpeerinfo", [one])], "rpc:peer")
    assert row["conn"] == 7
    assert row["peer_addr"] == "2a01:4f8:1::5"
    assert row["peer"] == "[2a01:4f8:1::5]:8333"
    assert prefix_texts([row["netgroup"], row["subnet"]]) == ["2a01:4f8::/32", "2a01:4f8:1::/48"]
    assert (row["age_s"], row["services"], row["ping_us"], row["min_ping_us"]) == (90, 0x409, 250_000, -1)
    assert (row["permissions"], row["inflight"], row["transport"]) == ("relay,noban", 2, "v2")
    assert (row["last_block_age_s"], row["direction_total"], row["interval_s"]) == (-1, 1, 0)


def test_an_onion_peer_from_localhost_keeps_the_network_the_node_names(tmp_path: Path) -> None:
    one = peer(1, "127.0.0.1:4000", START, "inbound", network="onion")
    (row,) = read(tmp_path, [poll(START, "getpeerinfo", [one])], "rpc:peer")
    assert row["network"] == "onion"
    assert prefix_texts([row["netgroup"]]) == ["local"]


def test_the_summary_counts_slots_groups_and_ages(tmp_path: Path) -> None:
    peers = [
        peer(0, "1.2.0.1:8333", START - 600),
        peer(1, "1.2.9.1:8333", START - 30),
        peer(2, "3.4.0.1:8333", START - 600, "block-relay-only"),
        peer(3, "5.5.0.1:8333", START, "feeler"),
        peer(4, "6.6.0.1:8333", START, "private-broadcast"),
        peer(5, "7.7.0.1:50000", START - 4000, "inbound"),
        peer(6, "7.7.0.2:50000", START - 10, "inbound"),
    ]
    (row,) = read(tmp_path, [poll(START, "getpeerinfo", peers), poll(START, "uptime", 5000)], "rpc:peers")
    assert (row["outbound_full"], row["outbound_block"], row["feeler"], row["other"], row["inbound"]) == (2, 1, 1, 1, 2)
    assert (row["outbound"], row["outbound_established"], row["outbound_netgroups"]) == (3, 2, 2)
    assert (row["outbound_top_netgroup"], row["inbound_top_netgroup"], row["inbound_old"]) == (2, 2, 1)
    assert (row["outbound_top_asn"], row["uptime_s"]) == (0, 5000)


def test_an_interval_is_capped_at_three_usual_ones(tmp_path: Path) -> None:
    times = [START, START + 60, START + 120, START + 180, START + 4000]
    one = peer(1, "1.2.3.4:8333", START)
    rows = read(tmp_path, [poll(time, "getpeerinfo", [one]) for time in times], "rpc:peer")
    assert [row["interval_s"] for row in rows] == [0, 60, 60, 60, 180]


def test_the_small_rpcs_become_rows_with_our_units(tmp_path: Path) -> None:
    sizes = {"ipv4": {"new": 3, "tried": 1, "total": 4}, "all_networks": {"new": 3, "tried": 1}}
    mempool = {"size": 2, "bytes": 300, "usage": 900, "maxmempool": 1000, "mempoolminfee": 1e-05, "loaded": True}
    network = {"connections": 5, "connections_in": 3, "connections_out": 2, "timeoffset": -4, "version": 300000}
    polls = [
        poll(START, "getaddrmaninfo", sizes),
        poll(START, "getmempoolinfo", mempool),
        poll(START, "getnetworkinfo", network),
        poll(START, "uptime", 77),
    ]
    events = {(event["kind"], event.get("network")): event for event in read(tmp_path, polls)}
    assert events["rpc:addrman", "all"]["total"] == 4
    assert events["rpc:addrman", "ipv4"]["tried"] == 1
    assert events["rpc:mempool", None]["min_fee_sat_kvb"] == 1000
    assert events["rpc:mempool", None]["loaded"]
    assert events["rpc:network", None]["time_offset_s"] == -4
    assert events["rpc:network", None]["network_active"]
    assert events["rpc:uptime", None]["uptime_s"] == 77
    assert events["rpc:uptime", None]["boot_ns"] == (START - 77) * 10**9


def test_a_tip_ages_from_when_it_was_seen_or_made(tmp_path: Path) -> None:
    def at(time: int, height: int, made: int) -> Poll:
        return poll(
            time, "getblockchaininfo", {"blocks": height, "headers": height, "time": made, "warnings": ["a", "b"]}
        )

    polls = [at(START, 10, START - 500), at(START + 60, 10, START - 500), at(START + 120, 12, START + 9999)]
    events = read(tmp_path, polls, "rpc:chain", "chain:tip")
    rows = [event for event in events if event["kind"] == "rpc:chain"]
    assert [row["tip_age_s"] for row in rows] == [500, 560, 0]
    assert [row["tip_seen_s"] for row in rows] == [500, 560, 0]
    assert rows[0]["warnings"] == "a; b"
    (tip,) = [event for event in events if event["kind"] == "chain:tip"]
    assert (tip["height"], tip["interval_s"]) == (12, 620)


def test_a_block_of_the_future_is_no_younger_than_our_sight_of_it(tmp_path: Path) -> None:
    def at(time: int, height: int, made: int) -> Poll:
        return poll(time, "getblockchaininfo", {"blocks": height, "headers": height, "time": made})

    stamps = [(10, START - 500), (11, START + 7200), (11, START + 7200), (11, START + 7200), (11, START + 900)]
    polls = [at(START + 3600 * hour, height, made) for hour, (height, made) in enumerate(stamps)]
    rows = read(tmp_path, polls, "rpc:chain")
    assert [row["tip_age_s"] for row in rows] == [500, 0, 3600, 7200, 0], "the last replaced one of its height"
    assert [row["tip_seen_s"] for row in rows] == [500, 0, 3600, 7200, 10800]


# ---- peers come and gone ----


def test_peers_come_and_go_by_id_and_the_first_poll_is_the_baseline(tmp_path: Path) -> None:
    first = [peer(0, "1.1.1.1:8333", START - 500, "inbound"), peer(1, "2.2.2.2:8333", START - 500, "inbound")]
    second = [first[0], peer(2, "3.3.3.3:8333", START + 10, "inbound", subver="/x/")]
    polls = [poll(START, "getpeerinfo", first), poll(START + 60, "getpeerinfo", second)]
    events = read(tmp_path, polls, "peer:connected", "peer:disconnected")
    assert [(event["kind"], event["conn"]) for event in events] == [("peer:connected", 2), ("peer:disconnected", 1)]
    assert events[0]["user_agent"] == "/x/"
    assert events[0]["age_s"] == 50
    assert events[1]["lived_s"] == 500


def outbound_story(tmp_path: Path, *rounds: list[dict[str, Json]]) -> list[tuple[str, int, str]]:
    polls = [poll(START + 60 * step, "getpeerinfo", peers) for step, peers in enumerate(rounds)]
    events = read(tmp_path, polls, "peer:outbound_replaced", "peer:outbound_lost")
    return [
        (event["kind"].removeprefix("peer:outbound_"), event["conn"], event.get("lost_peer", "")) for event in events
    ]


def test_an_outbound_peer_is_replaced_when_the_new_one_is_established(tmp_path: Path) -> None:
    old, new = peer(0, "1.1.1.1:8333", START - 500), peer(9, "2.2.2.2:8333", START + 70)
    story = outbound_story(tmp_path, [old], [], [new], [new])
    assert story == [("lost", 0, ""), ("replaced", 9, "1.1.1.1:8333")]


def test_a_probe_that_leaves_soon_replaces_nobody(tmp_path: Path) -> None:
    old, probe = (
        peer(0, "1.1.1.1:8333", START - 500, "block-relay-only"),
        peer(5, "2.2.2.2:8333", START + 50, "block-relay-only"),
    )
    assert outbound_story(tmp_path, [old], [probe], [], []) == [("lost", 0, "")]


def test_young_peers_feelers_and_inbound_peers_are_no_loss(tmp_path: Path) -> None:
    peers = [
        peer(0, "1.1.1.1:8333", START - 60),
        peer(1, "1.2.1.1:8333", START - 900, "feeler"),
        peer(2, "1.3.1.1:8333", START - 900, "inbound"),
        peer(3, "1.4.1.1:8333", START - 900, "manual"),
    ]
    assert outbound_story(tmp_path, peers, []) == []


def test_a_peer_of_another_type_does_not_take_the_slot(tmp_path: Path) -> None:
    old, new = peer(0, "1.1.1.1:8333", START - 500), peer(9, "2.2.2.2:8333", START - 100, "block-relay-only")
    assert outbound_story(tmp_path, [old], [new], [new]) == [("lost", 0, "")]


def test_filling_empty_slots_replaces_nobody(tmp_path: Path) -> None:
    peers = [peer(number, f"{number + 1}.1.1.1:8333", START - 100 + 60 * number) for number in range(6)]
    rounds = [peers[: step + 1] for step in range(6)]
    assert outbound_story(tmp_path, *rounds, peers[1:], peers[1:]) == [("lost", 0, "")]


def test_an_extra_peer_that_came_first_takes_the_slot_that_is_left_later(tmp_path: Path) -> None:
    full = [peer(number, f"{number + 1}.1.1.1:8333", START - 900) for number in range(8)]
    extra = peer(20, "50.1.1.1:8333", START + 1)
    story = outbound_story(tmp_path, full, [*full, extra], [*full, extra], [*full[1:], extra])
    assert story == [("lost", 0, ""), ("replaced", 20, "1.1.1.1:8333")]


# ---- restarts ----


@pytest.mark.parametrize("uptimes", [True, False])
def test_a_restart_is_one_event_and_no_burst_of_disconnects(tmp_path: Path, uptimes: bool) -> None:
    events = read(tmp_path, restart_polls(uptimes))
    counts = Counter(event["kind"] for event in events)
    assert counts["node:started"] == 1
    assert not {"peer:disconnected", "peer:connected", "peer:outbound_lost", "peer:outbound_replaced"} & set(counts)
    (started,) = [event for event in events if event["kind"] == "node:started"]
    assert (started["reason"], started["version"]) == ("uptime-reset", "/Satoshi:30.0.0/")
    boots = sorted({event["boot_ns"] for event in events if event["kind"] == "rpc:peer"})
    assert boots == ([(START - 1000) * 10**9, (START + 95) * 10**9] if uptimes else [0, (START + 120) * 10**9])


def test_counters_that_a_restart_reset_give_no_negative_deltas(tmp_path: Path) -> None:
    rows = read(tmp_path, restart_polls(), "rpc:nettotals")
    assert [(row["received_delta"], row["sent_delta"]) for row in rows] == [(0, 0), (1000, 100), (250, 40)]


def test_a_restart_is_seen_though_uptime_is_longer_than_before(tmp_path: Path) -> None:
    polls = [poll(START, "uptime", 5), poll(START + 3600, "uptime", 600)]
    assert len(read(tmp_path, polls, "node:started")) == 1


def test_uptime_that_jitters_by_a_second_keeps_the_same_start(tmp_path: Path) -> None:
    polls = [poll(START + 60 * step, "uptime", 1000 + 60 * step + step % 2) for step in range(8)]
    events = read(tmp_path, polls)
    assert {event["boot_ns"] for event in events} == {(START - 1000) * 10**9}
    assert {event["kind"] for event in events} == {"rpc:uptime"}


def test_a_mock_clock_that_runs_fast_is_no_restart(tmp_path: Path) -> None:
    polls: list[Poll] = []
    for step in range(5):
        polls.append(poll(START + 60 * step, "getnettotals", {"timemillis": (START + step) * 1000}))
        polls.append(poll(START + 60 * step, "uptime", 3 + step))
    assert read(tmp_path, polls, "node:started") == []


def test_a_clock_step_is_no_restart_while_a_connection_lives_on(tmp_path: Path) -> None:
    one = [peer(3, "1.1.1.1:8333", START - 50)]
    polls = [
        poll(START, "getpeerinfo", one),
        poll(START, "uptime", 100),
        poll(START + 900, "getpeerinfo", one),
        poll(START + 900, "uptime", 160),
    ]
    assert [event["kind"] for event in read(tmp_path, polls)].count("node:started") == 0
