"""Server-sent events: changes as they happen, for every client of the stream.

Every event has the id `RUN-NUMBER`. A client that reconnects with `Last-Event-ID` gets the events it missed if they are
in the last `KEPT`; otherwise, and at any gap, it gets `reset` and reads the lists again. A comment is sent when the
stream is idle, so that both sides notice a dead connection. A client that does not read is disconnected.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque

from aiohttp import web

from watchdog.service.view import Announcement, ServiceView, Subscription
from watchdog.web.answer import encoded
from watchdog.web.problem import unavailable
from watchdog.web.serving import mark_endless

KEPT = 256
ENCODED = 16  # encoded events that are cached: all clients get the same event at about the same time
LINGER_S = 60.0  # twice the page's longest wait between two attempts
HEARTBEAT_S = 15.0
WRITE_S = 60.0
"""A client that reads nothing for this long is gone or too slow; the view drops it earlier if its queue is full."""
RETRY_MS = 2_000
_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})")


class EventStream:
    """The stream's route, and the buffer of the latest events from which a client resumes."""

    def __init__(self, view: ServiceView, *, heartbeat_s: float = HEARTBEAT_S, write_s: float = WRITE_S) -> None:
        self._view = view
        self._heartbeat_s, self._write_s = heartbeat_s, write_s
        self._run = secrets.token_hex(4)
        self._recent: deque[Announcement] = deque(maxlen=KEPT)
        self._memory: asyncio.Task[None] | None = None
        self._left_s = 0.0  # when the latest watcher came or went, by the loop's clock
        self._texts: dict[int, str] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    async def end(self, _app: web.Application) -> None:
        """Disconnect all clients (`on_shutdown`), so that the service can end."""
        for task in (*self._watchers, *([self._memory] if self._memory else [])):
            task.cancel()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Answer `GET /api/v1/events/stream`."""
        self._remember()
        subscription = self._view.subscribe()
        if subscription is None:
            raise unavailable("the stream has as many clients as it may")
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        task: asyncio.Task[None] | None = None
        try:
            mark_endless(request)
            await response.prepare(request)
            task = asyncio.create_task(self._serve(request, response, subscription))
            self._watchers.add(task)
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
        finally:
            subscription.close()
            if task is not None:
                task.cancel()
                self._watchers.discard(task)
            self._left_s = asyncio.get_running_loop().time()
        return response

    def _remember(self) -> None:
        """Start to buffer events; the service announces none before the first client."""
        self._left_s = asyncio.get_running_loop().time()
        if self._memory is None or self._memory.done():
            subscription = self._view.subscribe()
            self._memory = asyncio.create_task(self._keep(subscription)) if subscription is not None else None

    async def _keep(self, subscription: Subscription) -> None:
        """Buffer events until there was no client for `LINGER_S`, then drop them: later events are not numbered."""
        now = asyncio.get_running_loop().time
        try:
            while not subscription.dropped and (self._watchers or now() - self._left_s < LINGER_S):
                found = await subscription.next(self._heartbeat_s)
                if found is not None:
                    self._recent.append(found)
        finally:
            subscription.close()
            self._recent.clear()

    async def _serve(self, request: web.Request, response: web.StreamResponse, subscription: Subscription) -> None:
        try:
            last = await self._greet(request, response)
            while not subscription.dropped:
                found = await subscription.next(self._heartbeat_s)
                if found is None:
                    await self._send(response, ": nothing new\n\n")
                elif last is None or found.number > last:
                    await self._send(response, self._following(last, found))
                    last = found.number
        except (TimeoutError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()  # what is buffered for a client that does not read must not stay

    async def _greet(self, request: web.Request, response: web.StreamResponse) -> int | None:
        """Send the greeting and the missed events. Return the number of the last event that the client has."""
        found = _ID.fullmatch(request.headers.get("Last-Event-ID", ""))
        last = int(found[2]) if found and found[1] == self._run else None
        missed = None if last is None else self._after(last)
        hello = encoded({"resumed": missed is not None})
        text = "".join(self._text(one) for one in missed or ())
        await self._send(response, f"retry: {RETRY_MS}\nevent: hello\ndata: {hello}\n\n{text}")
        if missed is None:
            return None
        return missed[-1].number if missed else last

    def _following(self, last: int | None, found: Announcement) -> str:
        """Return the event, preceded by those between: the two queues get the same events at different times."""
        if last is None or found.number == last + 1:
            return self._text(found)
        between = self._after(last)
        if between is None or not between:
            return f"event: reset\ndata: {{}}\n\n{self._text(found)}"
        return "".join(self._text(one) for one in between if one.number < found.number) + self._text(found)

    def _after(self, number: int) -> list[Announcement] | None:
        """Return all events after a number; None when the buffer lacks that event, so that some may be missing."""
        if not self._recent or not self._recent[0].number <= number <= self._recent[-1].number:
            return None
        missed = [one for one in self._recent if one.number > number]
        return missed if len(missed) == self._recent[-1].number - number else None

    def _text(self, one: Announcement) -> str:
        found = self._texts.get(one.number)
        if found is None:
            found = f"id: {self._run}-{one.number}\nevent: {one.event}\ndata: {encoded(one.data)}\n\n"
            self._texts[one.number] = found
            if len(self._texts) > ENCODED:
                del self._texts[next(iter(self._texts))]
        return found

    async def _send(self, response: web.StreamResponse, text: str) -> None:
        async with asyncio.timeout(self._write_s):
            await response.write(text.encode("ascii"))
