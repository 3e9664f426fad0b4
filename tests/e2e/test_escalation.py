"""Escalations and drills of a real service with real receivers: across kill -9, a night switched off, a set clock."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.capture_files import append, handshake, ping
from tests.support.children import killed_on_failure
from tests.support.receiver import Receiver
from tests.support.rulesets import PINGS
from tests.support.service_process import ROOT, WATCHING, ServiceProcess, end_all, rows, run_command
from tests.support.stepped_clock import step
from tests.support.waiting import wait_until
from watchdog.cli.main import main

CONFIG = """
node: alice
sources: "capture:{folder}/capture"
rules: rules.yaml
packs: false
start: 1h
clock_skew: 1h
checkpoint: {{every: 1s, folder: state}}
escalation: [{{severity: high, after: {after}, unless: acknowledged, to: [lead]}}]
receivers:
  team: {{url: "{team}", allow_private: true, rate_per_minute: 0, severity: critical}}
  lead: {{url: "{lead}", allow_private: true, rate_per_minute: 0, events: [case.stage]}}
"""
DEAD = '  dead: {url: "http://127.0.0.1:9/hook", allow_private: true, timeout: 1s}\n'


@pytest.fixture
def server() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    end_all()
    found.close()


def prepare(folder: Path, server: Receiver, *, after: str = "10s", more: str = "") -> None:
    (folder / "rules.yaml").write_text(PINGS.replace("SEVERITY", "critical"))
    names = {name: server.url_of(name) for name in ("team", "lead")}
    (folder / "watchdog.yaml").write_text(CONFIG.format(folder=folder, after=after, **names) + more)
    (folder / "capture").mkdir()


def now_us() -> int:
    return int(time.time() * 1e6)


@contextmanager
def flood(folder: Path) -> Iterator[None]:
    """A peer that sends a few pings all the time, and one that sent thirty at once."""
    over, capture = threading.Event(), folder / "capture"

    def run() -> None:
        while not over.wait(0.2):
            append(capture, "1.1.1.1_50000", True, ping(now_us()))

    begin_us = now_us()
    handshake(capture, "1.1.1.1_50000", begin_us, inbound=True)
    handshake(capture, "9.9.9.9_50000", begin_us, inbound=True)
    for number in range(30):
        append(capture, "9.9.9.9_50000", True, ping(begin_us + 100_000 + number * 1_000))
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def got(server: Receiver, name: str) -> list[dict[str, Any]]:
    """What a receiver got, by its id: at least once means twice at times."""
    return list({one.id: json.loads(one.body) for one in server.seen if one.name == name}.values())


def types(server: Receiver, name: str) -> list[str]:
    return [one["type"] for one in got(server, name)]


def started(folder: Path, **more: Any) -> ServiceProcess:
    service = ServiceProcess(folder, "--no-web", **more)
    service.wait_for(WATCHING)
    return service


@pytest.mark.slow
def test_what_fell_due_while_the_service_was_down_comes_once(tmp_path: Path, server: Receiver) -> None:
    prepare(tmp_path, server)
    with flood(tmp_path):
        service = started(tmp_path)
        wait_until(lambda: "case.opened" in types(server, "team"), service.text)
        service.kill()
        assert types(server, "lead") == []
        time.sleep(11)
        service = started(tmp_path)
        wait_until(lambda: "case.escalated" in types(server, "lead"), service.text)
        service.kill()
        service = started(tmp_path)
        time.sleep(6)
        service.end()
    assert types(server, "lead") == ["case.escalated"]
    (body,) = got(server, "lead")
    assert body["data"]["change"]["waited"] >= 10
    assert types(server, "team").count("case.opened") == 1
    assert len(rows(tmp_path, "SELECT 1 FROM outbox WHERE type = 'case.escalated'")) == 1


@pytest.mark.slow
def test_an_acknowledgement_in_time_holds_it_back(
    tmp_path: Path, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, server)
    with flood(tmp_path):
        service = started(tmp_path)
        wait_until(lambda: "case.opened" in types(server, "team"), service.text)
        case = got(server, "team")[0]["data"]["id"]
        monkeypatch.chdir(tmp_path)
        assert main(["cases", "ack", case, "on it", "--who", "anna"]) == 0, "in this process: well before it is due"
        held = "SELECT detail FROM case_decisions WHERE type = 'case.escalated' AND reason = 'acknowledged'"
        wait_until(lambda: bool(rows(tmp_path, held)), service.text)
        answer = run_command(tmp_path, "cases", "why-not", case, "--receiver", "lead").stdout
        service.end()
    assert re.search(r"case\.escalated +held back: acknowledged \(acknowledged by anna\)", answer)
    assert types(server, "lead") == []


@pytest.mark.slow
def test_a_clock_that_is_set_ahead_escalates_nothing(tmp_path: Path, server: Receiver) -> None:
    prepare(tmp_path, server, after="30m")
    offset = tmp_path / "offset"
    step(offset, 0)
    with flood(tmp_path):
        service = started(tmp_path, program=("tests.support.stepped_clock", str(offset)))
        wait_until(lambda: "case.opened" in types(server, "team"), service.text)
        step(offset, 45 * 60 * 10**9)
        service.wait_for("the waits of 1 case continue as they were")
        time.sleep(5)
        service.end()
    assert types(server, "lead") == []


@pytest.mark.slow
def test_a_drill_reaches_everyone_and_changes_no_real_case(tmp_path: Path, server: Receiver) -> None:
    prepare(tmp_path, server, after="1h")
    with flood(tmp_path):
        service = started(tmp_path)
        wait_until(lambda: "case.opened" in types(server, "team"), service.text)
        before = rows(tmp_path, "SELECT id, severity, state FROM cases")
        done = run_command(tmp_path, "drill", "--timeout", "100s")
        wait_until(lambda: "case.resolved" in types(server, "lead"), service.text)
        service.end()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 notices arrived" in done.stdout
    assert [one for one in done.stdout.splitlines() if "lead" in one and "case.escalated" in one]
    escalated, over = got(server, "lead")
    assert over["type"] == "case.resolved"
    assert escalated["data"]["drill"] is True
    assert escalated["data"]["headline"].startswith("DRILL")
    real = rows(tmp_path, f"SELECT id, severity, state FROM cases WHERE id = '{before[0][0]}'")
    assert real == before
    drilled = rows(tmp_path, f"SELECT state FROM cases WHERE id != '{before[0][0]}'")
    assert drilled == [("resolved",)]
    assert len([one for one in got(server, "team") if not one["data"].get("drill")]) == 1


@pytest.mark.slow
def test_a_drill_names_the_receiver_that_is_dead(tmp_path: Path, server: Receiver) -> None:
    prepare(tmp_path, server, more=DEAD)
    service = started(tmp_path)
    done = run_command(tmp_path, "drill", "--timeout", "15s")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "it did not reach: dead" in done.stdout
    assert "case.opened     did not arrive within 15 s: cannot connect" in done.stdout
    again = run_command(tmp_path, "drill", "--timeout", "15s", "--json")
    assert again.returncode == 1
    outcome = json.loads(again.stdout)
    assert {(one["receiver"], one["arrived"] is None) for one in outcome["notices"]} == {
        ("team", False),
        ("lead", False),
        ("dead", True),
    }
    service.end()


@pytest.mark.slow
def test_an_interrupt_ends_the_drill(tmp_path: Path, server: Receiver) -> None:
    prepare(tmp_path, server, more=DEAD)
    service = started(tmp_path)
    command = subprocess.Popen(
        [sys.executable, "-m", "watchdog", "drill"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with killed_on_failure(command):
        wait_until(lambda: "case.opened" in types(server, "team"), service.text)
        command.send_signal(signal.SIGINT)
        out, _ = command.communicate(timeout=300)
    assert command.returncode == 130
    assert "the drill was broken off" in out
    wait_until(lambda: "case.resolved" in types(server, "team"), service.text)
    wait_until(lambda: bool(rows(tmp_path, "SELECT 1 FROM drills WHERE ended_ns IS NOT NULL")), service.text)
    service.end()


def test_without_a_service_it_says_so(tmp_path: Path, server: Receiver) -> None:
    prepare(tmp_path, server)
    done = run_command(tmp_path, "drill")
    assert done.returncode == 2
    assert "no watchdog service runs with" in done.stderr
    assert "Traceback" not in done.stderr
