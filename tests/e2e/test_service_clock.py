"""F2 in a real process: the clocks of node and watchdog step together, while the service runs and while it does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.receiver import Receiver
from tests.support.service_process import WATCHING, ServiceProcess, end_all, rows, until_rows
from tests.support.stepped_clock import step
from tests.support.waiting import wait_until

HOUR_NS = 3_600 * 10**9
RULES = """
rules:
  misbehaves:
    title: A peer misbehaves
    attack: resource
    severity: warning
    on: log:misbehaving
    by: [conn]
    incident: [conn]
    measure: {times: count()}
    over: 10s
    fire: times > 3
"""
CONFIG = """
sources: ["log:debug.log"]
rules: rules.yaml
packs: false
database: "sqlite:///{folder}/watchdog.db"
checkpoint: {{every: 1s, folder: state}}
receivers:
  test: {{url: "{url}", about: incidents, allow_private: true, rate_per_minute: 0}}
heartbeat: {{receiver: test, every: 1s}}
"""
OPENED = "SELECT opened_ns FROM incidents WHERE rule = '{}'"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    end_all()
    found.close()


class Scene:
    """A folder with a service, and a node that writes its log by the stepped clock too."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.folder, self.offset_ns = folder, 0
        (folder / "state").mkdir()
        (folder / "rules.yaml").write_text(RULES)
        (folder / "watchdog.yaml").write_text(CONFIG.format(folder=folder, url=receiver.url))
        (folder / "debug.log").touch()
        self.step(0)

    def start(self) -> ServiceProcess:
        program = ("tests.support.stepped_clock", str(self.folder / "offset"))
        service = ServiceProcess(self.folder, "--no-web", program=program)
        service.wait_for(WATCHING)
        return service

    def step(self, offset_ns: int) -> None:
        self.offset_ns = offset_ns
        step(self.folder / "offset", offset_ns)

    def misbehave(self, peer: int, until: str, wanted: int) -> None:
        """Let the peer misbehave until the query has `wanted` rows; fail after a minute."""

        def judged() -> bool:
            moment = datetime.fromtimestamp((time.time_ns() + self.offset_ns) / 1e9, UTC)
            with (self.folder / "debug.log").open("a") as file:
                file.write(f"{moment:%Y-%m-%dT%H:%M:%SZ} [net] Misbehaving: peer={peer}\n" * 3)
            return (self.folder / "watchdog.db").exists() and len(rows(self.folder, until)) >= wanted

        wait_until(judged, f"not judged within a minute: {until}", look_s=1)


@pytest.mark.slow
@pytest.mark.parametrize("stops", [False, True])
def test_a_clock_that_was_ahead_and_is_set_right_blinds_nobody(tmp_path: Path, receiver: Receiver, stops: bool) -> None:
    scene = Scene(tmp_path, receiver)
    scene.step(12 * HOUR_NS)
    service = scene.start()
    misbehaves = OPENED.format("misbehaves")
    scene.misbehave(1, misbehaves, 1)
    if stops:
        service.end()
    scene.step(0)
    if stops:
        service = scene.start()
    scene.misbehave(2, misbehaves, 2)
    [(opened_ns,)] = until_rows(tmp_path, OPENED.format("data-clock"), 1)
    now_ns = time.time_ns()
    assert abs(int(str(opened_ns)) - now_ns) < HOUR_NS
    assert max(int(str(row[0])) for row in rows(tmp_path, misbehaves)) <= now_ns + 60 * 10**9
    service.wait_for("no heartbeat is sent: a clock is wrong, so a source is not judged")
    service.wait_for("the service is healthy again")
    service.end()
    told = rows(tmp_path, "SELECT incident_id FROM outbox WHERE type = 'incident.opened'")
    assert len(told) == len(set(told)) == 3, "two peers and the clock, once each"
