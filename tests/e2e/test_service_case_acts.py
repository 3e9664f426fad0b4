"""Operators act on cases of a real service: beside it, through it, across kill -9, and without it."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.capture_files import append, handshake, ping
from tests.support.outside_service import Stream
from tests.support.rulesets import PINGS
from tests.support.service_process import WATCHING, ServiceProcess, end_all, rows, run_command
from tests.support.waiting import wait_until

CONFIG = """
sources: capture:{folder}/capture
rules: rules.yaml
packs: false
start: 1h
checkpoint: {{every: 1s, folder: state}}
api:
  listen: "127.0.0.1:0"
  tokens:
    - {{name: anna, role: operator, token: {{file: anna}}}}
    - {{name: vera, role: viewer, token: {{file: vera}}}}
"""
ANNA, VERA = "anna-s-own-token-1", "vera-may-only-read"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "rules.yaml").write_text(PINGS.replace("SEVERITY", "warning"))
    (tmp_path / "watchdog.yaml").write_text(CONFIG.format(folder=tmp_path))
    for name, token in (("anna", ANNA), ("vera", VERA)):
        (tmp_path / name).write_text(token)
    flood(tmp_path / "capture", "9.9.9.9_50000", 100)
    yield tmp_path
    end_all()


def now_us() -> int:
    return int(time.time() * 1e6)


def flood(capture: Path, peer: str, ago_s: int) -> None:
    """A handshake and thirty pings."""
    begin_us = now_us() - ago_s * 1_000_000
    handshake(capture, peer, begin_us, inbound=True)
    for number in range(30):
        append(capture, peer, True, ping(begin_us + 100_000 + number * 1_000))


@contextmanager
def life(folder: Path) -> Iterator[None]:
    """Another peer that pings all the time, so that event time advances."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.2):
            append(folder / "capture", "1.1.1.1_50000", True, ping(now_us()))

    handshake(folder / "capture", "1.1.1.1_50000", now_us(), inbound=True)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def started(folder: Path) -> tuple[ServiceProcess, int]:
    service = ServiceProcess(folder)
    service.wait_for(WATCHING)
    found = re.search(r"page and API at http://127\.0\.0\.1:(\d+)", service.text())
    assert found, service.text()
    return service, int(found[1])


def case(folder: Path) -> dict[str, Any]:
    """The document of the only case; empty before it is stored."""
    found = rows(folder, "SELECT document FROM cases") if (folder / "watchdog.db").exists() else []
    return json.loads(str(found[0][0])) if found else {}


def reasons(folder: Path) -> list[str]:
    return [one["reason"] for one in case(folder).get("notices", ())]


def until_reason(folder: Path, reason: str) -> None:
    wait_until(lambda: reason in reasons(folder), lambda: f"no notice {reason!r}: {reasons(folder)}", look_s=0.1)


def acted(folder: Path, verb: str, *more: str) -> str:
    done = run_command(folder, "cases", verb, case(folder)["id"], *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def post(port: int, path: str, body: dict[str, str], token: str) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_acts_are_seen_at_once_and_survive_kills(folder: Path) -> None:
    service, port = started(folder)
    with life(folder):
        until_reason(folder, "opened")
        id_ = case(folder)["id"]
        assert acted(folder, "ack", "--who", "bert", "--text", "mine") == f"{id_} acknowledged\n"
        service.kill()
        assert (case(folder)["state"], case(folder)["acknowledged_by"]) == ("acknowledged", "bert")
        service, port = started(folder)
        until_reason(folder, "acknowledged")
        stream = Stream(port)
        stream.until(lambda event, _: event == "hello")
        path = f"/api/v1/cases/{id_}"
        assert post(port, f"{path}/notes", {"text": "by its token", "who": "someone else"}, VERA) == 403
        assert post(port, f"{path}/notes", {"text": "by its token", "who": "someone else"}, ANNA) == 202
        noted = stream.until(lambda event, data: event == "case" and data["id"] == id_)
        assert (noted["state"], noted["acknowledged_by"]) == ("acknowledged", "bert")
        acted(folder, "resolve", "--who", "bert")
        until_reason(folder, "resolved")
        stream.until(lambda event, data: event == "case" and [one["reason"] for one in data["notices"]] == ["resolved"])
        service.end()
        acted(folder, "note", "without a service", "--who", "bert")
        service, port = started(folder)
        wait_until(lambda: "without a service" in json.dumps(case(folder)), "the note is lost")
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: rows(folder, "SELECT 1 FROM audit WHERE action = 'reload'"), "no reload in the audit")
        service.end()
    found = case(folder)
    assert [(one["what"], one["who"]) for one in found["story"]] == [
        ("acknowledged", "bert"),
        ("note", "anna"),
        ("resolved", "bert"),
        ("note", "bert"),
    ]
    assert (found["state"], reasons(folder)) == ("resolved", ["opened", "acknowledged", "resolved"])
    kept = rows(folder, "SELECT action, who FROM audit ORDER BY id")
    assert [action for action, who in kept if who == "watchdog"] == ["start", "start", "start", "reload"]
    assert ("note", "anna") in kept
