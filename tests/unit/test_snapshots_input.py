"""What a snapshots file may be: damaged, packed, growing, rotated, resumed."""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.snapshot_polls import (
    CHANGES,
    START,
    STEADY,
    entry,
    events_of,
    peer,
    poll,
    raw,
    read,
    restart_polls,
    text_of,
)
from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.sources.rpc import rounds as snapshots_rounds
from watchdog.sources.rpc.snapshots_source import KINDS, SnapshotsSource

OpenSource = Callable[..., SnapshotsSource]


@pytest.fixture
def open_source() -> Iterator[OpenSource]:
    """Opens sources and closes them after the test."""
    with ExitStack() as stack:

        def opened(path: Path, **options: Any) -> SnapshotsSource:
            source = SnapshotsSource(str(path), SourceOptions(**options))
            stack.callback(source.close)
            return source

        yield opened


# ---- input that is not what it should be ----


def test_bad_lines_are_a_gap_and_reading_goes_on(tmp_path: Path, open_source: OpenSource) -> None:
    path = tmp_path / "s.jsonl"
    good = text_of([poll(START, "uptime", 5)]), text_of([poll(START + 60, "uptime", 65)])
    path.write_bytes(b"# notes\n" + good[0] + b'{"time": "x"}\n\xff\xfe\n\n' + good[1] + b'{"time":1,"kind"')
    events = events_of(open_source(path))
    gaps = [
        (event["time_ns"] // 10**9, event["lost"], event["reason"]) for event in events if event["kind"] == "source:gap"
    ]
    assert gaps == [(START, 3, "line that is no answer"), (START + 60, 1, "line that is no answer")]
    assert sum(event["kind"] == "rpc:uptime" for event in events) == 2


def test_fields_of_another_type_are_left_out_and_the_rest_is_kept(tmp_path: Path) -> None:
    odd = {
        **peer(4, "1.1.1.1:8333", START - 70),
        "pingtime": "fast",
        "version": 7e4,
        "bytessent": 10**30,
        "mapped_as": None,
    }
    events = read(
        tmp_path, [poll(START, "getpeerinfo", [odd, 5, peer(5, "2.2.2.2:8333", START)])], "rpc:peer", "source:gap"
    )
    rows = [event for event in events if event["kind"] == "rpc:peer"]
    assert [(row["conn"], row["age_s"], row["ping_us"]) for row in rows] == [(4, 70, -1), (5, 0, -1)]
    assert rows[0]["bytes_sent"] == 0, "a number that no checkpoint can hold is a field of another type"
    assert rows[0]["protocol_version"] == 70_000
    gaps = {event["reason"]: event["lost"] for event in events if event["kind"] == "source:gap"}
    assert gaps == {"answer that cannot be read": 1, "fields of another type": 2}


def test_more_peers_than_a_poll_can_have_are_cut_and_counted(tmp_path: Path) -> None:
    peers = [peer(number, "1.1.1.1:1", START, "inbound") for number in range(5_010)]
    events = read(tmp_path, [poll(START, "getpeerinfo", peers)], "rpc:peers", "source:gap")
    assert {event["kind"]: event.get("lost", event.get("inbound")) for event in events} == {
        "rpc:peers": 5_000,
        "source:gap": 10,
    }


def test_numbers_out_of_range_are_clamped_and_texts_made_harmless(tmp_path: Path) -> None:
    one = peer(1, "1.1.1.1:1", -5, "inbound", subver="\x1b[31m" + "a" * 900, version=2**40, timeoffset=-(2**62))
    (row,) = read(tmp_path, [poll(START, "getpeerinfo", [one])], "rpc:peer")
    assert (row["protocol_version"], row["time_offset_s"], row["age_s"]) == (2**31 - 1, -(2**62), 0)
    assert "\x1b" not in row["user_agent"]
    assert len(row["user_agent"]) <= 512


def test_unknown_rpcs_are_skipped_and_counted(tmp_path: Path, open_source: OpenSource) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(
        text_of([poll(START, "getblockstats", []), poll(START, "uptime", 5), poll(START, "getblockstats", [])])
    )
    source = open_source(path)
    assert [event["kind"] for event in events_of(source)] == ["rpc:uptime"]
    assert source.counters == {"unknown_answers": 2}


def test_a_file_of_something_else_is_one_clear_error(tmp_path: Path, open_source: OpenSource) -> None:
    path = tmp_path / "debug.log"
    path.write_bytes(b"2026-01-01T00:00:00Z hello\n" * 3)
    source = open_source(path)
    with pytest.raises(SourceError, match=r"debug\.log:1: is not a poll answer: each line must be"):
        source.poll()


def test_a_missing_file_is_one_clear_error(tmp_path: Path, open_source: OpenSource) -> None:
    with pytest.raises(SourceError, match=r"none\.jsonl: cannot be read: no such file"):
        open_source(tmp_path / "none.jsonl")


def test_an_empty_file_ends_at_once(tmp_path: Path) -> None:
    assert read(tmp_path, []) == []


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_packed_data_cut_off_is_one_clear_error(tmp_path: Path, open_source: OpenSource, pack: Any) -> None:
    path = tmp_path / "s.jsonl.packed"
    whole = pack(text_of(restart_polls() * 50))
    path.write_bytes(whole[: len(whole) // 2])
    source = open_source(path)
    with pytest.raises(SourceError, match=r"s\.jsonl\.packed: packed data is cut off or damaged after byte \d+"):
        events_of(source)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_what_is_before_a_cut_is_given_once_however_often_it_is_tried(
    tmp_path: Path, open_source: OpenSource, pack: Any
) -> None:
    path = tmp_path / "s.jsonl.packed"
    polls = [poll(START + 60 * step, "uptime", 60 * step + 5) for step in range(5_000)]
    whole = pack(text_of(polls))
    path.write_bytes(whole[: len(whole) // 2])
    given: list[int] = []
    position = None
    for _ in range(3):
        source = open_source(path, position=position)
        slices: list[Slice] = []
        with pytest.raises(SourceError, match="cut off or damaged"):
            slices.extend(iter(source.poll, None))
        given += [time for taken in slices for batch in taken.batches for time in batch.time_ns.tolist()]
        position = slices[-1].position if slices else position
        assert source.faults.lines()
    assert len(given) > 100
    assert given == [(START + 60 * step) * 10**9 for step in range(len(given))]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_packed_files_give_the_same_events(tmp_path: Path, open_source: OpenSource, pack: Any) -> None:
    plain, packed = tmp_path / "a", tmp_path / "b"
    plain.write_bytes(text_of(restart_polls()))
    packed.write_bytes(pack(text_of(restart_polls())))
    assert events_of(open_source(packed)) == events_of(open_source(plain))


def test_only_wanted_kinds_are_given_and_all_of_them_are_known(tmp_path: Path) -> None:
    assert {event["kind"] for event in read(tmp_path, restart_polls(), "rpc:peer")} == {"rpc:peer"}
    assert {event["kind"] for event in read(tmp_path, restart_polls())} <= KINDS


# ---- following ----


class Clock:
    """A clock that stops until the test advances it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(snapshots_rounds.RoundReader.__init__, "__defaults__", (self,))

    def __call__(self) -> float:
        return self.now


def test_a_followed_file_gives_a_round_when_it_is_complete_or_quiet(
    tmp_path: Path, open_source: OpenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    path = tmp_path / "s.jsonl"
    path.write_bytes(text_of([poll(START, "uptime", 5)]))
    source = open_source(path, follow=True)
    assert source.poll() is None
    assert not source.ended
    line = text_of([poll(START + 60, "uptime", 65)])
    with path.open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert source.poll() is None
        file.write(line[20:])
    taken = source.poll()
    assert taken is not None
    assert taken.until_ns == (START + 60) * 10**9
    assert taken.batches[0].rows == 1
    assert source.poll() is None
    clock.now += 10
    last = source.poll()
    assert last is not None
    assert last.until_ns == (START + 60) * 10**9
    assert last.batches[0].time_ns.tolist() == [(START + 60) * 10**9]
    assert source.poll() is None
    assert not source.ended


def test_rotation_loses_nothing_and_state_goes_on(
    tmp_path: Path, open_source: OpenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    path, old = tmp_path / "s.jsonl", tmp_path / "s.jsonl.1"
    path.write_bytes(text_of([raw(START, STEADY)]))
    source = open_source(path, follow=True)
    events = events_of(source)
    path.rename(old)
    assert source.poll() is None
    path.write_bytes(text_of([raw(START + 600, {**STEADY, "30/1": entry("77.1.2.3")})]))
    events += events_of(source)
    clock.now += 10
    events += events_of(source)
    assert Counter(event["kind"] for event in events) == {"rpc:addrman_entry": 41, "addrman:insert": 1}


def test_a_file_that_was_cut_short_is_read_from_its_start_with_a_gap(
    tmp_path: Path, open_source: OpenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    path = tmp_path / "s.jsonl"
    path.write_bytes(text_of([poll(START + 60 * step, "uptime", 60 * step + 5) for step in range(5)]))
    source = open_source(path, follow=True)
    events = events_of(source)
    path.write_bytes(text_of([poll(START + 600, "uptime", 605)]))
    events += events_of(source)
    clock.now += 10
    events += events_of(source)
    assert Counter(event["kind"] for event in events) == {"rpc:uptime": 6, "source:gap": 1}


# ---- resuming ----


def test_a_position_of_another_file_is_refused(tmp_path: Path, open_source: OpenSource) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(text_of(restart_polls()))
    taken = open_source(path).poll()
    assert taken is not None
    path.write_bytes(text_of([poll(START + step, "uptime", step) for step in range(999)]))
    with pytest.raises(SourceError, match="is not the file that was read before"):
        open_source(path, position=taken.position)
    with pytest.raises(SourceError, match="cannot resume: the position is of another form"):
        open_source(path, position={"place": 7})


def test_resuming_after_a_rotation_finishes_the_old_file_first(tmp_path: Path, open_source: OpenSource) -> None:
    path = tmp_path / "s.jsonl"
    polls = [raw(START + 600 * step, {**STEADY, f"{40 + step}/1": entry(f"77.{step}.2.3")}) for step in range(6)]
    whole = text_of(polls)
    path.write_bytes(whole)
    wanted = frozenset(CHANGES)
    undisturbed = events_of(open_source(path, wanted=wanted))
    path.write_bytes(text_of(polls[:3]))
    source = open_source(path, wanted=wanted, follow=True)
    taken = source.poll()
    assert taken is not None
    position = json.loads(json.dumps(taken.position))
    events = [event for batch in taken.batches for event in batch.strings("address").tolist()]
    shutil.move(path, tmp_path / "s.jsonl.1")
    path.write_bytes(text_of(polls[3:]))
    again = open_source(path, wanted=wanted, position=position)
    events += [event["address"] for event in events_of(again)]
    assert sorted(events) == sorted(event["address"] for event in undisturbed)


# ---- times that cannot be true ----


def gaps_of(events: list[Any]) -> list[tuple[int, int, str]]:
    return [(e["time_ns"] // 10**9, e["lost"], e["reason"]) for e in events if e["kind"] == "source:gap"]


def test_polls_of_the_far_future_are_left_out_and_told_at_the_poll_before(tmp_path: Path) -> None:
    polls = [
        poll(1, "uptime", 1),
        poll(START, "uptime", 5),
        poll(START + 10**9, "uptime", 10**9),
        poll(START + 10**9, "getnettotals", {}),
        poll(START + 60, "uptime", 65),
    ]
    events = read(tmp_path, polls, "rpc:uptime", "source:gap", "node:started")
    assert [event["uptime_s"] for event in events if event["kind"] == "rpc:uptime"] == [5, 65]
    assert gaps_of(events) == [(START, 3, "implausible time")]
    assert not any(event["kind"] == "node:started" for event in events), "the poll of the future is no other process"


def test_a_growing_file_tells_of_such_polls_although_no_other_comes(
    tmp_path: Path, open_source: OpenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(text_of([poll(START, "uptime", 5)]))
    monkeypatch.setattr(snapshots_rounds, "QUIET_S", 0.0)
    source = open_source(path, follow=True)
    events_of(source)
    with path.open("ab") as file:
        file.write(text_of([poll(START + 10**9, "uptime", 5), poll(START + 10**9, "uptime", 6)]))
    assert gaps_of(events_of(source)) == [(START, 2, "implausible time")]


def test_a_file_without_any_plausible_time_is_an_error(tmp_path: Path, open_source: OpenSource) -> None:
    (tmp_path / "s").write_bytes(text_of([poll(START + 10**9, "uptime", 5)]))
    with pytest.raises(SourceError, match="none of its 1 answers has a time between 2009 and tomorrow"):
        events_of(open_source(tmp_path / "s"))
