"""One attempt at any receiver, by the way that its format travels: HTTP, SMTP, a program, apprise."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from alerts.delivery import by_apprise
from alerts.delivery.answers import Response
from alerts.delivery.client import WebhookClient, error_text
from alerts.delivery.command import run_command
from alerts.delivery.formats import ENCODERS
from alerts.delivery.limits import EndSignal
from alerts.delivery.schedule import RetryDecision
from alerts.delivery.smtp import send_mail
from alerts.routing import Receiver

THREADS: Final = 8  # attempts that block at one time, of all receivers of one way
SLACK_S = 1.0  # for a thread to see its deadline before ours


class Courier:
    """Sends bodies to receivers; entered and left as `async with` inside a running event loop.

    tls: for HTTPS and SMTP; None for the system's certificates.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._client = WebhookClient(tls)
        self._ending = EndSignal()
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()
        self._ending.come()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, receiver: Receiver, message_id: str, timestamp: int, bodies: Sequence[bytes]) -> Response:
        """Send the bodies of one attempt in order, up to the first that is not accepted; the answer of the last sent.

        timestamp: unix seconds. What the channel returned for the first body that it returned anything for is kept.
        """
        answer, kept, took_s = Response(None, None, "nothing to send", 0.0), "", 0.0
        for body in bodies:
            answer = await self._one(receiver, message_id, timestamp, body)
            kept, took_s = kept or answer.kept, took_s + answer.took_s
            if answer.error:
                break
        return replace(answer, kept=kept, took_s=took_s)

    async def _one(self, receiver: Receiver, message_id: str, timestamp: int, body: bytes) -> Response:
        way = ENCODERS[receiver.format].way
        if way == "http":
            return await self._client.post(receiver, message_id, timestamp, body)
        if way == "smtp":
            try:
                tls = await self._client.contexts.of(receiver)
            except OSError as error:
                return Response(None, None, error_text(error), 0.0, RetryDecision.FAILED)
            return await self._in_thread(way, receiver, lambda: send_mail(receiver, body, tls, self._ending))
        if way == "process":
            return await self._in_thread(way, receiver, lambda: run_command(receiver, body, self._ending))
        return await self._in_thread(way, receiver, lambda: by_apprise.send(receiver, body))

    async def _in_thread(self, way: str, receiver: Receiver, work: Callable[[], Response]) -> Response:
        """Run an attempt that blocks. One that outlives its deadline keeps its thread until it ends."""
        if way not in self._threads:
            self._threads[way] = ThreadPoolExecutor(THREADS, thread_name_prefix=way)
            self._slots[way] = asyncio.Semaphore(THREADS)
        async with self._slots[way]:  # the wait for a thread is no part of the attempt
            try:
                async with asyncio.timeout(receiver.timeout_s + SLACK_S):
                    return await asyncio.get_running_loop().run_in_executor(self._threads[way], work)
            except TimeoutError:
                error = f"no answer in {receiver.timeout_s:g} s"
                return Response(None, None, error, receiver.timeout_s, RetryDecision.FAILED)
