"""Receivers that fail, with a real service: error, rate limit, silence, slowness, redirect; every notice arrives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.receiver import Receiver, silence, slow, status
from tests.support.rulesets import ESCALATING_MEMPOOL
from tests.support.service_process import WATCHING, ServiceProcess, end_all, grow, rows, until_rows

CONFIG = """
sources: snapshots:snapshots.jsonl
start: beginning
rules: rules.yaml
packs: false
checkpoint: {{every: 1s, folder: state}}
api: {{listen: "127.0.0.1:{port}"}}
receivers:
"""


@pytest.fixture
def server() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    end_all()
    found.close()


@pytest.mark.slow
def test_a_receiver_that_fails_gets_its_notice_again_under_the_same_id(tmp_path: Path, server: Receiver) -> None:
    server.faults.update(
        error=[status(500)],
        limit=[status(429, Retry_After="2")],
        nothing=[silence],
        slow=[slow],
        redirect=[status(307, Location=server.url_of("elsewhere"))],
    )
    (tmp_path / "state").mkdir()
    (tmp_path / "rules.yaml").write_text(ESCALATING_MEMPOOL)
    (tmp_path / "snapshots.jsonl").write_text("")
    parts = [
        f'  {name}: {{url: "{server.url_of(name)}", about: incidents, allow_private: true, timeout: 3s}}\n'
        for name in (*server.faults, "good")
    ]
    (tmp_path / "watchdog.yaml").write_text(CONFIG.format(port=free_port()) + "".join(parts))
    service = ServiceProcess(tmp_path)
    service.wait_for(WATCHING)
    grow(tmp_path, 0, [10, 600, 600])
    until_rows(tmp_path, "SELECT 1 FROM outbox WHERE status = 'sent'", len(parts))
    service.end()
    found = rows(tmp_path, "SELECT receiver, attempts, last_status, last_error FROM outbox ORDER BY receiver")
    assert found == sorted((name, 1 + (name != "good"), 204, None) for name in (*server.faults, "good"))
    for name in server.faults:
        tries = [(one.id, one.body) for one in server.seen if one.name == name]
        assert len(tries) == 2
        assert tries[0] == tries[1], "the same notice, byte for byte"
    assert not [one for one in server.seen if one.name == "elsewhere"], "a redirect is not followed"
    said = service.text()
    for text in ("status=500", "status=429", "status=307"):
        assert f"fate=retry {text}" in said
