"""Two sources of one node in a real service: counted once, one replaces the other, and a kill changes nothing of it."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_node import FakeNode, v30
from tests.support.ports import free_port
from tests.support.service_process import WATCHING, ServiceProcess, end_all, until_rows
from tests.support.waiting import wait_until

CONFIG = """
sources:
  - snapshots:{polls}
  - rpc: {url}
    cookie: {cookie}
    intervals: {{getblockchaininfo: 10s, getpeerinfo: 10s, uptime: 10s}}
packs: false
rules: rules.yaml
start: beginning
checkpoint: {{every: 1s}}
api: {{listen: "127.0.0.1:{port}"}}
"""
RULES = """
rules:
  chain: {title: Chain, attack: node, severity: info, on: rpc:chain, over: 10s, pane: 1s, measure: {n: count()},
          fire: n > 0, resolve_after: 1m, summary: "{n}"}
"""


class Poller:
    """Another program that polls the node, each second, into a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._ended = path, threading.Event()
        self._answer = v30()["getblockchaininfo"]
        self._thread = threading.Thread(target=self._run)
        path.touch()
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            line = json.dumps({"time": time.time(), "kind": "getblockchaininfo", "result": self._answer})
            with self._path.open("a") as file:
                file.write(f"{line}\n")

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture
def poller(tmp_path: Path) -> Iterator[Poller]:
    one = Poller(tmp_path / "polls.jsonl")
    yield one
    one.end()
    end_all()


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=300) as answer:
        text: str = answer.read().decode()
    return text


def in_force(port: int) -> str:
    """The scheme of the source in force for the states."""
    found = re.findall(
        r'watchdog_source_in_force\{family="states",node="node",source="(\w+):[^"]*"\} 1\.0', metrics(port)
    )
    return ",".join(found)


def seen(port: int, scheme: str) -> int:
    found = re.findall(rf'watchdog_events_total\{{kind="rpc:chain",source="{scheme}:[^"]*"\}} (\S+)', metrics(port))
    return int(float(found[0])) if found else 0


@pytest.mark.slow
def test_the_other_source_takes_over_and_is_still_in_force_after_a_kill(tmp_path: Path, poller: Poller) -> None:
    assert poller is not None
    port = free_port()
    (tmp_path / "rules.yaml").write_text(RULES)
    with FakeNode(tmp_path, v30()) as node:
        config = CONFIG.format(polls=tmp_path / "polls.jsonl", url=node.url, cookie=node.cookie, port=port)
        (tmp_path / "watchdog.yaml").write_text(config)
        service = ServiceProcess(tmp_path)
        service.wait_for(WATCHING)
        wait_until(lambda: seen(port, "rpc") >= 2)
        assert in_force(port) == "rpc"
        assert seen(port, "snapshots") == 0, "a standby source counts nothing"
    wait_until(lambda: in_force(port) == "snapshots")
    until_rows(tmp_path, "SELECT id FROM incidents WHERE rule = 'source-switched'", 1)
    wait_until(lambda: seen(port, "snapshots") >= 3)
    assert "is in force for states: rpc:" in service.text()
    wait_until((tmp_path / "watchdog.checkpoint").exists)
    service.kill()
    again = ServiceProcess(tmp_path)
    again.wait_for(WATCHING)
    assert in_force(port) == "snapshots", "the decision is in the checkpoint"
    wait_until(lambda: seen(port, "snapshots") >= 3)
    assert seen(port, "rpc") == 0
    again.end()
