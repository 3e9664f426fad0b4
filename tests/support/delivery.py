"""For delivery's tests: a programmable receiver on 127.0.0.1, an outbox in memory, and time that tests move."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from alerts.delivery.ports import Fate, Outcome
from alerts.delivery.receiver_queue import ReceiverQueue
from alerts.delivery.schedule import HORIZON_NS
from alerts.delivery.sender import Sender
from alerts.incident import RANK
from alerts.notice import Notice
from alerts.routing import Receiver
from tests.support.waiting import LIMIT_S, reached
from watchdog.core.errors import StoreUnavailableError
from watchdog.core.finding import Severity

START_NS = 1_780_000_000_000_000_000
SECRET = "whsec_" + "A" * 43 + "="
Reply = Callable[[web.Request, "Seen"], Awaitable[web.StreamResponse]]


def notice(number: int, incident: str = "i1", receiver: str = "ops", severity: Severity = "high") -> Notice:
    """The `number`-th notice."""
    return Notice(f"msg_{number:032x}", receiver, incident, "incident.opened", severity, START_NS, {"id": incident})


def receiver_at(url: str, **other: Any) -> Receiver:
    """A receiver on this machine without a limit of rate. `other` replaces fields: any of Receiver's types."""
    plain: dict[str, Any] = {"name": "ops", "secrets": (SECRET,), "rate_per_minute": 0, "allow_private": True}
    return Receiver(url=url, **(plain | other))


@dataclass
class Seen:
    """One request as it arrived."""

    id: str
    body: bytes
    headers: dict[str, str]
    number: int


@dataclass
class Target:
    """A receiver's side: what arrived, and what it answers (`status`, or all of it with `reply`)."""

    url: str = ""
    status: int = 204
    reply: Reply | None = None
    seen: list[Seen] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)

    def ids(self) -> list[str]:
        """The ids in the order of arrival."""
        return [one.id for one in self.seen]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Note the request and answer."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        one = Seen(headers.get("webhook-id", ""), body, headers, len(self.seen))
        self.seen.append(one)
        if request.transport is not None:
            self.connections.add(request.transport.get_extra_info("peername"))
        response = await self.reply(request, one) if self.reply else web.Response(status=self.status)
        if 200 <= response.status < 300:
            self.accepted.append(one.id)
        return response


@asynccontextmanager
async def target(status: int = 204, reply: Reply | None = None) -> AsyncIterator[Target]:
    """A running receiver."""
    made = Target(status=status, reply=reply)
    app = web.Application()
    app.router.add_post("/{rest:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield made
    finally:
        await runner.cleanup()


@dataclass
class _Row:
    notice: Notice
    attempts: int = 0
    fate: Fate = Fate.RETRY
    next_ns: int = 0
    error: str = ""
    kept: str = ""


class MemoryOutbox:
    """The simplest outbox that keeps the promises of `OutboxLike`; `broken` makes it fail like a full disk."""

    def __init__(self, *notices: Notice) -> None:
        self.rows = {one.id: _Row(one) for one in notices}
        self.broken = False
        self.transactions = 0
        self.crowds: list[tuple[int, str, int, frozenset[str]]] = []
        self.alive: dict[str, Mapping[str, object]] = {}
        self.asked: list[tuple[tuple[str, ...], Severity]] = []
        self._lock = threading.Lock()

    def add(self, *notices: Notice) -> None:
        """New notices, due at once."""
        with self._lock:
            self.rows |= {one.id: _Row(one) for one in notices}

    def due(self, now_ns: int, receiver: str, limit: int) -> Sequence[_Row]:
        """As the port says, with later notices of the incidents."""
        chains: dict[str, list[_Row]] = {}
        blocked = set()
        with self._lock:
            self._check()
            for row in self.rows.values():
                if row.notice.receiver != receiver or row.fate is not Fate.RETRY:
                    continue
                if row.notice.subject in blocked or now_ns < row.next_ns <= now_ns + HORIZON_NS:
                    blocked.add(row.notice.subject)
                else:
                    chains.setdefault(row.notice.subject, []).append(row)
        worst = sorted(chains.values(), key=lambda chain: -max(RANK[row.notice.severity] for row in chain))
        return [row for chain in worst for row in chain][:limit]

    def merge(self, now_ns: int, receiver: str, least: int, in_hand: Collection[str]) -> int:
        """It merges nothing."""
        self.crowds.append((now_ns, receiver, least, frozenset(in_hand)))
        return 0

    def firing(self, receiver: Receiver) -> Sequence[str]:
        """Ids of `alive`, whatever is asked for."""
        self.asked.append((receiver.events, receiver.severity))
        return list(self.alive)

    def pictures(self, receiver: Receiver, ids: Sequence[str]) -> Sequence[Mapping[str, object]]:
        """Of `alive`."""
        return [self.alive[id_] for id_ in ids if id_ in self.alive]

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes; a notice that is settled for good must not be settled again."""
        with self._lock:
            self._check()
            self.transactions += 1
            for one in outcomes:
                row = self.rows[one.id]
                assert row.fate is Fate.RETRY, f"{one.id} is settled already"
                row.attempts += 1
                row.fate, row.error, row.next_ns = one.fate, one.error, one.retry_at_ns or 0
                self._keep(row.notice, one.kept)

    def _keep(self, first: Notice, text: str) -> None:
        """What a channel returned is given with later notices of the same incident."""
        for row in self.rows.values() if text else ():
            if (row.notice.receiver, row.notice.subject) == (first.receiver, first.subject):
                row.kept = row.kept or text

    def fates(self) -> list[str]:
        """The fate of each notice."""
        with self._lock:
            return [row.fate.value for row in self.rows.values()]

    def _check(self) -> None:
        if self.broken:
            raise StoreUnavailableError("database 'memory': the disk is full; nothing was written")


LOOPS = 3  # of each receiver: one fetches, one sends, one repeats what fires


class VirtualClock:
    """Time that stands still until `advance`; `step_wall` moves the wall clock alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wall = START_NS
        self.sender: Sender | None = None
        self._sleepers: dict[asyncio.Future[None], tuple[float, asyncio.Event]] = {}

    def wall_ns(self) -> int:
        """Virtual unix time."""
        return self.wall

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self.now

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock."""
        self.wall += int(seconds * 1e9)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """As the port says, in virtual time."""
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers[sleeper] = self.now + seconds, event
        waiting = asyncio.create_task(event.wait())
        try:
            await asyncio.wait((sleeper, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._sleepers[sleeper]
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        return event.is_set()

    async def advance(self, seconds: float, step: float = 5.0) -> None:
        """Let virtual time pass in steps; between them everything that can happen does."""
        end = self.now + seconds
        while self.now < end:
            await self.calm()
            passed = min(step, end - self.now)
            self.now += passed
            self.wall += int(passed * 1e9)
            for sleeper, (due, _) in self._sleepers.items():
                if due <= self.now and not sleeper.done():
                    sleeper.set_result(None)
        await self.calm()

    async def calm(self) -> None:
        """Wait until every loop of the sender waits for this clock, with no attempt under way and all stored."""
        for _ in range(3):  # an answer may still wake a loop
            await asyncio.sleep(0)
            await reached(lambda: not self._busy(), "the sender is never idle", look_s=0.0005)

    def _busy(self) -> bool:
        if self.sender is None or self.sender._ledger is None:
            return False
        lanes: list[ReceiverQueue] = list(self.sender._queues.values())
        waiting = [event for sleeper, (_, event) in self._sleepers.items() if not sleeper.done()]
        idle = sum(not event.is_set() and event is not self.sender._ledger._closing for event in waiting)
        return (
            idle < LOOPS * len(lanes) + 1  # and that of the heartbeat
            or any(lane.under_way for lane in lanes)
            or (self.sender.unstored > 0 and not self.sender._ledger._failing)
        )


@asynccontextmanager
async def running(sender: Sender, clock: VirtualClock | None = None) -> AsyncIterator[asyncio.Event]:
    """The sender at work; a failure of its own fails the test."""
    if clock is not None:
        clock.sender = sender
    stop = asyncio.Event()
    task = asyncio.create_task(sender.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(task, LIMIT_S)


async def until(condition: Callable[[], bool], seconds: float = LIMIT_S) -> None:
    """Wait in real time for something that other tasks do; AssertionError when it does not come."""
    await reached(condition, limit_s=seconds)


def in_order(there: Target, notices: Sequence[object]) -> bool:
    """Whether each incident's notices were accepted in the order of their making (ids rise)."""
    incidents = defaultdict(list)
    for seen in there.seen:
        if seen.id in there.accepted:
            incidents[json.loads(seen.body)["data"]["id"]].append(seen.id)
    return all(ids == sorted(ids) for ids in incidents.values()) and bool(notices)
