"""Blocking calls in threads, with a bounded queue and a bounded wait, both counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from watchdog.core.errors import StoreUnavailableError

T = TypeVar("T")
THREADS = 4
WAITING_MOST = 64  # as many as may watch the live stream: a page sends little more than one request at a time
ANSWER_S = 15.0
"""How long an HTTP request waits for the database. A locked file or a slow statement fails sooner; a silent server may
take longer (`alerts.store.patience`: `LOCKED_MOST_S`, `SERVER_MOST_S`)."""


class BusyError(Exception):
    """The wait queue is full; nothing was queried."""


class BoundedExecutor:
    """Threads for calls that block. Belongs to one event loop.

    Callers wait here for a thread, where they are counted and can be cancelled; no call waits inside the pool.
    waiting_most: callers that may wait for a thread; None for no limit, where callers are few. answer_s: seconds after
    which `ask` stops waiting; None for never. The call itself may still be running then, and keeps its thread.
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
        """Run a call in a thread; return its result or raise what it raises.

        BusyError when the wait queue is full, StoreUnavailableError when no result came in time.
        """
        limit = asyncio.timeout(self._answer_s)
        try:
            async with limit:
                await self._thread()
                return await asyncio.shield(self._started(call))
        except TimeoutError:
            if not limit.expired():  # raised by the call itself
                raise
            self.unanswered += 1
            raise StoreUnavailableError(f"the database has not answered within {self._answer_s:g} s") from None

    def close(self) -> None:
        """Take no more calls; running ones end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _thread(self) -> None:
        """Wait for a free thread."""
        if self._free.locked() and self.waiting_most is not None and self.waiting >= self.waiting_most:
            self.refused += 1
            raise BusyError("too many calls wait for the database")
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1

    def _started(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Start the call in its thread, which is free again when the call ends, even if the caller is gone."""
        answer = asyncio.get_running_loop().run_in_executor(self._pool, call)
        answer.add_done_callback(self._ended)
        return answer

    def _ended(self, answer: asyncio.Future[T]) -> None:
        self._free.release()
        if not answer.cancelled():
            answer.exception()  # mark it as retrieved: the caller may be gone, and asyncio would log the error
