"""Files that other users can plant or forge: pid, lock, checkpoint, asmap."""

from __future__ import annotations

import os
import stat
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alerts.store.lock import file_lock
from watchdog.cli.main import main
from watchdog.core.asmap import Asmap
from watchdog.core.errors import ServiceError, SourceError, StateError, StoreError
from watchdog.pipeline.checkpoint import MAGIC, Checkpoint, read_checkpoint, write_checkpoint
from watchdog.service.pid_file import ANSWER_FILE, PID_FILE, PidFile, running

RECORDINGS = Path(__file__).parents[3] / "shared"
ASMAP = RECORDINGS / "data" / "asmap.dat"
SECRET = b"what is not ours\n"


def linked(victim: Path, name: Path) -> None:
    name.symlink_to(victim)


def second_name(victim: Path, name: Path) -> None:
    name.hardlink_to(victim)


def pipe(_victim: Path, name: Path) -> None:
    os.mkfifo(name)


def folder(_victim: Path, name: Path) -> None:
    name.mkdir()


PLANTED = [
    (linked, "a symbolic link, which is not followed"),
    (second_name, "hard link"),
    (pipe, "not an ordinary file"),
    (folder, "is a directory"),
]


@pytest.mark.parametrize(("plant", "reason"), PLANTED)
def test_what_is_planted_as_pid_file_is_refused_and_left_alone(
    plant: Callable[[Path, Path], None], reason: str, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(SECRET)
    plant(victim, tmp_path / PID_FILE)
    with pytest.raises(ServiceError, match=rf"watchdog\.pid': .*{reason}"):
        PidFile(tmp_path)
    with pytest.raises(ServiceError, match=rf"watchdog\.pid': .*{reason}"):
        running(tmp_path)
    assert victim.read_bytes() == SECRET


@pytest.mark.parametrize(("plant", "reason"), PLANTED)
def test_what_is_planted_as_lock_is_refused_and_left_alone(
    plant: Callable[[Path, Path], None], reason: str, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(SECRET)
    plant(victim, tmp_path / "watchdog.db.lock")
    with pytest.raises(StoreError, match=rf"watchdog\.db\.lock': .*{reason}"):
        file_lock(tmp_path / "watchdog.db")
    assert victim.read_bytes() == SECRET


def test_a_link_to_nowhere_makes_no_file(tmp_path: Path) -> None:
    (tmp_path / PID_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ServiceError, match="symbolic link"):
        PidFile(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_the_answer_to_a_reload_replaces_a_link_and_spares_what_it_leads_to(tmp_path: Path) -> None:
    victim, answer = tmp_path / "victim", tmp_path / ANSWER_FILE
    victim.write_bytes(SECRET)
    answer.symlink_to(victim)
    held = PidFile(tmp_path)
    held.answer(1, ok=True, text="done")
    held.release()
    assert victim.read_bytes() == SECRET
    assert not answer.is_symlink()
    assert b"done" in answer.read_bytes()


def forged(path: Path, change: Callable[[bytes], bytes]) -> None:
    """A checkpoint with a right checksum over a changed body."""
    write_checkpoint(path, Checkpoint("rule-set", ("source",), "node", "", {"s": {"offset": 7}}, b"engine", b"book"))
    body = change(path.read_bytes()[len(MAGIC) + 4 :])
    path.write_bytes(MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)


FORGERIES: list[Callable[[bytes], bytes]] = [
    lambda body: body.replace(b"rule-set", b"rule-\xff\xfe\x80"),
    lambda body: body.replace(b"rules", b"rul\xffs"),
    lambda body: body.replace(b"offset", b"offs\xc3("),
    lambda body: body.replace(b"source", b"sour\xed\xa0"),
    lambda body: body.replace(b"\x81\xa6offset\x07", b"\x81\xa6offset" + b"\x91" * 100_000 + b"\x07"),
]


@pytest.mark.parametrize("change", FORGERIES, ids=["value", "key", "position", "list", "depth"])
def test_a_forged_checkpoint_is_one_line_and_exit_code_2(
    change: Callable[[bytes], bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    forged(state, change)
    with pytest.raises(StateError, match="remove it to start over"):
        read_checkpoint(state)
    (tmp_path / "debug.log").write_text("")
    assert main(["replay", f"log:{tmp_path / 'debug.log'}", "--checkpoint", str(state)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"watchdog: checkpoint '{state}': ")


def test_an_asmap_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.dat"
    with path.open("wb") as file:
        file.truncate((8 << 20) + 1)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="size 8388609 bytes, should be 1 to 8388608"):
            Asmap.load(str(path))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_an_asmap_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(SourceError, match="not an ordinary file"):
            Asmap.load(str(place))
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("size", [200_000, 1_000_000])
@pytest.mark.parametrize("byte", [0x25, 0x00, 0xFF, 0x55, 0xAA, 0x01, 0x03, 0x13, 0x8B, 0x33, None])
def test_parsing_a_bad_asmap_takes_little_memory(byte: int | None, size: int) -> None:
    raw = np.random.default_rng(7).bytes(size) if byte is None else bytes([byte]) * size
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"[a-z]"):
            Asmap(raw)
        assert tracemalloc.get_traced_memory()[1] <= 11 * size  # the file itself makes it twelve times
    finally:
        tracemalloc.stop()


@pytest.mark.recordings
@pytest.mark.skipif(not ASMAP.exists(), reason="the shared map is not here")
def test_parsing_the_map_of_the_internet_takes_twelve_times_its_size() -> None:
    raw = ASMAP.read_bytes()
    tracemalloc.start()
    try:
        Asmap(raw)
        assert tracemalloc.get_traced_memory()[1] <= 11 * len(raw)
    finally:
        tracemalloc.stop()
