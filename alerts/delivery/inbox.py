"""The other side of delivery: a receiver for demos and debugging that checks signatures and shows what arrives.

It can also misbehave on request: answer an error, answer late, or hang up without an answer.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from alerts.delivery.encoding import rfc3339
from alerts.delivery.ports import DeliveryClock
from alerts.delivery.signature import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, SignatureError, verify

LARGEST_BODY = 4 * 1024 * 1024  # bytes; the largest incident is far below
REMEMBERED_IDS = 100_000
HEADERS = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """How to misbehave: `status` instead of 204 and `drop` (hang up) for the first `first` messages (None: for all).

    delay_s: before every answer. retry_after: that header beside a status of 400 and more.
    """

    status: int = 204
    delay_s: float = 0.0
    drop: bool = False
    first: int | None = None
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message as it arrived.

    received_ns: wall clock. verified: None when no secret is known, so nothing was checked; else `problem` says why
    not. attempt: how often this id came so far. status: what was answered, None when we hung up. body: the JSON
    object, None when the body is none.
    """

    received_ns: int
    id: str
    verified: bool | None
    problem: str
    attempt: int
    status: int | None
    body: Mapping[str, Any] | None  # Any: JSON of an unknown sender

    def as_object(self) -> dict[str, object]:
        """Return the object for the lines of `--out`."""
        return {
            "received": rfc3339(self.received_ns),
            "id": self.id,
            "verified": self.verified,
            "problem": self.problem,
            "attempt": self.attempt,
            "status": self.status,
            "body": self.body,
        }


class WebhookInbox:
    """Takes webhooks at any path.

    tell: called with each arrival before it is answered, in their order, one at a time, in a thread: it may block.
    """

    def __init__(
        self,
        keys: tuple[bytes, ...],
        clock: DeliveryClock,
        tell: Callable[[Arrival], None],
        faults: Misbehaviour | None = None,
    ) -> None:
        self._keys, self._clock, self._tell, self._faults = keys, clock, tell, faults or Misbehaviour()
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._count = 0
        self._order = asyncio.Lock()

    def app(self) -> web.Application:
        """Return the application that answers."""
        made = web.Application(client_max_size=LARGEST_BODY)
        made.router.add_post("/{path:.*}", self._receive)
        made.on_response_prepare.append(_without_version)
        return made

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        headers = {name: request.headers.get(name, "") for name in HEADERS}
        received_ns = self._clock.wall_ns()
        problem = self._problem(headers, raw, received_ns)
        faulty = self._faults.first is None or self._count < self._faults.first
        self._count += 1
        status = 401 if problem else self._faults.status if faulty else 204
        hang_up = self._faults.drop and faulty
        message_id = headers[ID_HEADER][:LONGEST_ID]
        verified = (not problem) if self._keys else None
        answered = None if hang_up else status
        attempt = self._attempt(message_id)
        arrival = Arrival(received_ns, message_id, verified, problem, attempt, answered, parsed(raw))
        async with self._order:
            await asyncio.to_thread(self._tell, arrival)
        await asyncio.sleep(self._faults.delay_s)
        if hang_up and request.transport is not None:
            request.transport.abort()
        after = self._faults.retry_after if status >= 400 else None
        return web.Response(status=status, headers={"Retry-After": after} if after is not None else None)

    def _problem(self, headers: Mapping[str, str], raw: bytes, now_ns: int) -> str:
        """Return why the message cannot be trusted; empty when it can, or when no secret is known."""
        if not self._keys:
            return ""
        try:
            verify(self._keys, headers, raw, now_ns / 1e9)
        except SignatureError as error:
            return str(error)
        return ""

    def _attempt(self, message_id: str) -> int:
        attempt = self._seen.pop(message_id, 0) + 1
        self._seen[message_id] = attempt
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return attempt


async def _without_version(_request: web.Request, response: web.StreamResponse) -> None:
    """Hide the name and version of the library that listens."""
    response.headers["Server"] = "watchdog"


def parsed(raw: bytes) -> Mapping[str, Any] | None:
    """Return a JSON object, or Alertmanager's list of alerts as `alerts`; None for anything else. Never raises."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and value:
        return {"alerts": value}
    return value if isinstance(value, dict) else None
