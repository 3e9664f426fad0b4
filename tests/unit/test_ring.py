"""The ring of a recorder: rotation, bounds, incidents, a kill, a full disk, two writers."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.children import killed_on_failure
from tests.support.parts import program
from watchdog.archive.reader import EventsFile
from watchdog.archive.ring import KEPT, Ring
from watchdog.core.batch import Batch, Blobs, Column, Slice
from watchdog.core.errors import StateError

SECOND = 1_000_000_000
START = 1_768_212_000 * SECOND
SOURCE = "capture:c"
SOURCES: dict[str, frozenset[str] | None] = {SOURCE: frozenset({"p2p:ping"})}
INCIDENT = "00aa11bb22cc33dd"


def piece(second: float, size: int = 4_000, seed: int = 0) -> Slice:
    """A slice with one event that does not compress."""
    time_ns = START + int(second * SECOND)
    noise = np.random.default_rng(seed or int(second)).integers(0, 256, size, np.uint8).tobytes()
    columns: dict[str, Column] = {"time_ns": np.array([time_ns], np.int64), "nonce": Blobs.of([noise])}
    return Slice(SOURCE, (Batch("p2p:ping", "node", SOURCE, columns),), time_ns, {})


def ring(folder: Path, keep: int = 1 << 20, rotate: int | None = 20_000) -> Ring:
    return Ring(folder, SOURCES, keep=keep, rotate=rotate)


def seconds(path: Path) -> list[int]:
    with EventsFile(path, strict=True) as file:
        times = [time for one in file.slices() for batch in one.batches for time in batch.time_ns.tolist()]
    return [(time - START) // SECOND for time in times]


def all_seconds(folder: Path) -> list[int]:
    return [second for path in sorted(folder.glob("*.events")) for second in seconds(path)]


def on_disk(folder: Path) -> int:
    return sum({path.name: path.stat().st_size for path in folder.rglob("*.events")}.values())


def test_files_rotate_and_the_oldest_goes_first(tmp_path: Path) -> None:
    with_all = ring(tmp_path, keep=100_000)
    for second in range(100):
        with_all.write(piece(second))
        assert on_disk(tmp_path) <= 100_000 + 8_000, "one slice beyond it at most"
    with_all.close()
    kept = all_seconds(tmp_path)
    assert kept == list(range(kept[0], 100))
    assert 15 < len(kept) < 26
    assert with_all.size == on_disk(tmp_path)
    assert [one.number for one in with_all.files] == list(range(with_all.files[0].number, 21))


def test_files_are_named_by_their_events(tmp_path: Path) -> None:
    one = ring(tmp_path)
    for second in (5, 3, 9.5):
        one.write(piece(second))
    assert [path.name for path in tmp_path.glob("*.events")] == ["00000001_20260112T100005Z.events"]
    one.close()
    assert [path.name for path in tmp_path.glob("*.events")] == ["00000001_20260112T100003Z_20260112T100010Z.events"]


def test_a_file_covers_an_hour_at_most(tmp_path: Path) -> None:
    one = ring(tmp_path)
    for second in (0, 3_000, 3_700, 3_800):
        one.write(piece(second, 10))
    one.close()
    assert [seconds(file.path) for file in one.files] == [[0, 3_000], [3_700, 3_800]]


def test_files_of_an_incident_are_kept_before_and_after(tmp_path: Path) -> None:
    one = ring(tmp_path, keep=250_000)
    for second in range(20):
        one.write(piece(second))
    one.keep_around(INCIDENT, START + 12 * SECOND, START + 30 * SECOND, now_ns=1)
    for second in range(20, 100):
        one.write(piece(second))
        if one.due(START + second * SECOND):
            assert second == 31
            one.close_file()
    one.close()
    kept = [second for path in sorted((tmp_path / KEPT / INCIDENT).glob("*.events")) for second in seconds(path)]
    assert set(range(12, 31)) <= set(kept) <= set(range(5, 40))
    assert 20 not in all_seconds(tmp_path), "the ring has moved on"
    assert on_disk(tmp_path) <= 250_000
    again = ring(tmp_path, keep=250_000)
    assert again.kept.keys() == {INCIDENT}
    assert again.size == on_disk(tmp_path)
    again.expire(1)
    assert again.kept.keys() == {INCIDENT}
    again.expire(2)
    assert not (tmp_path / KEPT / INCIDENT).exists()
    again.close()


def test_incidents_never_take_more_than_half_of_the_space(tmp_path: Path) -> None:
    one = ring(tmp_path, keep=200_000)
    for second in range(200):
        one.write(piece(second))
        one.keep_around(f"{second:016x}", START + second * SECOND, START + (second + 1) * SECOND, now_ns=second)
        assert on_disk(tmp_path / KEPT) <= 100_000
    one.close()
    assert one.dropped_incidents > 100
    assert one.kept.keys() == {path.name for path in (tmp_path / KEPT).iterdir()}
    assert f"{199:016x}" in one.kept


@pytest.mark.parametrize("incidents", [1, 4])
def test_a_flood_larger_than_the_space_keeps_its_beginning(tmp_path: Path, incidents: int) -> None:
    """Its incidents share its files: to forget one frees nothing, and to forget all would lose the evidence."""
    one = ring(tmp_path, keep=200_000)
    one.keep_around("ab", START - 900 * SECOND, START - 800 * SECOND, now_ns=1)
    for second in range(200):
        one.write(piece(second))
        if second == 9:
            for number in range(incidents):
                one.keep_around(f"{number:016x}", START, START + 1_000 * SECOND, now_ns=5 + number)
    one.close()
    assert on_disk(tmp_path / KEPT) <= 100_000
    for number in range(incidents):
        kept = sorted((tmp_path / KEPT / f"{number:016x}").glob("*.events"))
        found = [second for path in kept for second in seconds(path)]
        assert found == list(range(len(found)))
        assert len(found) >= 15
    assert one.unkept > 0
    again = ring(tmp_path, keep=200_000)
    assert on_disk(tmp_path / KEPT) <= 100_000
    assert sum(len(kept.files) for name, kept in again.kept.items() if name != "ab") >= incidents
    again.close()


@pytest.mark.parametrize("incident", ["", "../../etc", "A" * 16, "a/b", "0" * 65])
def test_only_ids_of_incidents_become_folders(tmp_path: Path, incident: str) -> None:
    one = ring(tmp_path)
    with pytest.raises(ValueError, match="no id of an incident"):
        one.keep_around(incident, 0, 1, now_ns=1)
    one.close()


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "00000007_20260112T100005Z.events").symlink_to(tmp_path / "notes.txt")
    (tmp_path / KEPT / "abc").mkdir(parents=True)
    (tmp_path / KEPT / INCIDENT).mkdir()
    (tmp_path / KEPT / INCIDENT / "window").write_text("no times")
    one = ring(tmp_path, keep=1)
    one.write(piece(1))
    one.close()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert one.kept.keys() == {INCIDENT, "abc"}
    again = ring(tmp_path)
    again.expire(1 << 62)
    again.close()
    assert list((tmp_path / KEPT).iterdir()) == []


def test_a_file_that_others_put_to_an_incident_stops_nothing_and_stays(tmp_path: Path) -> None:
    one = ring(tmp_path)
    one.write(piece(1))
    one.close_file()
    one.keep_around("ab", START, START + SECOND, now_ns=1)
    notes = tmp_path / KEPT / "ab" / "notes.txt"
    notes.write_text("seen by the night shift")
    one.expire(2)
    assert (one.kept, list(notes.parent.iterdir())) == ({}, [notes])
    one.close()
    again = ring(tmp_path)
    again.expire(1 << 62)
    assert (again.kept, list(notes.parent.iterdir())) == ({}, [notes])
    again.keep_around("ab", START, START + SECOND, now_ns=3)
    assert list(again.kept["ab"].files) == [path.name for path in tmp_path.glob("*.events")]
    again.close()


def test_a_second_writer_is_refused_with_a_clear_line(tmp_path: Path) -> None:
    one = ring(tmp_path)
    with pytest.raises(StateError, match="another watchdog records into it"):
        ring(tmp_path)
    one.close()
    ring(tmp_path).close()


CHILD = """
import sys
from pathlib import Path
from tests.unit.test_ring import ring, piece
one = ring(Path(sys.argv[1]), keep=1 << 30, rotate=9_000)
print("ready", flush=True)
for second in range(int(sys.argv[2]), 1 << 30):
    one.write(piece(second))
    print(second, flush=True)
"""


def test_a_kill_while_files_rotate_loses_no_whole_slice(tmp_path: Path) -> None:
    first = 0
    for life in range(6):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(first)]
        with killed_on_failure(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.05 + 0.03 * life)
            os.kill(child.pid, signal.SIGKILL)
            told = [int(line) for line in child.stdout.read().split()]
        first = max([first, *told]) + 2  # what was written and not told is in the file
    one = ring(tmp_path, keep=1 << 30)
    one.close()
    found = all_seconds(tmp_path)
    assert found == sorted(set(found))
    assert len(found) >= first - 12
    numbers = [file.number for file in one.files]
    assert numbers == sorted(set(numbers))
    assert one.marks()[SOURCE] == START + found[-1] * SECOND


def test_a_file_without_a_whole_slice_is_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "00000003_20260112T100005Z.events").write_bytes(b"BWEVENTS")
    (tmp_path / "00000004_20260112T100005Z.events").touch()
    one = ring(tmp_path)
    assert list(tmp_path.glob("*.events")) == []
    one.write(piece(1))
    one.close()
    assert [file.number for file in one.files] == [5]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; skipped where we may not mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = [program("mount"), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode:  # a right that this machine does not give, no missing part
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True, timeout=300)


def test_on_a_full_disk_the_oldest_go_first_then_it_stops_and_resumes(small_disk: Path) -> None:
    folder = small_disk / "ring"
    one = ring(folder, keep=1 << 30, rotate=100_000)
    for second in range(1_000):
        one.write(piece(second))
    kept = all_seconds_of_closed(one)
    assert kept == list(range(kept[0], kept[-1] + 1))
    assert kept[0] > 600, "the oldest went"
    one.close()
    for file in one.files[1:]:
        file.path.unlink()
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        filler.writelines(itertools.repeat(bytes(4_096)))
    one = ring(folder, keep=1 << 30)
    one.keep_around(INCIDENT, one.files[0].from_ns, one.files[0].to_ns, now_ns=1)
    with pytest.raises(StateError, match="no space left on device"):
        one.write(piece(2_000))
    assert [path.name for path in folder.glob("kept/*/*.events")] == [one.files[0].path.name], "an incident's stays"
    ballast.unlink()
    one.write(piece(5_000))
    one.close()
    assert seconds(one.files[-1].path) == [5_000]


@pytest.mark.parametrize("incident", [False, True])
def test_a_disk_that_holds_the_head_of_a_file_and_no_slice_ends_the_write(small_disk: Path, *, incident: bool) -> None:
    folder = small_disk / "ring"
    one = ring(folder, keep=1 << 30)
    if incident:
        one.keep_around(INCIDENT, START, START + 1_000 * SECOND, now_ns=1)
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        filler.writelines(itertools.repeat(bytes(4_096)))
    os.truncate(ballast, ballast.stat().st_size - 3 * 4_096)
    with pytest.raises(StateError, match="no space left on device"):
        one.write(piece(1, size=40_000))
    assert list(folder.rglob("*.events")) == []
    assert one.size == 0
    ballast.unlink()
    one.write(piece(2, size=40_000))
    one.close()
    assert seconds(one.files[-1].path) == [2]


def all_seconds_of_closed(one: Ring) -> list[int]:
    return [second for file in one.files for second in seconds(file.path)]
