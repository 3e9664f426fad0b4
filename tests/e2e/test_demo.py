"""`make demo`: works without a terminal, without the other recordings, and says what it found."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from watchdog.service.labels import read_labels

DEMO = (sys.executable, "-W", "error", "-m", "demo")


def run_demo(root: Path, out: Path, *, width: int = 80) -> str:
    """What the demo prints on a pipe."""
    done = subprocess.run(
        [*DEMO, "--out", str(out)],
        cwd=root,
        env={**os.environ, "COLUMNS": str(width)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
def test_the_demo_shows_incidents_and_attacks_and_writes_json_lines(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "incidents.jsonl"
    printed = run_demo(root, out)
    incidents = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert incidents
    assert all(one["evidence"] and one["rule"] in printed for one in incidents)
    assert f"{len(incidents)} incident" in printed
    assert f"JSON lines: {out}" in printed
    assert printed.rstrip().splitlines()[-4].startswith("Next")


@pytest.mark.slow
def test_the_demo_finds_every_attack_within_a_minute_and_names_somebody(root: Path, tmp_path: Path) -> None:
    printed = run_demo(root, tmp_path / "incidents.jsonl").split("WHAT REALLY HAPPENED")[1]
    labels = [label for label in read_labels(root / "demo" / "recording" / "labels.json") if not label.benign]
    rows = dict(line.split(maxsplit=1) for line in printed.splitlines() if line[:1].islower())
    assert set(rows) == {label.attack for label in labels}
    assert [name for name, row in rows.items() if not re.match(r"in \d+s ", row)] == []
    assert "5 of 5 attacks found, an attacker named in 5." in printed
    assert "No incidents of warning or above without an attack." in printed


@pytest.mark.slow
def test_the_demo_fits_a_terminal_of_80_columns(root: Path, tmp_path: Path) -> None:
    printed = run_demo(root, Path("demo") / "out" / "incidents.jsonl")
    assert [line for line in printed.splitlines() if len(line) > 80] == []


@pytest.mark.slow
def test_the_demo_draws_a_bar_on_a_terminal_and_leaves_nothing_of_it(root: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with subprocess.Popen(
        [*DEMO, "--out", str(tmp_path / "incidents.jsonl")], cwd=root, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        drawn = read_all(ours)
    assert process.returncode == 0
    assert "[####" in drawn
    assert drawn.endswith("\r\x1b[K")


def test_a_disk_that_refuses_is_one_line_and_exit_code_2(root: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    done = subprocess.run(
        [*DEMO, "--out", str(blocked / "incidents.jsonl")], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"demo: '{blocked}': file exists\n"


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_demo_without_a_word(root: Path, tmp_path: Path) -> None:
    script = f"set -o pipefail; {shlex.join([*DEMO, '--out', str(tmp_path / 'o.jsonl')])} | true"
    done = subprocess.run(["bash", "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def read_all(handle: int) -> str:
    """Everything until the other side closes the terminal."""
    parts = []
    try:
        while part := os.read(handle, 65_536):
            parts.append(part)
    except OSError:  # Linux reports the closed terminal as an error
        os.close(handle)
        return b"".join(parts).decode()
    os.close(handle)
    return b"".join(parts).decode()
