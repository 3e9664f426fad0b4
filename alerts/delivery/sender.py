"""All lanes together: one for each receiver, over one client and one ledger, and the heartbeat."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alerts.delivery.client import Response, WebhookClient
from alerts.delivery.formats import signal_body
from alerts.delivery.journal import line
from alerts.delivery.keepalive import PageOf
from alerts.delivery.ledger import Ledger
from alerts.delivery.ports import DeliveryClock, OutboxLike, SystemDeliveryClock
from alerts.delivery.receiver_queue import HELD_MOST, LaneCounts, OnAttempt, ReceiverQueue
from alerts.delivery.texts import HEARTBEAT, TEST
from alerts.routing import Receiver

GRACE_S = 2.0  # for attempts under way when the service ends; what is cut off is sent again under the same id
_LOG = logging.getLogger("watchdog.delivery")

HeartbeatFields = Callable[[], Mapping[str, object] | None]
"""What a heartbeat reports; None when the service is not well, and then no heartbeat is sent: that is the alarm."""


@dataclass(frozen=True, slots=True)
class HeartbeatPlan:
    """Which receiver hears that the watchdog lives, and how often, in seconds."""

    receiver: str
    every_s: float = 60.0


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One receiver as `/metrics` and the API show it; `state` and `keepalives` as in `ReceiverQueue`."""

    receiver: str
    state: str
    held: int
    counts: LaneCounts
    keepalives: tuple[int, int] = (0, 0)


class Sender:
    """Delivers what is in an outbox. `run` is the whole service; the other methods are called in its event loop."""

    def __init__(
        self,
        outbox: OutboxLike,
        receivers: Sequence[Receiver],
        clock: DeliveryClock | None = None,
        *,
        heartbeat: HeartbeatPlan | None = None,
        vitals: HeartbeatFields = dict,
        told: OnAttempt = lambda _due, _outcome: None,
        page_of: PageOf = lambda _id: None,
        tls: ssl.SSLContext | None = None,
        seed: int | None = None,
    ) -> None:
        self._outbox, self._clock = outbox, clock or SystemDeliveryClock()
        self._receivers = {receiver.name: receiver for receiver in receivers}
        self._heartbeat, self._vitals, self._tls, self._told = heartbeat, vitals, tls, told
        self._page_of = page_of
        self._chance = random.Random(seed)  # noqa: S311 (spreads retries; guessing it gains nothing)
        self._lanes: dict[str, ReceiverQueue] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._changed, self._beat_changed = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ledger: Ledger | None = None
        self._full_before = 0  # of lanes that have ended
        self.heartbeats = 0
        self.heartbeat_failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; then let attempts end for `GRACE_S` and store what became of them."""
        self._loop = asyncio.get_running_loop()
        self._ledger = ledger = Ledger(self._outbox, self._clock)
        keeping = asyncio.create_task(ledger.run())
        async with WebhookClient(self._tls) as client:
            beating = asyncio.create_task(self._beat(client))
            stopped = asyncio.create_task(stop.wait())
            try:
                await self._tend(client, ledger, stopped, (keeping, beating))
            finally:
                await _cancel(beating, stopped)
                await self._end_lanes()
                await ledger.close(keeping)

    def configure(self, receivers: Sequence[Receiver], heartbeat: HeartbeatPlan | None = None) -> None:
        """Go on with these receivers. Notices of a receiver that is no longer named are not touched."""
        self._receivers = {receiver.name: receiver for receiver in receivers}
        if heartbeat != self._heartbeat:
            self._heartbeat = heartbeat
            self._beat_changed.set()
        for name, lane in self._lanes.items():
            if name in self._receivers:
                lane.change(self._receivers[name])
        self._changed.set()

    async def poke(self) -> None:
        """New notices were stored."""
        self._poke()

    def poke_from_thread(self) -> None:
        """As `poke`, from any thread; nothing happens before `run` or after it."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._poke)

    def status(self) -> list[LaneStatus]:
        """Every receiver, by name."""
        lanes = sorted(self._lanes.items())
        return [LaneStatus(name, lane.state, lane.held, lane.counts, lane.keepalives) for name, lane in lanes]

    @property
    def unstored(self) -> int:
        """Outcomes that wait for the database."""
        return self._ledger.waiting if self._ledger else 0

    @property
    def unstored_most(self) -> int:
        """How many may: a lane fetches no more while so many of its notices are not settled."""
        return HELD_MOST * len(self._lanes)

    @property
    def unstored_full(self) -> int:
        """How often a receiver got nothing more, as there was no room for what became of it (`LaneCounts.full`)."""
        return self._full_before + sum(lane.counts.full for lane in self._lanes.values())

    @property
    def unstored_s(self) -> float:
        """For how long outcomes have waited for the database while it took none; 0 when none waits."""
        return self._ledger.waits_s if self._ledger else 0.0

    def _poke(self) -> None:
        for lane in self._lanes.values():
            lane.poke()

    async def _tend(
        self,
        client: WebhookClient,
        ledger: Ledger,
        stopped: asyncio.Task[bool],
        others: tuple[asyncio.Task[None], ...],
    ) -> None:
        """Keep one lane for each receiver; a task that ends by itself has failed, and so do we."""
        while not stopped.done():
            self._changed.clear()
            await self._fit_lanes(client, ledger)
            changed = asyncio.create_task(self._changed.wait())
            watched = (*self._running.values(), *others)
            await asyncio.wait((stopped, changed, *watched), return_when=asyncio.FIRST_COMPLETED)
            await _cancel(changed)
            for task in watched:
                if task.done():
                    task.result()

    async def _fit_lanes(self, client: WebhookClient, ledger: Ledger) -> None:
        for name in [name for name in self._lanes if name not in self._receivers]:
            lane = self._lanes.pop(name)
            self._full_before += lane.counts.full
            lane.stop()
            await asyncio.wait((self._running[name],), timeout=GRACE_S)
            await _cancel(self._running.pop(name))
        for name, receiver in self._receivers.items():
            if name not in self._lanes:
                told, page_of = self._told, self._page_of
                lane = ReceiverQueue(receiver, client, ledger, self._clock, self._chance, told=told, page_of=page_of)
                self._lanes[name] = lane
                self._running[name] = asyncio.create_task(lane.run())

    async def _end_lanes(self) -> None:
        for lane in self._lanes.values():
            lane.stop()
        if self._running:
            await asyncio.wait(self._running.values(), timeout=GRACE_S)
        await _cancel(*self._running.values())

    async def _beat(self, client: WebhookClient) -> None:
        """Say that we live, by monotonic time; the settings may change in between."""
        while True:
            plan = self._heartbeat
            receiver = self._receivers.get(plan.receiver) if plan else None
            if plan is not None and receiver is not None:
                await self._beat_once(client, receiver, plan)
            self._beat_changed.clear()
            await self._clock.wait(self._beat_changed, plan.every_s if plan else 3600.0)

    async def _beat_once(self, client: WebhookClient, receiver: Receiver, plan: HeartbeatPlan) -> None:
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


async def send_signal(
    client: WebhookClient, receiver: Receiver, kind: str, now_ns: int, data: Mapping[str, object]
) -> Response:
    """Send a heartbeat or a test at once, one attempt, beside the outbox; its id is new each time."""
    message_id = f"{kind.rpartition('.')[2]}_{now_ns:x}_{secrets.token_hex(4)}"
    body = signal_body(kind, receiver, now_ns, data)
    return await client.post(receiver, message_id, now_ns // 1_000_000_000, body)


async def send_test(receiver: Receiver, clock: DeliveryClock, tls: ssl.SSLContext | None = None) -> Response:
    """One signed test message to a receiver."""
    now_ns = clock.wall_ns()
    async with WebhookClient(tls) as client:
        data = {"receiver": receiver.name, "text": "a test of bitcoin-watchdog: nothing happened"}
        return await send_signal(client, receiver, TEST, now_ns, data)


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    """Cancel and wait; errors of tasks are looked at where they are watched."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
