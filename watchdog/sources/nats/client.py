"""One connection to a NATS server: the only module that knows the client's library.

The library could reconnect by itself, but it then hides for how long there was no connection, and gives up after a
refused password. So a session ends with its connection, and its owner begins another one.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import nats.aio.client
import nats.errors
from nats.aio.client import RawCredentials
from nats.aio.msg import Msg

from watchdog.core.text import printable
from watchdog.sources.nats.settings import NatsSettings, NatsUrl
from watchdog.sources.rpc.credentials import read_small

CONNECT_S: Final = 5
CREDENTIALS_BYTES: Final = 65_536  # a JWT with its permissions
END_S: Final = 1  # a source that is closed has two seconds to end
PING_S, PINGS_MOST = 10, 2
"""Pings of the client, and how many may be unanswered: a server that hangs is found within half a minute."""
WAITING_MOST, WAITING_BYTES = 50_000, 64 << 20
"""Messages that wait to be read, and their bytes: minutes of a busy node. Beyond them messages are lost and counted."""
QUEUED_MOST: Final = 4_096
"""Messages in the library's own queue of a subscription, which is emptied as fast as it fills."""


class SessionError(Exception):
    """There is no connection, or it has ended; the text says why and never holds a secret."""


@dataclass(slots=True)
class Arrivals:
    """Messages that were received and not read yet, as subject and bytes. lost: how many found no room."""

    messages: deque[tuple[str, bytes]] = field(default_factory=deque)
    size: int = 0
    lost: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, subject: str, data: bytes) -> None:
        """Take a message, or count it as lost."""
        if len(self.messages) >= WAITING_MOST or self.size + len(data) > WAITING_BYTES:
            self.lost += 1
        else:
            self.messages.append((subject[:100], data))
            self.size += len(data)
        self.news.set()

    def take(self, most: int) -> list[tuple[str, bytes]]:
        """Return the oldest messages."""
        taken = [self.messages.popleft() for _ in range(min(most, len(self.messages)))]
        self.size -= sum(len(data) for _, data in taken)
        if not self.messages:
            self.news.clear()
        return taken

    def take_lost(self) -> int:
        """Return how many messages were lost since the last call."""
        lost, self.lost = self.lost, 0
        return lost


class NatsSession:
    """One connection, from `begin` until `ended` is set. Belongs to one event loop."""

    def __init__(self, url: NatsUrl, settings: NatsSettings, arrivals: Arrivals) -> None:
        self._url, self._settings, self._arrivals = url, settings, arrivals
        self._client = nats.aio.client.Client()
        self._connecting = self._begun = False
        self.ended = asyncio.Event()
        self.why = ""

    async def begin(self) -> None:
        """Connect and subscribe. Raise SessionError with the reason when this cannot be done."""
        try:
            secrets = await asyncio.to_thread(self._secrets)
        except OSError as error:
            raise SessionError(f"its credentials: {(error.strerror or 'failed').lower()}") from None
        try:
            self._connecting = self._begun = True
            await asyncio.wait_for(self._connect(secrets), CONNECT_S + 1)
            self._connecting = False
            for subject in self._settings.subjects:
                await self._client.subscribe(
                    subject, cb=self._receive, pending_msgs_limit=QUEUED_MOST, pending_bytes_limit=WAITING_BYTES
                )
            await self._client.flush(CONNECT_S)
        except (nats.errors.Error, OSError, TimeoutError, ValueError) as error:
            raise SessionError(self.why or self._reason(error)) from None
        finally:
            self._connecting = False

    async def end(self) -> None:
        """Close the connection, whatever its state."""
        try:
            if self._begun:  # the library refuses to close what was never opened
                await asyncio.wait_for(self._client.close(), END_S)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            self.why = self.why or self._reason(error)
        self.ended.set()

    async def _connect(self, secrets: dict[str, object]) -> None:
        await self._client.connect(
            servers=[self._url.shown],
            error_cb=self._failed,
            closed_cb=self._closed,
            disconnected_cb=self._closed,
            name="bitcoin-watchdog",
            allow_reconnect=False,
            connect_timeout=CONNECT_S,
            ping_interval=PING_S,
            max_outstanding_pings=PINGS_MOST,
            no_echo=True,
            **secrets,  # type: ignore[arg-type] # user, password, token, user_credentials, tls: as `_secrets` makes them
        )

    def _secrets(self) -> dict[str, object]:
        """Return what the server knows this program by; reads files, so that a new password holds at once."""
        settings, found = self._settings, dict[str, object]()
        if settings.password is not None:
            found |= {"user": settings.user, "password": settings.password()}
        if settings.token is not None:
            found["token"] = settings.token()
        if settings.creds is not None:
            found["user_credentials"] = RawCredentials(_credentials(settings.creds))
        if self._url.scheme == "tls":
            found["tls"] = ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca))
        return found

    async def _receive(self, message: Msg) -> None:
        self._arrivals.add(message.subject, message.data)

    async def _failed(self, error: Exception) -> None:
        """Note an error that the library reports; all but a slow reader end the session, as some leave it deaf."""
        if isinstance(error, nats.errors.SlowConsumerError):
            self._arrivals.lost += 1
            self._arrivals.news.set()
            return
        self.why = self.why or self._reason(error)
        if self._connecting:
            raise SessionError(self.why)  # the library would try again for as long as it is let
        await self._closed()

    async def _closed(self) -> None:
        error = self._client.last_error
        self.why = self.why or (self._reason(error) if error is not None else "the server closed the connection")
        self.ended.set()
        self._arrivals.news.set()

    def _reason(self, error: Exception) -> str:
        """Return an error in words. Only known ones are shown with their text, which could hold anything else."""
        text = str(error).lower()
        if isinstance(error, nats.errors.AuthorizationError) or "authorization" in text or "authentication" in text:
            return "the server refuses the credentials"
        if "permissions violation" in text:
            return f"the server does not permit a subject: {printable(str(error), 120)}"
        if isinstance(error, ssl.SSLError):
            return f"TLS: {printable(error.reason or 'failed', 80).lower().replace('_', ' ')}"
        if isinstance(error, nats.errors.UnexpectedEOF):
            return "the server closed the connection"
        if isinstance(error, nats.errors.StaleConnectionError):
            return "the server answers no pings"
        if isinstance(error, OSError) and error.errno:
            return os.strerror(error.errno).lower()
        if isinstance(error, (TimeoutError, nats.errors.TimeoutError)):
            return f"no answer within {CONNECT_S} s"
        return type(error).__name__


def _credentials(path: Path) -> str:
    """Return the text of a credentials file, as `nsc` writes it. OSError when it is none."""
    text = read_small(path, CREDENTIALS_BYTES)
    if not all(f"BEGIN {part}" in text for part in ("NATS USER JWT", "USER NKEY SEED")):
        raise OSError(0, "the file has no token and seed of a user")
    return text
