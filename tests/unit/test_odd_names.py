"""Names that are not UTF-8, of folders and files and in a configuration: no checkpoint can hold them."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import msgspec
import pytest

from tests.support.capture_files import drained, events, follower, handshake, ping, record, slices_of
from tests.support.service_process import WATCHING, ServiceProcess, end_all
from tests.support.waiting import wait_until
from watchdog.cli.main import main
from watchdog.service.config.read import ConfigError, load_config

ODD = b"\xff\xfe_50000"
GOOD = "8.8.8.8_50000"


def odd_folder(root: Path, data: bytes) -> None:
    folder = Path(os.fsdecode(os.fsencode(root) + b"/" + ODD))
    folder.mkdir()
    (folder / "msgs_recv.dat").write_bytes(data)


def test_a_followed_tree_reads_all_folders_but_those_and_names_them_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handshake(tmp_path, GOOD, 1_770_000_000_000_000, inbound=True)
    whole = events(slices_of(tmp_path))
    odd_folder(tmp_path, ping(1_770_000_001_000_000))
    with caplog.at_level("WARNING", "watchdog.sources"):
        source = follower(tmp_path)
        slices = drained(source)
        (tmp_path / "9.9.9.9_50001").mkdir()  # the folders are listed again
        slices += drained(source)
        source.close()
    assert [event for event in events(slices) if event[0] != "chain:block_age"] == [
        event for event in whole if event[0] != "chain:block_age"
    ]
    assert len(caplog.messages) == 1
    assert "1 folder not read, as its name is not UTF-8: \\u{dcff}\\u{dcfe}_50000" in caplog.messages[0]
    position = msgspec.msgpack.decode(msgspec.msgpack.encode(slices[-1].position))
    again = follower(tmp_path, position)
    assert not [one for one in events(drained(again)) if one[0] != "chain:block_age"]
    again.close()


def test_an_archive_is_read_without_such_members(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = record(1_770_000_000_000_000, "version", bytes(85))
    with tarfile.open(tmp_path / "capture.tar", "w") as archive:
        for name in (GOOD, os.fsdecode(ODD)):
            member = tarfile.TarInfo(f"{name}/msgs_recv.dat")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert main(["replay", f"capture:{tmp_path / 'capture.tar'}", "--out", str(tmp_path / "out")]) == 0
    assert "1 folder not read" in caplog.text


def test_a_service_lives_on_and_stores_its_place_beside_such_a_folder(tmp_path: Path) -> None:
    tree = tmp_path / "capture"
    handshake(tree, GOOD, int(time.time() * 1e6) - 10_000_000, inbound=True)
    odd_folder(tree, ping(int(time.time() * 1e6)))
    (tmp_path / "watchdog.yaml").write_text(f"sources: ['capture:{tree}']\ncheckpoint: {{every: 1s}}\n")
    try:
        service = ServiceProcess(tmp_path, "--no-web")
        service.wait_for(WATCHING)
        wait_until((tmp_path / "watchdog.checkpoint").exists)
        service.end()
    finally:
        end_all()
    assert "not UTF-8" in service.text()
    assert "Traceback" not in service.text()


@pytest.mark.parametrize("key", ["sources: ['log:x']\nnode", "sources", "database", "rules"])
def test_half_a_character_in_a_configuration_is_a_mistake_with_its_place(tmp_path: Path, key: str) -> None:
    path = tmp_path / "watchdog.yaml"
    path.write_text(f'{key}: "log:\\udcff"\n')
    with pytest.raises(ConfigError, match=r"watchdog\.yaml:\d:\d+: half of a character"):
        load_config(path)


def test_a_recording_of_a_file_whose_name_it_cannot_hold_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.log")
    Path(path).write_text("2026-08-01T11:42:21Z [net] Misbehaving: peer=5: spam\n")
    assert main(["record", f"log:{path}", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is not UTF-8" in line
    assert line.isprintable()
