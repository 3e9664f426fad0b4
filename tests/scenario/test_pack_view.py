"""The pack of views on scripted time lines: what an eclipsed node sees, what a healthy one sees, what passes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from alerts.incident import Incident
from tests.support.packs import HOUR, MINUTE, Rows, alarms, honest, incidents, of_rule, opened_s, peer

pytestmark = pytest.mark.scenario

START = 3 * HOUR
SYNCED = {"chain": "main", "ibd": False}


def found(events: dict[str, Rows], *, until: float = 6 * HOUR) -> list[Incident]:
    """The incidents of the pack, until a time in seconds after the start."""
    return incidents("eclipse-view", events, until=until)


def ages(old: Callable[[float], int], inbound: Callable[[float], int] = lambda _: 60, uptime: int = 500_000) -> Rows:
    """Polls each 30 s of six hours: inbound peers, and those older than an hour."""
    return [
        {"t": now, "inbound": inbound(now), "inbound_old": old(now), "uptime_s": uptime + now}
        for now in range(0, 6 * HOUR, 30)
    ]


# inbound    60 60 60 60 60                      the slots stay full
# old        48 48 40 24 10                      honest ones are evicted, one after the other
@pytest.mark.parametrize(("left", "severity"), [(20, "warning"), (6, "high")])
@pytest.mark.attack("inbound-old-lost")
def test_a07_old_peers_that_are_evicted_are_seen(left: int, severity: str) -> None:
    (lost,) = found({"rpc:peers": ages(lambda now: max(left, 48 - max(0, int(now - START) // 120)))})
    assert (lost.rule, lost.severity) == ("inbound-old-lost", severity)
    assert opened_s(lost) - START <= 50 * MINUTE


# inbound    60 60  0 .. 60 60                   a restart, an outage of ten minutes, a release day
def _outage(now: float) -> int:
    return 0 if START <= now < START + 10 * MINUTE else 60


@pytest.mark.parametrize(
    ("old", "inbound"),
    [
        (lambda now: 0 if START <= now < START + HOUR else 48, _outage),
        (lambda now: 48 if now < START else 40 + int(now) % 5, lambda now: 60 - int(now / 60) % 7),
        (lambda now: 14 if now < START else 5, lambda _: 60),
    ],
)
@pytest.mark.benign("inbound-old-lost")
def test_an_outage_a_release_day_and_a_few_old_peers_are_silent(
    old: Callable[[float], int], inbound: Callable[[float], int]
) -> None:
    assert found({"rpc:peers": ages(old, inbound)}) == []


@pytest.mark.benign("inbound-old-lost")
def test_peers_of_before_a_restart_do_not_count() -> None:
    rows = ages(lambda now: 48 if now < START else 0, uptime=0)
    restarted_rows = [{**row, "uptime_s": row["t"] - START} if row["t"] >= START else row for row in rows]
    assert found({"rpc:peers": restarted_rows}) == []


# old        48 46 44 42 ..                      one in ten minutes
@pytest.mark.evasion("inbound-old-lost")
def test_a_slow_loss_of_old_peers_passes() -> None:
    assert found({"rpc:peers": ages(lambda now: 60 - int(now / 600))}) == []


def views(known: Callable[[float, int], int], *, tip: Callable[[float], int], **fields: Any) -> dict[str, Rows]:
    """Polls each 30 s of six hours: the node's tip, and the last header that each of ten outbound peers named."""
    times = range(0, 6 * HOUR, 30)
    peers = [honest(n, "out") for n in range(10)]
    return {
        "rpc:chain": [{"t": now, "blocks": tip(now), **SYNCED, **fields} for now in times],
        "rpc:peer": [
            {**who, "t": now, "age_s": 5_000, "synced_headers": known(now, n), "last_tx_age_s": 3}
            for now in times
            for n, who in enumerate(peers)
        ],
    }


def tip(now: float) -> int:
    """A block in ten minutes."""
    return 900_000 + int(now / 600)


# tip        +1 +1 +1 +1                         from inbound peers
# outbound   .  .                                silent from START on
@pytest.mark.attack("outbound-view-behind")
def test_blocks_that_no_outbound_peer_names_are_seen() -> None:
    frozen = views(lambda now, _: tip(min(now, START)), tip=tip)
    (behind,) = of_rule(found(frozen), "outbound-view-behind")
    assert opened_s(behind) - START <= 35 * MINUTE
    assert behind.severity == "high"


# outbound   |  |  |                             one of them names each block, a minute late
@pytest.mark.benign("outbound-view-behind")
@pytest.mark.evasion("outbound-view-behind")
def test_one_outbound_peer_that_names_each_block_is_enough() -> None:
    assert found(views(lambda now, n: tip(max(now - 60, 0)) if n == 3 else 899_990, tip=tip)) == []


# polls      |  |  |                 |  |        RPC is gone just when two blocks came that are not announced yet
@pytest.mark.parametrize("back", [4 * HOUR, 8 * HOUR])
@pytest.mark.benign("outbound-view-behind")
def test_polls_that_end_while_two_blocks_are_new_prove_nothing(back: float) -> None:
    def seen(now: float) -> int:
        return tip(now) + (2 if START - 60 <= now <= START else 0)

    rows = {
        kind: [row for row in rows if not START < row["t"] < back]
        for kind, rows in views(lambda now, _: tip(now), tip=seen).items()
    }
    assert found(rows) == []


def test_a_node_that_synchronises_or_has_just_started_is_silent() -> None:
    fast = views(lambda now, _: tip(now) - 20, tip=tip, ibd=True)
    assert found(fast) == []
    unknown = views(lambda now, _: -1, tip=tip)
    assert found(unknown) == []


def arrivals(delay_s: Callable[[int], float], *, hours: float = 6, seed: int = 3) -> Rows:
    """Blocks of a Poisson process, each named by another of ten peers after a delay."""
    dice, now = random.Random(seed), 0.0
    rows: Rows = []
    while now < hours * HOUR:
        late = delay_s(len(rows))
        rows.append(
            {**honest(dice.randrange(10), "out"), "t": now + late, "flow": "received", "stamp_age_s": int(late)}
        )
        now += dice.expovariate(1 / 600)
    return [row for row in rows if row["t"] < hours * HOUR]


# made       |  |  |  |  |
# arrives        |  |  |  |                      each 20 minutes later
@pytest.mark.parametrize("minutes", [11, 20, 40])
@pytest.mark.attack("blocks-delayed")
def test_a12_delayed_blocks_are_seen(minutes: int) -> None:
    (delayed, *_) = of_rule(found({"p2p:new_block": arrivals(lambda _: minutes * 60)}), "blocks-delayed")
    assert delayed.severity == ("high" if minutes >= 30 else "warning")
    assert opened_s(delayed) <= (minutes + 90) * MINUTE


# arrives    |  |  |     ||||||                  the node was off for two hours; a miner's clock is behind
@pytest.mark.benign("blocks-delayed")
def test_blocks_after_an_outage_and_one_slow_clock_are_silent() -> None:
    dice = random.Random(5)
    honestly = arrivals(lambda n: 700 if n % 5 == 0 else dice.uniform(1, 60))
    caught_up = [
        {**honest(n, "out"), "t": 4 * HOUR + n, "flow": "received", "stamp_age_s": 6_000 - n * 600} for n in range(9)
    ]
    rest = [row for row in honestly if not 2 * HOUR <= row["t"] <= 4 * HOUR + 60]
    assert found({"p2p:new_block": [*rest, *caught_up]}) == []


# arrives    |  |  |  |                          nine minutes late
@pytest.mark.evasion("blocks-delayed")
def test_nine_minutes_pass() -> None:
    assert found({"p2p:new_block": arrivals(lambda _: 540)}) == []


def heights(mean_s: Callable[[float], float], *, chain: str = "main", days: int = 2, seed: int = 1) -> Rows:
    """Polls each five minutes of a chain whose blocks are a Poisson process."""
    dice, rows, height, due = random.Random(seed), [], 900_000, 0.0
    for now in range(0, days * 24 * HOUR, 5 * MINUTE):
        while due <= now:
            due, height = due + dice.expovariate(1 / mean_s(due)), height + 1
        rows.append({"t": now, "blocks": height, "chain": chain, "ibd": False})
    return rows


# blocks     ||||||||||| |     |     |           from DAY on an eighth of the hash rate, a fifteenth
@pytest.mark.parametrize("times", [8, 15])
@pytest.mark.attack("blocks-too-slow")
def test_a13_a_chain_of_little_hash_rate_is_seen(times: int) -> None:
    slow = heights(lambda now: 600 * times if now > 24 * HOUR else 600)
    (first, *_) = found({"rpc:chain": slow}, until=48 * HOUR)
    assert first.rule == "blocks-too-slow"
    assert 24 * HOUR < opened_s(first) <= 28.5 * HOUR


# blocks     ||||||||                            ten days of honest blocks
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.benign("blocks-too-slow")
def test_honest_blocks_are_silent_for_ten_days(seed: int) -> None:
    assert found({"rpc:chain": heights(lambda _: 600, days=10, seed=seed)}, until=10 * 24 * HOUR) == []


def test_a_test_network_is_not_judged() -> None:
    assert found({"rpc:chain": heights(lambda _: 6_000, chain="signet")}, until=48 * HOUR) == []


# blocks     | | | | | |                         half of the hash rate
@pytest.mark.evasion("blocks-too-slow")
def test_half_of_the_hash_rate_passes() -> None:
    assert found({"rpc:chain": heights(lambda _: 1_200)}, until=48 * HOUR) == []


def firsts(share: float, who: list[dict[str, Any]]) -> Rows:
    """New blocks each eight minutes; a share of them named first by one of `who`, the rest by twenty others."""
    dice = random.Random(2)
    return [
        {
            **(who[n % len(who)] if dice.random() < share else honest(dice.randrange(20), "out")),
            "t": n * 480,
            "flow": "received",
            "stamp_age_s": 12,
        }
        for n in range(60)
    ]


# first      A A A b A A                         one netblock names nine of ten
@pytest.mark.attack("first-announcer-alone")
def test_one_netblock_that_names_all_blocks_is_told_as_context() -> None:
    (alone,) = found(
        {"p2p:new_block": firsts(0.9, [peer(900, "84.141.0.17"), peer(901, "84.141.3.5")])}, until=8 * HOUR
    )
    assert (alone.rule, alone.severity) == ("first-announcer-alone", "info")


# first      a b a c b a                         one fast peer names a third
@pytest.mark.benign("first-announcer-alone")
def test_a_fast_peer_is_silent() -> None:
    assert found({"p2p:new_block": firsts(0.4, [peer(900, "84.141.0.17")])}, until=8 * HOUR) == []


# first      A B A B A B                         two netblocks take turns
@pytest.mark.evasion("first-announcer-alone")
def test_two_netblocks_that_take_turns_pass() -> None:
    who = [peer(900, "84.141.0.17"), peer(901, "85.141.0.17")]
    assert found({"p2p:new_block": firsts(0.9, who)}, until=8 * HOUR) == []


def traffic(per_minute: Callable[[float], float], *, hours: float = 12, pings: bool = True, blocks: float = 0) -> Rows:
    """Messages of 10 outbound peers: transactions at a rate, a ping in two minutes, blocks a minute after START."""
    dice, rows = random.Random(4), []
    for minute in range(int(hours * 60)):
        now = minute * MINUTE
        mean = per_minute(now)
        count = max(0, round(dice.gauss(mean, mean**0.5)))
        tx = {"type": "tx", "size": 300}
        rows += [{**honest(n % 10, "out"), "t": now + dice.random() * 60, **tx} for n in range(count)]
        if pings and minute % 2 == 0:
            rows += [{**honest(n, "out"), "t": now + n, "type": "ping", "size": 8} for n in range(10)]
        if now >= START * 2:
            rows += [{**honest(1, "out"), "t": now + n, "type": "block", "size": 10**6} for n in range(int(blocks))]
    return rows


# tx         ::::::::........                    forty a minute, then one in two minutes; pings are answered
@pytest.mark.attack("transactions-starved")
def test_transactions_that_stop_are_seen() -> None:
    (starved,) = found({"net:inbound_message": traffic(lambda now: 40 if now < 6 * HOUR else 0.5)}, until=12 * HOUR)
    assert starved.rule == "transactions-starved"
    assert 6 * HOUR < opened_s(starved) <= 6.5 * HOUR


# tx         ::::::::....                        the line is down; the node synchronises; a quiet night; a surge is over
@pytest.mark.parametrize(
    ("rate", "pings", "blocks"),
    [
        (lambda now: 40 if now < 6 * HOUR else 0, False, 0),
        (lambda now: 40 if now < 6 * HOUR else 0, True, 10),
        (lambda now: 40 if now < 6 * HOUR else 12, True, 0),
        (lambda now: 400 if 5 * HOUR < now < 8 * HOUR else 40, True, 0),
    ],
)
@pytest.mark.benign("transactions-starved")
def test_a_dead_line_a_synchronisation_a_quiet_night_and_a_surge_are_silent(
    rate: Callable[[float], float], pings: bool, blocks: float
) -> None:
    rows = traffic(rate, blocks=blocks)
    if not pings:
        rows = [row for row in rows if row["t"] < 6 * HOUR]
    assert found({"net:inbound_message": rows}, until=12 * HOUR) == []


# tx         ::::::::....                        a tenth is passed on
@pytest.mark.evasion("transactions-starved")
def test_a_tenth_of_the_transactions_passes() -> None:
    assert found({"net:inbound_message": traffic(lambda now: 40 if now < 6 * HOUR else 4)}, until=12 * HOUR) == []


def givers(
    last_s: Callable[[float], int], *, peers: int = 10, chain: str = "main", ibd: bool = False
) -> dict[str, Rows]:
    """Polls each 30 s: seconds since each peer gave a transaction."""
    times = range(0, 5 * HOUR, 30)
    return {
        "rpc:chain": [{"t": now, "blocks": tip(now), "chain": chain, "ibd": ibd} for now in times],
        "rpc:peer": [
            {**honest(n, "out"), "t": now, "last_tx_age_s": last_s(now) + n} for now in times for n in range(peers)
        ],
    }


def starving(now: float) -> int:
    return 4 if now < START else int(now - START) + 4


# last tx    4 s 4 s 64 s 124 s ..               of the peer that gave one last
@pytest.mark.attack("transactions-starved-polled")
def test_transactions_that_stop_are_seen_in_polls() -> None:
    (starved,) = found(givers(starving), until=5 * HOUR)
    assert starved.rule == "transactions-starved-polled"
    assert opened_s(starved) - START <= 14 * MINUTE


@pytest.mark.parametrize(
    "rows",
    [
        givers(lambda now: 200),
        givers(starving, chain="regtest"),
        givers(starving, ibd=True),
        givers(lambda _: -1_000),
        givers(starving, peers=5),
    ],
)
@pytest.mark.benign("transactions-starved-polled")
def test_slow_peers_test_networks_synchronisation_and_blocks_only_are_silent(rows: dict[str, Rows]) -> None:
    assert found(rows, until=5 * HOUR) == []


# last tx    0 540 0 540                         the attacker's own transaction each nine minutes
@pytest.mark.evasion("transactions-starved-polled")
def test_one_transaction_in_nine_minutes_passes() -> None:
    assert found(givers(lambda now: int(now) % 540), until=5 * HOUR) == []


def shaken(offset_s: Callable[[int], int], *, same_block: bool = False) -> dict[str, Rows]:
    """A handshake with an outbound peer in five minutes, and one with an inbound peer a minute."""
    out = [
        {
            **(peer(n, f"84.141.{n}.7", "out") if same_block else honest(n, "out")),
            "t": n * 300,
            "flow": "received",
            "time_offset_s": offset_s(n),
        }
        for n in range(48)
    ]
    into = [{**honest(n), "t": n * 60, "flow": "received", "time_offset_s": 4_000} for n in range(100, 300)]
    return {"p2p:version": [*out, *into]}


# offset     3 1 2 90 95 90 92                   most of them, on one side
@pytest.mark.parametrize("offset", [90, -4_000])
@pytest.mark.attack("clock-offset-handshakes")
def test_outbound_peers_of_another_time_are_seen(offset: int) -> None:
    (clock,) = found(shaken(lambda n: offset if n >= 24 else 2), until=4 * HOUR)
    assert clock.rule == "clock-offset-handshakes"


# offset     3 1 90 2 -90                        a third, on both sides; inbound peers may say anything
@pytest.mark.benign("clock-offset-handshakes")
def test_a_few_wrong_clocks_are_silent() -> None:
    assert found(shaken(lambda n: (2, 90, -1, -90, 3, 1)[n % 6]), until=4 * HOUR) == []


# offset     55 55 55                            less than a minute; or one netblock only
@pytest.mark.evasion("clock-offset-handshakes")
def test_less_than_a_minute_and_one_netblock_pass() -> None:
    assert found(shaken(lambda _: 55), until=4 * HOUR) == []
    assert found(shaken(lambda _: 90, same_block=True), until=4 * HOUR) == []


def poisoned(at: float, restarts: list[float]) -> dict[str, Rows]:
    """300 insertions of one netblock within half an hour, and starts of the node."""
    group = {"entry_netgroup": "84.141.0.0/16", "source_netgroup": "84.141.0.0/16", "entry_network": "ipv4"}
    return {
        "addrman:insert": [
            {"t": at + n * 6, "table": "new", "address": f"84.141.{n // 200}.{n % 200}", **group, "first": True}
            | {"bucket": n, "position": 1, "table_total": 9_000, "interval_s": 600, "port": 8333}
            for n in range(600)
        ],
        "node:started": [{"t": when, "reason": "uptime-reset"} for when in restarts],
    }


def restarted(events: dict[str, Rows], until: float) -> list[Incident]:
    return of_rule(incidents("eclipse node eclipse-view", events, until=until), "restart-while-poisoned")


# tables     ::::                                two days before
# start                        |
@pytest.mark.attack("restart-while-poisoned")
def test_a09_a_restart_after_poisoning_is_seen() -> None:
    (risk,) = restarted(poisoned(START, [50 * HOUR]), 52 * HOUR)
    assert risk.severity == "high"
    assert 50 * HOUR <= opened_s(risk) <= 50 * HOUR + 2 * MINUTE
    assert risk.entities == (), "the findings before it name who did it"


# start      |         tables  ::::              before, or not at all
def test_a_restart_before_the_attack_or_without_one_is_silent() -> None:
    assert restarted(poisoned(START, [HOUR]), 52 * HOUR) == []
    assert restarted({"node:started": [{"t": 50 * HOUR, "reason": "uptime-reset"}]}, 52 * HOUR) == []


# tables     ::::                                four days before
@pytest.mark.evasion("restart-while-poisoned")
def test_a_restart_four_days_later_passes() -> None:
    assert restarted(poisoned(START, [100 * HOUR]), 102 * HOUR) == []


def test_a_healthy_hour_raises_nothing() -> None:
    healthy = views(lambda now, _: tip(now), tip=tip)
    assert alarms(found({**healthy, "rpc:peers": ages(lambda _: 48), "p2p:new_block": arrivals(lambda _: 5)})) == []
