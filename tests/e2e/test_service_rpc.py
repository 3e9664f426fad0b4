"""A real service that polls a node: incidents, restarts of node and service, and no credentials anywhere."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fake_node
from tests.support.fake_node import FakeNode, v30
from tests.support.ports import free_port
from tests.support.service_process import WATCHING, ServiceProcess, end_all
from tests.support.waiting import wait_until
from watchdog.cli.main import main

PASSWORD = "ein-geheimes-wort-0815"
CONFIG = """
sources:
  - rpc: {url}
    user: watchdog
    password: {{file: password}}
    intervals: {{getpeerinfo: 10s, getblockchaininfo: 10s, uptime: 10s}}
    chain: main
rules: rules.yaml
checkpoint: {{every: 1s}}
api: {{listen: "127.0.0.1:{port}"}}
"""
RULES = """
rules:
  peers-seen:
    title: Peers are seen
    attack: node
    severity: warning
    on: rpc:peers
    measure: {peers: max(outbound)}
    over: 1m
    pane: 1s
    fire: peers >= 10
    clear: peers < 1 and not flat(peers)
    summary: "{peers} outbound peers"
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FakeNode]:
    with FakeNode(tmp_path, v30()) as one:
        one.passwords["watchdog"] = PASSWORD
        yield one
    end_all()


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=300) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""


def prepare(folder: Path, node: FakeNode) -> int:
    port = free_port()
    (folder / "password").write_text(PASSWORD + "\n")
    (folder / "password").chmod(0o600)
    (folder / "rules.yaml").write_text(RULES)
    (folder / "watchdog.yaml").write_text(CONFIG.format(url=node.url, port=port))
    return port


def incidents(port: int) -> list[str]:
    code, text = get(port, "/api/v1/incidents")
    return [one["rule"] for one in json.loads(text)["incidents"]] if code == 200 else []


def test_a_service_polls_a_node_and_shows_no_credentials(tmp_path: Path, node: FakeNode) -> None:
    port = prepare(tmp_path, node)
    node.behave("getnettotals", fake_node.status(500, b'{"error":{"code":-1,"message":"x"}}'))
    service = ServiceProcess(tmp_path, environment={"WATCHDOG_TEST": "1"})
    service.wait_for(WATCHING)
    wait_until(lambda: "peers-seen" in incidents(port), lambda: f"no incident; log: {service.text()}")
    shown = [get(port, path)[1] for path in ("/metrics", "/readyz", "/api/v1/incidents", "/api/v1/status", "/")]
    shown.append(Path(f"/proc/{service.process.pid}/cmdline").read_bytes().decode())
    service.end()
    files = [one for one in tmp_path.iterdir() if one.name not in ("password", ".cookie") and one.is_file()]
    shown += [one.read_bytes().decode("latin-1") for one in files]
    assert node.asked
    for secret in (PASSWORD, "Basic ", node.passwords["__cookie__"]):
        assert not [text[:80] for text in shown if secret in text], secret
    assert "getnettotals" in service.text()


def test_a_killed_service_resumes_and_reports_nothing_twice(tmp_path: Path, node: FakeNode) -> None:
    port = prepare(tmp_path, node)
    service = ServiceProcess(tmp_path)
    service.wait_for(WATCHING)
    wait_until(lambda: "peers-seen" in incidents(port))
    wait_until((tmp_path / "watchdog.checkpoint").exists)
    service.kill()
    asked = node.count("getpeerinfo")
    again = ServiceProcess(tmp_path)
    again.wait_for(WATCHING)
    wait_until(lambda: node.count("getpeerinfo") > asked, "the node was not asked again")
    wait_until(lambda: incidents(port) == ["peers-seen"], lambda: str(incidents(port)))
    again.end()


def test_check_hides_a_password_in_the_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "watchdog.yaml").write_text(f"sources:\n  - rpc: http://alice:{PASSWORD}@127.0.0.1:8332\n")
    assert main(["check", "--config", str(tmp_path / "watchdog.yaml")]) == 1
    told = "".join(capsys.readouterr())
    assert "holds a user or a password" in told
    assert PASSWORD not in told


def test_a_hanging_node_holds_up_nobody(tmp_path: Path, node: FakeNode) -> None:
    port = prepare(tmp_path, node)
    node.behave("*", fake_node.hanging)
    service = ServiceProcess(tmp_path)
    service.wait_for(WATCHING)
    wait_until(lambda: node.asked, "the node was not asked")
    assert get(port, "/healthz")[0] == 200
    assert service.end() < 60
