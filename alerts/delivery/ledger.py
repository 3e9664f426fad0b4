"""The outbox behind one thread: reads of what is due, and outcomes stored many in a transaction.

Outcomes collect while a transaction is under way, so batches grow with the load and a single outcome is stored at
once. When the database fails, outcomes stay queued and are retried; after a kill their notices are sent again under
the same id. A permanent database error ends `run`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from alerts.delivery.journal import line
from alerts.delivery.ports import DeliveryClock, Due, OutboxLike, Outcome
from alerts.routing import Receiver
from watchdog.core.episode import Episode
from watchdog.core.errors import StoreError, StoreUnavailableError

RETRY_S = 1.0
LARGEST_BATCH = 500  # outcomes in one transaction
LAST_S = 1.5  # for what is left at the end of the service

_T = TypeVar("_T")
_LOG = logging.getLogger("watchdog.delivery")


class Ledger:
    """Reads and writes of one outbox, for all queues, in the order of the requests."""

    def __init__(self, outbox: OutboxLike, clock: DeliveryClock) -> None:
        self._outbox, self._clock = outbox, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._waiting: list[tuple[Outcome, asyncio.Future[None]]] = []
        self._news = asyncio.Event()
        self._failing = False  # whether the latest call failed
        self._episodes = {"read": Episode(), "write": Episode()}
        self._failure: StoreError | None = None
        self._closing = asyncio.Event()
        self._since_s: float | None = None  # when the oldest outcome that waits came, or the last one was stored
        self.failures = 0

    def __len__(self) -> int:
        """Return the number of outcomes that are not stored yet."""
        return len(self._waiting)

    @property
    def waits_s(self) -> float:
        """For how long outcomes have waited while none was stored; 0 when none waits."""
        return 0.0 if self._since_s is None else self._clock.monotonic() - self._since_s

    async def due(self, receiver: str, limit: int) -> Sequence[Due] | None:
        """Return the notices due for a receiver, the most severe first; None while the database fails."""
        return await self._ask("read", lambda: self._outbox.due(self._clock.wall_ns(), receiver, limit))

    async def merge(self, receiver: str, least: int, in_hand: Collection[str]) -> int | None:
        """Merge openings that wait; how many notices merged, None while the database fails."""
        return await self._ask("write", lambda: self._outbox.merge(self._clock.wall_ns(), receiver, least, in_hand))

    async def firing(self, receiver: Receiver) -> Sequence[str] | None:
        """Return the ids that the port gives; None while the database fails."""
        return await self._ask("read", lambda: self._outbox.firing(receiver))

    async def pictures(self, receiver: Receiver, ids: Sequence[str]) -> Sequence[Mapping[str, object]] | None:
        """Return the objects that the port gives; None while the database fails."""
        return await self._ask("read", lambda: self._outbox.pictures(receiver, ids))

    def note(self, outcome: Outcome) -> asyncio.Future[None]:
        """Store an outcome; the future is done when it is stored."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((outcome, stored))
        self._since_s = self._clock.monotonic() if self._since_s is None else self._since_s
        self._news.set()
        return stored

    async def run(self) -> None:
        """Store outcomes as they come, until `close`; then what is left, if the database lets us.

        StoreError, also of a read, when another try cannot help.
        """
        while not self._closing.is_set():
            await self._news.wait()
            self._news.clear()
            while self._waiting and self._failure is None:
                stored = await self._store()
                if not stored and self._closing.is_set():
                    break
                if not stored:
                    await self._clock.wait(self._closing, RETRY_S)
            if self._failure is not None:
                raise self._failure

    async def close(self, running: asyncio.Task[None]) -> None:
        """End `run`, whose task is given, and the thread."""
        self._closing.set()
        self._news.set()
        await asyncio.wait((running,), timeout=LAST_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if self._waiting:
            _LOG.error(line("outcomes-not-stored", count=len(self._waiting), consequence="sent again, same ids"))
        self._thread.shutdown(wait=False)

    async def _store(self) -> bool:
        """Store one transaction. Return False when it failed; everything then stays queued."""
        batch = self._waiting[:LARGEST_BATCH]
        done = await self._ask("write", lambda: self._settle([outcome for outcome, _ in batch]))
        if done is None:
            return False
        del self._waiting[: len(batch)]
        self._since_s = self._clock.monotonic() if self._waiting else None
        for _, stored in batch:
            if not stored.done():
                stored.set_result(None)
        return True

    def _settle(self, outcomes: Sequence[Outcome]) -> bool:
        self._outbox.settle(outcomes)
        return True

    async def _ask(self, how: str, work: Callable[[], _T]) -> _T | None:
        """Run in the thread; None, counted, and logged once an episode, when the database fails.

        how: a full disk refuses writes and answers reads, so each has episodes of its own.
        """
        episode = self._episodes[how]
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except StoreError as error:
            if not isinstance(error, StoreUnavailableError):
                self._failure = error
                self._news.set()
            self.failures += 1
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            if episode.failed(said):
                _LOG.error(line("outbox-failing", what=how, error=said))
            self._failing = True
            return None
        self._failing = False
        if episode.worked(self._clock.monotonic()):
            _LOG.info(line("outbox-works-again", what=how, failures=self.failures))
        other = "write" if how == "read" else "read"
        if self._episodes[other].over(self._clock.monotonic()):  # it may be long until it is used next
            _LOG.info(line("outbox-works-again", what=other, failures=self.failures))
        return result
