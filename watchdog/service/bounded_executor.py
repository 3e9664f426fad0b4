"""Calls that may wait for the database, in threads: how many wait is bounded and counted, and so is how long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from watchdog.core.errors import StoreUnavailableError

T = TypeVar("T")
THREADS = 4
WAITING_MOST = 64  # as many as may watch the live stream: a page asks for little more than one thing at a time
ANSWER_S = 15.0
"""How long one who asks over HTTP waits. A locked file or a statement that takes too long tells of itself before; a
server that says nothing may be waited for longer (`alerts.store.patience`: `LOCKED_MOST_S`, `SERVER_MOST_S`)."""


class BusyError(Exception):
    """As many wait for the database as may; nothing was asked."""


class BoundedExecutor:
    """Threads for calls that block. Belongs to one event loop.

    No call ever waits inside the pool: one who asks waits here for a thread, where he is counted and can give up.
    waiting_most: how many may wait beside those that have a thread; None for callers that are few by their nature.
    answer_s: after so many seconds the caller is told that there is no answer. The call itself may be under way then,
    and keeps its thread until it ends.
    """

    def __init__(
        self, name: str, *, threads: int = THREADS, waiting_most: int | None = None, answer_s: float | None = None
    ) -> None:
        self.waiting_most = waiting_most
        self.waiting = 0  # for a thread
        self.refused = 0  # since the start
        self.unanswered = 0  # since the start
        self._answer_s = answer_s
        self._free = asyncio.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, name)

    async def ask(self, call: Callable[[], T], /) -> T:
        """The answer, or what the call raises. BusyError: see there; StoreUnavailableError when none came in time."""
        limit = asyncio.timeout(self._answer_s)
        try:
            async with limit:
                await self._thread()
                return await asyncio.shield(self._started(call))
        except TimeoutError:
            if not limit.expired():  # the call's own
                raise
            self.unanswered += 1
            raise StoreUnavailableError(f"the database has not answered within {self._answer_s:g} s") from None

    def close(self) -> None:
        """No more calls; those under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _thread(self) -> None:
        """Wait until a thread is ours."""
        if self._free.locked() and self.waiting_most is not None and self.waiting >= self.waiting_most:
            self.refused += 1
            raise BusyError("too many wait for the database")
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1

    def _started(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """The call in its thread, which is free again when the call ends, whoever still waits for it."""
        answer = asyncio.get_running_loop().run_in_executor(self._pool, call)
        answer.add_done_callback(self._ended)
        return answer

    def _ended(self, answer: asyncio.Future[T]) -> None:
        self._free.release()
        if not answer.cancelled():
            answer.exception()  # looked at: who asked may have gone, and asyncio would log it as an error of ours
