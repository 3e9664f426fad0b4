"""A server for an application: what is no HTTP is refused in a few bytes, noted in a line of debug, and counted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from watchdog.core.text import printable
from watchdog.web.guard import HEADERS
from watchdog.web.problem import CONTENT_TYPE, ProblemError, document

LOG = logging.getLogger(__name__)
DETAILS = {
    HTTPStatus.BAD_REQUEST: "this is no HTTP request that can be read, or its line or a header is too long",
    HTTPStatus.GATEWAY_TIMEOUT: "no answer in time",
}


@dataclass(frozen=True, slots=True)
class Listening:
    """addresses: as sockets have them. close: end all requests and let go of the port."""

    addresses: Sequence[tuple[str, int]]
    close: Callable[[], Awaitable[None]]


class QuietProtocol(web.RequestHandler):
    """The library's protocol with our words for what never becomes a request of the application.

    Strangers need no token to send such, so each costs a line of debug instead of an error with a trace, and tells
    no version.
    """

    __slots__ = ("_malformed",)

    def __init__(self, manager: web.Server, loop: asyncio.AbstractEventLoop, malformed: Callable[[], None]) -> None:
        super().__init__(manager, loop=loop, access_log=None)  # type: ignore[arg-type] # None is documented
        self._malformed = malformed

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what cannot be read, and to an error below the application; the connection ends with it."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            LOG.error("request from %s: answered %d", request.remote, status, exc_info=exc)
        else:
            self._malformed()
            said = printable(message or str(exc or ""), 80)
            LOG.debug("request from %s cannot be read: %s", request.remote, said)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already; there is no second one")
        return _refused(HTTPStatus(status))


async def listen(
    app: web.Application, host: str, port: int, *, end_s: float, malformed: Callable[[], None] = lambda: None
) -> Listening:
    """Serve until `close`, which gives requests under way `end_s` seconds.

    malformed: told of each request that could not be read. OSError, naming the address, when it is taken.
    """
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=end_s)
    await runner.setup()
    manager, loop = runner.server, asyncio.get_running_loop()
    assert manager is not None
    try:
        server = await loop.create_server(lambda: QuietProtocol(manager, loop, malformed), host, port, backlog=128)
    except OSError as error:
        await runner.cleanup()
        number = error.errno or 0
        said = os.strerror(number) if number > 0 else error.strerror  # below 0: of a name's look-up
        raise OSError(error.errno, said or str(error), f"{host}:{port}") from None

    async def close() -> None:
        server.close()
        await runner.cleanup()

    return Listening([one.getsockname()[:2] for one in server.sockets], close)


def _refused(status: HTTPStatus) -> web.Response:
    problem = ProblemError(status, DETAILS.get(status, status.description))
    body = json.dumps({name: value for name, value in document(problem, "").items() if value})
    headers = {**HEADERS, "Cache-Control": "no-store"}
    answer = web.Response(text=body, status=status, content_type=CONTENT_TYPE, headers=headers)
    answer.force_close()
    return answer
