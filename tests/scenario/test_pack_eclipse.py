"""The eclipse pack on scripted time lines: each stage is seen in time, hard benign times are not taken for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.packs import HOUR, MINUTE, Rows, alarms, honest, incidents, of_rule, opened_s, peer
from tests.support.witness import attack, benign

pytestmark = pytest.mark.scenario

Who = Callable[[float], list[dict[str, Any]]]


def polls(hours: float, connected: Who, *, every: int = 60) -> Rows:
    """rpc:peer rows of everybody who is connected at each poll."""
    rows: Rows = []
    for now in range(0, int(hours * HOUR), every):
        here = connected(now)
        counts = {side: sum(one["direction"] == side for one in here) for side in ("in", "out")}
        rows += [{**one, "t": now, "interval_s": every, "direction_total": counts[one["direction"]]} for one in here]
    return rows


def summaries(hours: float, **fields: Any) -> Rows:
    """rpc:peers rows, one a minute; a field may be a function of the time."""
    return [
        {"t": now, **{name: value(now) if callable(value) else value for name, value in fields.items()}}
        for now in range(0, int(hours * HOUR), MINUTE)
    ]


def honest_peers(inbound: int = 40) -> list[dict[str, Any]]:
    """Inbound and 10 outbound peers, each of another netgroup."""
    return [honest(n) for n in range(inbound)] + [honest(n, "out") for n in range(300, 310)]


def joining(start: float, every: float, attackers: list[dict[str, Any]]) -> Who:
    """Honest peers, and attackers who come one after the other and stay."""
    return lambda now: honest_peers() + attackers[: max(0, int((now - start) / every))]


# inbound   40 honest ...........................
# groups    A B C D      /````````````````````     one every 20 s, all stay
@pytest.mark.parametrize(("groups", "peers"), [(2, 60), (5, 90), (8, 120)])
@pytest.mark.attack("eclipse-inbound-group", "eclipse-inbound-concentrated")
def test_a07_slots_held_by_a_few_netgroups_are_one_incident(groups: int, peers: int) -> None:
    attackers = [peer(900 + n, f"84.{n % groups}.{n}.9") for n in range(peers)]
    found = incidents("eclipse", {"rpc:peer": polls(2, joining(HOUR, 20, attackers))}, until=2 * HOUR)
    (held,) = of_rule(found, "eclipse-inbound-group")
    assert opened_s(held) - HOUR <= 25 * MINUTE
    assert set(held.entities[:groups]) == {f"84.{n}.0.0/16" for n in range(groups)}
    (spread,) = of_rule(found, "eclipse-inbound-concentrated")
    assert opened_s(spread) - HOUR <= 15 * MINUTE


# groups    1 .. 40   three peers each: none holds much, together they hold most
def test_slots_held_by_many_small_groups_are_seen_as_concentration() -> None:
    attackers = [peer(900 + n, f"84.{n % 40}.{n}.9") for n in range(120)]
    found = incidents("eclipse", {"rpc:peer": polls(2.5, joining(HOUR, 20, attackers))}, until=2.5 * HOUR)
    (spread,) = of_rule(found, "eclipse-inbound-concentrated")
    assert spread.entities[0].startswith("84.")
    assert of_rule(found, "eclipse-inbound-group") == []


# | | | | | |    visitors of one netgroup, six at a time for 20 s in every ten minutes
@pytest.mark.benign("eclipse-inbound-group", "eclipse-inbound-concentrated")
def test_b07_short_visits_hold_no_slots() -> None:
    def connected(now: float) -> list[dict[str, Any]]:
        here = [peer(9000 + int(now) + n, f"162.218.65.{n}") for n in range(6)]
        return honest_peers() + (here if now % 600 == 0 else [])

    assert incidents("eclipse", {"rpc:peer": polls(3, connected, every=20)}, until=3 * HOUR) == []


def test_b06_groups_of_a_tor_node_mean_nothing() -> None:
    onion = {"network": "onion", "netgroup": "onion:3", "direction": "in"}
    here = [{**onion, "conn": n, "peer_addr": "127.0.0.1"} for n in range(80)]
    found = incidents("eclipse", {"rpc:peer": polls(2, lambda _: here)}, until=2 * HOUR)
    assert found == []


# outbound  ==========\            lost: 9 within 3 minutes
#                      \___/====   replaced within 20, by peers of the attacker
# blocks    | | |  | |             none any more
@pytest.mark.attack("eclipse-outbound-replaced")
def test_a04_and_a11_a_takeover_and_then_no_blocks() -> None:
    lost = [{**honest(300 + n, "out"), "t": HOUR + 20 * n, "lived_s": 5000} for n in range(9)]
    new = [{**peer(900 + n, f"49.{n}.1.2", "out"), "t": HOUR + 120 * (n + 1), "lost_lived_s": 5000} for n in range(9)]
    chain = [{"t": now, "tip_age_s": now % 600 if now < HOUR else now - HOUR} for now in range(0, 2 * HOUR, 60)]
    events = {"peer:outbound_lost": lost, "peer:outbound_replaced": new, "rpc:chain": chain}
    found = incidents("eclipse", events, until=2 * HOUR)
    (replaced,) = of_rule(found, "eclipse-outbound-replaced")
    assert opened_s(replaced) - HOUR <= 3 * MINUTE
    assert replaced.severity == "high"
    assert "49.0.1.2" in replaced.entities
    (cut_off,) = of_rule(found, "eclipse-cut-off")
    assert cut_off.severity == "critical"
    assert 30 <= (opened_s(cut_off) - HOUR) / MINUTE <= 32
    assert "49.0.1.2" in cut_off.entities


# lost      |       |      |       |      |       one every 7 minutes, each replaced
@pytest.mark.benign("eclipse-outbound-replaced")
def test_honest_rotation_is_no_takeover() -> None:
    lost = [{**honest(300 + n, "out"), "t": HOUR + 420 * n, "lived_s": 5000} for n in range(12)]
    new = [{**honest(400 + n, "out"), "t": HOUR + 420 * n + 100, "lost_lived_s": 5000} for n in range(12)]
    chain = [{"t": now, "tip_age_s": now % 1500} for now in range(0, 3 * HOUR, 60)]
    events = {"peer:outbound_lost": lost, "peer:outbound_replaced": new, "rpc:chain": chain}
    assert incidents("eclipse", events, until=3 * HOUR) == []


# outbound  10 10 10 10  6 6 6 6 6 6 6 6
# uptime    one hour and more, or since the restart
@pytest.mark.parametrize(("uptime", "alarm"), [
    attack("eclipse-outbound-deficit", lambda now: 7200 + now, True),
    benign("eclipse-outbound-deficit", lambda now: now - HOUR, False),
])  # fmt: skip
def test_too_few_outbound_peers_count_once_the_node_has_started(uptime: Callable[[float], float], alarm: bool) -> None:
    def outbound(now: float) -> int:
        return 6 if HOUR <= now < HOUR + 14 * MINUTE else 10

    rows = summaries(2, outbound=outbound, uptime_s=lambda now: int(uptime(now)) if now >= HOUR else 7200)
    found = incidents("eclipse", {"rpc:peers": rows}, until=2 * HOUR)
    assert [one.rule for one in found] == (["eclipse-outbound-deficit"] if alarm else [])


# manual    2, and no peer of the node's own since it started: -connect
@pytest.mark.parametrize(("opened", "manual", "alarm"), [
    benign("eclipse-outbound-deficit", False, 2, False),
    attack("eclipse-outbound-deficit", True, 2, True),
    attack("eclipse-outbound-deficit", False, 0, True),
])  # fmt: skip
def test_a_node_with_connect_is_no_deficit_but_one_that_lost_its_peers_is(
    opened: bool, manual: int, alarm: bool
) -> None:
    rows = [
        {"t": now, "outbound": 0, "manual": manual, "opened": opened, "uptime_s": 9_000 + now}
        for now in range(0, 2 * HOUR, 60)
    ]
    found = incidents("eclipse", {"rpc:peers": rows}, until=2 * HOUR)
    assert [one.rule for one in found] == (["eclipse-outbound-deficit"] if alarm else [])


# same AS   2      3      4 (info)      5 (warning)      6 (high)
@pytest.mark.parametrize(("same", "severity"), [
    benign("eclipse-outbound-as", 3, None),
    attack("eclipse-outbound-as", 4, "info"),
    (5, "warning"),
    (6, "high"),
])  # fmt: skip
def test_outbound_peers_of_one_as(same: int, severity: str | None) -> None:
    rows = summaries(1, outbound=10, outbound_top_asn=same, outbound_top_netgroup=1, uptime_s=9000)
    found = incidents("eclipse", {"rpc:peers": rows}, until=HOUR)
    assert [one.severity for one in found] == ([severity] if severity else [])


# group 84.8  1 peer, then 1 to 6 of 10 for half an hour; peers of the operator's choice do not count
@pytest.mark.parametrize(("same", "kind", "severity"), [
    benign("eclipse-outbound-group", 2, "outbound-full-relay", None),
    attack("eclipse-outbound-group", 3, "outbound-full-relay", "info"),
    (5, "outbound-full-relay", "warning"),
    (6, "block-relay-only", "high"),
    (6, "manual", None),
])  # fmt: skip
def test_outbound_peers_of_one_netgroup(same: int, kind: str, severity: str | None) -> None:
    here = [{**peer(900 + n, f"84.8.{n}.9", "out"), "connection_type": kind} for n in range(same)]
    found = incidents("eclipse", {"rpc:peer": polls(1, lambda _: here)}, until=HOUR)
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(one.entities[0] == "84.8.0.0/16" for one in found)


# blocks  | | || |                                |
# age     0          60 info      90 warning  120 high
@pytest.mark.parametrize(("gap", "severity"), [
    benign("eclipse-stale-tip", 59, None),
    attack("eclipse-stale-tip", 63, "info"),
    (85, "info"),
    (95, "warning"),
    (119, "warning"),
    (125, "high"),
])  # fmt: skip
def test_b10_a_gap_is_as_bad_as_it_is_rare(gap: int, severity: str | None) -> None:
    chain: Rows = []
    for now in range(0, 4 * HOUR, 60):
        since = now - HOUR
        chain.append({"t": now, "tip_age_s": since if 0 <= since < gap * MINUTE else now % 600})
    outbound = polls(4, lambda _: honest_peers(1))
    found = incidents("eclipse", {"rpc:chain": chain, "rpc:peer": outbound}, until=4 * HOUR)
    assert [one.severity for one in found] == ([severity] if severity else [])
    if found:
        assert 60 <= (opened_s(found[0]) - HOUR) / MINUTE <= 62
        assert honest(300)["peer_addr"] in found[0].entities
        assert found[0].resolved_ns is not None


def test_an_old_tip_is_normal_in_the_first_download() -> None:
    chain = [{"t": now, "tip_age_s": 9_000_000, "ibd": True} for now in range(0, HOUR, 60)]
    assert incidents("eclipse", {"rpc:chain": chain}, until=HOUR) == []


def told(source: str, start: float, hours: float, *, every: float, added: int, offered: int) -> Rows:
    """log:addrman_batch rows of one source."""
    first, second, *_ = source.split(".")
    fields = {"source_addr": source, "source_netgroup": f"{first}.{second}.0.0/16", "added": added, "offered": offered}
    return [{**fields, "t": start + every * n} for n in range(int(hours * HOUR / every))]


# honest   1 of 3 new, each minute from another group; getaddr answers of 1000 from outbound peers
# swarm            three peers of one group at Core's limit, all they tell is new
@pytest.mark.attack("eclipse-new-table-source")
def test_a04_a_group_that_fills_the_new_table_is_named() -> None:
    rows = [row for n in range(40) for row in told(f"30.{n}.1.1", 15 * n, 4, every=120, added=1, offered=3)]
    rows += [row for n in range(3) for row in told(f"84.8.1.{n}", HOUR, 2, every=30, added=2, offered=3)]
    (found,) = incidents("eclipse", {"log:addrman_batch": rows}, until=4 * HOUR)
    assert found.rule == "eclipse-new-table-source"
    assert found.entities[0] == "84.8.0.0/16"
    assert opened_s(found) - HOUR <= 20 * MINUTE


# the same honest peers, whose answers to our getaddr come in batches of 1000
@pytest.mark.benign("eclipse-new-table-source")
def test_gossip_and_getaddr_answers_in_a_young_table_are_silent() -> None:
    rows = [row for n in range(40) for row in told(f"30.{n}.1.1", 15 * n, 4, every=120, added=1, offered=3)]
    rows += [row for n in range(8) for row in told(f"40.{n}.1.1", 60 * n, 1, every=HOUR, added=600, offered=1000)]
    assert incidents("eclipse", {"log:addrman_batch": rows}, until=4 * HOUR) == []


def inserted(group: str, times: list[float], table_total: int) -> Rows:
    """addrman:insert rows of new addresses of one group."""
    fields = {"table": "new", "first": True, "entry_network": "ipv4", "entry_netgroup": group}
    return [{**fields, "t": time, "table_total": table_total} for time in times]


# polls of the table every 10 minutes: honest addresses of thousands of groups, the largest 4 of 100
def test_addresses_of_one_group_in_the_new_table_are_seen_at_any_size_of_the_table() -> None:
    times = [600.0 * (1 + n // 7) for n in range(40)]
    (found,) = incidents("eclipse", {"addrman:insert": inserted("1.7.0.0/16", times, 5000)}, until=2 * HOUR)
    assert (found.rule, found.entities) == ("eclipse-new-table-group", ("1.7.0.0/16",))
    old = {"addrman:insert": inserted("1.7.0.0/16", times, 60_000)}
    assert incidents("eclipse", old, until=2 * HOUR) == []


# tried     | |  | |   | |    8 an hour         |||||||||||  20 an hour
@pytest.mark.parametrize(("per_hour", "alarm"), [
    benign("eclipse-tried-growth", 8, False),
    attack("eclipse-tried-growth", 20, True),
])  # fmt: skip
def test_the_tried_table_grows_slowly_by_nature(per_hour: int, alarm: bool) -> None:
    times = [n * HOUR / per_hour for n in range(4 * per_hour)]
    rows = [
        {"t": time, "address": f"60.{n}.1.1:8333", "entry_netgroup": f"60.{n}.0.0/16"} for n, time in enumerate(times)
    ]
    found = incidents("eclipse", {"log:addrman_tried": rows}, until=4 * HOUR)
    assert [one.rule for one in found] == (["eclipse-tried-growth"] if alarm else [])


# tried     | | |            each of another group        |||||||   all of one group, or all told by one
@pytest.mark.parametrize(
    ("per_hour", "severities"),
    [(4, []), (7, ["info"]), (12, ["warning"])],
    ids=["usual", "much", "more than all usual"],
)
def test_what_one_group_told_of_must_not_fill_the_tried_table(per_hour: int, severities: list[str]) -> None:
    rows: Rows = [
        {
            "t": n * HOUR / per_hour,
            "table": "tried",
            "source_netgroup": "60.1.0.0/16",
            "entry_netgroup": f"60.{n}.0.0/16",
        }
        for n in range(2 * per_hour)
    ]
    found = incidents("eclipse", {"addrman:move": rows}, until=2 * HOUR)
    assert [(one.rule, one.severity) for one in found] == [("eclipse-tried-source", text) for text in severities]
    assert all(one.entities[0] == "60.1.0.0/16" for one in found)
    back = [{**row, "table": "new"} for row in rows]
    assert incidents("eclipse", {"addrman:move": back}, until=2 * HOUR) == []


@pytest.mark.parametrize(("per_hour", "severities"), [(2, []), (4, ["info"]), (6, ["warning"])])
def test_addresses_of_one_group_must_not_fill_the_tried_table(per_hour: int, severities: list[str]) -> None:
    rows: Rows = [
        {"t": n * HOUR / per_hour, "entry_network": "ipv4", "entry_netgroup": "60.1.0.0/16"}
        for n in range(2 * per_hour)
    ]
    found = incidents("eclipse", {"log:addrman_tried": rows}, until=2 * HOUR)
    assert [(one.rule, one.severity) for one in found] == [("eclipse-tried-group", text) for text in severities]
    onion = [{**row, "entry_network": "onion"} for row in rows]
    assert incidents("eclipse", {"log:addrman_tried": onion}, until=2 * HOUR) == []


# feelers   25 an hour; every 6th, every 3rd or two of three meet a node
@pytest.mark.parametrize(("met", "severities"), [
    benign("eclipse-feeler-success", 0.16, []),
    (0.33, []),
    attack("eclipse-feeler-success", 0.66, ["warning"]),
])  # fmt: skip
def test_feelers_seldom_meet_a_node(met: float, severities: list[str]) -> None:
    tried: Rows = [{"t": 144.0 * n, "netgroup": f"60.{n}.0.0/16"} for n in range(100)]
    done = [{**row, "t": row["t"] + 1} for n, row in enumerate(tried) if int((n + 1) * met) > int(n * met)]
    found = incidents("eclipse", {"log:feeler_attempt": tried, "log:feeler_completed": done}, until=4 * HOUR)
    assert [one.severity for one in found] == severities


# full node, 5 evictions a minute: of everybody, or of one group
@pytest.mark.parametrize(("groups", "alarm"), [
    benign("eclipse-evictions", 200, False),
    attack("eclipse-evictions", 4, True),
])  # fmt: skip
def test_evictions_matter_when_one_group_comes_back_again_and_again(groups: int, alarm: bool) -> None:
    rows = [{**peer(n, f"84.{n % groups}.{n % 250}.1"), "t": 12.0 * n} for n in range(600)]
    found = incidents("eclipse", {"log:evicted": rows}, until=2 * HOUR)
    assert bool(found) == alarm
    assert len(found) <= 1


# outbound  ==========|  |  ==========   9 polls after the restart; inbound comes back one by one
@pytest.mark.benign("eclipse-inbound-group", "eclipse-outbound-deficit", "eclipse-outbound-as")
def test_b01_a_restart_is_silent() -> None:
    def connected(now: float) -> list[dict[str, Any]]:
        since = now - HOUR
        return honest_peers() if since < 0 else honest_peers(int(since / 30))[: int(since / 20)][:50]

    def outbound(now: float) -> int:
        return 10 if now < HOUR else min(10, int((now - HOUR) / 36))

    rows = summaries(3, outbound=outbound, outbound_top_netgroup=1, uptime_s=lambda now: int(now) % HOUR)
    events = {
        "rpc:peer": polls(3, connected),
        "rpc:peers": rows,
        "node:started": [{"t": HOUR, "reason": "uptime-reset"}],
    }
    assert alarms(incidents("eclipse", events, until=3 * HOUR)) == []
