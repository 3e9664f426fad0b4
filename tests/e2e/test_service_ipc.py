"""A service that watches a node over IPC alone: rules fire, `/metrics` shows the node, and no end harms it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ipc_node import IpcNode, answers
from tests.support.service_process import ServiceProcess, end_all, until_rows
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
CONFIG = """
node: alice
sources:
  - ipc: {socket}
    subscribe: {subscribe}
    budget: 100
    intervals: {{getblockchaininfo: 10s, getpeerinfo: 10s, uptime: 10s}}
database: "sqlite:///{folder}/watchdog.db"
api: {{listen: "127.0.0.1:0"}}
checkpoint: {{every: 1s}}
rules: rules.yaml
"""
RULES = """
rules:
  flushed:
    title: The chain state was written
    attack: chain
    severity: warning
    on: chain:flushed
    by: []
    measure: {n: count()}
    over: 1m
    fire: n > 0
    summary: "{n} times"
  blocks-there:
    title: The node has blocks
    attack: chain
    severity: warning
    on: rpc:chain
    by: []
    measure: {height: max(blocks)}
    over: 1m
    fire: height > 99
    summary: "{height}"
"""
COUNTED = 'watchdog_node_utxo_cache_satoshi_total{change="add",node="alice"} 350.0'


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    end_all()


def service_of(node: IpcNode, folder: Path, *, subscribe: bool = True) -> ServiceProcess:
    (folder / "rules.yaml").write_text(RULES)
    text = CONFIG.format(socket=node.socket, folder=folder, subscribe=str(subscribe).lower())
    (folder / "watchdog.yaml").write_text(text)
    return ServiceProcess(folder)


def written_ns(path: Path) -> int:
    """When a file was written; 0 before it exists."""
    return path.stat().st_mtime_ns if path.exists() else 0


def subscribed(node: IpcNode) -> None:
    wait_until(lambda: node.report()["open"] == 3, lambda: f"not subscribed: {node.report()}")


def test_rules_fire_on_polls_and_on_notifications(tmp_path: Path) -> None:
    with IpcNode(tmp_path, "tracing", fragile=True) as node:
        service = service_of(node, tmp_path)
        subscribed(node)
        node.notify("flush")
        node.notify("coins", method="add", number=7)
        wait_until(lambda: COUNTED in service.metrics(), service.text)
        shown = service.metrics()
        for line in ('watchdog_node_up{node="alice"} 1.0', 'watchdog_node_chain_state_flushes_total{node="alice"} 1.0'):
            assert line in shown
        assert 'kind="utxocache:add"' not in shown, "no rule reads it, so it is counted and not sent"
        found = until_rows(tmp_path, "select distinct rule from incidents", 2)
        assert {str(one[0]) for one in found} == {"flushed", "blocks-there"}
        assert service.end() < 60
        assert (node.report()["disconnected"], node.report()["abandoned"]) == (3, 0)
        assert node.status is None


def test_a_killed_service_leaves_its_node_in_order_and_resumes(tmp_path: Path) -> None:
    with IpcNode(tmp_path, "tracing", fragile=True) as node:
        service = service_of(node, tmp_path)
        subscribed(node)
        until_rows(tmp_path, "select rule from incidents", 1)
        saved_ns = written_ns(tmp_path / "watchdog.checkpoint")
        wait_until(lambda: written_ns(tmp_path / "watchdog.checkpoint") > saved_ns, service.text)
        service.kill()
        wait_until(lambda: node.report()["disconnected"] == 3, "handlers are left")
        again = service_of(node, tmp_path)
        subscribed(node)
        gaps = f'watchdog_events_total{{kind="source:gap",source="ipc:{node.socket}"}} 3.0'
        wait_until(lambda: gaps in again.metrics(), "not one gap each of tables, notifications and coins")
        again.end()
        assert node.status is None


def test_rules_that_a_node_cannot_feed_are_shown_as_blind(tmp_path: Path) -> None:
    with IpcNode(tmp_path, "v30") as node:
        service = service_of(node, tmp_path, subscribe=False)
        blind = 'watchdog_rule_can_fire{rule="blocks-there"} 0.0'
        wait_until(lambda: blind in service.metrics(), service.text)
        wait_until(lambda: 'watchdog_node_up{node="alice"} 1.0' in service.metrics(), service.text)
        assert "WARNING watchdog.sources: source ipc:" in service.text()
        service.end()


def test_a_node_that_goes_and_comes_is_shown(tmp_path: Path) -> None:
    with IpcNode(tmp_path) as node:
        service = service_of(node, tmp_path, subscribe=False)
        wait_until(lambda: 'watchdog_node_up{node="alice"} 1.0' in service.metrics(), service.text)
        node.end()
        wait_until(lambda: 'watchdog_node_up{node="alice"} 0.0' in service.metrics(), service.text)
        assert "connection refused" in service.text()
        node.start()
        node.answer(**answers(101))
        wait_until(lambda: 'watchdog_node_blocks{node="alice"} 101.0' in service.metrics(), service.text)
        service.end()
