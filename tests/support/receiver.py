"""A receiver of webhooks that does what a test tells it: takes them, or meets some of them with a fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, NamedTuple

Fault = Callable[[BaseHTTPRequestHandler], None]
"""Answers a request, whose body was read, or does not."""


class Seen(NamedTuple):
    """A request: its path without the slash, its webhook-id and its body."""

    name: str
    id: str
    body: bytes


def status(code: int, **headers: str) -> Fault:
    """An answer without a body; `_` in the name of a header stands for `-`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def silence(handler: BaseHTTPRequestHandler) -> None:
    """The connection ends without an answer."""
    handler.close_connection = True


def slow(handler: BaseHTTPRequestHandler) -> None:
    """The same after three times the timeout that these tests give a receiver."""
    time.sleep(9)
    handler.close_connection = True


class Receiver:
    """A server on a port of its own. A request that no fault meets is answered with 204.

    faults: by the name in the path, a fault for each of the next requests there; taken off as they are used.
    seen: all requests; requests: (webhook-id, body) of those that were taken; refused: webhook-ids of the others. All
    in the order of arrival.
    """

    def __init__(self) -> None:
        self.faults: dict[str, list[Fault]] = {}
        self.seen: list[Seen] = []
        self.requests: list[tuple[str, bytes]] = []
        self.refused: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            receiver: ClassVar = self

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.receiver.fate(Seen(self.path.strip("/"), self.headers["webhook-id"], body))(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def fate(self, request: Seen) -> Fault:
        """Remember a request; what becomes of it."""
        self.seen.append(request)
        faults = self.faults.get(request.name)
        if faults:
            self.refused.append(request.id)
            return faults.pop(0)
        self.requests.append((request.id, request.body))
        return status(204)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.url_of("hook")

    def url_of(self, name: str) -> str:
        """The same with another name in the path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)
