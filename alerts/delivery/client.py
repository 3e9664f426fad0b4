"""One attempt over HTTP: guarded, bounded, without surprises. What can go wrong comes back as a `Response`."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import aiohttp

from alerts.delivery.answers import Response, shown
from alerts.delivery.formats import ENCODERS, targets
from alerts.delivery.headers import request_headers
from alerts.delivery.schedule import RetryDecision
from alerts.delivery.secrets import answer_without_secrets
from alerts.delivery.signature import secret_key, signed_headers
from alerts.delivery.targets import TargetRefusedError, socket_guard, url_fault
from alerts.delivery.tls import TlsContexts, TlsFilesError
from alerts.routing import Receiver
from watchdog.core.text import printable

KEEP_ALIVE_S = 30.0


class WebhookClient:
    """Posts to receivers and keeps connections alive; entered and left as `async with` inside a running event loop.

    tls: for https; None for the system's certificates, which are read in a thread. Receivers that may be private have a
    connection pool of their own, so that no other receiver is ever served by a connection that its own check would have
    refused. Behind a proxy the address of the target is not known here: only a literal one is checked.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.contexts = TlsContexts(tls)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        await self.contexts.prepare()
        tls = self.contexts.usual
        self._sessions = {private: _session(tls, private=private) for private in (False, True)}
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
        """Make one attempt, signed with each of the receiver's secrets. timestamp: unix seconds.

        With several URLs all of them get it at the same time, so that none waits for one that hangs, and it is accepted
        when one of them accepts it.
        """
        keys = [secret_key(secret) for secret in receiver.secrets]
        own = ENCODERS[receiver.format].headers(receiver)
        headers = request_headers(receiver.headers, signed_headers(keys, message_id, timestamp, body), own)
        answers = await asyncio.gather(*(self._post(receiver, url, headers, body) for url in targets(receiver)))
        return next((one for one in answers if not one.error), answers[0])

    async def _post(self, receiver: Receiver, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        began = time.monotonic()
        fault = url_fault(url, allow_private=receiver.allow_private)
        if fault is not None:
            return Response(None, None, f"target refused: {printable(fault)}", 0.0)
        limit = time_limit(receiver)
        status: int | None = None
        after: str | None = None
        try:
            tls = await self.contexts.of(receiver)
            session = self._sessions[receiver.allow_private or bool(receiver.proxy)]
            async with session.post(
                url,
                data=body,
                headers=headers,
                timeout=limit,
                allow_redirects=False,
                ssl=tls,
                proxy=receiver.proxy or None,
            ) as response:
                status, after = response.status, response.headers.get("Retry-After")
                beginning = await _beginning(response, ENCODERS[receiver.format].answer_bytes)
                beginning = answer_without_secrets(beginning, receiver)
                return _judged(receiver, response, beginning, time.monotonic() - began)
        except TimeoutError:
            error = f"no whole answer in {limit.total:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as fault_seen:  # ValueError: a URL or header yarl refuses
            error = error_text(fault_seen)
        # A body that breaks off after a good status was still accepted: sending it again would tell people twice. Where
        # the body may say otherwise, a notice told twice is better than one lost.
        if status is not None and 200 <= status < 300:
            unsure = ENCODERS[receiver.format].judge is not None
            meaning = RetryDecision.FAILED if unsure else None
            return Response(status, after, error if unsure else "", time.monotonic() - began, meaning)
        return Response(status, after, error, time.monotonic() - began)


def _judged(receiver: Receiver, response: aiohttp.ClientResponse, beginning: bytes, took_s: float) -> Response:
    """Return what an answer means: by its status, and where the format knows better, by its body."""
    status, after = response.status, response.headers.get("Retry-After")
    judge = ENCODERS[receiver.format].judge
    judged = judge(receiver, status, beginning) if judge is not None else None
    if judged is None:
        return Response(status, after, "" if 200 <= status < 300 else _refused(response, beginning), took_s)
    return Response(status, judged.retry_after or after, judged.error, took_s, judged.meaning, judged.kept)


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
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status}"
    if isinstance(error, TlsFilesError):
        return f"tls: {error}"
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


async def _beginning(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Read at most `most` bytes of the body; a connection with more left in it is closed."""
    pieces = bytearray()
    while len(pieces) < most:
        piece = await response.content.read(most - len(pieces))
        if not piece:
            return bytes(pieces)
        pieces += piece
    if not response.content.at_eof():
        response.close()
    return bytes(pieces)


def _refused(response: aiohttp.ClientResponse, beginning: bytes) -> str:
    if 300 <= response.status < 400:
        return f"answered {response.status}: redirects are not followed, name the final URL"
    text = shown(beginning[:1_000].decode("utf-8", "backslashreplace"))
    return f"answered {response.status}" + (f": {text}" if text else "")
