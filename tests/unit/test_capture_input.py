"""Capture trees that are torn, damaged, packed into archives, or none."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.support.capture_files import (
    OTHER,
    PEER,
    SECOND_US,
    START_US,
    append,
    column,
    drained,
    events,
    follower,
    handshake,
    ping,
    read_all,
    record,
    slices_of,
)
from watchdog.core.errors import SourceError
from watchdog.core.moments import EARLIEST_NS
from watchdog.core.source import SourceOptions
from watchdog.sources.capture.source import CaptureSource


def test_a_torn_last_record_is_reported_as_a_gap_at_the_end(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US) + ping(START_US + 1)[:-3])
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    slices = slices_of(tmp_path)
    assert column(slices, "source:gap", "reason") == ["torn-record"]
    assert column(slices, "source:gap", "from_ns") == [START_US * 1000]
    assert column(slices, "source:gap", "time_ns") == [(START_US + SECOND_US) * 1000]
    assert len(column(slices, "net:inbound_message", "time_ns")) == 2


@pytest.mark.parametrize("behind", [2, 50])  # few records are kept one by one, many as arrays
def test_an_impossible_record_ends_its_file_but_not_the_tree(tmp_path: Path, behind: int) -> None:
    bad = record(START_US + 5, "inv")[:20] + (4_000_001).to_bytes(4, "little")
    append(tmp_path, PEER, True, ping(START_US) + bad + ping(START_US + 9) * behind)
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    slices = slices_of(tmp_path)
    assert column(slices, "source:gap", "reason") == ["impossible-record"]
    assert column(slices, "net:inbound_message", "peer") == ["8.8.8.8:50000", "[2a01:4f8::2]:8333"]


YEAR_2100_US, YEAR_2000_US = 4_102_444_800_000_000, 946_684_800_000_000


@pytest.mark.parametrize("odd_us", [0, YEAR_2000_US, YEAR_2100_US, 1 << 63])
@pytest.mark.parametrize("behind", [1, 50])
@pytest.mark.parametrize("follow", [False, True])
def test_a_time_that_cannot_be_true_costs_its_record_only(
    tmp_path: Path, odd_us: int, behind: int, follow: bool
) -> None:
    odd, rest = record(odd_us, "inv"), [START_US + 9 + at for at in range(behind)]
    append(tmp_path, PEER, True, ping(START_US) + odd * 2 + b"".join(map(ping, rest)))
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    slices = drained(follower(tmp_path)) if follow else slices_of(tmp_path)
    assert column(slices, "source:gap", "reason") == ["implausible time"]
    assert column(slices, "source:gap", "lost") == [2]
    assert column(slices, "source:gap", "from_ns") == [START_US * 1000]
    times = column(slices, "net:inbound_message", "time_ns")
    assert times == [at * 1000 for at in (START_US, *rest, START_US + SECOND_US)]


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.parametrize("follow", [False, True])
def test_a_file_of_times_that_cannot_be_true_ends_and_goes_on(tmp_path: Path, count: int, follow: bool) -> None:
    append(tmp_path, PEER, True, record(YEAR_2100_US, "inv") * count)
    append(tmp_path, OTHER, True, ping(START_US))
    if not follow:
        slices = slices_of(tmp_path)
    else:
        source = follower(tmp_path)
        slices = drained(source)
        append(tmp_path, PEER, True, ping(START_US + SECOND_US))
        slices += drained(source)
    assert sum(int(str(lost)) for lost in column(slices, "source:gap", "lost")) == count
    assert all(int(str(at)) >= EARLIEST_NS for at in column(slices, "source:gap", "time_ns"))
    assert len(column(slices, "net:inbound_message", "time_ns")) == 1 + follow


def test_damage_before_any_known_time_waits_for_one(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, b"\xff" * 100)
    source = follower(tmp_path)
    assert column(drained(source), "source:gap", "time_ns") == []
    append(tmp_path, OTHER, True, ping(START_US))
    slices = drained(source)
    append(tmp_path, OTHER, True, ping(START_US + SECOND_US))
    slices += drained(source)
    (time_ns,) = column(slices, "source:gap", "time_ns")
    assert int(str(time_ns)) >= START_US * 1_000


def test_a_resumed_read_tells_of_a_torn_record_at_the_same_time(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, ping(START_US) + ping(START_US)[:-1])
    append(tmp_path, OTHER, True, ping(START_US) + ping(START_US + 3_600 * SECOND_US))
    told = []
    for stop in (1, 2, 3):
        source = CaptureSource(str(tmp_path), SourceOptions())
        slices = [slice_ for _ in range(stop) if (slice_ := source.poll()) is not None]
        if not source.ended:
            resumed = CaptureSource(str(tmp_path), SourceOptions(position=slices[-1].position))
            slices += read_all(resumed)
        told.append(column(slices, "source:gap", "time_ns"))
    assert told == [[(START_US + 3_600 * SECOND_US) * 1_000]] * 3


def test_the_largest_possible_message_is_read(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, record(START_US, "block", bytes(4_000_000)) + ping(START_US + 1))
    assert column(slices_of(tmp_path), "net:inbound_message", "size") == [4_000_000, 8]


def archive(root: Path, path: Path) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        tar.add(root, "capture")
    return path


def test_an_archive_gives_what_the_folder_gives(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    handshake(root, PEER, START_US, inbound=True)
    handshake(root, OTHER, START_US + SECOND_US, inbound=False)
    packed = slices_of(archive(root, tmp_path / "capture.tar.xz"))
    assert events(packed) == events(slices_of(root))


def test_a_torn_archive_is_one_clear_error(tmp_path: Path) -> None:
    handshake(tmp_path / "tree", PEER, START_US, inbound=True)
    path = archive(tmp_path / "tree", tmp_path / "capture.tar.xz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"capture\.tar\.xz.*torn or corrupt"):
        slices_of(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(SourceError, match="torn or corrupt"):
        slices_of(path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handshake(tmp_path / "tree", PEER, START_US, inbound=True)
    path = archive(tmp_path / "tree", tmp_path / "capture.tar.xz")
    from watchdog.sources.capture.tree import ArchiveTree

    with pytest.raises(SourceError, match="unpacks to more than"):
        ArchiveTree(str(path), limit=1000)


def test_a_folder_without_capture_files_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no capture files"):
        slices_of(tmp_path)
    (tmp_path / "message_capture").mkdir()
    with pytest.raises(SourceError, match=r"did you mean .*message_capture"):
        slices_of(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        slices_of(tmp_path / "nothing")
