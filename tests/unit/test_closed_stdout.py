"""Every command that prints, with its standard output closed (`>&-`): one line, exit code 2, nothing damaged."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from alerts.store.database import Database
from alerts.store.outbox import Outbox
from alerts.store.writer import IncidentWriter
from tests.support.history import START, incident, record, told
from tests.support.ports import free_port
from tests.support.service_process import ROOT, WATCHING, ServiceProcess, end_all
from watchdog.cli.main import COMMANDS

CLOSED = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "watchdog"]
LINE = b"watchdog: standard output or input: bad file descriptor\n"
LOG = "2026-01-21T12:53:20Z [net] Misbehaving: peer=1: x\n"
CONFIG = """
sources: ["log:recording/debug.log"]
start: beginning
receivers:
  ops: {url: "http://127.0.0.1:9/", allow_private: true}
"""
ID = incident(1).id
PRINTING = [
    ["--help"],
    ["--version"],
    ["incidents", "list", "--help"],
    ["replay", "log:recording/debug.log"],
    ["evaluate", "recording"],
    ["rules", "check", "good.yaml"],
    ["rules", "check", "bad.yaml"],
    ["rules", "list"],
    ["rules", "show", "data-gap"],
    ["rules", "schema"],
    ["export", "events", "--format", "jsonl"],
    ["export", "events", "--format", "csv", "--kind", "log:misbehaving"],
    ["tap", "log:recording/debug.log"],
    ["tap", "events:events", "--measure", "n=count()", "--by", "kind"],
    ["top", "events:events"],
    ["events"],
    ["check"],
    ["check", "--schema"],
    ["check", "--config", "bad.yaml"],
    ["incidents", "list"],
    ["incidents", "list", "--db", "watchdog.db"],
    ["incidents", "show", ID],
    ["incidents", "ack", ID],
    ["incidents", "resolve", ID],
    ["incidents", "note", ID, "a note"],
    ["incidents", "export", "--redact-key-file", "key"],
    ["incidents", "remove", "--older-than", "1d"],
    ["cases", "list"],
    ["cases", "list", "--db", "watchdog.db"],
    ["silences", "list"],
    ["silences", "add", "--party", "1.2.3.4", "--for", "1h", "--comment", "ours"],
    ["audit", "list"],
    ["audit", "list"],
    ["deliveries", "list"],
    ["deliveries", "resend", told([record(incident(1))])[0].id],
    ["receivers", "list"],
    ["receivers", "test", "ops"],
    ["receivers", "secret"],
    ["doctor", "--datadir", "none"],
]
APART = {"run", "record", "serve-stream", "extract", "tracepoints", "init", "reload", "receive", "drill"}
"""Most print nothing to standard output; the others have tests of their own."""


def closed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command with standard output closed."""
    return subprocess.run(
        [*CLOSED, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Something to print for each command."""
    place = tmp_path_factory.mktemp("closed")
    (place / "recording").mkdir()
    (place / "recording" / "debug.log").write_text(LOG * 5)
    (place / "recording" / "labels.json").write_text("[]")
    (place / "watchdog.yaml").write_text(CONFIG)
    (place / "good.yaml").write_text("rules: {}\n")
    (place / "bad.yaml").write_text("rulez: {}\n")
    (place / "key").write_bytes(b"k" * 32)
    records = [record(incident(number)) for number in (1, 2)]
    with closing(Database.open(f"sqlite:///{place / 'watchdog.db'}")) as database:
        IncidentWriter(database).record(records, told(records))
        Outbox(database).dead(told(records)[0].id, "status 400", START, 400)
    recorded = closed(place, "record", "log:recording/debug.log", "--out", "events")
    assert recorded.returncode == 0, recorded.stderr
    return place


def test_every_command_is_here() -> None:
    assert {name for name, _ in COMMANDS} == APART | {words[0] for words in PRINTING if not words[0].startswith("-")}


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_command_that_cannot_print_says_so_in_one_line(folder: Path, words: list[str]) -> None:
    done = closed(folder, *words)
    assert (done.returncode, done.stderr.splitlines(keepends=True)[-1:]) == (2, [LINE]), done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr
    with closing(sqlite3.connect(folder / "watchdog.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_what_goes_to_a_file_needs_no_standard_output(folder: Path) -> None:
    done = closed(folder, "replay", "log:recording/debug.log", "--out", "incidents.jsonl")
    assert (done.returncode, (folder / "incidents.jsonl").exists()) == (0, True), done.stderr


def test_a_mistake_is_told_as_ever(folder: Path) -> None:
    done = closed(folder, "rules", "show", "no-rule")
    assert (done.returncode, done.stderr) == (2, b"watchdog: no rule 'no-rule'; see 'watchdog rules list'\n")


@pytest.fixture
def _none_left() -> Iterator[None]:
    yield
    end_all()


@pytest.mark.usefixtures("_none_left")
def test_a_reload_that_cannot_be_told_is_done(tmp_path: Path) -> None:
    (tmp_path / "debug.log").touch()
    (tmp_path / "watchdog.yaml").write_text(f"sources: ['log:{tmp_path}/debug.log']\n")
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(WATCHING)
    done = closed(tmp_path, "reload")
    assert (done.returncode, done.stderr) == (2, LINE)
    assert "reload" in service.text()
    service.end()


def test_a_receiver_that_cannot_show_what_comes_ends(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [*CLOSED, "receive", "--listen", place, "--out", "got"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    with process.stderr:
        try:
            assert process.stderr.readline().startswith(b"listening on ")
            request = urllib.request.Request(f"http://{place}/", b"{}", {"webhook-id": "msg_1"})
            with urllib.request.urlopen(request, timeout=300) as answer:
                assert answer.status == 204
            assert process.wait(300) == 2
        finally:
            process.kill()
            process.wait(300)
        assert process.stderr.read() == b"watchdog: 'standard output': bad file descriptor\n"
    assert json.loads((tmp_path / "got").read_text())["id"] == "msg_1"
