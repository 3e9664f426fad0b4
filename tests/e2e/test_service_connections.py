"""Strangers who open as many connections as they can cannot stop the watching."""

from __future__ import annotations

import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.capture_files import append, handshake, ping
from tests.support.receiver import Receiver
from tests.support.rulesets import PINGS
from tests.support.service_process import WATCHING, ServiceProcess, end_all, rows, run_command, until_rows
from tests.support.waiting import wait_until
from watchdog.service.node_start import CHECKPOINT_FILE

LIMIT, HALF_REQUESTS = 256, 1_100
CONFIG = """
sources: capture:{folder}/capture
rules: rules.yaml
packs: false
checkpoint: {{every: 1s, folder: state}}
api: {{listen: "127.0.0.1:0"}}
receivers:
  test: {{url: "{url}", about: incidents, allow_private: true, rate_per_minute: 0, severity: info}}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    end_all()
    found.close()


@pytest.fixture
def half_requests() -> Iterator[list[socket.socket]]:
    """Client sockets for all of them; a quarter more descriptors are ours for the rest of the test."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= before[1] < 2 * HALF_REQUESTS:
        pytest.skip(f"this user may open {before[1]} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * HALF_REQUESTS, before[1]))
    clients = [socket.socket() for _ in range(HALF_REQUESTS)]
    yield clients
    for client in clients:
        client.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def hold(clients: list[socket.socket], port: int) -> None:
    """Half a request on each; the service has closed most of them by then, which is no fault of the test."""
    for client in clients:
        client.settimeout(120)
        try:
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        except ConnectionError:
            continue


def now() -> int:
    return int(time.time() * 1e6)


def flood(capture: Path, peer: str, now_us: int) -> None:
    """A new folder with a handshake and thirty pings."""
    handshake(capture, peer, now_us, inbound=True)
    for number in range(30):
        append(capture, peer, True, ping(now_us + 100_000 + number * 1_000))


def until_changed(file: Path, since_ns: int) -> None:
    wait_until(lambda: file.exists() and file.stat().st_mtime_ns > since_ns, f"{file.name} is not written")


def metric(port: int, name: str) -> float:
    """Asked again until the service lets us in: the half requests before us must go first."""

    def answered() -> re.Match[bytes] | None:
        try:
            with (
                closing(socket.create_connection(("127.0.0.1", port), timeout=300)) as link,
                link.makefile("rb") as file,
            ):
                link.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return re.search(rf"^{re.escape(name)} (\S+)$".encode(), file.read(), re.MULTILINE)
        except ConnectionError:
            return None

    match = wait_until(answered, f"no {name}", look_s=0.1)
    assert match is not None
    return float(match[1])


@pytest.mark.slow
def test_half_requests_do_not_stop_the_watching(
    tmp_path: Path, receiver: Receiver, half_requests: list[socket.socket]
) -> None:
    capture, kept = tmp_path / "capture", tmp_path / "state" / CHECKPOINT_FILE
    flood(capture, "9.9.9.9_50000", now() - 60_000_000)
    (tmp_path / "rules.yaml").write_text(PINGS.replace("SEVERITY", "warning"))
    (tmp_path / "watchdog.yaml").write_text(CONFIG.format(folder=tmp_path, url=receiver.url))
    service = ServiceProcess(tmp_path, program=("tests.support.few_descriptors", str(LIMIT)))
    service.wait_for(WATCHING)
    found = re.search(r"page and API at http://127\.0\.0\.1:(\d+)", service.text())
    assert found, service.text()
    port = int(found[1])
    hold(half_requests, port)
    begun_ns = time.time_ns()
    flood(capture, "8.8.8.8_50000", now())

    def both_opened() -> bool:
        append(capture, "1.1.1.1_50000", True, ping(now()))  # event time advances, so that windows end
        return len(rows(tmp_path, "SELECT id FROM incidents WHERE rule = 'pings'")) == 2

    wait_until(both_opened, "the new folder is not read", look_s=0.2)
    until_rows(tmp_path, "SELECT id FROM outbox WHERE status = 'sent'", 2)
    until_changed(kept, begun_ns)
    assert metric(port, "watchdog_connections_limit") == LIMIT // 4
    assert metric(port, 'watchdog_connections_refused_total{reason="full"}') >= HALF_REQUESTS - 2 * LIMIT
    assert metric(port, 'watchdog_connections_overdue_total{stage="head"}') >= 1
    log = [line for line in service.text().splitlines() if " ERROR " in line or "Traceback" in line]
    assert log == [], "strangers write into the log"
    assert run_command(tmp_path, "reload", "--config", str(tmp_path / "watchdog.yaml")).returncode == 0
    service.end()
