"""A real service and Debian's Alertmanager: what fires there, over escalations, restarts of each side and kills."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.delivery.alertmanager import alive_body, notice_body
from alerts.notice import Notice
from alerts.routing import Receiver
from tests.support.alertmanager import Alertmanager, until
from tests.support.rulesets import ESCALATING_MEMPOOL
from tests.support.service_process import WATCHING, ServiceProcess, end_all, polls, run_command, until_rows

CONFIG = """
node: alice
sources: snapshots:snapshots.jsonl
rules: rules.yaml
packs: false
start: beginning
checkpoint: {{every: 1s, folder: state}}
api: {{listen: "127.0.0.1:0", public_url: "http://watch.example.com"}}
receivers:
  am: {{url: "{url}", format: alertmanager, about: incidents, keepalive: {keepalive}, allow_private: true}}
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Alertmanager]:
    made = Alertmanager(tmp_path / "alertmanager")
    made.start()
    yield made
    end_all()
    made.stop()


def begin(folder: Path, url: str, keepalive: str) -> ServiceProcess:
    (folder / "rules.yaml").write_text(ESCALATING_MEMPOOL)
    (folder / "watchdog.yaml").write_text(CONFIG.format(url=url, keepalive=keepalive))
    (folder / "snapshots.jsonl").touch()
    service = ServiceProcess(folder)
    service.wait_for(WATCHING)
    return service


def test_an_incident_opens_escalates_and_resolves_and_each_side_restarts(manager: Alertmanager, tmp_path: Path) -> None:
    service = begin(tmp_path, f"{manager.url}/", "5s")
    polls(tmp_path, [(second, 500) for second in range(0, 60, 5)])
    until(lambda: manager.severities() == ["warning"])
    (alert,) = manager.alerts()
    ((incident,),) = until_rows(tmp_path, "SELECT id FROM incidents", 1)
    labels = {"alertname": "mempool-full", "node": "alice", "attack": "resource", "severity": "warning"}
    assert alert["labels"] == labels | {"incident": incident}
    assert alert["annotations"] == {
        "title": "Mempool is full",
        "summary": "500 transactions wait",
        "url": f"http://watch.example.com/incidents/{incident}",
    }
    manager.stop()
    manager.start()
    until(lambda: manager.severities() == ["warning"])
    assert run_command(tmp_path, "incidents", "ack", str(incident), "--who", "anna").returncode == 0
    until(lambda: manager.alerts()[0]["annotations"].get("acknowledged_by") == "anna")
    polls(tmp_path, [(second, 5_000) for second in range(60, 90, 5)])
    until(lambda: manager.severities() == ["high"])
    service.end()
    service = begin(tmp_path, manager.url, "5s")
    posted = manager.alerts()[0]["updatedAt"]
    until(lambda: manager.alerts()[0]["updatedAt"] > posted)
    assert manager.severities() == ["high"], "the same alert after a restart"
    polls(tmp_path, [(second, 5) for second in range(90, 400, 5)])
    until(lambda: not manager.alerts())
    until_rows(tmp_path, "SELECT id FROM outbox WHERE type = 'incident.resolved' AND status = 'sent'", 1)
    service.end()


def test_alerts_live_while_the_service_does_and_expire_after_its_kill(manager: Alertmanager, tmp_path: Path) -> None:
    service = begin(tmp_path, manager.url, "1s")
    polls(tmp_path, [(second, 500) for second in range(0, 60, 5)])
    until(lambda: manager.severities() == ["warning"])
    ended = manager.alerts()[0]["endsAt"]
    until(lambda: manager.severities() == ["warning"] and manager.alerts()[0]["endsAt"] > ended)
    service.kill()
    until(lambda: not manager.alerts())


HOSTILE = "<img src=x>\x1b[31m\r\nlevel=error \u202e\u0000" + "long " * 10_000


def test_alertmanager_takes_whatever_strangers_sent(manager: Alertmanager) -> None:
    now_ns = 1_790_000_000 * 10**9
    hostile = {
        "id": "a1b2",
        "rule": "mempool-full",
        "attack": "resource",
        "severity": "high",
        "state": "open",
        "node": "alice",
        "key": {"user agent": HOSTILE, "alertname": "x"},
        "opened": now_ns / 1e9,
        "title": HOSTILE,
        "summary": HOSTILE,
        "entities": [f"{number} {HOSTILE}" for number in range(200)],
        "url": "http://127.0.0.1:8380/incidents/a1b2",
    }
    receiver = Receiver("am", manager.url, format="alertmanager")
    ahead = dict(hostile, id="c3d4", opened=now_ns / 1e9 + 86_400)
    far_ns = 4_000_000_000 * 10**9  # in the year 2096: it fires whatever the clock of this machine
    manager.post(json.loads(alive_body([hostile, ahead], receiver, far_ns)))
    assert len(manager.alerts()) == 2
    for alert in manager.alerts():
        assert set(alert["labels"]) == {"alertname", "node", "attack", "severity", "incident"}
        assert set(alert["annotations"]) == {"title", "summary", "entities", "url"}
        assert all(text.isprintable() and len(text) <= 1_100 for text in alert["annotations"].values())
        assert alert["annotations"]["entities"].count(", ") <= 9
    ended = Notice(
        "m", "am", "a1b2", "incident.resolved", "high", now_ns, hostile | {"state": "resolved", "resolved": 1.0}
    )
    manager.post(json.loads(notice_body(ended, receiver, now_ns)))
