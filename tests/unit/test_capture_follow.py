"""Following capture files that grow, and resuming after a restart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.capture_files import (
    MINUTE_US,
    OTHER,
    PEER,
    SECOND_US,
    START_US,
    addr_payload,
    append,
    column,
    drained,
    events,
    follower,
    handshake,
    ping,
    pong,
    record,
    slices_of,
)
from watchdog.core.batch import Slice
from watchdog.core.errors import StateError
from watchdog.sources.capture import growth as capture_growth
from watchdog.sources.capture import merge as capture_merge
from watchdog.sources.capture.notices import Notices


@pytest.fixture(autouse=True, params=["told", "untold"])
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with notices of the kernel (as far as this system has them) and without."""
    if request.param == "untold":
        monkeypatch.setattr(Notices, "start", lambda root: None)


def test_a_following_source_waits_for_the_rest_of_a_torn_record(tmp_path: Path) -> None:
    whole = ping(START_US + 1)
    append(tmp_path, PEER, True, ping(START_US) + whole[:11])
    source = follower(tmp_path)
    assert len(column(drained(source), "net:inbound_message", "time_ns")) == 1
    append(tmp_path, PEER, True, whole[11:30])
    assert drained(source) == []
    append(tmp_path, PEER, True, whole[30:])
    found = drained(source)
    assert column(found, "net:inbound_message", "time_ns") == [(START_US + 1) * 1000]
    assert column(found, "source:gap", "reason") == []
    assert not source.ended


def test_a_following_source_sees_new_folders_and_files(tmp_path: Path) -> None:
    source = follower(tmp_path)
    assert drained(source) == []
    handshake(tmp_path, PEER, START_US, inbound=True)
    assert column(drained(source), "net:inbound_connection", "peer") == ["8.8.8.8:50000"]
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    append(tmp_path, PEER, True, ping(START_US + 2 * SECOND_US))
    assert column(drained(source), "net:inbound_message", "peer") == ["[2a01:4f8::2]:8333", "8.8.8.8:50000"]


@pytest.mark.parametrize("back_us", [SECOND_US, 60 * MINUTE_US], ids=["a late write", "a clock set back"])
def test_a_new_folder_is_read_whole_even_if_it_is_older_than_what_was_taken(tmp_path: Path, back_us: int) -> None:
    now_us = START_US + 120 * MINUTE_US
    append(tmp_path, PEER, True, ping(START_US) + ping(now_us))
    source = follower(tmp_path)
    assert len(column(drained(source), "net:inbound_message", "peer")) == 2
    append(tmp_path, OTHER, True, ping(now_us - back_us) + ping(now_us - back_us + 1))
    found = drained(source)
    append(tmp_path, PEER, True, ping(now_us + SECOND_US))
    found += drained(source)
    times = column(found, "net:inbound_message", "time_ns")
    assert len(times) == 3
    assert set(times) == {(now_us - back_us) * 1000, (now_us - back_us + 1) * 1000, (now_us + SECOND_US) * 1000}
    assert source.skipped.size == 0


def test_a_folder_that_comes_back_as_it_was_is_not_read_twice(tmp_path: Path) -> None:
    tree, aside = tmp_path / "tree", tmp_path / "aside"
    append(tree, PEER, True, ping(START_US) + ping(START_US + 1))
    append(tree, OTHER, True, ping(START_US + SECOND_US))
    source = follower(tree)
    assert len(column(drained(source), "net:inbound_message", "peer")) == 3
    (tree / PEER).rename(aside)
    append(tree, OTHER, True, ping(START_US + 2 * SECOND_US))
    drained(source)
    aside.rename(tree / PEER)
    append(tree, PEER, True, ping(START_US + 3 * SECOND_US))
    assert column(drained(source), "net:inbound_message", "time_ns") == [(START_US + 3 * SECOND_US) * 1000]


def test_what_is_new_is_held_back_for_one_poll_so_that_others_can_catch_up(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US))
    source = follower(tmp_path)
    drained(source)
    append(tmp_path, PEER, True, ping(START_US + 5))
    assert source.poll() is None
    append(tmp_path, OTHER, True, ping(START_US + 3))
    found = drained(source)
    assert column(found, "net:inbound_message", "time_ns") == [(START_US + 3) * 1000, (START_US + 5) * 1000]


def test_a_folder_that_is_removed_is_no_error_and_may_come_back(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US) + ping(START_US + 1))
    append(tmp_path, OTHER, True, ping(START_US))
    source = follower(tmp_path)
    assert len(column(drained(source), "net:inbound_message", "peer")) == 3
    shutil.rmtree(tmp_path / PEER)
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    assert column(drained(source), "net:inbound_message", "peer") == ["[2a01:4f8::2]:8333"]
    append(tmp_path, PEER, True, ping(START_US + 2 * SECOND_US))
    assert column(drained(source), "net:inbound_message", "time_ns") == [(START_US + 2 * SECOND_US) * 1000]


def test_an_old_folder_that_grows_again_is_seen_when_its_turn_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_growth, "WATCHED_FOLDERS", 3)
    monkeypatch.setattr(capture_growth, "WATCHED_IN_TURN", 2)
    for at in range(20):
        append(tmp_path, f"8.8.8.{at:03}_50000", True, ping(START_US + at * SECOND_US))
    source = follower(tmp_path)
    drained(source)
    append(tmp_path, "8.8.8.005_50000", True, ping(START_US + 60 * SECOND_US))
    found = [slice_ for _ in range(20) if (slice_ := source.poll()) is not None]
    assert column(found, "net:inbound_message", "time_ns") == [(START_US + 60 * SECOND_US) * 1000]


def test_a_backlog_is_read_before_following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_merge, "MEMORY_LIMIT", 4_000)
    monkeypatch.setattr(capture_merge, "TARGET_MESSAGES", 50)
    for at in range(10):
        data = b"".join(ping(START_US + at + step * SECOND_US) for step in range(200))
        append(tmp_path, f"8.8.{at}.8_50000", True, data)
    source = follower(tmp_path)
    found = drained(source)
    assert len(found) > 10
    times = column(found, "net:inbound_message", "time_ns")
    assert len(times) == 2000
    assert times == sorted(times, key=str)
    append(tmp_path, OTHER, True, ping(START_US + 300 * SECOND_US))
    assert len(column(drained(source), "net:inbound_message", "time_ns")) == 1


def test_following_gives_what_reading_at_once_gives(tmp_path: Path) -> None:
    source = follower(tmp_path)
    found: list[Slice] = []
    for step in range(30):
        now = START_US + step * MINUTE_US
        handshake(tmp_path, f"8.8.{step % 7}.8_50000", now, inbound=True)
        append(tmp_path, f"8.8.{step % 7}.8_50000", True, record(now + SECOND_US, "addr", addr_payload(20)))
        found += drained(source)
    assert events(found) == events(slices_of(tmp_path))


def test_the_position_survives_json_and_goes_on_at_the_exact_byte(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    append(tmp_path, PEER, False, ping(START_US + SECOND_US, 3))
    first = drained(follower(tmp_path))
    position = json.loads(json.dumps(first[-1].position))
    append(tmp_path, PEER, True, pong(START_US + 2 * SECOND_US, 3))
    rest = drained(follower(tmp_path, position))
    assert column(rest, "net:inbound_message", "type") == ["pong"]
    assert column(rest, "net:inbound_message", "conn") == [0]
    assert column(rest, "p2p:pong", "rtt_us") == [SECOND_US]
    assert column(rest, "net:inbound_connection", "conn") == []


@pytest.mark.parametrize(
    "position",
    [{}, {"read": {}, "who": {}}, {"read": 3, "who": []}, {"who": {"open": [[1]], "counts": {}, "numbered": 0}}],
)
def test_a_damaged_position_is_refused(tmp_path: Path, position: dict[str, object]) -> None:
    append(tmp_path, PEER, True, ping(START_US))
    with pytest.raises(StateError, match="damaged"):
        follower(tmp_path, position)
