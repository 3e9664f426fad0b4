"""The first start of a real service beside a node that has run for a week: old attacks send nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.capture_files import append, handshake, record
from tests.support.receiver import Receiver
from tests.support.service_process import WATCHING, ServiceProcess, end_all
from tests.support.waiting import wait_until

DAY = 86_400
CONFIG = """
sources: [capture:captures, log:debug.log]
packs: false
rules: rules.yaml
receivers:
  test: {{url: "{url}", about: incidents, allow_private: true, rate_per_minute: 0}}
"""
RULES = """
rules:
  pings:
    title: A peer pings
    attack: message-anomaly
    severity: warning
    on: p2p:ping
    by: [peer_addr]
    measure: {pings: count()}
    over: 1m
    pane: 1s
    fire: pings >= 5
    summary: "{pings} pings"
  misbehaving:
    title: Peers misbehave
    attack: message-anomaly
    severity: warning
    on: log:misbehaving
    by: []
    measure: {lines: count()}
    over: 1m
    pane: 1s
    fire: lines >= 5
    summary: "{lines} lines"
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    end_all()
    found.close()


def ping(folder: Path, peer: str, second: float) -> None:
    append(folder / "captures", peer, True, record(int(second * 1e6), "ping", bytes(8)))


def line(second: float) -> str:
    moment = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{moment} [net] Misbehaving: peer=1: x\n"


def prepare(folder: Path, receiver: Receiver, now: float) -> None:
    """A capture and a log with a flood in each of seven days, up to two hours ago."""
    (folder / "rules.yaml").write_text(RULES)
    (folder / "watchdog.yaml").write_text(CONFIG.format(url=receiver.url))
    floods = [now - day * DAY for day in range(7, 0, -1)] + [now - 7_200]
    for number, flood in enumerate(floods):
        peer = f"10.0.0.{number}_50000"
        handshake(folder / "captures", peer, int((flood - 60) * 1e6), inbound=True)
        for second in range(60):
            ping(folder, peer, flood + second)
    (folder / "debug.log").write_text("".join(line(flood + second) for flood in floods for second in range(60)))


@pytest.mark.slow
def test_a_week_of_old_attacks_sends_nothing_and_one_under_way_one_opening(tmp_path: Path, receiver: Receiver) -> None:
    now = time.time()
    prepare(tmp_path, receiver, now)
    peer = "10.9.9.9_50000"
    handshake(tmp_path / "captures", peer, int((now - 400) * 1e6), inbound=True)
    for second in range(-300, 0):
        ping(tmp_path, peer, now + second)
    service = ServiceProcess(tmp_path, "--no-web")
    service.wait_for(WATCHING)
    assert "are skipped unread" in service.text()

    def notified() -> bool:
        ping(tmp_path, peer, time.time())
        with (tmp_path / "debug.log").open("a") as log:
            log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} UpdateTip: x\n")
        return bool(receiver.requests)

    wait_until(notified, service.text, look_s=0.2)
    service.end()
    bodies = [json.loads(body) for _, body in receiver.requests]
    assert [body["type"] for body in bodies] == ["incident.opened"]
    told = bodies[0]["data"]
    assert (told["rule"], told["entities"]) == ("pings", ["unroutable", "10.9.9.9"])
    assert now - 300 <= told["opened"] <= now - 290
    before = len(receiver.requests)
    again = ServiceProcess(tmp_path, "--no-web")
    again.wait_for(WATCHING)
    assert "begins at" not in again.text()
    again.end()
    assert len(receiver.requests) == before


@pytest.mark.slow
def test_the_beginning_is_read_when_the_command_line_asks_for_it(tmp_path: Path, receiver: Receiver) -> None:
    prepare(tmp_path, receiver, time.time())
    service = ServiceProcess(tmp_path, "--no-web", "--start", "beginning")
    wait_until(lambda: len({id_ for id_, _ in receiver.requests}) >= 8, service.text)
    service.end()
