"""A service that hears a node over a typed stream alone: payloads are decoded, a lost server and a kill are gaps."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.capture_files import PEER, START_US, append, handshake, record, slices_of
from tests.support.service_process import ServiceProcess, end_all, until_rows
from tests.support.stream_service import StreamService
from tests.support.waiting import wait_until
from watchdog.core.batch import Batch
from watchdog.core.payload_columns import MESSAGES
from watchdog.core.source import SourceOptions
from watchdog.stream.offer import catalogue_kind

pytestmark = pytest.mark.slow
CONFIG = """
node: alice
sources:
  - stream: s
database: "sqlite:///{folder}/watchdog.db"
api: {{listen: "127.0.0.1:0"}}
checkpoint: {{every: 1s}}
rules: rules.yaml
packs: false
"""
RULE = """
rules:
  malformed-lists:
    title: Malformed lists
    attack: message-anomaly
    severity: warning
    on: p2p:malformed
    where: type == "inv" and connection_type == "inbound"
    by: [peer_addr]
    measure: {n: count()}
    over: 1m
    pane: 1s
    fire: n >= 3
    summary: "{n} from {peer_addr}"
"""

ONE_GAP = r'watchdog_events_total{.*kind="source:gap".*} 1.0'


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_all()


def messages(folder: Path) -> list[Batch]:
    """Messages of one peer, five of them malformed, as they would come from tracepoints now."""
    handshake(folder, PEER, START_US, inbound=True)
    append(folder, PEER, True, b"".join(record(START_US + 100_000 + at, "inv", b"\x05" + bytes(36)) for at in range(5)))
    options = SourceOptions("theirs", MESSAGES, payloads={"*": 4_000_000})
    return [batch for piece in slices_of(folder, options) for batch in piece.batches]


def now(batches: list[Batch]) -> list[Batch]:
    """The same at the present time."""
    at = time.time_ns()
    return [
        dataclasses.replace(one, columns={**one.columns, "time_ns": at + np.arange(one.rows, dtype=np.int64) * 1_000})
        for one in batches
    ]


class Beating:
    """A server that beats each second until it is stopped."""

    def __init__(self, path: Path) -> None:
        self.service = StreamService(path, [catalogue_kind(kind) for kind in sorted(MESSAGES)])
        self._over, self._one_at_a_time = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._over.wait(0.5):
            with self._one_at_a_time:
                self.service.beat(time.time_ns() - 1_000_000, records=1)

    def publish(self, batches: list[Batch]) -> None:
        """Send events of this moment: no beat may pass them."""
        with self._one_at_a_time:
            self.service.publish(now(batches), time.time_ns())

    def stop(self) -> None:
        """Disappear."""
        self._over.set()
        self._thread.join(60)
        self.service.stop()


def configured(tmp_path: Path) -> ServiceProcess:
    (tmp_path / "rules.yaml").write_text(RULE)
    (tmp_path / "watchdog.yaml").write_text(CONFIG.format(folder=tmp_path))
    return ServiceProcess(tmp_path)


def test_payloads_become_incidents_and_a_lost_server_a_gap(tmp_path: Path) -> None:
    some = messages(tmp_path / "capture")
    first = Beating(tmp_path / "s")
    service = configured(tmp_path)
    try:
        wait_until(lambda: first.service.subscribers == 1, service.text)
        assert first.service.demands[-1].payloads["inv"] == 4_000_000
        assert first.service.demands[-1].payloads["verack"] == 0
        first.publish(some)
        query = "SELECT node, summary FROM incidents WHERE rule = 'malformed-lists'"
        assert until_rows(tmp_path, query, 1) == [("alice", "5 from 8.8.8.8")]
        up = f'watchdog_source_up{{source="stream:{tmp_path / "s"}"}}'
        wait_until(lambda: f"{up} 1.0" in service.metrics(), service.text)
    finally:
        first.stop()
    wait_until(lambda: f"{up} 0.0" in service.metrics(), service.text)
    second = Beating(tmp_path / "s")
    try:
        wait_until(lambda: f"{up} 1.0" in service.metrics(), service.text)
        wait_until(lambda: re.search(ONE_GAP, service.metrics()), service.text)
    finally:
        second.stop()
    service.end()
    assert "Traceback" not in service.text()


def test_a_killed_service_reports_what_it_missed(tmp_path: Path) -> None:
    some = messages(tmp_path / "capture")
    server = Beating(tmp_path / "s")
    service = configured(tmp_path)
    try:
        wait_until(lambda: server.service.subscribers == 1, service.text)
        server.publish(some)
        until_rows(tmp_path, "SELECT node FROM incidents WHERE rule = 'malformed-lists'", 1)
        checkpoint = tmp_path / "watchdog.checkpoint"
        saved = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        server.publish(some)
        wait_until(lambda: checkpoint.exists() and checkpoint.stat().st_mtime_ns != saved, service.text)
        service.kill()
        wait_until(lambda: server.service.subscribers == 0)
        again = ServiceProcess(tmp_path)
        wait_until(lambda: server.service.subscribers == 1, again.text)
        wait_until(lambda: re.search(ONE_GAP, again.metrics()), again.text)
        again.end()
        assert "Traceback" not in again.text()
    finally:
        server.stop()
