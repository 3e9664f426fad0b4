"""`make demo`: the service on the bundled recording, with a terminal and without; what it shows, sends and answers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.children import killed_on_failure
from watchdog.offline.labels import read_labels

DEMO = (sys.executable, "-W", "error", "-m", "demo")


def run_demo(root: Path, out: Path, *, width: int = 80) -> str:
    """What the demo prints on a pipe."""
    done = subprocess.run(
        [*DEMO, "--out", str(out)],
        cwd=root,
        env={**os.environ, "COLUMNS": str(width)},
        capture_output=True,
        text=True,
        timeout=300,
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
    assert printed.rstrip().splitlines()[-6].startswith("Next")


@pytest.mark.slow
def test_the_alerts_arrive_with_right_signatures_and_an_id_each(root: Path, tmp_path: Path) -> None:
    printed = run_demo(root, tmp_path / "incidents.jsonl")
    with closing(sqlite3.connect(tmp_path / "demo-service" / "watchdog.db")) as database:
        sent = database.execute("select type, status, attempts from outbox where receiver = 'demo'").fetchall()
        incidents = {row[0] for row in database.execute("select id from incidents")}
    alerts = re.findall(
        r"^\d\d:\d\d:\d\d +\w+ +(?:case\.)?(\w+) +[-0-9./]+.* (signature verified|REFUSED.*)$", printed, re.MULTILINE
    )
    attacks = sum(label.class_ != "benign" for label in read_labels(root / "demo" / "recording" / "labels.json"))
    assert len(alerts) == attacks < len(incidents)
    times = re.findall(r"^(\d\d:\d\d:\d\d) +\w+ +\S+ +[-0-9./]+.* signature", printed, re.MULTILINE)
    assert times == sorted(times), "alerts are not in the order of event time"
    assert {trust for _, trust in alerts} == {"signature verified"}
    assert {kind for kind, _ in alerts} == {"opened"}
    assert sorted(f"case.{kind}" for kind, _ in alerts) == sorted(kind for kind, _, _ in sent)
    assert {(status, attempts) for _, status, attempts in sent} == {("sent", 1)}
    chat = printed.split("a thread for each case, first lines only.\n\n")[1].split("\n\n")[0].splitlines()
    assert len([line for line in chat if not line.startswith("  > ")]) == attacks, "a thread for each case"
    many = len(alerts)
    assert f"{many} webhooks arrived, {many} with the right signature, {many} different ids." in printed
    lines = (tmp_path / "incidents.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["id"] for line in lines} == incidents


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_on_a_terminal_it_stays_with_page_and_api_until_it_is_told_to_end(
    root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with on_terminal(root, tmp_path / "incidents.jsonl") as (process, ours):
        shown = read_until(ours, "Ctrl-C ends")
        url = re.findall(r"open (http://127\.0\.0\.1:\d+)/cases ", shown)[0]
        with (
            urlopen(f"{url}/cases", timeout=300) as page,
            urlopen(f"{url}/api/v1/incidents?limit=100", timeout=300) as answer,
        ):
            assert (page.status, page.headers.get_content_type()) == (200, "text/html")
            kept = json.loads(answer.read())["incidents"]
        assert f"{len(kept)} incidents: " in shown
        begun = time.monotonic()
        process.send_signal(number)
        rest = read_all(ours)
        assert process.wait(300) == 0
        assert time.monotonic() - begun < 60
        assert rest.split() == ["Ended."]


@pytest.mark.slow
def test_once_ends_by_itself_on_a_terminal_too(root: Path, tmp_path: Path) -> None:
    with on_terminal(root, tmp_path / "incidents.jsonl", "--once") as (process, ours):
        shown = read_all(ours)
        assert process.wait(300) == 0
    assert "5 of 5 attacks found" in shown
    assert "Ctrl-C" not in shown


@pytest.mark.slow
def test_an_interrupt_before_the_end_is_exit_code_130(root: Path, tmp_path: Path) -> None:
    with on_terminal(root, tmp_path / "incidents.jsonl") as (process, ours):
        read_until(ours, "The service watches")
        process.send_signal(signal.SIGINT)
        read_all(ours)
        assert process.wait(300) == 130
    assert not (tmp_path / "incidents.jsonl").exists()


@pytest.mark.slow
def test_a_second_demo_in_the_same_folder_says_so_and_harms_nothing(root: Path, tmp_path: Path) -> None:
    with on_terminal(root, tmp_path / "incidents.jsonl") as (process, ours):
        read_until(ours, "The service watches")
        second = subprocess.run(
            [*DEMO, "--out", str(tmp_path / "b.jsonl")], cwd=root, capture_output=True, text=True, check=False
        )
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr == f"demo: '{tmp_path}': another demo runs there; end it, or give --out another folder\n"
        read_until(ours, "Ctrl-C ends")
        process.send_signal(signal.SIGINT)
        read_all(ours)
        assert process.wait(300) == 0


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
    printed = run_demo(root, tmp_path / "incidents.jsonl").replace(str(tmp_path), "demo/out")
    assert [line for line in printed.splitlines() if len(line) > 80] == []


@pytest.mark.slow
def test_the_demo_draws_a_bar_on_a_terminal_and_leaves_nothing_of_it(root: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    command = [*DEMO, "--out", str(tmp_path / "incidents.jsonl")]
    with killed_on_failure(subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=theirs)) as process:
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


@contextmanager
def on_terminal(root: Path, out: Path, *more: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A demo whose output is a terminal of 100 columns, and our end of it; killed when the test leaves it running."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    with killed_on_failure(
        subprocess.Popen([*DEMO, "--out", str(out), *more], cwd=root, stdout=theirs, stderr=theirs)
    ) as process:
        os.close(theirs)
        yield process, ours
        process.kill()


def read_until(handle: int, text: str) -> str:
    """What the terminal shows until it has `text`."""
    shown = ""
    while text not in shown:
        shown += os.read(handle, 65_536).decode("utf-8", "replace")
    return shown


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
