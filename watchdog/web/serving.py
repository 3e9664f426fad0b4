"""A server for an application: limits of time and of connections, and few words for what is no HTTP.

`door.py` decides who comes in. What cannot be read is refused in a few bytes, noted in a line of debug, and counted.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import socket
import sys
import termios
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web

from watchdog.core.text import printable
from watchdog.service.callers import Callers, Overdue
from watchdog.web.door import Door, bind
from watchdog.web.guard import HEADERS
from watchdog.web.problem import CONTENT_TYPE, ProblemError, document

LOG = logging.getLogger(__name__)
DETAILS = {
    HTTPStatus.BAD_REQUEST: "this is no HTTP request that can be read, or its line or a header is too long",
    HTTPStatus.GATEWAY_TIMEOUT: "no answer in time",
}
_NEVER_S = 86_400.0  # the library's own look at idle connections: ours comes first
_BYTES_ACKED, _TCP_INFO_SIZE = 120, 128  # linux/tcp.h: `tcpi_bytes_acked` is the 64-bit number at 120 (since 4.1)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Seconds that a client may take; `tick_s` is how often this is looked at.

    head_s: for a whole request head, from its first byte (or from the accept), however the bytes drip.
    body_s: for the body behind it. idle_s: between two requests. take_s: for a whole answer; an event stream has no
    end, so there it is the time in which the client takes nothing.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 30.0
    take_s: float = 60.0
    tick_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Listening:
    """addresses: as sockets have them. close: end all requests and give the port back."""

    addresses: Sequence[tuple[str, int]]
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Room:
    """What the connections of one server share."""

    callers: Callers
    limits: ConnectionLimits
    inside: set[QuietProtocol] = field(default_factory=set)

    async def watch(self) -> None:
        """Cut who is too slow, for good."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(self.limits.tick_s)
            for one in list(self.inside):
                one.end_overdue(now())


class QuietProtocol(web.RequestHandler):
    """The library's protocol with our words for what never becomes a request of the application, and with deadlines.

    Strangers need no token to send such, so each costs a line of debug instead of an error with a trace, and reveals
    no version. The library has no deadline for a head, a body or an answer: `overdue` decides about all of them.
    """

    __slots__ = (
        "_body_of",
        "_body_s",
        "_endless",
        "_head_s",
        "_host",
        "_link",
        "_mark",
        "_quiet_s",
        "_room",
        "_seen",
        "_since_s",
        "_taken",
    )

    def __init__(self, manager: web.Server, loop: asyncio.AbstractEventLoop, host: str, room: Room) -> None:
        super().__init__(manager, loop=loop, access_log=None, keepalive_timeout=_NEVER_S)  # type: ignore[arg-type] # None is documented
        self._host, self._room = host, room
        self._link: asyncio.Transport | None = None
        self._quiet_s = 0.0  # since when no request is under way
        self._head_s: float | None = None  # when a head began that has not ended
        self._seen = 0  # requests read at the latest look
        self._body_of: web.BaseRequest | None = None
        self._body_s = 0.0
        self._endless: web.BaseRequest | None = None  # the request whose answer is a stream
        self._since_s: float | None = None  # since when it has not taken `_mark` bytes; of a stream: more than `_taken`
        self._mark = self._taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note an accepted connection."""
        assert isinstance(transport, asyncio.Transport)
        self._link = transport
        self._quiet_s = self._head_s = self._loop.time()
        self._room.inside.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Note that the connection has ended and its descriptor is free."""
        super().connection_lost(exc)
        if self._link is not None:
            self._link = None
            self._room.inside.discard(self)
            self._room.callers.leave(self._host)

    def data_received(self, data: bytes) -> None:
        """Note when a head begins; how slowly the rest of it comes does not matter."""
        before, body = self._request_count, self._in_body()
        super().data_received(data)
        if self._request_count != before:
            self._head_s = None
        elif data and self._head_s is None and not body:
            self._head_s = self._loop.time()

    def end_overdue(self, now_s: float) -> None:
        """Cut the connection when the client has taken too long.

        `abort`, as `close` would wait until the client has taken what is buffered for it, which it may never do.
        """
        stage = self.overdue(now_s) if self._link is not None else ""
        if stage and self._link is not None:
            self._room.callers.overdue[stage] += 1
            LOG.debug("connection from %s: closed, too slow (%s)", self._host, stage)
            self._link.abort()

    def overdue(self, now_s: float) -> Overdue:
        """Return the stage in which the client is overdue, if any. now_s: the loop's time; called every `tick_s`."""
        if self._request_count != self._seen:
            self._seen, self._quiet_s = self._request_count, now_s
        if self._late_to_take(now_s):
            return "stream" if self._streams() else "answer"
        if self._late_body(now_s):
            return "body"
        if self._waiter is None:  # a request is under way
            self._quiet_s = now_s
            return ""
        begun_s = None if self._head_s is None else max(self._head_s, self._quiet_s)
        if begun_s is not None and now_s - begun_s >= self._room.limits.head_s:
            return "head"
        return "idle" if now_s - self._quiet_s >= self._room.limits.idle_s else ""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a malformed request or an error below the application; the connection then closes."""
        if isinstance(exc, ConnectionError):
            LOG.debug("request from %s: the connection has ended", request.remote)
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            LOG.error("request from %s: answered %d", request.remote, status, exc_info=exc)
        else:
            self._room.callers.malformed += 1
            said = printable(message or str(exc or ""), 80)
            LOG.debug("request from %s cannot be read: %s", request.remote, said)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already; there is no second one")
        return _refused(HTTPStatus(status))

    def _in_body(self) -> bool:
        return self._current_request is not None and not self._current_request.content.is_eof()

    def _late_body(self, now_s: float) -> bool:
        request = self._current_request
        if request is None or request.content.is_eof():
            self._body_of = None
        elif self._body_of is not request:
            self._body_of, self._body_s = request, now_s
        return self._body_of is not None and now_s - self._body_s >= self._room.limits.body_s

    def _late_to_take(self, now_s: float) -> bool:
        """Return whether the client has not taken what was written `take_s` ago; of a stream: nothing in that time."""
        assert self._link is not None
        taken, waiting = _flow(self._link)
        if not waiting:
            self._since_s = None
            return False
        if self._since_s is None or taken >= self._mark or (self._streams() and taken > self._taken):
            self._since_s, self._mark, self._taken = now_s, taken + waiting, taken
        return now_s - self._since_s >= self._room.limits.take_s

    def mark_endless(self, request: web.BaseRequest) -> None:
        """Note that the answer to this request is a stream."""
        self._endless = request

    def _streams(self) -> bool:
        return self._endless is not None and self._endless is self._current_request


def mark_endless(request: web.Request) -> None:
    """Exempt a streamed answer from the time limit while the client keeps reading."""
    if isinstance(request.protocol, QuietProtocol):
        request.protocol.mark_endless(request)


async def listen(
    app: web.Application,
    host: str,
    port: int,
    *,
    end_s: float,
    callers: Callers | None = None,
    limits: ConnectionLimits | None = None,
) -> Listening:
    """Serve until `close`, which gives requests under way `end_s` seconds.

    callers: limits the connections and counts what happens to them. OSError, naming the address, when it is taken.
    """
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=end_s)
    await runner.setup()
    manager, loop = runner.server, asyncio.get_running_loop()
    assert manager is not None
    room = Room(callers or Callers(), limits or ConnectionLimits())
    try:
        sockets = await bind(host, port)
    except OSError:
        await runner.cleanup()
        raise
    addresses = [one.getsockname()[:2] for one in sockets]
    door = Door(sockets, room.callers, lambda host: QuietProtocol(manager, loop, host, room))
    watching = asyncio.create_task(room.watch())

    async def close() -> None:
        door.close()
        watching.cancel()
        await runner.cleanup()

    return Listening(addresses, close)


def _flow(link: asyncio.Transport) -> tuple[int, int]:
    """Return the bytes that the other side took so far, and the bytes that wait for it, in our buffer and the kernel's.

    Linux counts both (TCP_INFO's `tcpi_bytes_acked`, tcp(7), and SIOCOUTQ, which is TIOCOUTQ). Elsewhere the bytes
    taken are only known up to a constant while the same bytes wait.
    """
    waiting = link.get_write_buffer_size()
    inner: socket.socket | None = link.get_extra_info("socket")
    if inner is None or inner.fileno() < 0 or not hasattr(socket, "TCP_INFO"):
        return -waiting, waiting
    try:
        waiting += int.from_bytes(fcntl.ioctl(inner.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        info = inner.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
    except OSError:  # it has just ended
        return -waiting, waiting
    return int.from_bytes(info[_BYTES_ACKED:_TCP_INFO_SIZE], sys.byteorder), waiting


def _refused(status: HTTPStatus) -> web.Response:
    problem = ProblemError(status, DETAILS.get(status, status.description))
    body = json.dumps({name: value for name, value in document(problem, "").items() if value})
    headers = {**HEADERS, "Cache-Control": "no-store"}
    answer = web.Response(text=body, status=status, content_type=CONTENT_TYPE, headers=headers)
    answer.force_close()
    return answer
