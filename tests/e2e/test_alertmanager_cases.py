"""Cases at Debian's Alertmanager: one alert each, which stands while the case does, however long nothing is said."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.alertmanager import Alertmanager, until
from tests.support.rulesets import ESCALATING_MEMPOOL
from tests.support.service_process import WATCHING, ServiceProcess, end_all, polls, until_rows

CONFIG = """
node: alice
sources: snapshots:snapshots.jsonl
rules: rules.yaml
packs: false
start: beginning
checkpoint: {{every: 1s}}
api: {{listen: "127.0.0.1:0", public_url: "http://watch.example.com"}}
receivers:
  am: {{url: "{url}", format: alertmanager, keepalive: {keepalive}, allow_private: true, labels: {{team: infra}}}}
"""
KEEPALIVE = "3s"  # an alert stands for three of them: a busy machine may hold a post up for two
LONG = os.environ.get("WATCHDOG_LONG") == "1"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Alertmanager]:
    made = Alertmanager(tmp_path / "alertmanager")
    made.start()
    yield made
    end_all()
    made.stop()


def begin(folder: Path, manager: Alertmanager, keepalive: str) -> ServiceProcess:
    (folder / "rules.yaml").write_text(ESCALATING_MEMPOOL)
    (folder / "watchdog.yaml").write_text(CONFIG.format(url=manager.url, keepalive=keepalive))
    (folder / "snapshots.jsonl").touch()
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(WATCHING)
    return service


def severities(manager: Alertmanager) -> list[str]:
    """Of the alerts about cases of the mempool."""
    return sorted(one["labels"]["severity"] for one in manager.alerts() if one["labels"].get("attack") == "resource")


def test_a_case_fires_rises_and_is_resolved_and_each_side_restarts(manager: Alertmanager, tmp_path: Path) -> None:
    service = begin(tmp_path, manager, KEEPALIVE)
    polls(tmp_path, [(second, 500) for second in range(0, 200, 5)])
    until(lambda: severities(manager) == ["warning"])
    ((root,),) = until_rows(tmp_path, "SELECT subject FROM outbox WHERE type = 'case.opened'", 1)
    (alert,) = [one for one in manager.alerts() if one["labels"].get("attack") == "resource"]
    labels = {"alertname": "BitcoinCase", "node": "alice", "attack": "resource", "severity": "warning", "case": root}
    assert alert["labels"] == labels | {"team": "infra"}
    assert alert["annotations"]["url"] == f"http://watch.example.com/cases/{root}"
    manager.stop()
    manager.start()
    until(lambda: severities(manager) == ["warning"])
    polls(tmp_path, [(second, 5_000) for second in range(200, 800, 5)])
    until(lambda: severities(manager) == ["high"])
    service.kill()
    service = begin(tmp_path, manager, KEEPALIVE)
    polls(tmp_path, [(second, 5) for second in range(800, 4_000, 5)])
    until(lambda: not severities(manager))
    until_rows(tmp_path, "SELECT id FROM outbox WHERE type = 'case.resolved' AND status = 'sent'", 1)
    service.end()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_alert_stands_while_nothing_is_said_and_ends_with_the_service(manager: Alertmanager, tmp_path: Path) -> None:
    """Ten minutes with the usual keepalive in `make check-long`; elsewhere twelve seconds with a short one."""
    alone_s, keepalive, every_s = (600.0, "60s", 5.0) if LONG else (12.0, KEEPALIVE, 0.5)
    service = begin(tmp_path, manager, keepalive)
    polls(tmp_path, [(second, 500) for second in range(0, 200, 5)])
    until(lambda: severities(manager) == ["warning"])
    end = time.monotonic() + alone_s
    while time.monotonic() < end:
        assert severities(manager) == ["warning"], "the alert has expired while its case fires"
        time.sleep(every_s)
    service.kill()
    until(lambda: not severities(manager), 240.0)
