"""The packs of transactions and of what address floods do, on scripted time lines: attack, benign twin, evasion."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from alerts.incident import Incident
from tests.support.packs import HOUR, MINUTE, Rows, honest, incidents, of_rule, opened_s, peer

pytestmark = pytest.mark.scenario

START = 3 * HOUR
DAY = 24 * HOUR
BROKEN = "mempool-script-verify-flag-failed (Script evaluated without error but finished with a false/empty top stack)"


def found(events: dict[str, Rows], *, until: float = 5 * HOUR) -> list[Incident]:
    """The incidents of the pack, until a time in seconds after the start."""
    return incidents("transactions", events, until=until)


def rejections(per_minute: Callable[[float], float], reason: str, *, end: float = 5 * HOUR) -> Rows:
    """Refused transactions, as many a minute as said."""
    dice, rows = random.Random(reason), []
    for minute in range(int(end / MINUTE)):
        mean = per_minute(minute * MINUTE)
        count = max(0, round(dice.gauss(mean, mean**0.5)))
        rows += [{"t": (minute + dice.random()) * MINUTE, "reason": reason} for _ in range(count)]
    return rows


def usual(_: float) -> float:
    return 40


# rejected   . . . . ::::::                      scripts that are wrong, two and 25 a second
@pytest.mark.parametrize(("per_minute", "severity"), [(120, "warning"), (1_500, "high")])
@pytest.mark.attack("rejected-transactions")
def test_a_storm_of_invalid_transactions_is_seen(per_minute: int, severity: str) -> None:
    storm = rejections(lambda now: per_minute if START <= now < START + 20 * MINUTE else 0, BROKEN)
    (told,) = found({"mempool:rejected": [*rejections(usual, "min relay fee not met"), *storm]})
    assert (told.rule, told.severity) == ("rejected-transactions", severity)
    assert opened_s(told) - START <= 6 * MINUTE


# rejected   . . . . ::::::                      a surge: fees are too low, the mempool is full
@pytest.mark.attack("rejected-transactions")
def test_a_surge_of_low_fees_is_context_only() -> None:
    surge = rejections(lambda now: 1_000 if now >= START else 40, "mempool min fee not met")
    (told,) = found({"mempool:rejected": surge})
    assert told.severity == "info"


# rejected   . . . . . . .                       what is usual, and a few that are wrong
@pytest.mark.benign("rejected-transactions")
def test_usual_rejections_are_silent() -> None:
    rows = [*rejections(usual, "insufficient fee"), *rejections(lambda _: 4, BROKEN)]
    assert found({"mempool:rejected": rows}) == []


# rejected   : : : : : :                         less than one a second
@pytest.mark.evasion("rejected-transactions")
def test_fewer_invalid_ones_than_one_a_second_pass() -> None:
    assert found({"mempool:rejected": rejections(lambda now: 45 if now >= START else 0, BROKEN)}) == []


def replacements(per_minute: Callable[[float], float]) -> dict[str, Rows]:
    rows = rejections(per_minute, "", end=5 * HOUR)
    return {"mempool:replaced": [{"t": row["t"], "vsize_vb": 200, "replacement_vsize_vb": 220} for row in rows]}


# replaced   .  .  .  ::::                       ten times as many
@pytest.mark.attack("replacement-surge")
def test_many_replacements_are_told_as_context() -> None:
    (told,) = found(replacements(lambda now: 200 if now >= START else 15))
    assert (told.rule, told.severity) == ("replacement-surge", "info")


# replaced   .  .  .  : .                        twice as many
@pytest.mark.benign("replacement-surge")
def test_twice_as_many_replacements_are_silent() -> None:
    assert found(replacements(lambda now: 30 if now >= START else 15)) == []


# replaced   .  .  .  .                          one output fifty times in an hour
@pytest.mark.evasion("replacement-surge")
def test_one_output_that_is_replaced_again_and_again_passes() -> None:
    cycled = [{"t": START + 72 * n, "vsize_vb": 150, "replacement_vsize_vb": 160} for n in range(50)]
    usually = replacements(lambda _: 15)["mempool:replaced"]
    assert found({"mempool:replaced": [*usually, *cycled]}) == []


def waiting(txs: Callable[[float], int], alone: Callable[[float], int]) -> Rows:
    """Polls each minute: orphans of one peer, and 30 of many others."""
    who = peer(900, "84.141.0.17")
    rows = [
        {**who, "t": now, "txs": txs(now), "txs_alone": alone(now), "orphans": 30 + txs(now)}
        for now in range(0, 5 * HOUR, MINUTE)
    ]
    return [row for row in rows if row["txs"]]


# orphans    0  0  90 90 90                      of one peer, and no other peer has announced them
@pytest.mark.parametrize(("count", "severity"), [(90, "warning"), (2_000, "high")])
@pytest.mark.attack("orphan-flood")
def test_orphans_of_one_peer_are_seen_and_it_is_named(count: int, severity: str) -> None:
    rows = waiting(lambda now: count if now >= START else 0, lambda _: count)
    (flood,) = found({"rpc:orphan_peer": rows})
    assert (flood.rule, flood.severity) == ("orphan-flood", severity)
    assert "84.141.0.17" in flood.entities
    assert opened_s(flood) - START <= 3 * MINUTE


# orphans    0  0  90 90 90                      that everyone announces; a moment before the parent comes
@pytest.mark.parametrize(
    "rows",
    [
        waiting(lambda now: 90 if now >= START else 0, lambda _: 4),
        waiting(lambda now: 90 if now == START else 3, lambda now: 90 if now == START else 3),
    ],
)
@pytest.mark.benign("orphan-flood")
def test_orphans_that_everyone_announces_and_one_moment_are_silent(rows: Rows) -> None:
    assert found({"rpc:orphan_peer": rows}) == []


# orphans    0  0  33 33 33                      of each of three peers, a third of what the node keeps
@pytest.mark.evasion("orphan-flood")
def test_three_peers_that_share_a_flood_pass() -> None:
    rows = [
        {**peer(900 + n, f"84.{n}.0.17"), "t": now, "txs": 33, "txs_alone": 33, "orphans": 99}
        for now in range(START, 4 * HOUR, MINUTE)
        for n in range(3)
    ]
    assert found({"rpc:orphan_peer": rows}) == []


def fetched(missing: Callable[[int], int], hours: int = 48) -> dict[str, Rows]:
    """A block in ten minutes; of some, transactions are missing."""
    blocks = range(hours * 6)
    named = [{**honest(n % 10, "out"), "t": n * 600, "flow": "received", "stamp_age_s": 9} for n in blocks]
    asked = [
        {**honest(n % 10, "out"), "t": n * 600 + 1, "flow": "sent", "indexes": missing(n)} for n in blocks if missing(n)
    ]
    return {"p2p:new_block": named, "p2p:getblocktxn": asked}


# missing    10  0 25  ..  2000 2000 2000        from the second day on
@pytest.mark.attack("compact-blocks-incomplete")
def test_blocks_that_lack_thousands_of_transactions_are_told() -> None:
    (told,) = found(fetched(lambda n: 2_000 if n >= 216 else n % 3 * 25, hours=41), until=41 * HOUR)
    assert (told.rule, told.severity) == ("compact-blocks-incomplete", "info")


# missing    10  0 25  ..  60 60 60              policies of miners that differ, half of the blocks
@pytest.mark.benign("compact-blocks-incomplete")
@pytest.mark.evasion("compact-blocks-incomplete")
def test_a_few_missing_ones_in_every_block_are_silent() -> None:
    assert found(fetched(lambda n: 60 if n >= 216 else n % 3 * 25), until=2 * DAY) == []


def connected(seconds: Callable[[int], float], *, blocks: int = 96, every: float = 600, inputs: int = 6_000) -> Rows:
    """Blocks and the time that connecting each took."""
    return [
        {"t": n * every, "height": 900_000 + n, "inputs": inputs, "duration_ns": int(seconds(n) * 1e9)}
        for n in range(blocks)
    ]


# connect    1 1 1 1 1 40 40 40                  expensive scripts
@pytest.mark.parametrize(("seconds", "severity"), [(40, "warning"), (300, "high")])
@pytest.mark.attack("slow-blocks")
def test_blocks_that_are_expensive_to_validate_are_seen(seconds: int, severity: str) -> None:
    rows = connected(lambda n: seconds if n >= 60 else 0.8 + n % 3 * 0.1, blocks=84)
    (slow,) = found({"validation:block_connected": rows}, until=16 * HOUR)
    assert (slow.rule, slow.severity) == ("slow-blocks", severity)
    assert opened_s(slow) - 60 * 600 <= 35 * MINUTE


# connect    1 1 1  start  30 20 5 1             empty caches; a synchronisation; a slow machine; one block
@pytest.mark.parametrize(
    ("rows", "starts"),
    [
        (connected(lambda n: (30, 20, 5)[n - 60] if 60 <= n < 63 else 1), [60 * 600 - 60]),
        (connected(lambda n: 12 if n > 300 else 1, blocks=1_000, every=60), []),
        (connected(lambda n: 12 + n % 3), []),
        (connected(lambda n: 40 if n == 60 else 1), []),
    ],
)
@pytest.mark.benign("slow-blocks")
def test_a_restart_a_synchronisation_a_slow_machine_and_one_block_are_silent(rows: Rows, starts: list[float]) -> None:
    events = {"validation:block_connected": rows, "node:started": [{"t": t, "reason": "log-start"} for t in starts]}
    assert found(events, until=17 * HOUR) == []


# connect    1 1 1 9 9 9 9                       just below ten seconds
@pytest.mark.evasion("slow-blocks")
def test_blocks_of_nine_seconds_pass() -> None:
    assert (
        found({"validation:block_connected": connected(lambda n: 9 if n >= 60 else 1, blocks=84)}, until=16 * HOUR)
        == []
    )


def logged(stalls: list[float], *, tips_every: float = 600, starts: tuple[float, ...] = ()) -> dict[str, Rows]:
    """Lines of Core: peers that it disconnected for stalling, and new tips."""
    return {
        "log:block_stalling": [
            {**peer(900 + n, f"84.{n}.3.9", "out"), "t": at, "reason": "block timeout"} for n, at in enumerate(stalls)
        ],
        "log:tip": [{"t": n * tips_every, "height": 900_000 + n} for n in range(int(5 * HOUR / tips_every))],
        "node:started": [{"t": at, "reason": "log-start"} for at in starts],
    }


# stalls     x   x  x x                          at the tip
@pytest.mark.parametrize(("count", "severity"), [(2, "warning"), (4, "high")])
@pytest.mark.attack("block-download-stalled")
def test_a11_peers_that_hold_up_blocks_are_seen_and_named(count: int, severity: str) -> None:
    (stall,) = found(logged([START + n * 660 for n in range(count)]))
    assert (stall.rule, stall.severity) == ("block-download-stalled", severity)
    assert "84.0.3.9" in stall.entities


# stalls     xxxxx                               in a synchronisation; after a start; one in an hour
@pytest.mark.parametrize(
    "lines",
    [
        logged([START + n * 9 for n in range(20)], tips_every=20),
        logged([START + 300, START + 320], starts=(START,)),
        logged([START, START + 2 * HOUR - 600]),
    ],
)
@pytest.mark.benign("block-download-stalled")
@pytest.mark.evasion("block-download-stalled")
def test_a_synchronisation_a_start_and_single_stalls_are_silent(lines: dict[str, Rows]) -> None:
    assert found(lines) == []


def queues(waiting: Callable[[float], int], peers: int = 12) -> Rows:
    """Polls each 30 s: transactions that wait to be announced to each peer."""
    return [
        {**honest(n), "t": now, "relay_txs": True, "inv_to_send": waiting(now)}
        for now in range(0, 5 * HOUR, 30)
        for n in range(peers)
    ]


# queue      9  9  9  20000 20000
@pytest.mark.attack("announcement-backlog")
def test_a_backlog_of_announcements_is_context() -> None:
    (backlog,) = found({"rpc:peer": queues(lambda now: 20_000 if now >= START else 9)})
    assert (backlog.rule, backlog.severity) == ("announcement-backlog", "info")


# queue      9  9  900  900
@pytest.mark.benign("announcement-backlog")
@pytest.mark.evasion("announcement-backlog")
def test_a_minute_of_announcements_is_silent() -> None:
    assert found({"rpc:peer": queues(lambda now: 900 if now >= START else 9)}) == []


def effects(events: dict[str, Rows], *, until: float) -> list[Incident]:
    return incidents("addr-effects", events, until=until)


def inserted(per_hour: Callable[[float], float], *, hours: int, kind: str = "addrman:insert") -> dict[str, Rows]:
    """Addresses that were new to the table, in polls each ten minutes or in lines of the log."""
    rows: Rows = []
    dice = random.Random(7)
    for now in range(0, hours * HOUR, 600):
        count = max(0, round(dice.gauss(per_hour(now) / 6, (per_hour(now) / 6) ** 0.5)))
        if kind == "addrman:insert":
            rows += [{"t": now, "table": "new", "address": f"84.{n % 200}.1.1", "first": True} for n in range(count)]
        else:
            rows.append({"t": now, "source_addr": "84.1.1.1", "added": count, "offered": 2 * count})
    return {kind: rows}


# new        100 100 100 2000 2000 2000 2000     an hour, for five hours
@pytest.mark.parametrize("kind", ["addrman:insert", "log:addrman_batch"])
@pytest.mark.attack("addr-fresh-inserts")
def test_a05_addresses_that_are_new_for_hours_are_seen(kind: str) -> None:
    rows = inserted(lambda now: 3_000 if now >= 12 * HOUR else 100, hours=18, kind=kind)
    (told,) = effects(rows, until=18 * HOUR)
    assert (told.rule, told.severity) == ("addr-fresh-inserts", "warning")
    assert opened_s(told) <= 16.5 * HOUR


# new        100 100 6000 800 100 100            all outbound peers rotate and answer getaddr within an hour
@pytest.mark.benign("addr-fresh-inserts")
def test_a_rotation_of_outbound_peers_is_over_before() -> None:
    rows = inserted(lambda now: 6_000 if 12 * HOUR <= now < 13 * HOUR else 100, hours=18)
    assert effects(rows, until=18 * HOUR) == []


# new        100 100 450 450 450                 less than 500 an hour
@pytest.mark.evasion("addr-fresh-inserts")
def test_a_flood_below_the_floor_passes() -> None:
    assert effects(inserted(lambda now: 400 if now >= 12 * HOUR else 100, hours=18), until=18 * HOUR) == []


def relayed(per_minute: Callable[[float], float], *, entries: int = 1) -> dict[str, Rows]:
    """Messages of addresses that this node sends to twenty peers."""
    dice, rows = random.Random(8), []
    for minute in range(8 * 60):
        mean = per_minute(minute * MINUTE)
        rows += [
            {**honest(dice.randrange(20)), "t": (minute + dice.random()) * MINUTE, "flow": "sent", "entries": entries}
            for _ in range(max(0, round(dice.gauss(mean, mean**0.5))))
        ]
    return {"p2p:addr": rows}


# sent       . . . ::::                          ten times as many
@pytest.mark.attack("addr-passed-on")
def test_a_node_that_passes_on_a_flood_is_told_as_context() -> None:
    (told,) = effects(relayed(lambda now: 200 if now >= 5 * HOUR else 16), until=8 * HOUR)
    assert (told.rule, told.severity) == ("addr-passed-on", "info")


# sent       . . . : : .                         twice as many; answers to getaddr
@pytest.mark.parametrize(
    "rows",
    [
        relayed(lambda now: 32 if now >= 5 * HOUR else 16),
        {"p2p:addr": [*relayed(lambda _: 16)["p2p:addr"], *relayed(lambda _: 9, entries=1_000)["p2p:addr"]]},
    ],
)
@pytest.mark.benign("addr-passed-on")
def test_getaddr_answers_and_a_small_rise_are_silent(rows: dict[str, Rows]) -> None:
    assert effects(rows, until=8 * HOUR) == []


# received   ::::::                              stamps that are old: nothing is passed on
@pytest.mark.evasion("addr-passed-on")
def test_a_flood_that_is_not_passed_on_is_left_to_other_rules() -> None:
    quiet = relayed(lambda _: 16)["p2p:addr"]
    flood = [{**honest(900), "t": 5 * HOUR + n, "flow": "received", "entries": 10} for n in range(3_000)]
    assert of_rule(effects({"p2p:addr": [*quiet, *flood]}, until=8 * HOUR), "addr-passed-on") == []
