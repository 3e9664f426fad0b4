"""One attempt at any receiver, by the way that its format travels: HTTP, SMTP, a program, apprise."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from alerts.delivery import by_apprise
from alerts.delivery.answers import Response
from alerts.delivery.blocking import BlockingCalls, EndSignal
from alerts.delivery.client import WebhookClient, error_text
from alerts.delivery.command import run_command
from alerts.delivery.formats import ENCODERS
from alerts.delivery.schedule import RetryDecision
from alerts.delivery.smtp import send_mail
from alerts.routing import Receiver


class Courier:
    """Sends bodies to receivers; entered and left as `async with` inside a running event loop.

    tls: for HTTPS and SMTP; None for the system's certificates.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._client = WebhookClient(tls)
        self._ending = EndSignal()
        self._blocking = BlockingCalls()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()
        self._ending.come()

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
            return await self._blocking.run(receiver, lambda: send_mail(receiver, body, tls, self._ending))
        if way == "process":
            return await self._blocking.run(receiver, lambda: run_command(receiver, body, self._ending))
        return await self._blocking.run(receiver, lambda: by_apprise.send(receiver, body))
