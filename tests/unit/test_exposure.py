"""addrman:exposure from polls of a node: groups, peers, feelers, and the same rows however the tables came about."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.snapshot_polls import START, Event, Poll, entry, events_of, peer, poll, raw, read, text_of
from watchdog.core.enrich import Enricher
from watchdog.core.source import SourceOptions
from watchdog.service.exposition import Exposition
from watchdog.service.node_metrics import NodeState, node_metrics
from watchdog.sources.rpc.address_facts import AddressFacts
from watchdog.sources.rpc.addrman_diff import AddrmanDiff
from watchdog.sources.rpc.answers import PeerAnswer, Tables, tables
from watchdog.sources.rpc.columns import RpcRows
from watchdog.sources.rpc.exposure import KIND, ExposureFollower, ExposureMemory, NodeNow
from watchdog.sources.rpc.snapshots_source import SnapshotsSource

FULL, BLOCK = "outbound-full-relay", "block-relay-only"
Slots = dict[str, dict[str, Any]]


def honest(count: int) -> Slots:
    """One address of each of many netblocks, each announced by another."""
    slots: Slots = {}
    for n in range(count):
        slots[f"{n % 256}/{n % 64}"] = entry(f"{20 + n // 250}.{n % 250}.0.1", f"{60 + n % 40}.0.1.1")
    return slots


def hostile(count: int, source: str = "88.4.1.1") -> Slots:
    """Addresses of one netblock, in buckets of their own."""
    return {f"{300 + n}/{n % 64}": entry(f"77.1.{n // 250}.{n % 250}", source) for n in range(count)}


def round_at(second: int, new: Slots, tried: Slots | None = None, peers: Sequence[Any] = ()) -> list[Poll]:
    """Peers, uptime (a day and more) and tables of one poll."""
    now = START + second
    return [poll(now, "uptime", 90_000 + second), poll(now, "getpeerinfo", list(peers)), raw(now, new, tried)]


def rows_of(folder: Path, *polls: Poll) -> list[Event]:
    return read(folder, polls, KIND)


def flat(rounds: Iterable[Iterable[Poll]]) -> list[Poll]:
    return [one_ for polls in rounds for one_ in polls]


def one(events: list[Event], grouping: str) -> Event:
    """The last row of a grouping."""
    return [event for event in events if event["grouping"] == grouping][-1]


def test_each_grouping_names_its_nearest_group(tmp_path: Path) -> None:
    tried = {f"{n}/1": entry(f"99.{n}.1.1", f"98.{n}.1.1") for n in range(20)}
    events = rows_of(tmp_path, *round_at(0, {**honest(75), **hostile(25)}, tried))
    assert [event["grouping"] for event in events] == ["netblock", "as", "source"]
    block, system, source = events
    assert (block["group"], system["group"], source["group"]) == ("77.1.0.0/16", "", "88.4.0.0/16")
    assert (block["new_total"], block["tried_total"], block["uptime_s"]) == (100, 20, 90_000)
    assert block["share_new"] == 250_000  # each in a bucket of its own
    assert (block["share_tried"], block["chance_next_low"]) == (0, 125_000)
    assert block["chance_next_high"] > block["chance_next_low"]
    assert block["chance_restart_high"] == 0  # one connection to a netblock
    assert system["chance_next_high"] == 0
    assert block["stage"] == 1


def test_the_as_of_the_node_is_a_group_and_takes_one_connection(tmp_path: Path) -> None:
    """With an asmap in the node: mapped_as is the netgroup, so one AS gets one connection too."""
    slots = {key: {**slot, "mapped_as": 64_500} for key, slot in hostile(25).items()}
    system = one(rows_of(tmp_path, *round_at(0, {**honest(75), **slots})), "as")
    assert (system["group"], system["share_new"], system["chance_restart_high"]) == ("AS64500", 250_000, 0)


def test_a_source_that_announced_nearly_everything_may_get_all_slots(tmp_path: Path) -> None:
    slots = {key: {**slot, "source": "88.4.1.1"} for key, slot in honest(250).items()}
    other = {f"{500 + n}/0": entry(f"150.{n}.0.1", f"151.{n}.0.1") for n in range(6)}
    source = one(rows_of(tmp_path, *round_at(0, {**slots, **other}, {})), "source")
    assert source["group"] == "88.4.0.0/16"
    assert source["chance_restart_low"] > 500_000
    assert source["chance_restart_high"] > source["chance_restart_low"]


def test_outbound_peers_and_anchors_of_the_group_count(tmp_path: Path) -> None:
    here = [peer(n, f"20.{n}.0.1:8333", START - 900, FULL) for n in range(6)]
    here += [peer(6, "150.1.0.1:8333", START - 900, BLOCK), peer(7, "20.7.0.1:8333", START - 900, BLOCK)]
    here += [peer(8, "20.8.0.1:50000", START - 900, "inbound"), peer(9, "20.9.0.1:8333", START, "feeler")]
    slots = {key: {**slot, "source": "88.4.1.1"} for key, slot in honest(250).items()}
    events = rows_of(tmp_path, *round_at(0, {**slots, "500/0": entry("150.1.0.1")}, {}, here))
    source = one(events, "source")
    assert (source["outbound"], source["outbound_held"]) == (8, 7)
    assert (source["anchors"], source["anchors_held"]) == (2, 1)
    assert source["chance_restart_low"] == 0  # the honest anchor
    assert source["stage"] == 3


def test_overlay_addresses_are_in_no_group(tmp_path: Path) -> None:
    onion = "".join("abcdefgh"[n % 8] for n in range(51))
    texts = [f"{onion[:49]}{n:02d}aaaaad.onion"[-62:].replace("0", "a").replace("1", "b") for n in range(30)]
    slots = {f"{n}/1": {**entry(text, text), "network": "onion"} for n, text in enumerate(texts)}
    assert {event["group"] for event in rows_of(tmp_path, *round_at(0, slots))} == {""}


def test_without_a_list_of_peers_there_is_no_row(tmp_path: Path) -> None:
    assert rows_of(tmp_path, poll(START, "uptime", 5), raw(START, honest(9))) == []


def test_empty_tables_give_no_row(tmp_path: Path) -> None:
    assert rows_of(tmp_path, *round_at(0, {})) == []


# ---- however the tables came about ----


def changing(seed: int, steps: int) -> list[list[Poll]]:
    """Tables in which slots are taken, freed, replaced and moved, and once all of them are rebuilt."""
    dice = random.Random(seed)
    new: Slots = {**honest(200), **hostile(40)}
    tried: Slots = {f"{n}/3": entry(f"120.{n}.0.1") for n in range(30)}
    rounds = []
    for step in range(steps):
        for key in dice.sample(sorted(new), 12):
            slot = new.pop(key)
            if dice.random() < 0.4:
                tried[f"{dice.randrange(256)}/{dice.randrange(64)}"] = slot
            elif dice.random() < 0.5:
                new[key] = entry(f"130.{dice.randrange(250)}.0.1", "131.1.1.1")
        if step == steps // 2:
            new = {f"{(int(key.split('/')[0]) + 7) % 1024}/{key.split('/')[1]}": slot for key, slot in new.items()}
        rounds.append(round_at(5_000 * step, new, tried))
    return rounds


@pytest.mark.parametrize("seed", range(4))
def test_followed_tables_give_what_a_first_poll_of_them_gives(tmp_path: Path, seed: int) -> None:
    rounds = changing(seed, 7)
    followed = rows_of(tmp_path, *flat(rounds))[-3:]
    assert followed == rows_of(tmp_path, *rounds[-1])


def moving(step_s: int, steps: int, uptime: int) -> list[list[Poll]]:
    """One address a poll goes from new to tried."""
    rounds = []
    for step in range(steps):
        tried = {f"{n}/3": entry(f"20.{59 - n}.0.1") for n in range(step)}
        now = START + step_s * step
        facts = [poll(now, "uptime", uptime + step_s * step), poll(now, "getpeerinfo", [])]
        rounds.append([*facts, raw(now, honest(60 - step), tried)])
    return rounds


def test_a_source_that_resumes_gives_the_same_rows(tmp_path: Path) -> None:
    rounds = moving(600, 6, 90_000)
    whole = rows_of(tmp_path, *flat(rounds))
    path = tmp_path / "polls.jsonl"
    path.write_bytes(text_of(flat(rounds[:4])))
    first = SnapshotsSource(str(path), SourceOptions(wanted=frozenset({KIND}), follow=True))
    taken = first.poll()
    assert taken is not None
    first.close()
    before = sum(batch.rows for batch in taken.batches)
    path.write_bytes(text_of(flat(rounds)))
    rest = SnapshotsSource(str(path), SourceOptions(wanted=frozenset({KIND}), position=taken.position))
    assert events_of(rest) == whole[before:]
    rest.close()
    assert 0 < before < len(whole)
    assert whole[-1]["feeler_met"] == 5


# ---- feelers ----


@pytest.mark.parametrize(("step_s", "uptime", "tries", "met"), [
    (600, 90_000, 24, 4),  # 36 tries an hour
    (5_000, 90_000, 0, 0),  # the watchdog had paused
    (600, 0, 18, 3),  # the first ten minutes do not count
])  # fmt: skip
def test_feelers_are_addresses_that_reached_tried(
    tmp_path: Path, step_s: int, uptime: int, tries: int, met: int
) -> None:
    event = rows_of(tmp_path, *flat(moving(step_s, 5, uptime)))[-1]
    assert (event["feeler_tries"], event["feeler_met"]) == (tries, met)


def test_feelers_of_a_day_count() -> None:
    memory = ExposureMemory()
    follower = ExposureFollower(AddressFacts(Enricher(None, {}), 10), memory)
    for step in range(300):
        follower.note_met(1, (START + 600 * step) * 10**9, 600, START * 10**9 - 10**15)
    assert len(memory.hours) == 24
    assert sum(met for _, _, met in memory.hours) <= 24 * 6
    follower.note_met(1, START * 10**9, 600, 1)  # a clock that went back
    assert len(memory.hours) <= 24


# ---- cost, bad input, metrics ----


def full_tables(entries: int) -> Tables:
    draw = np.random.default_rng(4)
    parts = []
    for name, buckets, count in (("new", 1_024, entries * 4 // 5), ("tried", 256, entries // 5)):
        places = draw.choice(buckets * 64, count, replace=False).tolist()
        slots = ",".join(
            f'"{place // 64}/{place % 64}":{{"address":"{20 + n % 80}.{n // 80 % 250}.{n % 251}.9","port":8333,'
            f'"time":{START},"source":"{100 + n % 90}.{n % 200}.1.1"}}'
            for n, place in enumerate(places)
        )
        parts.append(f'"{name}":{{{slots}}}')
    answer = tables(f'{{"result":{{{",".join(parts)}}}}}'.encode(), lambda *_: None)
    assert answer is not None
    return answer


def test_full_tables_cost_a_small_part_of_reading_them() -> None:
    rows = RpcRows("node", "rpc:x", frozenset({KIND}).__contains__)
    known = AddressFacts(Enricher(None, {}), 200_000)
    follower = ExposureFollower(known, ExposureMemory())
    diff = AddrmanDiff(rows, known, follower)
    answer = full_tables(80_000)
    began = time.process_time()
    diff.report(answer, START * 10**9, lambda *_: None)
    reading_s = time.process_time() - began
    peers = [PeerAnswer(id=n, addr=f"{20 + n}.1.1.9:8333", connection_type=FULL) for n in range(10)]
    began = time.process_time()
    follower.report(rows, START * 10**9, NodeNow(peers, 90_000, 10))
    assert time.process_time() - began < reading_s / 4, "on any machine: well under a second on ours"
    (batch,) = rows.take()
    assert batch.rows == 3
    assert batch.numbers("new_total")[0] == 64_000


def test_hostile_entries_break_nothing(tmp_path: Path) -> None:
    odd: list[dict[str, Any]] = [
        {"address": "", "port": 0, "source": ""},
        {"address": "\x1b[31m", "source": "not an address", "mapped_as": -5},
        {"address": "300.1.1.1", "source": "::", "mapped_as": 1 << 40, "source_mapped_as": -1},
        {"address": "[2001:db8::1]", "source": "abc.internal"},
        {"address": "77.1.1.1", "source": "fe80::1", "mapped_as": (1 << 63) - 1},
    ]
    slots: Slots = {f"{n}/{n}": one_ for n, one_ in enumerate(odd)}
    bad = [peer(1, "", START), peer(2, "\n\n:x", START, BLOCK, mapped_as=-3), peer(3, "1.2.3.4", 0, "manual")]
    events = rows_of(tmp_path, *round_at(0, {**slots, "2000/1": entry("8.8.8.8")}, {}, bad))
    assert one(events, "netblock")["group"] == "77.1.0.0/16"


def test_metrics_show_the_latest_row_of_each_grouping(tmp_path: Path) -> None:
    path = tmp_path / "polls.jsonl"
    path.write_bytes(text_of([*round_at(0, honest(100)), *round_at(600, {**honest(75), **hostile(25)})]))
    source, state = SnapshotsSource(str(path), SourceOptions(wanted=frozenset({KIND}))), NodeState()
    while (taken := source.poll()) is not None:
        state.note(taken.batches)
    source.close()
    out = Exposition()
    node_metrics(out, state, [], {"node": "alice"}, 0.0)
    text = out.text()
    assert 'watchdog_node_eclipse_chance_ratio{bound="low",grouping="netblock",node="alice",of="next"} 0.25' in text
    assert 'watchdog_node_eclipse_stage{grouping="netblock",node="alice"} 1' in text
    assert 'watchdog_node_eclipse_readiness_ratio{node="alice"} 0.' in text
    assert "77.1" not in text
