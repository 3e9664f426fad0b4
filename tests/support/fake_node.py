"""A node's RPC over real HTTP on loopback: answers by method, its cookie, restarts, and every way to misbehave.

    with FakeNode(tmp_path, v30()) as node:
        client = RpcClient(node.url, CookieCredentials(node.cookie))
        node.behave("getpeerinfo", status(503, b"Work queue depth exceeded"))

A behaviour replaces the answer of a method; it gets the open connection, and may write whatever it wants to.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

Json = Any  # what a node may answer
Answer = Any  # a result (bytes: the whole body), or a function from the parameters to one
MAX_ASKED = 100_000


class NodeError(Exception):
    """Raised by an answer that is a function: becomes a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Call:
    """One request as a behaviour sees it."""

    def __init__(self, handler: BaseHTTPRequestHandler, node: FakeNode, method: str, params: list[Json]) -> None:
        self._handler, self.node, self.method, self.params = handler, node, method, params
        self._open = True
        node.entered()

    def done(self) -> None:
        """Count the call as over: its answer is about to be written whole, or the connection ends."""
        if self._open:
            self._open = False
            self.node.left()

    def raw(self, data: bytes) -> None:
        """Write bytes as they are. A client that has gone is none of our business."""
        try:
            self._handler.wfile.write(data)
            self._handler.wfile.flush()
        except OSError:
            self._handler.close_connection = True

    def reply(self, status: int, body: bytes, *, length: int | None = None) -> None:
        """Write a whole answer; length: what its head claims."""
        size = len(body) if length is None else length
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        self.done()
        self.raw(head.encode() + body)
        self._handler.close_connection = True

    def result(self, result: Json) -> None:
        """Write a successful answer."""
        self.reply(200, json.dumps({"result": result, "error": None, "id": 1}).encode())

    def fault(self, code: int, message: str) -> None:
        """Write an error as Bitcoin Core does: HTTP 404 for an unknown method, else 500."""
        body = {"result": None, "error": {"code": code, "message": message}, "id": 1}
        self.reply(404 if code == -32601 else 500, json.dumps(body).encode())


Behaviour = Callable[[Call], None]


def status(code: int, body: bytes = b"") -> Behaviour:
    """Answer with this HTTP status."""
    return lambda call: call.reply(code, body)


def fault(code: int, message: str = "no") -> Behaviour:
    """Answer with this JSON-RPC error."""
    return lambda call: call.fault(code, message)


def garbage(data: bytes) -> Behaviour:
    """Answer with bytes that need not be HTTP."""
    return lambda call: call.raw(data)


def half(body: bytes, claimed: int) -> Behaviour:
    """Claim a longer answer than comes, and close."""
    return lambda call: call.reply(200, body, length=claimed)


def huge(claimed: int) -> Behaviour:
    """Claim an answer of this size, and wait for the client to close: who reads it would hang."""

    def behave(call: Call) -> None:
        call.reply(200, b'{"result":', length=claimed)
        call.node.released.wait(60)

    return behave


def chunked(pieces: int, size: int) -> Behaviour:
    """Answer in chunks, without a stated length."""

    def behave(call: Call) -> None:
        call.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(pieces):
            call.raw(f"{size:x}\r\n".encode() + b" " * size + b"\r\n")
        call.raw(b'14\r\n{"result":5}        \r\n0\r\n\r\n')

    return behave


def hanging(call: Call) -> None:
    """Never answer, until the node is closed."""
    call.node.released.wait(60)


def dripping(call: Call) -> None:
    """Send a byte of the head at a time, for ever: each read of a client gets something."""
    call.raw(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not call.node.released.wait(0.02):
        call.raw(b"a")


def slow(wait: Callable[[], object], then: Behaviour) -> Behaviour:
    """Wait for something (an event of the test), then behave."""

    def behave(call: Call) -> None:
        wait()
        then(call)

    return behave


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        cast("_Server", self.server).node.handle(self)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64
    node: FakeNode


class FakeNode:
    """Answers calls on a port of loopback. answers: results by method, or functions of the parameters.

    folder: its data folder; the cookie is written there at each start. whitelist: methods that it allows, None for all.
    """

    def __init__(self, folder: Path, answers: Mapping[str, Answer], *, port: int = 0) -> None:
        self.answers: dict[str, Answer] = dict(answers)
        self.cookie = folder / ".cookie"
        self.passwords: dict[str, str] = {}
        self.whitelist: frozenset[str] | None = None
        self.asked: deque[tuple[str, list[Json]]] = deque(maxlen=MAX_ASKED)
        self.released = threading.Event()
        self.at_once = self.most_at_once = 0  # calls that were open at one time
        self._behaviours: dict[str, Behaviour] = {}
        self._lock = threading.Lock()
        self._starts = 0
        self._server: _Server | None = None
        self.port = port
        self.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def refuses(self) -> bool:
        """Whether connections are refused now."""
        return self._server is None

    def behave(self, method: str, behaviour: Behaviour | None) -> None:
        """Replace the answer of a method (`*` for all), None to answer again."""
        with self._lock:
            if behaviour is None:
                self._behaviours.pop(method, None)
            else:
                self._behaviours[method] = behaviour

    def count(self, method: str) -> int:
        """Return how often a method was called."""
        return sum(one == method for one, _ in list(self.asked))

    def start(self) -> None:
        """Listen, with a new cookie."""
        self._starts += 1
        secret = f"cookie{self._starts}" + "0123456789abcdef" * 3
        self.cookie.write_text(f"__cookie__:{secret}")
        self.passwords["__cookie__"] = secret
        self.released.clear()
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.node = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="fake node", daemon=True).start()

    def stop(self) -> None:
        """Stop listening: connections are refused."""
        self.released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def restart(self) -> None:
        """Stop and start, on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        request = json.loads(body)
        call = Call(handler, self, str(request["method"]), list(request.get("params", [])))
        try:
            self._handle(handler, call)
        finally:
            call.done()

    def entered(self) -> None:
        """Count a call that begins."""
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)

    def left(self) -> None:
        """Count a call that ends."""
        with self._lock:
            self.at_once -= 1

    def _handle(self, handler: BaseHTTPRequestHandler, call: Call) -> None:
        if not self._knows(handler.headers.get("Authorization", "")):
            call.reply(401, b"")
            return
        self.asked.append((call.method, call.params))
        with self._lock:
            behaviour = self._behaviours.get(call.method) or self._behaviours.get("*")
        if behaviour is not None:
            behaviour(call)
            handler.close_connection = True
        elif self.whitelist is not None and call.method not in self.whitelist:
            call.reply(403, b"")
        else:
            self._answer(call)

    def _knows(self, header: str) -> bool:
        return any(
            header == "Basic " + b64encode(f"{user}:{password}".encode()).decode()
            for user, password in self.passwords.items()
        )

    def _answer(self, call: Call) -> None:
        if call.method not in self.answers:
            call.fault(-32601, "Method not found")
            return
        answer = self.answers[call.method]
        try:
            result = answer(call.params) if callable(answer) else answer
        except NodeError as error:
            call.fault(error.code, str(error))
            return
        if isinstance(result, bytes):
            call.reply(200, result)
        else:
            call.result(result)


def tip_hash(height: int, branch: int = 0) -> str:
    """Return a block hash that is always the same for a height and a branch."""
    return f"{branch:032x}{height:032x}"


def v30(height: int = 900_000, now_s: int | None = None) -> dict[str, Answer]:
    """Return answers of a healthy mainnet node of v30, with the fields of its version."""
    now_s = int(time.time()) if now_s is None else now_s
    chain = {
        "chain": "main", "blocks": height, "headers": height, "bestblockhash": tip_hash(height),
        "bits": "17023a04", "target": "0" * 64, "difficulty": 1.2e14, "time": now_s - 300, "mediantime": now_s - 3000,
        "verificationprogress": 0.99999, "initialblockdownload": False, "chainwork": f"{height:064x}",
        "size_on_disk": 700_000_000_000, "pruned": False, "warnings": [],
    }  # fmt: skip
    return {
        "getpeerinfo": [peer_v30(number, now_s) for number in range(10)],
        "getblockchaininfo": chain,
        "uptime": 100_000,
        "getnetworkinfo": {
            "version": 300000, "subversion": "/Satoshi:30.0.0/", "protocolversion": 70016, "localservices": "0c09",
            "localrelay": True, "timeoffset": 0, "networkactive": True, "connections": 10, "connections_in": 0,
            "connections_out": 10, "networks": [], "relayfee": 1e-06, "incrementalfee": 1e-06, "localaddresses": [],
            "warnings": [],
        },
        "getnettotals": {"totalbytesrecv": 10**9, "totalbytessent": 10**9, "timemillis": now_s * 1000},
        "getaddrmaninfo": {
            "ipv4": {"new": 40_000, "tried": 8_000, "total": 48_000},
            "all_networks": {"new": 40_000, "tried": 8_000, "total": 48_000},
        },
        "getmempoolinfo": {
            "loaded": True, "size": 10_000, "bytes": 5_000_000, "usage": 30_000_000, "total_fee": 0.1,
            "maxmempool": 300_000_000, "mempoolminfee": 1e-06, "minrelaytxfee": 1e-06,
        },
        "getorphantxs": [],
        "getchaintips": [{"height": height, "hash": tip_hash(height), "branchlen": 0, "status": "active"}],
        "getrawaddrman": {"new": {}, "tried": {}},
        "getblockheader": lambda params: {"hash": params[0], "chainwork": "0" * 64},
        "getblockhash": lambda params: tip_hash(int(params[0])),
    }  # fmt: skip


def v22(height: int = 900_000, now_s: int | None = None) -> dict[str, Answer]:
    """Return answers of v22: without the methods of v26 and v29, no time of the tip, warnings as one text."""
    answers = v30(height, now_s)
    for absent in ("getaddrmaninfo", "getrawaddrman", "getorphantxs"):
        del answers[absent]
    chain = dict(answers["getblockchaininfo"])
    for absent in ("time", "bits", "target"):
        del chain[absent]
    answers["getblockchaininfo"] = chain | {"warnings": ""}
    answers["getnetworkinfo"] = dict(answers["getnetworkinfo"]) | {
        "version": 220000, "subversion": "/Satoshi:22.0.0/", "warnings": "",
    }  # fmt: skip
    gone = ("transport_protocol_type", "session_id", "presynced_headers", "last_inv_sequence", "inv_to_send")
    answers["getpeerinfo"] = [
        {name: value for name, value in one.items() if name not in gone} | {"startingheight": height}
        for one in answers["getpeerinfo"]
    ]
    return answers


def knots(height: int = 900_000, now_s: int | None = None) -> dict[str, Answer]:
    """Return answers of Bitcoin Knots: Core's with fields of its own."""
    answers = v30(height, now_s)
    answers["getnetworkinfo"] = dict(answers["getnetworkinfo"]) | {"subversion": "/Satoshi:29.1.0/Knots:20250903/"}
    answers["getpeerinfo"] = [
        one | {"misbehavior_score": 0, "forced_inbound": False, "cpu_load": 0.5} for one in answers["getpeerinfo"]
    ]
    answers["getmempoolinfo"] = dict(answers["getmempoolinfo"]) | {"rbf_policy": "always", "truc_policy": "enforce"}
    return answers


VERSIONS: Mapping[str, Callable[[], dict[str, Answer]]] = {"v22": v22, "v30": v30, "knots": knots}


def peer_v30(number: int, now_s: int, kind: str = "", **more: Json) -> dict[str, Json]:
    """Return one entry of getpeerinfo. kind: full relay for the first eight, block relay for the next two."""
    kind = kind or ("outbound-full-relay" if number < 8 else "block-relay-only")
    return {
        "id": number, "addr": f"{20 + number}.{number + 1}.7.9:8333", "addrbind": "10.0.0.2:41000", "network": "ipv4",
        "services": "0000000000000c09", "relaytxes": kind != "block-relay-only", "last_inv_sequence": 1,
        "inv_to_send": 0, "lastsend": now_s, "lastrecv": now_s, "last_transaction": now_s, "last_block": now_s - 300,
        "bytessent": 50_000, "bytesrecv": 90_000, "conntime": now_s - 90_000, "timeoffset": 0, "pingtime": 0.05,
        "minping": 0.04, "version": 70016, "subver": "/Satoshi:30.0.0/", "inbound": kind == "inbound",
        "bip152_hb_to": False, "bip152_hb_from": False, "presynced_headers": -1, "synced_headers": 900_000,
        "synced_blocks": 900_000, "inflight": [], "addr_relay_enabled": True, "addr_processed": 100,
        "addr_rate_limited": 0, "permissions": [], "minfeefilter": 1e-06, "bytessent_per_msg": {},
        "bytesrecv_per_msg": {}, "connection_type": kind, "transport_protocol_type": "v2", "session_id": "",
    } | more  # fmt: skip
