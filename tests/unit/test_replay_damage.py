"""Damaged input: the readable part is used, then each damaged file is reported with its place, with exit code 2."""

from __future__ import annotations

import gzip
import json
import lzma
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.capture_files import PEER, START_US, append, ping, unpack_tree
from watchdog.cli.main import main
from watchdog.core.errors import SourceError
from watchdog.offline.record import RecordOptions, record
from watchdog.offline.replay import ReplayOptions, replay
from watchdog.sources.registry import recorded_schemes

DEMO = Path(__file__).resolve().parents[2] / "demo" / "recording"
Outputs = pytest.CaptureFixture[str]


def told(capfd: Outputs) -> tuple[str, list[str]]:
    """What went to standard output, and the lines on standard error."""
    out, err = capfd.readouterr()
    return out, err.splitlines()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A copy of the demo's recording, as it ships."""
    return Path(shutil.copytree(DEMO, tmp_path / "packed"))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A copy of the demo's recording, unpacked."""
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "snapshots.jsonl").write_bytes(lzma.decompress((DEMO / "snapshots.jsonl.xz").read_bytes()))
    (folder / "debug.log").write_bytes(gzip.decompress((DEMO / "debug.log.gz").read_bytes()))
    unpack_tree(DEMO / "capture.tar.xz", folder)
    return folder


PACKED: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress}
ARCHIVES = {".tar": "tar", ".tar.gz": "gztar", ".tar.xz": "xztar"}


@pytest.mark.parametrize(
    ("part", "name"), [(part, name) for part, row in recorded_schemes().items() for name in row.recorded_as]
)
def test_each_part_of_a_recording_is_read_under_each_of_its_names(plain: Path, part: str, name: str) -> None:
    folder = plain.parent / "as"
    folder.mkdir()
    made = plain / recorded_schemes()[part].recorded_as[-1]
    if name == made.name:
        shutil.move(made, folder / name)
    elif part == "capture":
        shutil.make_archive(str(folder / "capture"), ARCHIVES[name.removeprefix("capture")], plain, "capture")
    else:
        (folder / name).write_bytes(PACKED[Path(name).suffix](made.read_bytes()))
    out = folder / "events"
    assert record([f"recording:{folder}"], out, RecordOptions()).events > 100


def cut(path: Path, share: float) -> None:
    """Leave the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def largest(folder: Path) -> Path:
    """Return the largest capture file: it lasts to the end."""
    return max(folder.glob("capture/*/msgs_recv.dat"), key=lambda path: path.stat().st_size)


def test_a_torn_recording_gives_its_incidents_and_exit_2(tmp_path: Path, capfd: Outputs) -> None:
    whole, torn = tmp_path / "whole.events", tmp_path / "torn.events"
    record([f"recording:{DEMO}"], whole, RecordOptions(node="node"))
    torn.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    assert main(["replay", f"events:{torn}"]) == 2
    out, (line,) = told(capfd)
    assert "addr-pattern-2021" in {json.loads(one)["rule"] for one in out.splitlines()}
    assert "torn at byte" in line


@pytest.mark.parametrize(("name", "share"), [("debug.log.gz", 0.99), ("snapshots.jsonl.xz", 0.5)])
def test_a_cut_part_ends_itself_and_not_the_others(recording: Path, capfd: Outputs, name: str, share: float) -> None:
    cut(recording / name, share)
    assert main(["replay", f"recording:{recording}"]) == 2
    out, (line,) = told(capfd)
    assert f"{recording / name}" in line
    last = max(json.loads(one)["updated"] for one in out.splitlines())
    assert last > 1_795_224_000, "the others go on to their end"


@pytest.mark.parametrize("name", ["debug.log.gz", "snapshots.jsonl.xz"])
def test_an_empty_packed_part_is_torn(recording: Path, capfd: Outputs, name: str) -> None:
    (recording / name).write_bytes(b"")
    assert main(["replay", f"recording:{recording}"]) == 2
    out, (line,) = told(capfd)
    assert out.count("\n") > 5
    assert re.search(rf"{re.escape(str(recording / name))}.*the file is empty", line)


def test_a_cut_archive_is_told_without_a_wrong_count(recording: Path, capfd: Outputs) -> None:
    cut(recording / "capture.tar.xz", 0.5)
    assert main(["replay", f"capture:{recording / 'capture.tar.xz'}"]) == 2
    _, (line,) = told(capfd)
    assert "capture.tar.xz': torn or corrupt: " in line
    assert "0 bytes" not in line


@pytest.mark.parametrize(
    ("name", "size"), [("capture.tar.xz", 50_000), ("debug.log.gz", 5), ("snapshots.jsonl.xz", 20), ("debug.log.gz", 9)]
)
def test_a_part_that_cannot_be_unpacked_at_all_leaves_the_others(
    recording: Path, capfd: Outputs, name: str, size: int
) -> None:
    data = (recording / name).read_bytes()
    (recording / name).unlink()
    assert main(["replay", f"recording:{recording}"]) == 0
    without = capfd.readouterr().out
    (recording / name).write_bytes(data[:size])
    assert main(["replay", f"recording:{recording}"]) == 2
    out, (line,) = told(capfd)
    assert str(recording / name) in line
    assert [json.loads(one)["id"] for one in out.splitlines()] == [
        json.loads(one)["id"] for one in without.splitlines()
    ]
    assert main(["evaluate", str(recording)]) == 2
    assert f"input torn: {line.removeprefix('watchdog: ')}" in capfd.readouterr().out


def damage_tail(folder: Path) -> str:
    cut(folder / "snapshots.jsonl", 0.5)
    lines = (folder / "snapshots.jsonl").read_bytes().count(b"\n") + 1
    return rf"snapshots\.jsonl:{lines}: torn line$"


def damage_line(folder: Path) -> str:
    path = folder / "snapshots.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = [row for row, line in enumerate(lines) if b'"getpeerinfo"' in line][7]
    lines[at] = lines[at][:300] + b"\n"  # its head can still be read
    lines[at + 20] = b"garbage\n"
    path.write_bytes(b"".join(lines))
    return rf"snapshots\.jsonl:{at + 1}: line that is no answer; and more after it$"


def damage_record(folder: Path) -> str:
    path = largest(folder)
    path.write_bytes(path.read_bytes()[:-3])
    return rf"{re.escape(path.parent.name)}/msgs_recv\.dat at byte \d+: torn record$"


def damage_middle(folder: Path) -> str:
    path = largest(folder)
    cut(path, 0.5)
    with path.open("ab") as file:
        file.write(b"\xff" * 5_000)
    return rf"{re.escape(path.parent.name)}/msgs_recv\.dat at byte \d+: impossible record$"


def damage_all(folder: Path) -> str:
    path = largest(folder)
    path.write_bytes(b"garbage, and nothing but garbage" * 100)
    return rf"{re.escape(path.parent.name)}/msgs_recv\.dat at byte 0: impossible record$"


def damage_log(folder: Path) -> str:
    cut(folder / "debug.log", 0.4)
    end = (folder / "debug.log").read_bytes().rfind(b"\n") + 1
    return rf"debug\.log at byte {end}: torn line$"


def damage_log_middle(folder: Path) -> str:
    path = folder / "debug.log"
    lines = path.read_bytes().splitlines(keepends=True)
    at = len(lines) // 2
    place = sum(map(len, lines[:at]))
    lines[at] = bytes(len(lines[at]))
    path.write_bytes(b"".join(lines))
    return rf"debug\.log at byte {place}: zeros instead of a line$"


Damage = Callable[[Path], str]
DAMAGE = [damage_tail, damage_line, damage_record, damage_middle, damage_all, damage_log, damage_log_middle]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_plain_file_is_told_and_once_repaired_the_same_command_goes_on(
    plain: Path, tmp_path: Path, capfd: Outputs, damage: Damage
) -> None:
    command = ["replay", f"recording:{plain}"]
    assert main(command) == 0
    whole, said = told(capfd)
    assert said == []
    kept = Path(shutil.copytree(plain, tmp_path / "kept"))
    state = tmp_path / "state"
    expected = damage(plain)
    for _ in range(2):  # a file that was not repaired is reported again
        assert main([*command, "--checkpoint", str(state)]) == 2
        out, (line, hint) = told(capfd)
        assert re.search(expected, line)
        assert hint.endswith("the same command resumes from it when the input is repaired")
        assert {json.loads(one)["rule"] for one in out.splitlines()}
    shutil.rmtree(plain)
    shutil.copytree(kept, plain)
    assert main([*command, "--checkpoint", str(state)]) == 0
    assert told(capfd) == (whole, [])
    assert not state.exists()


@pytest.mark.parametrize(("name", "share"), [("debug.log.gz", 0.5), ("snapshots.jsonl.xz", 0.5)])
def test_a_database_is_as_if_nothing_had_happened_once_a_cut_file_is_repaired(
    recording: Path, tmp_path: Path, capfd: Outputs, name: str, share: float
) -> None:
    def history(place: Path) -> list[str]:
        where, shown = ["--json", "--db", f"sqlite:///{place}"], []
        assert main(["incidents", "list", *where]) == 0
        for incident in json.loads(capfd.readouterr().out):
            assert main(["incidents", "show", incident["id"], *where]) == 0
            shown.append(capfd.readouterr().out)
        return shown

    command = ["replay", f"recording:{recording}", "--db"]
    assert main([*command, f"sqlite:///{tmp_path / 'one.db'}"]) == 0
    whole = capfd.readouterr().out
    data = (recording / name).read_bytes()
    cut(recording / name, share)
    again = [*command, f"sqlite:///{tmp_path / 'two.db'}", "--checkpoint", str(tmp_path / "state")]
    assert main(again) == 2
    assert "and so is the database" in capfd.readouterr().err
    (recording / name).write_bytes(data)
    assert main(again) == 0
    assert capfd.readouterr().out == whole
    assert len(history(tmp_path / "one.db")) > 5
    assert history(tmp_path / "two.db") == history(tmp_path / "one.db")


def test_a_torn_events_file_that_was_repaired_goes_on(tmp_path: Path, capfd: Outputs) -> None:
    path, state = tmp_path / "a.events", tmp_path / "state"
    record([f"recording:{DEMO}"], path, RecordOptions(node="node"))
    data, command = path.read_bytes(), ["replay", f"events:{path}"]
    assert main(command) == 0
    whole = capfd.readouterr().out
    cut(path, 0.6)
    assert main([*command, "--checkpoint", str(state)]) == 2
    capfd.readouterr()
    path.write_bytes(data)
    assert main([*command, "--checkpoint", str(state)]) == 0
    assert told(capfd) == (whole, [])


def test_ten_damaged_files_are_named_and_more_are_counted(tmp_path: Path, capfd: Outputs) -> None:
    for peer in range(13):
        append(tmp_path, f"8.8.8.{peer}_8333", True, ping(START_US + peer) + ping(START_US + peer)[:-1])
    assert main(["replay", f"capture:{tmp_path}"]) == 2
    _, lines = told(capfd)
    assert lines[0] == f"watchdog: {tmp_path}/8.8.8.0_8333/msgs_recv.dat at byte 32: torn record"
    assert (len(lines), lines[-1]) == (11, "watchdog: and 3 more damaged files")


@pytest.mark.parametrize("content", [b"\xff" * 100, bytes(100), b"short", ping(1) * 5])
def test_damage_without_any_time_is_told_and_opens_no_incident(tmp_path: Path, content: bytes) -> None:
    append(tmp_path, PEER, True, content)
    with pytest.raises(SourceError, match=r"at byte 0: |between 2009 and tomorrow"):
        replay([f"capture:{tmp_path}"], ReplayOptions(checkpoint=tmp_path / "state"))
    assert not (tmp_path / "state").exists()


def test_damage_at_the_start_of_a_tree_has_the_first_time_that_is_known(tmp_path: Path) -> None:
    append(tmp_path, PEER, True, b"\xff" * 100)
    append(tmp_path, "8.8.8.9_8333", True, ping(START_US))
    result = replay([f"capture:{tmp_path}"], ReplayOptions())
    (gap,) = [one for one in result.incidents if one.rule == "data-gap"]
    assert gap.opened_ns >= START_US * 1_000
    assert len(result.faults) == 1


def test_zeros_in_the_place_of_records_are_told(tmp_path: Path, capfd: Outputs) -> None:
    append(tmp_path, PEER, True, ping(START_US) + bytes(24 * 50))
    assert main(["replay", f"capture:{tmp_path}"]) == 2
    _, (line,) = told(capfd)
    assert line == f"watchdog: {tmp_path}/{PEER}/msgs_recv.dat at byte 32: zeros instead of a record"


def test_a_part_that_is_missing_is_a_warning_that_says_what_is_not_seen(recording: Path, capfd: Outputs) -> None:
    (recording / "capture.tar.xz").unlink()
    line = f"watchdog: warning: no capture.tar.xz in '{recording}': nothing of net:*, p2p:* is seen"
    out = recording.parent / "out.events"
    for command in (["replay", f"recording:{recording}"], ["evaluate", str(recording)]):
        assert main(command) == 0
        assert told(capfd)[1] == [line]
    assert main(["record", f"recording:{recording}", "--out", str(out)]) == 0
    assert told(capfd)[1][1:] == [line]
    (recording / "debug.log.gz").unlink()
    assert main(["replay", f"recording:{recording}"]) == 0
    assert told(capfd)[1][1].endswith("nothing of log:* is seen")


@pytest.mark.parametrize(("name", "share"), [("debug.log.gz", 0.5), ("snapshots.jsonl.xz", 0.5)])
def test_an_evaluation_says_that_its_input_was_torn(recording: Path, capfd: Outputs, name: str, share: float) -> None:
    cut(recording / name, share)
    assert main(["evaluate", str(recording), str(DEMO)]) == 2
    out, (line,) = told(capfd)
    place = line.removeprefix("watchdog: ")
    assert str(recording / name) in place
    assert out.count("input torn: ") == 1
    assert out.splitlines()[1] == f"  input torn: {place}"
    assert main(["evaluate", str(recording), str(DEMO), "--json"]) == 2
    torn, whole = json.loads(capfd.readouterr().out)["recordings"]
    assert (torn["torn"], whole["torn"]) == ([place], [])


def test_a_finite_recording_of_damaged_input_has_what_could_be_read(
    recording: Path, tmp_path: Path, capfd: Outputs
) -> None:
    whole, torn = tmp_path / "whole.events", tmp_path / "torn.events"
    command = ["record", f"snapshots:{recording / 'snapshots.jsonl.xz'}", "--out"]
    assert main([*command, str(whole)]) == 0
    data = (recording / "snapshots.jsonl.xz").read_bytes()
    cut(recording / "snapshots.jsonl.xz", 0.5)
    capfd.readouterr()
    assert main([*command, str(torn)]) == 2
    _, (count, line) = told(capfd)
    assert re.fullmatch(rf"{re.escape(str(torn))}: [1-9]\d* events, 0\.\d MB", count)
    assert "snapshots.jsonl.xz: packed data is cut off or damaged" in line
    (recording / "snapshots.jsonl.xz").write_bytes(data)
    assert main([*command, str(torn), "--append"]) == 0
    assert told(capfd)[1][0].startswith(f"{torn}: ")


def test_going_on_with_a_torn_events_file_says_what_was_added(tmp_path: Path, capfd: Outputs) -> None:
    path = tmp_path / "a.events"
    command = ["record", f"recording:{DEMO}", "--out", str(path)]
    assert main(command) == 0
    (first,) = told(capfd)[1]
    total = int(first.split()[1].replace(",", ""))
    cut(path, 0.6)
    assert main([*command, "--append"]) == 0
    _, (count, warning) = told(capfd)
    added = int(count.split()[1].replace(",", ""))
    assert " events added, " in count
    assert 0 < added < total
    assert re.search(r"was torn at byte \d+; recording continues after its last whole slice", warning)
