"""Capture files that are removed, truncated or renamed while the node keeps writing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.capture_files import (
    MINUTE_US,
    OTHER,
    PEER,
    SECOND_US,
    START_US,
    append,
    column,
    drained,
    follower,
    ping,
    record,
    slices_of,
)
from watchdog.core.batch import Slice
from watchdog.core.errors import StateError
from watchdog.sources.capture.notices import Notices

LATER_US = START_US + MINUTE_US
RECEIVED = "msgs_recv.dat"


@pytest.fixture(autouse=True, params=["told", "untold"])
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with notices of the kernel (as far as this system has them) and without."""
    if request.param == "untold":
        monkeypatch.setattr(Notices, "start", lambda root: None)


@pytest.fixture(params=["live", "resumed"])
def across(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[], None]], list[Slice]]:
    """Change a tree in which one peer has sent 20 pings, while it is followed or while it is not."""

    def run(change: Callable[[], None]) -> list[Slice]:
        append(tmp_path, PEER, True, pings(START_US, 20))
        source = follower(tmp_path)
        found = drained(source)
        if request.param == "live":
            change()
            return [*drained(source), *drained(source)]
        source.close()
        change()
        return drained(follower(tmp_path, json.loads(json.dumps(found[-1].position))))

    return run


def pings(start_us: int, count: int) -> bytes:
    return b"".join(ping(start_us + at, at) for at in range(count))


def times(found: list[Slice]) -> list[object]:
    return column(found, "net:inbound_message", "time_ns")


def expected(start_us: int, count: int) -> list[int]:
    return [(start_us + at) * 1000 for at in range(count)]


Across = Callable[[Callable[[], None]], list[Slice]]


@pytest.mark.parametrize("count", [3, 20, 100], ids=["smaller", "of equal size", "larger"])
@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_file_that_was_removed_and_made_again_is_read_from_its_start(
    tmp_path: Path, across: Across, count: int, what: str
) -> None:
    def change() -> None:
        if what == "folder":
            shutil.rmtree(tmp_path / PEER)
        else:
            (tmp_path / PEER / RECEIVED).unlink()
        append(tmp_path, PEER, True, pings(LATER_US, count))

    found = across(change)
    assert times(found) == expected(LATER_US, count)
    assert column(found, "source:gap", "reason") == ["file-replaced"]
    assert column(found, "source:gap", "from_ns") == [(START_US + 19) * 1000]


def test_a_larger_file_whose_records_do_not_meet_the_old_ones_is_read_whole(tmp_path: Path, across: Across) -> None:
    def change() -> None:
        shutil.rmtree(tmp_path / PEER)
        append(tmp_path, PEER, True, record(LATER_US, "version", bytes(101)) + pings(LATER_US + 1, 100))

    found = across(change)
    assert times(found) == expected(LATER_US, 101)
    assert column(found, "source:gap", "reason") == ["file-replaced"]


@pytest.mark.parametrize("count", [3, 100])
def test_a_truncated_file_is_read_from_its_start(tmp_path: Path, across: Across, count: int) -> None:
    def change() -> None:
        os.truncate(tmp_path / PEER / RECEIVED, 0)
        append(tmp_path, PEER, True, pings(LATER_US, count))

    found = across(change)
    assert times(found) == expected(LATER_US, count)
    assert column(found, "source:gap", "reason") == ["file-replaced"]


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_folder_that_goes_while_it_is_written_to_is_a_gap(
    tmp_path: Path, across: Across, how: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    away = tmp_path_factory.mktemp("away")

    def change() -> None:
        if how == "removed":
            shutil.rmtree(tmp_path / PEER)
        else:
            (tmp_path / PEER).rename(away / PEER)
        append(tmp_path, OTHER, True, ping(LATER_US))

    found = across(change)
    assert column(found, "net:inbound_message", "peer") == ["[2a01:4f8::2]:8333"]
    assert column(found, "source:gap", "reason") == ["file-removed"]


def test_folders_of_connections_that_are_over_may_be_removed(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, pings(START_US, 20))
    append(tmp_path, OTHER, True, ping(START_US + 30 * MINUTE_US))
    source = follower(tmp_path)
    position = drained(source)[-1].position
    shutil.rmtree(tmp_path / PEER)
    append(tmp_path, OTHER, True, ping(START_US + 31 * MINUTE_US))
    for found in (drained(source), drained(follower(tmp_path, position))):
        assert times(found) == expected(START_US + 31 * MINUTE_US, 1)
        assert column(found, "source:gap", "reason") == []


def test_a_folder_that_is_gone_is_forgotten_and_told_once(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, pings(START_US, 20))
    position = drained(follower(tmp_path))[-1].position
    shutil.rmtree(tmp_path / PEER)
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    first = drained(follower(tmp_path, position))
    append(tmp_path, OTHER, True, ping(START_US + 2 * SECOND_US))
    second = drained(follower(tmp_path, first[-1].position))
    assert len(column(first, "source:gap", "reason")) == 1
    assert column(second, "source:gap", "reason") == []
    assert PEER not in json.dumps(second[-1].position["read"])


def test_a_half_record_that_is_cut_off_is_a_gap(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, pings(START_US, 2) + ping(START_US + 2)[:20])
    source = follower(tmp_path)
    drained(source)
    os.truncate(tmp_path / PEER / RECEIVED, len(pings(START_US, 2)))
    append(tmp_path, OTHER, True, ping(LATER_US))
    found = [*drained(source), *drained(source)]
    append(tmp_path, PEER, True, ping(LATER_US + 1))
    found += drained(source)
    assert times(found) == expected(LATER_US, 2)
    assert column(found, "source:gap", "reason") == ["file-replaced"]


@pytest.mark.parametrize("before", [0, 20], ids=["from its first byte", "later"])
def test_a_file_that_cannot_be_read_on_is_looked_at_again_for_another(tmp_path: Path, before: int) -> None:
    impossible = record(START_US + 30, "ping")[:20] + b"\xff" * 4
    append(tmp_path, OTHER, True, ping(START_US))
    append(tmp_path, PEER, True, pings(START_US, before) + impossible)
    source = follower(tmp_path)
    assert column(drained(source), "source:gap", "reason") == ["impossible-record"]
    append(tmp_path, PEER, True, ping(START_US + 31))
    append(tmp_path, OTHER, True, ping(START_US + 31))
    assert len(times(drained(source))) == 1
    shutil.rmtree(tmp_path / PEER)
    append(tmp_path, PEER, True, pings(LATER_US, before + 100))
    found = drained(source)
    assert times(found) == expected(LATER_US, before + 100)
    assert column(found, "source:gap", "reason") == ["file-replaced"]


def test_what_was_read_of_the_old_file_is_given_before_the_new_one(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, pings(START_US, 20))
    source = follower(tmp_path)
    drained(source)
    append(tmp_path, PEER, True, ping(START_US + SECOND_US))
    assert source.poll() is None, "the newest waits for one more look"
    shutil.rmtree(tmp_path / PEER)
    append(tmp_path, PEER, True, pings(LATER_US, 50))
    found = drained(source)
    assert times(found) == [(START_US + SECOND_US) * 1000, *expected(LATER_US, 50)]
    assert column(found, "source:gap", "reason") == ["file-replaced"]
    append(tmp_path, PEER, True, ping(LATER_US + SECOND_US))
    rest = drained(follower(tmp_path, json.loads(json.dumps(found[-1].position))))
    assert times(rest) == [(LATER_US + SECOND_US) * 1000]
    assert column(rest, "source:gap", "reason") == []


@pytest.mark.parametrize("cut", range(3))
def test_a_restart_amid_old_and_new_files_loses_nothing_and_tells_once(tmp_path: Path, cut: int) -> None:
    append(tmp_path, PEER, True, pings(START_US, 20))
    append(tmp_path, OTHER, True, ping(START_US))
    source = follower(tmp_path)
    found = drained(source)
    shutil.rmtree(tmp_path / PEER)
    append(tmp_path, PEER, True, pings(LATER_US, 50))
    for at in range(3):
        append(tmp_path, OTHER, True, ping(LATER_US + MINUTE_US + at))
        if at == cut:
            source.close()
            source = follower(tmp_path, json.loads(json.dumps(found[-1].position)))
        found += drained(source)
    assert len(times(found)) == 21 + 50 + 3
    assert column(found, "source:gap", "reason") == ["file-replaced"]


def test_a_position_without_marks_is_read_and_gets_them(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, pings(START_US, 20))
    position = json.loads(json.dumps(drained(follower(tmp_path))[-1].position))
    position["read"]["files"] = {folder: mark[:4] for folder, mark in position["read"]["files"].items()}
    append(tmp_path, PEER, True, ping(LATER_US))
    found = drained(follower(tmp_path, position))
    assert times(found) == expected(LATER_US, 1)
    shutil.rmtree(tmp_path / PEER)
    append(tmp_path, PEER, True, pings(LATER_US + SECOND_US, 50))
    rest = drained(follower(tmp_path, found[-1].position))
    assert times(rest) == expected(LATER_US + SECOND_US, 50)
    assert column(rest, "source:gap", "reason") == ["file-replaced"]
    position["read"]["files"] = {PEER: [0, 0, 0, 0, 0]}
    with pytest.raises(StateError, match="damaged"):
        follower(tmp_path, position)


def test_a_file_that_only_grew_gives_no_gap_however_it_is_cut(tmp_path: Path) -> None:
    whole = b"".join(
        record(START_US + at * SECOND_US, "tx" if at % 3 else "verack", bytes([at]) * (at % 3 * 150))
        for at in range(60)
    )
    source = follower(tmp_path)
    found: list[Slice] = []
    for at in range(0, len(whole), 97):
        append(tmp_path, PEER, True, whole[at : at + 97])
        found += drained(source)
        if at % 5 == 0 and found:
            source.close()
            source = follower(tmp_path, found[-1].position)
    assert times(found) == times(slices_of(tmp_path))
    assert len(times(found)) == 60
    assert column(found, "source:gap", "reason") == []


def test_folders_that_are_made_again_are_no_reason_to_give_up_notices(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    append(tmp_path, PEER, True, pings(START_US, 20))
    source = follower(tmp_path)
    found = drained(source)
    for step in range(1, 8):
        shutil.rmtree(tmp_path / PEER)
        append(tmp_path, PEER, True, pings(START_US + step * SECOND_US, 20 + step))
        found += drained(source)
    assert len(times(found)) == 8 * 20 + sum(range(8))
    assert column(found, "source:gap", "reason") == ["file-replaced"] * 7
    assert not caplog.records
