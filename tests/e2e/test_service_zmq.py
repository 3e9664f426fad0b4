"""A service that hears a node over ZMQ alone: restarts become incidents, and /metrics shows whether the node is up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service_process import ServiceProcess, end_all, until_rows
from tests.support.waiting import wait_until
from tests.support.zmq_node import zmq_node

pytestmark = pytest.mark.slow
CONFIG = """
node: alice
sources:
  - zmq: {{hashblock: "{endpoint}", sequence: "{endpoint}"}}
database: "sqlite:///{folder}/watchdog.db"
api: {{listen: "127.0.0.1:0"}}
checkpoint: {{every: 1s}}
rules: rules.yaml
"""
RULE = """
rules:
  many-tips:
    title: Many tips
    attack: chain
    severity: info
    on: [zmq:tip, zmq:mempool]
    by: []
    measure: {n: count()}
    over: 1m
    fire: n > 1000
    summary: s
"""


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_all()


def written_ns(path: Path) -> int:
    """Return when a file was written; 0 before it exists: a checkpoint may follow the event by a second."""
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_node_over_zmq_is_seen_to_restart_and_to_be_gone(tmp_path: Path) -> None:
    with zmq_node() as node:
        (tmp_path / "rules.yaml").write_text(RULE)
        (tmp_path / "watchdog.yaml").write_text(CONFIG.format(endpoint=node.endpoint, folder=tmp_path))
        service = ServiceProcess(tmp_path)
        wait_until(lambda: node.subscribed("hashblock", "sequence"), service.text)
        wait_until(lambda: 'watchdog_node_up{node="alice"} 1.0' in service.metrics(), service.text)
        node.tip()
        node.mempool(1)
        wait_until(lambda: 'kind="zmq:tip"' in service.metrics(), service.text)
    with zmq_node(node.endpoint) as again:
        wait_until(lambda: again.subscribed("hashblock", "sequence"), service.text)
        again.tip()
        query = "SELECT node FROM incidents WHERE rule = 'node-restart'"
        assert until_rows(tmp_path, query, 1) == [("alice",)]
        again.tip(skipped=7)
        wait_until(lambda: re.search(r"^watchdog_events_lost_total\S* 7.0$", service.metrics(), re.MULTILINE))
    wait_until(lambda: 'watchdog_node_up{node="alice"} 0.0' in service.metrics(), service.text)
    service.end()


def test_a_killed_service_counts_what_it_missed(tmp_path: Path) -> None:
    with zmq_node() as node:
        (tmp_path / "rules.yaml").write_text(RULE)
        (tmp_path / "watchdog.yaml").write_text(CONFIG.format(endpoint=node.endpoint, folder=tmp_path))
        service = ServiceProcess(tmp_path)
        wait_until(lambda: node.subscribed("hashblock"), service.text)
        node.tip()
        wait_until(lambda: 'kind="zmq:tip"' in service.metrics(), service.text)
        saved = written_ns(tmp_path / "watchdog.checkpoint")
        wait_until(lambda: written_ns(tmp_path / "watchdog.checkpoint") != saved, service.text)
        service.kill()
        wait_until(lambda: not node.subscribed("hashblock"))
        for _ in range(5):
            node.tip()
        again = ServiceProcess(tmp_path)
        wait_until(lambda: node.subscribed("hashblock"), again.text)
        node.tip()
        wait_until(lambda: re.search(r"^watchdog_events_lost_total\S* 5.0$", again.metrics(), re.MULTILINE), again.text)
        again.end()
