"""Tracepoints that a configuration declares, from a real process through extractor and service to an incident."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.extraction import probes
from tests.support.service_process import ROOT, ServiceProcess, end_all, until_rows
from tests.support.traced_node import TracedNode
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
CONFIG = """
node: alice
sources:
  - stream: {folder}/node.sock
tracepoints:
  udp:block_tail: [level: i8, chunk: u16, last: u8, size: u32, data: bytes(size)]
database: "sqlite:///{folder}/watchdog.db"
api: {{listen: "127.0.0.1:0"}}
checkpoint: {{every: 1s}}
packs: false
rules: rules.yaml
"""
RULES = """
tracepoints:
  udp:block_race_time: [hash: bytes32, height: i32, udp_ns: i64, udp_peer: str, cmpct_ns: i64, cmpct_peer: str]
rules:
  slow-blocks:
    title: Blocks take long over UDP
    attack: node
    severity: warning
    on: udp:block_race_time
    where: udp_ns >= 0
    by: udp_peer
    measure: {slow_ns: "quantile(udp_ns, 0.9)"}
    over: 10s
    fire: slow_ns > 1000000000
    summary: "{udp_peer}: {slow_ns} ns"
  tails:
    title: Tails
    attack: node
    severity: info
    on: udp:block_tail
    where: level < 0
    measure: {n: count()}
    over: 10s
    fire: n >= 1
"""
OTHER = """
  many:
    title: Many
    attack: node
    severity: info
    on: mempool:added
    measure: {n: count()}
    over: 10s
    fire: n >= 1
"""


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_all()


@contextmanager
def extractor(folder: Path, node: TracedNode) -> Iterator[Path]:
    """`watchdog extract` on a node; its log."""
    with probes():  # skips where BPF is refused
        pass
    log = folder / "extract.log"
    command = [sys.executable, "-m", "watchdog", "extract", "--pid", str(node.pid), "--socket", f"{folder}/node.sock"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=file, stderr=file, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
    try:
        wait_until(lambda: "serving at" in log.read_text(), log.read_text)
        yield log
    finally:
        process.terminate()
        process.wait(300)


def test_a_declared_tracepoint_becomes_an_incident(tmp_path: Path) -> None:
    (tmp_path / "watchdog.yaml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "rules.yaml").write_text(RULES)
    with TracedNode(fibre=True) as node, extractor(tmp_path, node) as log:
        service = ServiceProcess(tmp_path)
        wait_until(lambda: node.semaphores()["udp:block_race_time"], lambda: service.text() + log.read_text())
        peer = "203.0.113.5:8333"
        assert node.probe("udp:block_race_time", b"\x01" * 32, 840_000, 2_500_000_000, peer, -1, "n/a")
        assert node.probe("udp:block_tail", -3, 65_535, 255, b"\x01\x02")
        query = "SELECT rule, summary FROM incidents ORDER BY rule"
        assert until_rows(tmp_path, query, 2)[0][0] == "slow-blocks"
        metrics = service.metrics()
        assert re.search(r'^watchdog_extract_records_total{node="alice",source="stream:.*} 2.0$', metrics, re.MULTILINE)
        assert re.search(r"^watchdog_extract_probes{.*} [2-9]", metrics, re.MULTILINE)
        service.end()
    assert peer in (tmp_path / "log").read_text()


def test_what_a_node_lacks_is_said_and_takes_nothing_else_away(tmp_path: Path) -> None:
    (tmp_path / "watchdog.yaml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "rules.yaml").write_text(RULES + OTHER)
    with TracedNode() as node, extractor(tmp_path, node) as log:
        service = ServiceProcess(tmp_path)
        wait_until(lambda: node.semaphores()["mempool:added"], lambda: service.text() + log.read_text())
        assert node.probe("mempool:added", b"\x01" * 32, 141, 1_000)
        assert until_rows(tmp_path, "SELECT rule FROM incidents", 1) == [("many",)]
        metrics = service.metrics()
        service.end()
    assert "declared tracepoints are not read until the node starts again: " in service.text()
    assert re.search(r'^watchdog_source_counts_total{.*what="tracepoints_refused"} 2.0$', metrics, re.MULTILINE)
