"""Cases of a real service reach real receivers: one opening for each attack, none lost or doubled by kills."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.receiver import Receiver
from tests.support.service_process import ALL_ENDED, ROOT, ServiceProcess, end_all, rows
from tests.support.waiting import wait_until

RECORDING = ROOT / "demo" / "recording"
ATTACKS = sum(one["class"] != "benign" for one in json.loads((RECORDING / "labels.json").read_text()))
CONFIG = """
node: alice
sources: ["recording:{recording}"]
start: beginning
checkpoint: {{every: 1s}}
api: {{public_url: "https://watch.example/"}}
receivers:
  team: {{url: "{team}", allow_private: true, rate_per_minute: 0}}
  lead: {{url: "{lead}", allow_private: true, rate_per_minute: 0, severity: high}}
  every: {{url: "{every}", about: incidents, allow_private: true, rate_per_minute: 0}}
"""
WAITING = "SELECT 1 FROM outbox WHERE status = 'waiting'"


@pytest.fixture
def server() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    end_all()
    found.close()


def prepare(folder: Path, server: Receiver) -> None:
    folder.mkdir(exist_ok=True)
    names = {name: server.url_of(name) for name in ("team", "lead", "every")}
    (folder / "watchdog.yaml").write_text(CONFIG.format(recording=RECORDING, **names))


def finish(folder: Path) -> None:
    """Run until everything is read and sent."""
    service = ServiceProcess(folder, "--no-web")
    service.wait_for(ALL_ENDED)
    wait_until(lambda: bool(rows(folder, "SELECT 1 FROM outbox")) and not rows(folder, WAITING), service.text)
    service.end()


def bodies(server: Receiver, name: str) -> list[dict[str, Any]]:
    """What a receiver got, by its id: at least once means twice at times."""
    return list({one.id: json.loads(one.body) for one in server.seen if one.name == name}.values())


@pytest.mark.slow
def test_each_attack_gives_one_opening(tmp_path: Path, server: Receiver) -> None:
    prepare(tmp_path, server)
    finish(tmp_path)
    told = bodies(server, "team")
    assert Counter(one["type"] for one in told) == {"case.opened": ATTACKS}
    assert len({one["data"]["root"] for one in told}) == ATTACKS
    for one in told:
        data = one["data"]
        assert data["url"] == f"https://watch.example/cases/{data['id']}"
        assert (data["node"], data["state"], data["change"]["type"]) == ("alice", "open", "case.opened")
        assert data["notices"][-1]["time"] == data["change"]["time"]
        assert 0 < len(data["change"]["parties"]) <= 4
    high = [one for one in told if one["data"]["change"]["severity"] == "high"]
    assert len(bodies(server, "lead")) == len(high) < ATTACKS
    assert {one["type"] for one in bodies(server, "every")} <= {"incident.opened", "incident.escalated"}
    held = rows(tmp_path, "SELECT reason, count(*) FROM case_decisions WHERE decision = 'held' GROUP BY reason")
    assert held == [("floor", ATTACKS - len(high))]
    assert len(rows(tmp_path, "SELECT 1 FROM case_decisions WHERE decision = 'sent'")) == ATTACKS + len(high)


@pytest.mark.slow
def test_kills_lose_no_notice_and_make_none_twice(tmp_path: Path, server: Receiver) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    prepare(whole, server)
    finish(whole)
    expected = rows(whole, "SELECT id, type, receiver FROM outbox WHERE incident_id IS NULL ORDER BY id")
    assert len(expected) > ATTACKS
    server.seen.clear()
    prepare(killed, server)
    for enough in (1, 3, 5):  # notices in the outbox at the time of the kill
        service = ServiceProcess(killed, "--no-web")
        asked = f"SELECT count(*) FROM outbox WHERE incident_id IS NULL HAVING count(*) >= {enough}"
        wait_until(lambda asked=asked: bool(_rows(killed, asked)), service.text)  # type: ignore[misc]
        service.kill()
    finish(killed)
    assert rows(killed, "SELECT id, type, receiver FROM outbox WHERE incident_id IS NULL ORDER BY id") == expected
    got = {one.id for one in server.seen if one.name in ("team", "lead")}
    assert got == {id_ for id_, _, _ in expected}


def _rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    """Rows, none while the database is not made yet."""
    path = folder / "watchdog.db"
    if not path.exists() or not path.stat().st_size:
        return []
    return rows(folder, query) if rows(folder, "SELECT 1 FROM sqlite_master WHERE name = 'case_decisions'") else []
