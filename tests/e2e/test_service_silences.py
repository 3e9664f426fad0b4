"""Silences beside a real service: added and expired on the command line, through a kill, and standing in the file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.service_process import WATCHING, ServiceProcess, end_all, rows, run_command, until_rows
from tests.support.waiting import wait_until

RULES = """
rules:
  noisy:
    title: A peer misbehaves often
    attack: resource
    severity: high
    on: log:misbehaving
    where: conn == 1
    measure: {times: count()}
    over: 10m
    pane: 1s
    fire: times > 3
  other:
    title: Another peer misbehaves often
    attack: resource
    severity: high
    on: log:misbehaving
    where: conn == 2
    measure: {times: count()}
    over: 10m
    pane: 1s
    fire: times > 3
"""
CONFIG = """
sources: ["log:debug.log"]
rules: rules.yaml
packs: false
database: "sqlite:///{folder}/watchdog.db"
checkpoint: {{every: 1s, folder: state}}
api: {{listen: "127.0.0.1:0"}}
"""
NOISY, OTHER = (f"SELECT id FROM incidents WHERE rule = '{rule}'" for rule in ("noisy", "other"))
CASES = "SELECT document FROM cases"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "state").mkdir()
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "watchdog.yaml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "debug.log").touch()
    yield tmp_path
    end_all()


def started(folder: Path) -> ServiceProcess:
    service = ServiceProcess(folder)
    service.wait_for(WATCHING)
    return service


def misbehave(folder: Path, peer: int) -> None:
    """Let a peer misbehave now."""
    with (folder / "debug.log").open("a") as file:
        file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} [net] Misbehaving: peer={peer}\n" * 3)


def until_stored(folder: Path, query: str, *peers: int) -> None:
    """Let peers misbehave until a query has a row."""

    def stored() -> bool:
        for peer in peers:
            misbehave(folder, peer)
        return bool((folder / "watchdog.db").exists() and rows(folder, query))

    wait_until(stored, f"nothing within a minute: {query}", look_s=0.5)


def cases(folder: Path) -> list[str]:
    """Return the headlines of the stored cases."""
    return sorted(json.loads(str(document))["headline"] for (document,) in rows(folder, CASES))


def silences(folder: Path, *arguments: str) -> str:
    """Run `watchdog silences`; return what it printed."""
    done = run_command(folder, "silences", *arguments, "--config", str(folder / "watchdog.yaml"))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_silence_holds_in_a_running_service_through_a_kill_until_it_expires(folder: Path) -> None:
    service = started(folder)
    until_stored(folder, "SELECT 1", 3)
    printed = silences(folder, "add", "--rule", "noisy", "--for", "1h", "--who", "anna", "--comment", "our test peer")
    assert "silence 1 added until" in printed
    wait_until(
        lambda: "\nwatchdog_silences 1.0\n" in service.metrics(), "the service does not see the silence", look_s=0.1
    )
    until_stored(folder, NOISY, 1)
    until_stored(folder, OTHER, 2)
    until_stored(folder, CASES, 1, 2)
    service.kill()
    service = started(folder)
    for _ in range(6):
        misbehave(folder, 1)
        misbehave(folder, 2)
        time.sleep(0.5)
    assert cases(folder) == ["Another peer misbehaves often"]
    assert "our test peer" in silences(folder, "list")
    assert "1 held back, 0 in part" in silences(folder, "preview", "--rule", "noisy")
    silences(folder, "expire", "1", "--who", "ben")
    until_stored(folder, "SELECT node FROM cases GROUP BY node HAVING COUNT(*) = 2", 1, 2)
    assert cases(folder) == ["A peer misbehaves often", "Another peer misbehaves often"]
    assert silences(folder, "list") == "no silences\n"
    service.end()


@pytest.mark.slow
def test_a_silence_of_the_file_holds_from_the_start_and_a_reload_takes_it_away(folder: Path) -> None:
    standing = "silences: [{technique: noisy, until: 2126-01-01, author: anna, comment: standing}]\n"
    text = (folder / "watchdog.yaml").read_text()
    (folder / "watchdog.yaml").write_text(text + standing)
    service = started(folder)
    until_stored(folder, NOISY, 1)
    for _ in range(6):
        misbehave(folder, 1)
        time.sleep(0.5)
    assert cases(folder) == []
    assert "watchdog.yaml:" in silences(folder, "list")
    (folder / "watchdog.yaml").write_text(text)
    done = run_command(folder, "reload", "--config", str(folder / "watchdog.yaml"))
    assert done.returncode == 0, done.stderr
    until_stored(folder, CASES, 1)
    assert cases(folder) == ["A peer misbehaves often"]
    assert len(until_rows(folder, CASES, 1)) == 1
    service.end()
