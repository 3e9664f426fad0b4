"""JSON-RPC calls to a Bitcoin Core node over HTTP, for a thread: read-only methods, bounded in time and bytes.

Each call opens a connection of its own, so that the name of the node is resolved again and a refused connection shows a
restart. Credentials are sent to the configured address only, and appear in no message.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from watchdog.core.text import decode_text, printable, without_secrets
from watchdog.sources.rpc.answer_bounds import AnswerBounds, bounds_of, excess
from watchdog.sources.rpc.connect import HttpConnection, TooManyBytesError, connect
from watchdog.sources.rpc.credentials import Credentials, secrets_in
from watchdog.sources.rpc.errors import (
    RpcBusyError,
    RpcError,
    RpcFaultError,
    RpcForbiddenError,
    RpcGarbageError,
    RpcMethodError,
    RpcTimeoutError,
    RpcTooLargeError,
    RpcUnauthorizedError,
    RpcUnreachableError,
    RpcWarmupError,
)
from watchdog.sources.rpc.json_rpc import MESSAGE_BYTES, raise_fault, result_of
from watchdog.sources.rpc.methods import METHODS
from watchdog.sources.rpc.url import NodeUrl

__all__ = [
    "RpcBusyError",
    "RpcClient",
    "RpcError",
    "RpcFaultError",
    "RpcForbiddenError",
    "RpcGarbageError",
    "RpcMethodError",
    "RpcTimeoutError",
    "RpcTooLargeError",
    "RpcUnauthorizedError",
    "RpcUnreachableError",
    "RpcWarmupError",
]

PIECE_BYTES: Final = 256 << 10
HEAD_BYTES: Final = 16 << 20  # beside an answer's limit: its head, the sizes of its chunks, and what follows them
_UNAUTHORIZED, _FORBIDDEN, _UNAVAILABLE = 401, 403, 503
_REFUSED: Final = {
    _UNAUTHORIZED: "HTTP 401: the node refuses this user or password",
    _FORBIDDEN: "HTTP 403: rpcwhitelist or rpcallowip forbids it",
}


class RpcClient:
    """Calls read-only methods of one node, one request at a time; belongs to one thread.

    url: `http://HOST:PORT` without credentials. timeout_s: the deadline of a call that sets none, from looking up the
    name to the last byte.
    """

    def __init__(self, url: str | NodeUrl, credentials: Credentials, timeout_s: float = 10.0) -> None:
        """Raise SourceError when the URL has another form."""
        self.url = NodeUrl.of(url) if isinstance(url, str) else url
        self._credentials, self._timeout_s = credentials, timeout_s
        self._number = 0
        self.renewals = 0  # times that the node refused credentials and other ones were there: it has restarted

    def call(self, method: str, params: Sequence[object] = (), *, deadline_s: float | None = None) -> object:
        """Return the decoded result of a method. Raise RpcError; see `ask`."""
        return result_of(method, self.ask(method, params, deadline_s=deadline_s))

    def ask(self, method: str, params: Sequence[object] = (), *, deadline_s: float | None = None) -> bytes:
        """Return the whole answer of a method: a JSON object with `result`, whose fields are not yet checked.

        deadline_s: seconds until the last byte. An answer beyond `bounds_of` is refused, unread if it states its size.
        A 401 is tried once more when the credentials have changed meanwhile (a restarted node writes another cookie).
        Raise RpcError, of the class that names the reason; RpcMethodError for a method that is not read-only.
        """
        if method not in METHODS:
            raise RpcMethodError(method, "is not one of the read-only methods that this program calls")
        end_s = time.monotonic() + (self._timeout_s if deadline_s is None else deadline_s)
        try:
            return self._ask_once(method, params, end_s)
        except RpcUnauthorizedError:
            if not self._credentials.renew():
                raise
            self.renewals += 1
        return self._ask_once(method, params, end_s)

    def _ask_once(self, method: str, params: Sequence[object], end_s: float) -> bytes:
        self._number += 1
        request = {"jsonrpc": "1.0", "id": self._number, "method": method, "params": list(params)}
        payload = msgspec.json.encode(request)
        authorization = self._credentials.authorization(method)
        bounds = bounds_of(method)
        try:
            with connect(self.url, end_s, bounds.size + HEAD_BYTES) as connection:
                connection.send(_head(self.url, authorization, len(payload)) + payload)
                return _answer(connection, method, bounds, secrets_in(authorization))
        except TimeoutError:
            raise RpcTimeoutError(method, "no whole answer in time") from None
        except http.client.RemoteDisconnected:
            raise RpcUnreachableError(method, "the node closed the connection without an answer") from None
        except http.client.IncompleteRead:
            raise RpcGarbageError(method, "the answer ends before its stated size") from None
        except (http.client.HTTPException, ValueError) as error:
            raise RpcGarbageError(method, f"no HTTP answer ({type(error).__name__})") from None
        except OSError as error:
            raise RpcUnreachableError(method, _why(error)) from None
        except TooManyBytesError:
            raise RpcTooLargeError(method, f"an answer of more than {bounds.size:,} bytes") from None


def _head(url: NodeUrl, authorization: str, size: int) -> bytes:
    lines = (
        f"POST {url.path} HTTP/1.1",
        f"Host: {url.authority}",
        f"Authorization: {authorization}",
        "Content-Type: application/json",
        f"Content-Length: {size}",
        "Connection: close",
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def _answer(connection: HttpConnection, method: str, bounds: AnswerBounds, secrets: Collection[str]) -> bytes:
    """Return the body of a successful answer; raise the error that it reports otherwise.

    secrets: what an answer of another server may repeat, and no error shows.
    """
    response = connection.response()
    if response.status in (_UNAUTHORIZED, _FORBIDDEN):  # their bodies are empty, or of a proxy: not read
        refusal = RpcUnauthorizedError if response.status == _UNAUTHORIZED else RpcForbiddenError
        raise refusal(method, _REFUSED[response.status])
    if response.length is not None and response.length > bounds.size:
        raise RpcTooLargeError(method, f"an answer of {response.length:,} bytes; {bounds.size:,} are the limit")
    body = _body(response, method, bounds.size)
    if too_much := excess(body, bounds):
        raise RpcTooLargeError(method, too_much)
    raise_fault(method, body, secrets)
    if response.status == _UNAVAILABLE:
        raise RpcBusyError(method, f"HTTP 503: {_beginning(body, secrets, 200)}")
    if body.lstrip()[:1] != b"{":
        text = _beginning(body, secrets, 80)
        raise RpcGarbageError(method, f"HTTP {response.status} and no JSON object: {text!r}")
    return body


def _beginning(body: bytes, secrets: Collection[str], limit: int) -> str:
    return printable(without_secrets(decode_text(body[:MESSAGE_BYTES].strip()), secrets), limit)


def _body(response: http.client.HTTPResponse, method: str, limit_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := response.read(PIECE_BYTES):
        size += len(piece)
        if size > limit_bytes:
            raise RpcTooLargeError(method, f"an answer of more than {limit_bytes:,} bytes")
        pieces.append(piece)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(pieces)


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name of the node is not known ({printable(str(error.strerror))})"
    return printable((error.strerror or type(error).__name__).lower())
