"""debug.log followed while it grows, is rotated, truncated, shrunk, and after a restart of the watchdog."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from watchdog.core.batch import Batch
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.sources.log.source import LATENESS_NS, DebugLogSource
from watchdog.sources.packed import FORMATS

START_NS = 1_769_000_000_000_000_000  # 2026-01-21T12:53:20Z


def lines(first: int, last: int) -> str:
    """Return lines about peers `first` to `last`, one a second."""
    text = ""
    for conn in range(first, last + 1):
        minute, second = divmod(20 + conn, 60)
        text += f"2026-01-21T12:{53 + minute:02}:{second:02}Z [net] Misbehaving: peer={conn}: x\n"
    return text


def conns(batches: tuple[Batch, ...] | list[Batch]) -> list[int]:
    return [
        int(conn) for batch in batches if batch.kind == "log:misbehaving" for conn in batch.numbers("conn").tolist()
    ]


def gaps(batches: list[Batch]) -> list[tuple[int, int, str]]:
    found: list[tuple[int, int, str]] = []
    for batch in batches:
        if batch.kind == "source:gap":
            reasons = batch.strings("reason").tolist()
            found += zip(batch.numbers("from_ns").tolist(), batch.numbers("to_ns").tolist(), reasons, strict=True)
    return found


class Follower:
    """A followed log and all that came out of it."""

    def __init__(self, path: Path, position: object = None) -> None:
        restored = None if position is None else json.loads(json.dumps(position))
        self.source = DebugLogSource(str(path), SourceOptions(follow=True, position=restored))
        self.batches: list[Batch] = []
        self.position: object = position

    def drain(self) -> list[int]:
        """Poll until nothing new comes; return the peers reported so far."""
        for _ in range(50):
            slice_ = self.source.poll()
            if slice_ is None:
                break
            self.batches += slice_.batches
            self.position = slice_.position
        return conns(self.batches)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "debug.log"
    path.write_text(lines(1, 3))
    return path


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_growing_log_gives_whole_lines_only(path: Path) -> None:
    follower = Follower(path)
    assert follower.drain() == [1, 2, 3]
    text = lines(4, 4)
    append(path, text[:-10])
    assert follower.drain() == [1, 2, 3]
    append(path, text[-10:])
    assert follower.drain() == [1, 2, 3, 4]
    assert not follower.source.ended
    follower.source.close()


def test_the_watermark_stays_behind_the_latest_time_when_the_clock_steps_back(path: Path) -> None:
    path.write_text(lines(50, 50) + lines(1, 2))
    source = DebugLogSource(str(path), SourceOptions(follow=True))
    slice_ = source.poll()
    source.close()
    assert slice_ is not None
    assert slice_.until_ns == START_NS + 50_000_000_000 - LATENESS_NS


def test_a_renamed_log_is_read_to_its_end_before_the_new_one(path: Path) -> None:
    follower = Follower(path)
    follower.drain()
    append(path, lines(4, 5))
    path.rename(path.with_name("debug.log.1"))
    append(path.with_name("debug.log.1"), lines(6, 6))
    assert follower.drain() == [1, 2, 3, 4, 5, 6]
    path.write_text("")
    append(path.with_name("debug.log.1"), lines(7, 7))
    assert follower.drain() == [1, 2, 3, 4, 5, 6, 7]
    path.write_text(lines(8, 9))
    assert follower.drain() == list(range(1, 10))
    assert gaps(follower.batches) == []
    follower.source.close()


def test_a_log_copied_and_truncated_loses_nothing_while_the_copy_is_there(path: Path) -> None:
    follower = Follower(path)
    follower.drain()
    append(path, lines(4, 5))
    shutil.copy(path, path.with_name("debug.log.1"))
    path.write_text(lines(6, 6))
    assert follower.drain() == [1, 2, 3, 4, 5, 6]
    append(path, lines(7, 30))
    assert follower.drain() == list(range(1, 31))
    assert gaps(follower.batches) == []
    follower.source.close()


def test_a_truncation_without_a_copy_is_a_gap_also_when_the_log_grew_beyond_the_place(path: Path) -> None:
    follower = Follower(path)
    follower.drain()
    path.write_text(lines(10, 40))
    assert follower.drain() == [1, 2, 3, *range(10, 41)]
    second = 1_000_000_000
    assert gaps(follower.batches) == [(START_NS + 3 * second, START_NS + 10 * second, "log was truncated")]
    follower.source.close()


def test_a_log_shrunk_by_core_goes_on_where_it_was(path: Path) -> None:
    path.write_text(lines(1, 20))
    follower = Follower(path)
    follower.drain()
    path.write_text(lines(15, 22))
    assert follower.drain() == list(range(1, 23))
    assert gaps(follower.batches) == []
    follower.source.close()


def test_a_restart_finds_the_rotated_files_and_reads_what_it_missed(path: Path) -> None:
    follower = Follower(path)
    follower.drain()
    follower.source.close()
    append(path, lines(4, 5))
    path.with_name("debug.log.2.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.with_name("debug.log.1").write_text(lines(6, 7))
    path.unlink()
    path.write_text(lines(8, 9))
    for age, name in enumerate(["debug.log.2.gz", "debug.log.1", "debug.log"]):
        set_mtime(path.with_name(name), 1_000 + age)
    resumed = Follower(path, follower.position)
    assert resumed.drain() == [4, 5, 6, 7, 8, 9]
    assert gaps(resumed.batches) == []
    resumed.source.close()


def set_mtime(path: Path, seconds: int) -> None:
    os.utime(path, (seconds, seconds))


def test_a_restart_after_the_old_file_is_gone_tells_of_the_gap(path: Path) -> None:
    follower = Follower(path)
    follower.drain()
    follower.source.close()
    path.unlink()
    path.write_text(lines(8, 9))
    resumed = Follower(path, follower.position)
    assert resumed.drain() == [8, 9]
    second = 1_000_000_000
    reason = "log was rotated away before its end was read"
    assert gaps(resumed.batches) == [(START_NS + 3 * second, START_NS + 8 * second, reason)]
    resumed.source.close()


def rotated_while_stopped(path: Path) -> Follower:
    """Read to peer 3, then stopped: what held these lines was removed, and the log rotated three times."""
    old = path.with_name("debug.log.4")
    old.write_text(lines(0, 0))
    set_mtime(old, 1_000)
    set_mtime(path, 2_000)
    follower = Follower(path)
    assert follower.drain() == [1, 2, 3]
    follower.source.close()
    path.with_name("debug.log.3.gz").write_bytes(gzip.compress(lines(6, 7).encode()))
    path.with_name("debug.log.2.xz").write_bytes(lzma.compress(lines(8, 9).encode()))
    path.with_name("debug.log.1").write_text(lines(10, 11))
    path.unlink()
    path.write_text(lines(12, 13))
    for age, name in enumerate(["debug.log.3.gz", "debug.log.2.xz", "debug.log.1", "debug.log"]):
        set_mtime(path.with_name(name), 3_000 + age)
    return follower


GONE = [(START_NS + 3 * 10**9, START_NS + 6 * 10**9, "log was rotated away before its end was read")]


def test_a_restart_without_the_old_file_reads_all_newer_ones_after_one_gap(path: Path) -> None:
    resumed = Follower(path, rotated_while_stopped(path).position)
    assert resumed.drain() == [6, 7, 8, 9, 10, 11, 12, 13], "debug.log.4 is older than what was read"
    assert gaps(resumed.batches) == GONE
    append(path, lines(14, 14))
    assert resumed.drain()[-1] == 14
    resumed.source.close()


def test_newer_files_are_read_once_however_often_the_watchdog_is_stopped_among_them(path: Path) -> None:
    follower = rotated_while_stopped(path)
    found: list[Batch] = []
    for _ in range(10):
        again = Follower(path, follower.position)
        slice_ = again.source.poll()
        again.source.close()
        if slice_ is None:
            break
        found += slice_.batches
        follower.position = slice_.position
    assert (conns(found), gaps(found)) == ([6, 7, 8, 9, 10, 11, 12, 13], GONE)


def test_a_position_of_before_knows_newer_files_by_the_time_of_its_last_line(path: Path) -> None:
    position = rotated_while_stopped(path).position
    assert isinstance(position, dict)
    del position["mtime_ns"]
    for age, name in enumerate(["debug.log.4", "debug.log.3.gz", "debug.log.2.xz", "debug.log.1"]):
        set_mtime(path.with_name(name), START_NS // 10**9 + 3 * age)  # the last line is of 3 s
    resumed = Follower(path, position)
    assert resumed.drain() == [8, 9, 10, 11, 12, 13]
    resumed.source.close()


def test_a_half_line_at_the_end_of_a_rotated_file_is_counted_not_read(path: Path) -> None:
    append(path, lines(4, 4)[:-1])
    follower = Follower(path)
    follower.drain()
    path.rename(path.with_name("debug.log.1"))
    path.write_text(lines(5, 5))
    assert follower.drain() == [1, 2, 3, 5]
    assert follower.source.counters["torn_lines"] == 1
    follower.source.close()


def test_a_start_at_the_end_of_what_is_there_waits_for_its_steady_lines(path: Path) -> None:
    append(path, "2027-01-01T00:00:00Z Bitcoin Core version v30.0.0 (release build)\n")
    follower = Follower(path)
    assert follower.source.poll() is not None
    assert follower.source.poll() is None
    append(path, "2026-01-21T12:54:00Z Using data directory\n" * 30)
    follower.drain()
    (start,) = [batch for batch in follower.batches if batch.kind == "node:started"]
    assert start.time_ns.tolist() == [START_NS + 40_000_000_000]
    follower.source.close()


@pytest.mark.parametrize("name", ["missing.log", "."])
def test_a_log_that_cannot_be_opened_is_one_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"cannot read log file '.*': (no such file|is a directory)"):
        DebugLogSource(str(tmp_path / name), SourceOptions())


@pytest.mark.parametrize(("ending", "format_name"), FORMATS.items())
def test_a_file_that_is_not_packed_as_it_says_is_one_clear_error(tmp_path: Path, ending: str, format_name: str) -> None:
    path = tmp_path / f"debug.log{ending}"
    path.write_text(lines(1, 3))
    with pytest.raises(SourceError, match=f"not {format_name} data"):
        DebugLogSource(str(path), SourceOptions())


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_a_torn_packed_log_gives_what_is_there_and_then_says_so(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"debug.log{ending}"
    path.write_bytes(pack(lines(1, 300).encode())[:-20])
    source = DebugLogSource(str(path), SourceOptions())
    slice_ = source.poll()
    assert slice_ is not None
    assert conns(slice_.batches)[:3] == [1, 2, 3]
    with pytest.raises(SourceError, match="torn after"):
        source.poll()


PEERS = {"offset": 3, "mark": "x", "inode": 1, "mtime_ns": 1, "peers": 3}


@pytest.mark.parametrize(
    "damage", [{}, {"offset": "1"}, {"offset": 3, "mark": "x", "inode": 1, "mtime_ns": "3"}, PEERS]
)
def test_a_damaged_position_is_one_clear_error(path: Path, damage: dict[str, object]) -> None:
    with pytest.raises(SourceError, match="position is damaged"):
        DebugLogSource(str(path), SourceOptions(position=damage))


# ---- times that cannot be true ----


def test_a_line_of_the_far_future_is_told_as_lost_and_moves_no_watermark(tmp_path: Path) -> None:
    good, odd = lines(1, 4).splitlines(keepends=True), "2999-01-21T12:53:20Z [net] Misbehaving: peer=9: x\n"
    unread = "2999-01-21T12:53:20Z something that nobody reads\n"
    (tmp_path / "debug.log").write_text(
        "".join([good[0], good[1], odd, unread, odd.replace("2999", "2001"), *good[2:]])
    )
    follower = Follower(tmp_path / "debug.log")
    assert follower.drain() == [1, 2, 3, 4]
    at = START_NS + 2 * 10**9
    assert gaps(follower.batches) == [(at, at, "implausible time")] * 2
    assert follower.source.counters["implausible_times"] == 2
    follower.source.close()
    late = Follower(tmp_path / "debug.log", follower.position)
    append(tmp_path / "debug.log", lines(5, 5))
    slice_ = late.source.poll()
    late.source.close()
    assert slice_ is not None
    assert slice_.until_ns == START_NS + 5 * 10**9 - LATENESS_NS


def test_lines_before_any_plausible_time_are_told_at_the_first_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    path.write_text("1970-01-01T00:00:20Z [net] Misbehaving: peer=9: x\n" * 3)
    follower = Follower(path)
    assert follower.drain() == []
    follower.source.close()
    append(path, lines(1, 2))
    again = Follower(path, follower.position)
    assert again.drain() == [1, 2]
    again.source.close()
    at = START_NS + 10**9
    assert gaps(again.batches) == [(at, at, "implausible time")]
    assert again.batches[-1].numbers("lost").tolist() == [3]


def test_quarantined_lines_do_not_depend_on_how_the_log_was_cut(tmp_path: Path) -> None:
    odd = "2999-01-21T12:53:20Z [net] Misbehaving: peer=9: x\n"
    text = odd + "".join(line + odd for line in lines(1, 6).splitlines(keepends=True)) + odd
    (tmp_path / "whole.log").write_text(text)
    whole = Follower(tmp_path / "whole.log")
    whole.drain()
    whole.source.close()
    for size in (30, 61, 200):
        path = tmp_path / f"{size}.log"
        path.write_text("")
        piecewise = Follower(path)
        for start in range(0, len(text), size):
            append(path, text[start : start + size])
            piecewise.drain()
        piecewise.source.close()
        assert (gaps(piecewise.batches), conns(piecewise.batches)) == (gaps(whole.batches), conns(whole.batches))


def test_a_log_without_any_plausible_time_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "debug.log").write_text("2999-01-21T12:53:20Z [net] Misbehaving: peer=9: x\n")
    source = DebugLogSource(str(tmp_path / "debug.log"), SourceOptions())
    source.poll()
    with pytest.raises(SourceError, match="none of its 1 lines of interest has a time between 2009 and tomorrow"):
        source.poll()


def test_a_start_before_the_clock_was_set_has_the_time_of_the_steady_lines(tmp_path: Path) -> None:
    (tmp_path / "debug.log").write_text(
        "1970-01-01T00:00:07Z Bitcoin Core version v31.0.0 (release build)\n" + lines(1, 40)
    )
    follower = Follower(tmp_path / "debug.log")
    follower.drain()
    follower.source.close()
    started = [batch for batch in follower.batches if batch.kind == "node:started"]
    assert [batch.time_ns.tolist() for batch in started] == [[START_NS + 10**9]]
    assert gaps(follower.batches) == []
