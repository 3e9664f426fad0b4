"""The commands `replay` and `evaluate` as people type them."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.children import killed_on_failure
from tests.support.waiting import wait_until
from watchdog.cli.main import main
from watchdog.cli.output import write_output
from watchdog.cli.progress import ProgressBar

RULE = """
rules:
  full-mempool:
    title: Mempool is full
    attack: resource
    severity: warning
    on: rpc:mempool
    by: []
    measure:
      most: max(txs)
    over: 2m
    fire: most > 100
    summary: "{most} transactions wait"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording of forty polls of a full mempool, with a label that says so, and a rule."""
    (tmp_path / "rules.yaml").write_text(RULE)
    result = {"loaded": True, "size": 500, "bytes": 1, "usage": 1, "maxmempool": 300_000_000}
    polls = [{"time": 1_768_212_000 + 60 * n, "kind": "getmempoolinfo", "result": result} for n in range(40)]
    (tmp_path / "snapshots.jsonl").write_text("".join(f"{json.dumps(poll)}\n" for poll in polls))
    label = {"attack": "fill", "class": "resource", "start": 1_768_212_000, "end": 1_768_212_300, "entities": ["*"]}
    (tmp_path / "labels.json").write_text(json.dumps([label]))
    return tmp_path


def arguments(folder: Path, *more: str) -> list[str]:
    return [f"snapshots:{folder / 'snapshots.jsonl'}", "--no-packs", "--rules", str(folder / "rules.yaml"), *more]


def test_replay_prints_json_lines(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", *arguments(folder)]) == 0
    out, err = capfd.readouterr()
    (incident,) = [json.loads(line) for line in out.splitlines()]
    assert (incident["rule"], incident["state"], incident["resolved"]) == ("full-mempool", "open", None)
    assert err == ""


def test_replay_keeps_its_incidents_in_a_database_once(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = ("--db", f"sqlite:///{folder / 'history.db'}")
    assert main(["replay", *arguments(folder, *place)]) == 0
    (told,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    for _ in range(2):
        assert main(["incidents", "list", "--jsonl", *place]) == 0
        (listed,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert main(["incidents", "show", listed["id"], "--json", *place]) == 0
        kept = json.loads(capfd.readouterr().out)
        assert {name: kept[name] for name in told} == told
        assert kept["deliveries"] == []
        assert main(["replay", *arguments(folder, *place, "--out", str(folder / "again"))]) == 0


def test_replay_that_cannot_keep_its_incidents_says_so(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "history.db").write_text("no database, but text\n" * 100)
    assert main(["replay", *arguments(folder, "--db", str(folder / "history.db"))]) == 2
    assert "not an SQLite database" in capfd.readouterr().err


def test_replay_prints_a_table_when_asked(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", *arguments(folder, "--table")]) == 0
    out, _ = capfd.readouterr()
    assert "500 transactions wait" in out
    assert out.endswith("1 incident: 1 warning\n")


def test_replay_writes_a_file_whole(folder: Path) -> None:
    assert main(["replay", *arguments(folder, "--out", str(folder / "out.jsonl"))]) == 0
    assert len((folder / "out.jsonl").read_text().splitlines()) == 1


def test_two_replays_are_alike_to_the_byte(folder: Path) -> None:
    for name in ("one", "two"):
        assert main(["replay", *arguments(folder, "--out", str(folder / name), "--node", "hub")]) == 0
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()
    assert json.loads((folder / "one").read_text())["node"] == "hub"


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--out", "/dev/full"], "watchdog: '/dev/full': no space left on device\n"),
        (["--out", "{folder}"], "watchdog: '{folder}': is a directory\n"),
        (["--out", "{folder}/no/out"], "watchdog: '{folder}/no/out': no such file or directory\n"),
        (["--checkpoint", "{folder}/rules.yaml"], "not a checkpoint of this version"),
        (["--asmap", "{folder}/nope"], "nope"),
    ],
)
def test_wrong_places_are_one_line_and_exit_code_2(
    folder: Path, capfd: pytest.CaptureFixture[str], more: list[str], line: str
) -> None:
    code = main(["replay", *arguments(folder, *(part.format(folder=folder) for part in more))])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert line.format(folder=folder) in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast"])
def test_a_wrong_speed_is_refused(folder: Path, capfd: pytest.CaptureFixture[str], speed: str) -> None:
    assert main(["replay", *arguments(folder, f"--speed={speed}")]) == 2
    assert f"{speed!r} is neither 'max' nor a number above 0" in capfd.readouterr().err


def is_caught(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal by now; it is deaf to it while Python is starting."""
    (mask,) = re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_the_state_and_the_same_command_goes_on(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "watchdog", "replay", *arguments(folder, "--checkpoint", str(folder / "state"))]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    whole = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    paced = [*command, "--speed", "1"]
    with killed_on_failure(subprocess.Popen(paced, env=environment, stderr=subprocess.PIPE, text=True)) as slow:
        wait_until(lambda: slow.poll() is not None or is_caught(slow.pid, signal.SIGTERM))
        slow.send_signal(number)
        _, err = slow.communicate(timeout=300)
    assert (slow.returncode, err.count("the same command resumes from it")) == (130, 1)
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout == whole


def test_evaluate_prints_a_table_or_data(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rules = ["--no-packs", "--rules", str(folder / "rules.yaml")]
    assert main(["evaluate", str(folder), *rules]) == 0
    text, _ = capfd.readouterr()
    assert "1 of 1 labels found" in text
    assert main(["evaluate", f"recording:{folder}", "--json", *rules]) == 0
    data = json.loads(capfd.readouterr().out)
    assert data["summary"]["found"] == 1
    assert data["recordings"][0]["labels"][0]["found"] is True


def test_evaluate_refuses_what_is_no_recording(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder / "nope")]) == 2
    assert capfd.readouterr().err.startswith(f"watchdog: recording '{folder / 'nope'}': no such folder")


def test_standard_output_in_a_full_file_keeps_whole_lines_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    room = [10]

    def write(to: int, content: bytes) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return real(to, content[: room.pop()])

    real = os.write
    monkeypatch.setattr("watchdog.cli.output.STDOUT", handle)
    monkeypatch.setattr("watchdog.cli.output.os.write", write)
    with pytest.raises(OSError, match="No space left"):
        write_output("-", "first\nsecond\nthird\n")
    os.close(handle)
    assert path.read_text() == "first\n"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_progress_bar_is_one_line_and_for_terminals_only() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        bar = ProgressBar(stream)
        bar.show(0.5, 1_768_212_000_000_000_000, 1000, 3, "open-2")
        bar.clear()
    assert pipe.getvalue() == ""
    assert "open-2 [##########          ]  50%  01-12 10:00" in terminal.getvalue()
    assert "\n" not in terminal.getvalue()


def test_a_checkpoint_that_cannot_be_kept_is_refused_at_the_start(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for place, reason in ((folder / "nowhere" / "state", "no such file or directory"), (folder, "is a directory")):
        assert main(["replay", *arguments(folder, "--checkpoint", str(place))]) == 2
        out, err = capfd.readouterr()
        assert (out, err) == ("", f"watchdog: '{place}': {reason}\n")
    os.mkfifo(folder / "pipe")
    assert main(["replay", *arguments(folder, "--checkpoint", str(folder / "pipe"))]) == 2
    assert capfd.readouterr().err == f"watchdog: '{folder / 'pipe'}': not an ordinary file\n"


def test_input_that_no_rule_reads_is_said(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "debug.log").write_text("2026-01-31T12:00:00Z shopping list\n")
    rules = ["--no-packs", "--rules", str(folder / "rules.yaml")]
    assert main(["replay", f"log:{folder / 'debug.log'}", *rules]) == 0
    assert capfd.readouterr() == ("", "watchdog: warning: no events in the input that these rules read\n")


def test_input_that_is_no_log_is_an_error(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "debug.log").write_text("shopping list\nmilk\n")
    rules = ["--no-packs", "--rules", str(folder / "rules.yaml")]
    assert main(["replay", f"log:{folder / 'debug.log'}", *rules]) == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.endswith("is no log of Bitcoin Core: no line begins with a time such as 2026-01-31T12:00:00Z")


def test_a_replay_without_rules_says_so(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", f"snapshots:{folder / 'snapshots.jsonl'}", "--no-packs"]) == 0
    expected = "watchdog: warning: no rules are in force; add --rules PATH or leave out --no-packs\n"
    assert capfd.readouterr() == ("", expected)


def test_a_table_has_colours_on_a_terminal_unless_unwanted(folder: Path) -> None:
    command = [sys.executable, "-m", "watchdog", "replay", *arguments(folder, "--table")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    for no_color, colours in (("", True), ("1", False)):
        leader, follower = os.openpty()
        subprocess.run(command, env={**environment, "NO_COLOR": no_color}, stdout=follower, check=True)
        os.close(follower)
        text = os.read(leader, 65_536)
        os.close(leader)
        assert b"full-mempool" in text
        assert (b"\x1b[" in text) is colours
