"""Receivers that fail, with a real service: error, rate limit, silence, slowness, redirect; every notice arrives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.e2e.test_service_deliveries import RULES, free_port, grow
from tests.support.service_process import WATCHING, ServiceProcess, end_all, rows, until_rows

CONFIG = """
sources: snapshots:snapshots.jsonl
rules: rules.yaml
packs: false
checkpoint: {{every: 1s, folder: state}}
api: {{listen: "127.0.0.1:{port}"}}
receivers:
"""
Fault = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Fault:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def nothing(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def slow(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)  # three times the receiver's timeout
    handler.close_connection = True


class Faulty:
    """A server on a port of its own. The first request at `/NAME` meets the fault of that name, later ones do not.

    seen: (path, webhook-id, body) in the order of arrival.
    """

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        seen: list[tuple[str, str, bytes]] = []
        faults = self.faults

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            requests: ClassVar = seen

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                first = not any(path == self.path for path, _, _ in self.requests)
                self.requests.append((self.path, self.headers["webhook-id"], body))
                (faults.get(self.path.strip("/"), status(204)) if first else status(204))(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
                pass

        self.seen = seen
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def server() -> Iterator[Faulty]:
    found = Faulty()
    yield found
    end_all()
    found.close()


@pytest.mark.slow
def test_a_receiver_that_fails_gets_its_notice_again_under_the_same_id(tmp_path: Path, server: Faulty) -> None:
    server.faults.update(
        error=status(500),
        limit=status(429, Retry_After="2"),
        nothing=nothing,
        slow=slow,
        redirect=status(307, Location=server.url("elsewhere")),
    )
    (tmp_path / "state").mkdir()
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "snapshots.jsonl").write_text("")
    parts = [
        f'  {name}: {{url: "{server.url(name)}", allow_private: true, timeout: 1s}}\n'
        for name in (*server.faults, "good")
    ]
    (tmp_path / "watchdog.yaml").write_text(CONFIG.format(port=free_port()) + "".join(parts))
    service = ServiceProcess(tmp_path)
    service.wait_for(WATCHING)
    grow(tmp_path, 0, [10, 600, 600])
    until_rows(tmp_path, "SELECT 1 FROM outbox WHERE status = 'sent'", len(parts), 60)
    service.end()
    found = rows(tmp_path, "SELECT receiver, attempts, last_status, last_error FROM outbox ORDER BY receiver")
    assert found == sorted((name, 1 + (name != "good"), 204, None) for name in (*server.faults, "good"))
    for name in server.faults:
        tries = [(id_, body) for path, id_, body in server.seen if path == f"/{name}"]
        assert len(tries) == 2
        assert tries[0] == tries[1], "the same notice, byte for byte"
    assert not [path for path, _, _ in server.seen if path == "/elsewhere"], "a redirect is not followed"
    said = service.text()
    for text in ("status=500", "status=429", "status=307"):
        assert f"fate=retry {text}" in said
