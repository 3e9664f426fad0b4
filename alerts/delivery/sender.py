"""The sender: one queue for each receiver over one client and one ledger, and the heartbeat."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alerts.delivery.answers import Response
from alerts.delivery.courier import Courier
from alerts.delivery.encoding import HEARTBEAT, TEST
from alerts.delivery.journal import line
from alerts.delivery.keepalive import PageOf
from alerts.delivery.ledger import Ledger
from alerts.delivery.ports import DeliveryClock, OutboxLike, SystemDeliveryClock
from alerts.delivery.receiver_queue import OnAttempt, ReceiverCounts, ReceiverQueue
from alerts.delivery.signals import SignalQueue, send_signal
from alerts.routing import Receiver

GRACE_S = 2.0  # for attempts under way when the service ends; what is cut off is sent again under the same id
_LOG = logging.getLogger("watchdog.delivery")

HeartbeatFields = Callable[[], Mapping[str, object] | None]
"""The fields of a heartbeat; None while the service is unhealthy: no heartbeat is sent then, which is the alarm."""


@dataclass(frozen=True, slots=True)
class HeartbeatPlan:
    """The receiver of the heartbeat, and the interval in seconds."""

    receiver: str
    every_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """One receiver as `/metrics` and the API show it; `state` and `keepalives` as in `ReceiverQueue`."""

    receiver: str
    state: str
    held: int
    counts: ReceiverCounts
    keepalives: tuple[int, int] = (0, 0)


class Sender:
    """Delivers the notices of an outbox. `run` is the whole service; the other methods are called in its event loop.

    signals: messages beside the outbox.
    """

    def __init__(
        self,
        outbox: OutboxLike,
        receivers: Sequence[Receiver],
        clock: DeliveryClock | None = None,
        *,
        heartbeat: HeartbeatPlan | None = None,
        vitals: HeartbeatFields = dict,
        on_attempt: OnAttempt = lambda _due, _outcome: None,
        page_of: PageOf = lambda _id, _about: None,
        tls: ssl.SSLContext | None = None,
        seed: int | None = None,
    ) -> None:
        self._outbox, self._clock = outbox, clock or SystemDeliveryClock()
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._heartbeat, self._vitals, self._tls = heartbeat, vitals, tls
        self._on_attempt = on_attempt
        self._page_of = page_of
        self._chance = random.Random(seed)  # noqa: S311 (spreads retries; guessing it gains nothing)
        self._queues: dict[str, ReceiverQueue] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._changed, self._beat_changed = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ledger: Ledger | None = None
        self._full_before = 0  # of queues that have ended
        self.heartbeats = 0
        self.heartbeat_failures = 0
        self.signals = SignalQueue(self._clock)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then give attempts `GRACE_S` to end and store their outcomes."""
        self._loop = asyncio.get_running_loop()
        self._ledger = ledger = Ledger(self._outbox, self._clock)
        keeping = asyncio.create_task(ledger.run())
        async with Courier(self._tls) as client:
            beating = asyncio.create_task(self._beat(client))
            signalling = asyncio.create_task(self.signals.run(client, lambda: list(self._receivers.values())))
            stopped = asyncio.create_task(stop.wait())
            try:
                await self._tend(client, ledger, stopped, (keeping, beating, signalling))
            finally:
                await _cancel(beating, signalling, stopped)
                await self._end_queues()
                await ledger.close(keeping)

    def configure(self, receivers: Sequence[Receiver], heartbeat: HeartbeatPlan | None = None) -> None:
        """Replace the receivers. Notices of a removed receiver are not touched."""
        self._receivers = {receiver.name: receiver for receiver in receivers}
        if heartbeat != self._heartbeat:
            self._heartbeat = heartbeat
            self._beat_changed.set()
        for name, queue in self._queues.items():
            if name in self._receivers:
                queue.change(self._receivers[name])
        self._changed.set()

    async def poke(self) -> None:
        """Look for new notices; call it after some were stored."""
        self._poke()

    def poke_from_thread(self) -> None:
        """Do as `poke` from any thread; without effect before `run` or after it."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._poke)

    def status(self) -> list[ReceiverStatus]:
        """Return the status of every receiver, by name."""
        queues = sorted(self._queues.items())
        return [ReceiverStatus(name, queue.state, queue.held, queue.counts, queue.keepalives) for name, queue in queues]

    @property
    def unstored(self) -> int:
        """Outcomes that wait for the database."""
        return 0 if self._ledger is None else len(self._ledger)

    @property
    def unstored_full(self) -> int:
        """How often a queue stopped sending, as it had no room for outcomes (`ReceiverCounts.full`)."""
        return self._full_before + sum(queue.counts.full for queue in self._queues.values())

    @property
    def unstored_s(self) -> float:
        """How long outcomes have waited for the database while it stored none; 0 without waiting ones."""
        return 0.0 if self._ledger is None else self._ledger.waits_s

    def _poke(self) -> None:
        for queue in self._queues.values():
            queue.poke()

    async def _tend(
        self,
        client: Courier,
        ledger: Ledger,
        stopped: asyncio.Task[bool],
        others: tuple[asyncio.Task[None], ...],
    ) -> None:
        """Keep one queue for each receiver. A task that ends by itself has failed, and its error is raised."""
        while not stopped.done():
            self._changed.clear()
            await self._fit_queues(client, ledger)
            changed = asyncio.create_task(self._changed.wait())
            watched = (*self._running.values(), *others)
            await asyncio.wait((stopped, changed, *watched), return_when=asyncio.FIRST_COMPLETED)
            await _cancel(changed)
            for task in watched:
                if task.done():
                    task.result()

    async def _fit_queues(self, client: Courier, ledger: Ledger) -> None:
        for name in [name for name in self._queues if name not in self._receivers]:
            queue = self._queues.pop(name)
            self._full_before += queue.counts.full
            queue.stop()
            await asyncio.wait((self._running[name],), timeout=GRACE_S)
            await _cancel(self._running.pop(name))
        for name, receiver in self._receivers.items():
            if name not in self._queues:
                queue = ReceiverQueue(
                    receiver,
                    client,
                    ledger,
                    self._clock,
                    self._chance,
                    on_attempt=self._on_attempt,
                    page_of=self._page_of,
                )
                self._queues[name] = queue
                self._running[name] = asyncio.create_task(queue.run())

    async def _end_queues(self) -> None:
        for queue in self._queues.values():
            queue.stop()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=GRACE_S)
        await _cancel(*self._running.values())

    async def _beat(self, client: Courier) -> None:
        """Send heartbeats by monotonic time; the settings may change in between."""
        while True:
            plan = self._heartbeat
            receiver = self._receivers.get(plan.receiver) if plan else None
            if plan is not None and receiver is not None:
                await self._beat_once(client, receiver, plan)
            self._beat_changed.clear()
            await self._clock.wait(self._beat_changed, plan.every_s if plan else 3600.0)

    async def _beat_once(self, client: Courier, receiver: Receiver, plan: HeartbeatPlan) -> None:
        vitals = self._vitals()
        if vitals is None:
            self.heartbeat_failures += 1
            _LOG.error(line("heartbeat", receiver=receiver.name, fate="withheld", error="the service is not well"))
            return
        self.heartbeats += 1
        data = {"number": self.heartbeats, "every_s": plan.every_s, **vitals}
        answer = await send_signal(client, receiver, HEARTBEAT, self._clock.wall_ns(), data)
        self.heartbeat_failures += bool(answer.error)
        level = logging.WARNING if answer.error else logging.DEBUG
        fate = "failed" if answer.error else "sent"
        _LOG.log(level, line("heartbeat", receiver=receiver.name, fate=fate, status=answer.status, error=answer.error))


async def send_test(receiver: Receiver, clock: DeliveryClock, tls: ssl.SSLContext | None = None) -> Response:
    """Send one signed test message to a receiver."""
    now_ns = clock.wall_ns()
    async with Courier(tls) as client:
        data = {"receiver": receiver.name, "text": "a test of bitcoin-watchdog: nothing happened"}
        return await send_signal(client, receiver, TEST, now_ns, data)


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    """Cancel and wait; errors of tasks are looked at where they are watched."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
