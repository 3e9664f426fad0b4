"""One attempt over HTTP: guarded, bounded, without surprises. What can go wrong comes back as an `Response`."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from alerts.delivery.formats import target
from alerts.delivery.headers import request_headers
from alerts.delivery.signature import secret_key, signed_headers
from alerts.delivery.targets import TargetRefusedError, socket_guard, url_fault
from alerts.routing import Receiver
from watchdog.core.text import printable

ANSWER_BYTES = 4_096  # of a response body are read, the rest is left and the connection closed
SHOWN_CHARACTERS = 120  # of a response body in an error
KEEP_ALIVE_S = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    """What came of an attempt.

    status: None without an HTTP answer. retry_after: that header as sent. error: one harmless line that holds
    neither URL nor header, empty for a status of 2xx. took_s: monotonic duration.
    """

    status: int | None
    retry_after: str | None
    error: str
    took_s: float


class WebhookClient:
    """Posts to receivers and keeps connections alive; made and closed inside a running event loop.

    Receivers that may be private have a connection pool of their own, so that no other receiver is ever served by a
    connection that its own check would have refused.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        context = tls or ssl.create_default_context()
        self._sessions = {private: _session(context, private=private) for private in (False, True)}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()

    async def post(self, receiver: Receiver, message_id: str, timestamp: int, body: bytes) -> Response:
        """Make one attempt, signed with each of the receiver's secrets. timestamp: unix seconds."""
        began = time.monotonic()
        fault = url_fault(receiver.url, allow_private=receiver.allow_private)
        if fault is not None:
            return Response(None, None, f"target refused: {printable(fault)}", 0.0)
        keys = [secret_key(secret) for secret in receiver.secrets]
        headers = request_headers(receiver.headers, signed_headers(keys, message_id, timestamp, body))
        limit = time_limit(receiver)
        session = self._sessions[receiver.allow_private]
        status: int | None = None
        after: str | None = None
        try:
            async with session.post(
                target(receiver), data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as response:
                status, after = response.status, response.headers.get("Retry-After")
                beginning = await _beginning(response)
                error = "" if 200 <= status < 300 else _refused(response, beginning)
                return Response(status, after, error, time.monotonic() - began)
        except TimeoutError:
            error = f"no whole answer in {limit.total:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as fault_seen:  # ValueError: a URL or header yarl refuses
            error = error_text(fault_seen)
        # A body that breaks off after a good status was still accepted: sending it again would tell people twice.
        if status is not None and 200 <= status < 300:
            error = ""
        return Response(status, after, error, time.monotonic() - began)


def time_limit(receiver: Receiver) -> aiohttp.ClientTimeout:
    """Return how long one request may take, from the look-up of the name to the last byte read."""
    return aiohttp.ClientTimeout(total=receiver.timeout_s)


def error_text(error: BaseException) -> str:
    """Return an error of the HTTP client as one harmless line, in our words: its own may hold the URL."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):  # before the next: old versions have no os_error
        reason = getattr(error.certificate_error, "verify_message", "") or "certificate refused"
        return f"tls: {printable(str(reason))}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, TargetRefusedError):
        return f"target refused: {printable(cause.strerror or '')}"
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(cause, ssl.SSLError):
        return f"tls: {printable(str(getattr(cause, 'reason', None) or 'handshake failed'))}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name cannot be resolved"
    if isinstance(cause, OSError) and isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {printable(cause.strerror or type(cause).__name__)}"
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | ConnectionError):
        return "the connection was closed without an answer"
    return f"no answer: {type(error).__name__}"


def _session(tls: ssl.SSLContext, *, private: bool) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        ssl=tls,
        limit=0,  # each receiver's queue has its own limit; with a shared one a slow receiver would delay the others
        keepalive_timeout=KEEP_ALIVE_S,
        socket_factory=socket_guard(allow_private=private),
    )
    # No cookies are kept and no proxy is taken from the environment: a proxy would resolve names behind the check.
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read at most `ANSWER_BYTES` of the body; a connection with more left in it is closed."""
    pieces = bytearray()
    while len(pieces) < ANSWER_BYTES:
        piece = await response.content.read(ANSWER_BYTES - len(pieces))
        if not piece:
            return bytes(pieces)
        pieces += piece
    if not response.content.at_eof():
        response.close()
    return bytes(pieces)


def _refused(response: aiohttp.ClientResponse, beginning: bytes) -> str:
    if 300 <= response.status < 400:
        return f"answered {response.status}: redirects are not followed, name the final URL"
    text = printable(" ".join(beginning.decode("utf-8", "backslashreplace").split()), SHOWN_CHARACTERS)
    return f"answered {response.status}" + (f": {text}" if text else "")
