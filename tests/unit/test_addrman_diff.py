"""Changes between two getrawaddrman polls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.snapshot_polls import CHANGES, START, STEADY, Event, Poll, entry, poll, raw, read
from watchdog.core.prefix import prefix_texts

# ---- address manager ----

Change = tuple[str, str, str, int, int]


def changes_of(tmp_path: Path, *polls: Poll) -> list[Event]:
    return read(tmp_path, polls, *CHANGES)


def short(events: Iterable[Event]) -> list[Change]:
    return [
        (event["kind"].removeprefix("addrman:"), event["table"], event["address"], event["bucket"], event["position"])
        for event in events
    ]


def test_the_first_poll_of_the_address_manager_is_only_the_baseline(tmp_path: Path) -> None:
    assert changes_of(tmp_path, raw(START, STEADY)) == []


def test_an_address_in_a_free_slot_is_an_insert_and_a_copy_is_not_the_first(tmp_path: Path) -> None:
    later = {**STEADY, "100/5": entry("77.1.2.3", "66.5.4.3", time=START + 500), "101/6": entry("8.3.0.1")}
    events = changes_of(tmp_path, raw(START, STEADY), raw(START + 600, later))
    assert short(events) == [("insert", "new", "77.1.2.3", 100, 5), ("insert", "new", "8.3.0.1", 101, 6)]
    assert [event["first"] for event in events] == [True, False]
    assert (events[0]["stamp_age_s"], events[0]["interval_s"], events[0]["table_total"]) == (100, 600, 22)
    assert prefix_texts([events[0]["entry_netgroup"], events[0]["source_netgroup"]]) == ["77.1.0.0/16", "66.5.0.0/16"]


def test_a_refreshed_stamp_is_no_event(tmp_path: Path) -> None:
    later = {key: {**slot, "time": START + 550, "services": 1} for key, slot in STEADY.items()}
    assert changes_of(tmp_path, raw(START, STEADY), raw(START + 600, later)) == []


def test_an_address_that_left_its_slot_free_was_evicted(tmp_path: Path) -> None:
    later = {key: slot for key, slot in STEADY.items() if key != "4/0"}
    assert short(changes_of(tmp_path, raw(START, STEADY), raw(START + 600, later))) == [
        ("evict", "new", "8.4.0.1", 4, 0)
    ]


def test_another_address_in_the_slot_replaced_the_old_one(tmp_path: Path) -> None:
    (event,) = changes_of(tmp_path, raw(START, STEADY), raw(START + 600, {**STEADY, "4/0": entry("77.1.2.3")}))
    assert short([event]) == [("replace", "new", "77.1.2.3", 4, 0)]
    assert event["old_address"] == "8.4.0.1"
    assert prefix_texts([event["old_netgroup"]]) == ["8.4.0.0/16"]


def test_another_port_is_another_address(tmp_path: Path) -> None:
    (event,) = changes_of(tmp_path, raw(START, STEADY), raw(START + 600, {**STEADY, "4/0": entry("8.4.0.1", port=1)}))
    assert (event["kind"], event["port"], event["first"]) == ("addrman:replace", 1, True)


def test_an_address_that_went_to_tried_moved_once_though_it_had_many_slots(tmp_path: Path) -> None:
    first = {**STEADY, "50/1": entry("8.4.0.1"), "51/1": entry("8.4.0.1")}
    later = {key: slot for key, slot in STEADY.items() if key != "4/0"}
    (event,) = changes_of(tmp_path, raw(START, first), raw(START + 600, later, {"7/7": entry("8.4.0.1")}))
    assert short([event]) == [("move", "tried", "8.4.0.1", 7, 7)]
    assert (event["from_table"], event["first"], event["table_total"]) == ("new", False, 1)


def test_a_slot_left_for_tried_and_taken_at_once_is_an_insert(tmp_path: Path) -> None:
    later = {**STEADY, "4/0": entry("77.1.2.3")}
    events = changes_of(tmp_path, raw(START, STEADY), raw(START + 600, later, {"7/7": entry("8.4.0.1")}))
    assert sorted(short(events)) == [("insert", "new", "77.1.2.3", 4, 0), ("move", "tried", "8.4.0.1", 7, 7)]


def test_an_address_that_lost_its_tried_slot_moves_back_to_new(tmp_path: Path) -> None:
    tried = {"1/1": entry("90.1.1.1")}
    later = {**STEADY, "60/2": entry("90.1.1.1")}
    del later["4/0"]
    events = changes_of(tmp_path, raw(START, STEADY, tried), raw(START + 600, later, {"1/1": entry("8.4.0.1")}))
    assert sorted(short(events)) == [("move", "new", "90.1.1.1", 60, 2), ("move", "tried", "8.4.0.1", 1, 1)]
    assert {event["from_table"] for event in events} == {"new", "tried"}


def test_shuffled_keys_are_one_event_and_the_new_baseline(tmp_path: Path) -> None:
    moved = {f"{bucket + 300}/9" if bucket < 8 else f"{bucket}/0": entry(f"8.{bucket}.0.1") for bucket in range(20)}
    final = {**moved, "900/1": entry("77.1.2.3")}
    events = changes_of(tmp_path, raw(START, STEADY), raw(START + 600, moved), raw(START + 1200, final))
    assert [event["kind"] for event in events] == ["addrman:rebucketed", "addrman:insert"]
    assert events[0]["moved_share"] == pytest.approx(0.4)
    assert events[0]["entries"] == 20


def test_a_shuffle_of_less_than_a_third_is_reported_slot_by_slot(tmp_path: Path) -> None:
    moved = {f"{bucket + 300}/9" if bucket < 6 else f"{bucket}/0": entry(f"8.{bucket}.0.1") for bucket in range(20)}
    counts = Counter(event["kind"] for event in changes_of(tmp_path, raw(START, STEADY), raw(START + 600, moved)))
    assert counts == {"addrman:insert": 6, "addrman:evict": 6}


def test_the_address_manager_is_compared_across_a_restart(tmp_path: Path) -> None:
    polls = [
        poll(START, "uptime", 900),
        raw(START, STEADY),
        poll(START + 600, "uptime", 10),
        raw(START + 600, {**STEADY, "30/1": entry("77.1.2.3")}),
    ]
    kinds = Counter(event["kind"] for event in read(tmp_path, polls, "node:started", *CHANGES))
    assert kinds == {"node:started": 1, "addrman:insert": 1}


def test_slots_that_core_does_not_have_are_left_out_and_counted(tmp_path: Path) -> None:
    odd = {key: entry("7.7.7.7") for key in ("1024/0", "0/64", "-1/0", "1/", "x", "01/1", "²/1", "1/1/1", "")}
    events = read(
        tmp_path, [raw(START, {**STEADY, **odd}, {"256/0": entry("7.7.7.7")})], "rpc:addrman_entry", "source:gap"
    )
    assert sum(event["kind"] == "rpc:addrman_entry" for event in events) == 20
    (gap,) = [event for event in events if event["kind"] == "source:gap"]
    assert (gap["reason"], gap["lost"]) == ("address manager slots that Core does not have", 10)
