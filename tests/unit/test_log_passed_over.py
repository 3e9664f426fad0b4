"""Rotated files that cannot be read, packed copies of one that was read, and pipes: none holds up the log itself."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from tests.support.capture_files import PEER, START_US, append, drained, follower, handshake, ping
from tests.unit.test_log_follow import Follower, gaps, lines
from watchdog.core.errors import SourceError
from watchdog.core.source import SourceOptions
from watchdog.sources.ordinary import NO_FILE, open_ordinary
from watchdog.sources.registry import open_sources


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "debug.log"
    path.write_text(lines(1, 3))
    return path


def rotate(path: Path, number: int) -> Path:
    """Rename the log; its last write is the later, the smaller the number."""
    older = path.rename(path.with_name(f"debug.log.{number}"))
    os.utime(older, (1_769_000_100 - number, 1_769_000_100 - number))
    return older


@pytest.mark.parametrize("restarted", [False, True])
def test_a_rotated_file_that_cannot_be_read_is_a_gap_and_the_log_is_read_on(path: Path, restarted: bool) -> None:
    first = Follower(path)
    assert first.drain() == [1, 2, 3]
    rotate(path, 3)
    path.with_name("debug.log.2.gz").write_bytes(b"no gzip data" * 100)  # stands for one that this user may not read
    path.write_text(lines(8, 9))
    then = Follower(path, first.position) if restarted else first
    assert then.drain()[-2:] == [8, 9]
    assert [reason for _, _, reason in gaps(then.batches)] == ["a rotated log cannot be read"]
    with path.open("a") as file:
        file.write(lines(10, 10))
    assert then.drain()[-1] == 10
    assert len(gaps(then.batches)) == 1
    first.source.close()
    then.source.close()


def test_the_log_itself_is_an_error_where_it_cannot_be_read(path: Path) -> None:
    follower = Follower(path)
    follower.drain()
    path.unlink()
    path.mkdir()
    with pytest.raises(SourceError, match="is a directory"):
        follower.drain()
    follower.source.close()


def test_a_packed_copy_of_the_file_that_was_read_is_not_read_again(path: Path) -> None:
    """`gzip < debug.log > debug.log.1.gz; rm debug.log`: the copy is newer than the last write to what it copies."""
    follower = Follower(path)
    assert follower.drain() == [1, 2, 3]
    with path.open("a") as file:
        file.write(lines(4, 4))
    with path.open("rb") as plain, gzip.open(path.with_name("debug.log.1.gz"), "wb") as packed:
        shutil.copyfileobj(plain, packed)
    path.unlink()
    path.write_text(lines(5, 6))
    assert follower.drain() == [1, 2, 3, 4, 5, 6]
    assert gaps(follower.batches) == []
    follower.source.close()


@pytest.mark.parametrize("scheme", ["log", "snapshots"])
def test_a_pipe_is_one_clear_error_at_once(tmp_path: Path, scheme: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="a pipe, a socket or a device, not a file"):
        open_sources([f"{scheme}:{tmp_path / 'pipe'}"], SourceOptions(follow=True))


def test_a_pipe_in_the_place_of_a_log_ends_no_restart(path: Path) -> None:
    first = Follower(path)
    first.drain()
    path.unlink()
    os.mkfifo(path)
    assert first.drain() == [1, 2, 3]  # it waits for a log
    with pytest.raises(SourceError, match=NO_FILE):
        Follower(path, first.position)
    first.source.close()


def test_a_pipe_in_the_place_of_a_capture_file_is_no_file(tmp_path: Path) -> None:
    handshake(tmp_path, PEER, START_US, inbound=True)
    source = follower(tmp_path)
    drained(source)
    (tmp_path / PEER / "msgs_recv.dat").unlink()
    os.mkfifo(tmp_path / PEER / "msgs_recv.dat")
    drained(source)
    append(tmp_path, "9.9.9.9_50000", True, ping(START_US + 10_000_000))
    assert [batch.rows for slice_ in drained(source) for batch in slice_.batches if batch.kind == "p2p:ping"] == [1]
    source.close()


def test_an_ordinary_file_is_opened_as_ever(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    with open_ordinary(tmp_path / "x", 16) as file:
        assert file.read() == b"abc"
    with pytest.raises(FileNotFoundError):
        open_ordinary(tmp_path / "y")
