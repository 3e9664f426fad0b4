"""The way to one receiver: its notices in order for each incident, at its pace, around its outages.

Notices of one incident form a chain that is sent one after the other; chains go side by side. A notice that fails
ends its chain until its retry is due. What is fetched and not yet stored as settled is *held*, so that nothing is
sent twice by one process. While more waits than the receiver may get, urgent incidents have slots, a share of the
rate and a fetch of their own, so that a flood of small ones cannot hide them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from alerts.delivery.client import Answer, WebhookClient
from alerts.delivery.formats import notice_body
from alerts.delivery.journal import line
from alerts.delivery.ledger import Ledger
from alerts.delivery.ports import DeliveryClock, Due, Fate, Outcome
from alerts.delivery.schedule import URGENT, Breaker, Bucket, Verdict, given_up, retry_after, retry_delay, verdict
from alerts.routing import Receiver

WINDOW = 256  # notices of one receiver in memory
LOW = WINDOW // 4  # so many left: time to fetch more
HELD_MOST = WINDOW + LOW  # a window is fetched when no more than that are left
AT_ONCE = 16  # attempts under way to one receiver, and as many that are urgent
URGENT_AT_ONCE = 32  # urgent notices fetched past a full window
POLL_S = 2.0  # a retry is noticed so soon after it is due, and a resend by the command line; new notices wake the lane
_LOG = logging.getLogger("watchdog.delivery")

Told = Callable[[Due, Outcome], None]
"""Hears of what became of an attempt once it is stored; in the event loop."""


@dataclass(slots=True)
class LaneCounts:
    """What a lane did since the service began.

    rate_waits: waits for the receiver's rate. outages: times the breaker opened. full: times it was found with nothing
    left to send and no room to fetch more, as the database did not take what became of the last ones.
    """

    attempts: int = 0
    sent: int = 0
    failed: int = 0
    dead: int = 0
    rate_waits: int = 0
    outages: int = 0
    full: int = 0
    last_error: str = ""


class Lane:
    """Sends to one receiver until told to stop; everything runs in one event loop."""

    def __init__(
        self,
        receiver: Receiver,
        client: WebhookClient,
        ledger: Ledger,
        clock: DeliveryClock,
        chance: random.Random,
        *,
        told: Told,
    ) -> None:
        self.receiver = receiver
        self.counts = LaneCounts()
        self.gone = False
        self._client, self._ledger, self._clock, self._chance = client, ledger, clock, chance
        self._told = told
        self._breaker = Breaker()
        self._bucket = Bucket(receiver.rate_per_minute)
        self._chains: dict[str, deque[Due]] = {}
        self._held: set[str] = set()
        self._ended: set[str] = set()  # incidents whose chain ended since the last fetch began
        self._failed_at: dict[str, int] = {}  # accepted notices of the lane when a notice failed last
        self._slots = {urgent: asyncio.Semaphore(AT_ONCE) for urgent in (False, True)}
        self._wake, self._stopping = asyncio.Event(), asyncio.Event()
        self._under_way = 0
        self._unstored = 0  # outcomes of ours that the database does not have yet
        self._full = False
        self._limited = False
        self._more = False  # the last fetch was full

    @property
    def state(self) -> str:
        """`ok`, `failing` (the breaker is open), `gone` (answered 410) or `off`."""
        if not self.receiver.enabled:
            return "off"
        return "gone" if self.gone else "failing" if self._breaker.is_open else "ok"

    @property
    def held(self) -> int:
        """Notices in memory."""
        return len(self._held)

    def poke(self) -> None:
        """Something new may be due."""
        self._wake.set()

    def change(self, receiver: Receiver) -> None:
        """Go on with other settings of the same receiver; one that was gone or failing is tried again."""
        if receiver.rate_per_minute != self.receiver.rate_per_minute:
            self._bucket = Bucket(receiver.rate_per_minute)
        self.receiver, self.gone, self._breaker = receiver, False, Breaker()
        self.poke()

    def stop(self) -> None:
        """Begin no further attempt; `run` ends when those under way have."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Send what is due until stopped; an error of ours in a chain ends all of it and is raised."""
        async with asyncio.TaskGroup() as chains:
            while not self._stopping.is_set():
                self._wake.clear()
                pause = await self._fill(chains)
                await self._clock.wait(self._wake, pause)

    async def _fill(self, chains: asyncio.TaskGroup) -> float:
        """Fetch what is due and start its chains; the seconds after which to look again."""
        pause = self._breaker.wait_s(self._clock.monotonic())
        if pause > 0:
            return pause
        probing, crowded = self._breaker.is_open, len(self._held) > LOW
        self._note_full()
        if self.gone or not self.receiver.enabled or len(self._held) > WINDOW or (probing and self._held):
            return POLL_S
        self._ended.clear()
        found = await self._ledger.due(self.receiver.name, URGENT_AT_ONCE if crowded else WINDOW, urgent=crowded)
        if not crowded:
            self._more = found is not None and len(found) == WINDOW
        for due in (found or ())[: 1 if probing else None]:
            incident = due.notice.incident_id
            if due.notice.id not in self._held and incident not in self._ended and not self._stopping.is_set():
                self._held.add(due.notice.id)
                if incident in self._chains:
                    self._chains[incident].append(due)
                else:
                    self._chains[incident] = deque((due,))
                    chains.create_task(self._send_chain(incident))
        return POLL_S

    def _note_full(self) -> None:
        """Count the times that all we hold waits to be stored, and is too much to fetch a window beside it."""
        full = self._unstored == len(self._held) > LOW
        self.counts.full += full and not self._full
        self._full = full

    async def _send_chain(self, incident: str) -> None:
        """Send the notices of an incident one after the other, until one fails or none is left."""
        chain = self._chains[incident]
        try:
            async with self._slots[_is_urgent(chain)]:
                while chain and await self._turn(chain):
                    if not await self._send(chain):
                        break
        finally:
            del self._chains[incident]
            self._ended.add(incident)
            self._held.difference_update(due.notice.id for due in chain)
            self._wake_when_low()

    async def _turn(self, chain: deque[Due]) -> bool:
        """Wait for the receiver's rate; False when no attempt may be made now."""
        while not self._stopping.is_set():
            outage = self._breaker.is_open and self._under_way > 0
            if self.gone or outage or self._breaker.wait_s(self._clock.monotonic()) > 0:
                return False
            wait = self._bucket.take(self._clock.monotonic(), urgent=_is_urgent(chain))
            if wait <= 0:
                self._limited = self._limited and len(self._held) > 1
                return True
            self.counts.rate_waits += 1
            if not self._limited:
                self._tell("rate-limit", rate_per_minute=self.receiver.rate_per_minute, waiting=len(self._held))
            self._limited = True
            await self._clock.wait(self._stopping, wait)
        return False

    async def _send(self, chain: deque[Due]) -> bool:
        """One attempt with the first of a chain, which leaves the chain; False when the rest must wait."""
        due = chain[0]
        self._under_way += 1
        try:
            body = notice_body(due.notice, self.receiver.format)
            seconds = self._clock.wall_ns() // 1_000_000_000
            answer = await self._client.post(self.receiver, due.notice.id, seconds, body)
        finally:
            self._under_way -= 1
        outcome = self._judge(due, answer)
        self._log_attempt(due, outcome)
        chain.popleft()
        stored = self._ledger.note(outcome)
        self._unstored += 1
        stored.add_done_callback(self._release(due, outcome))
        if outcome.fate is Fate.RETRY:
            await stored  # before that the rest of the chain would count as due
        return outcome.fate is not Fate.RETRY

    def _release(self, due: Due, outcome: Outcome) -> Callable[[asyncio.Future[None]], None]:
        def stored(future: asyncio.Future[None]) -> None:
            self._unstored -= 1
            self._held.discard(due.notice.id)
            self._wake_when_low()
            if not future.cancelled():
                self._told(due, outcome)

        return stored

    def _wake_when_low(self) -> None:
        """Fetch again when more is known to wait, or when all is done: later notices of the same incidents may wait."""
        if not self._held or (self._more and len(self._held) <= LOW):
            self._wake.set()

    def _judge(self, due: Due, answer: Answer) -> Outcome:
        """What an answer means for the notice, and for the receiver."""
        meaning, now_ns, now = verdict(answer.status), self._clock.wall_ns(), self._clock.monotonic()
        took_ms = round(answer.took_s * 1000)
        self.counts.attempts += 1
        if meaning is Verdict.ACCEPTED:
            self._accept(due.notice.id)
            return Outcome(due.notice.id, Fate.SENT, answer.status, now_ns, took_ms=took_ms)
        self.counts.failed += 1
        self.counts.last_error = answer.error
        asked = retry_after(answer.retry_after, now_ns)
        self._fail(meaning, now, asked)
        attempts = due.attempts + 1
        before = self._failed_at.get(due.notice.id, self.counts.sent)
        if given_up(attempts, meaning, others_accepted=self.counts.sent > before):
            self._failed_at.pop(due.notice.id, None)
            self.counts.dead += 1
            return Outcome(due.notice.id, Fate.DEAD, answer.status, now_ns, answer.error, took_ms=took_ms)
        self._failed_at[due.notice.id] = self.counts.sent
        retry_at_ns = now_ns + int(retry_delay(attempts, asked, self._chance) * 1e9)
        return Outcome(due.notice.id, Fate.RETRY, answer.status, now_ns, answer.error, retry_at_ns, took_ms)

    def _accept(self, notice_id: str) -> None:
        self.counts.sent += 1
        self._failed_at.pop(notice_id, None)
        if self._breaker.accepted():
            self._tell("receiver-works-again")
            self.poke()

    def _fail(self, meaning: Verdict, now: float, asked: float | None) -> None:
        """Let the receiver feel what its answer means; a refusal of one notice says nothing of the receiver."""
        if meaning is Verdict.GONE and not self.gone:
            self.gone = True
            self._tell("receiver-gone", status=410, hint="reload after its URL was changed; its notices wait")
        if asked is not None:
            self._breaker.hold(now, asked)
        if meaning is Verdict.FAILED and self._breaker.failed(now, self._chance):
            self.counts.outages += 1
            self._tell("receiver-failing", failures=self._breaker.failures, error=self.counts.last_error)

    def _tell(self, event: str, **values: object) -> None:
        _LOG.warning(line(event, receiver=self.receiver.name, **values))

    def _log_attempt(self, due: Due, outcome: Outcome) -> None:
        level = logging.INFO if outcome.fate is Fate.SENT else logging.WARNING
        text = line(
            "delivery",
            receiver=self.receiver.name,
            id=due.notice.id,
            incident=due.notice.incident_id,
            type=due.notice.type,
            attempt=due.attempts + 1,
            fate=outcome.fate.value,
            status=outcome.status,
            took_ms=outcome.took_ms,
            retry_s=outcome.retry_at_ns and round((outcome.retry_at_ns - outcome.at_ns) / 1e9),
            error=outcome.error,
        )
        _LOG.log(level, text)


def _is_urgent(chain: deque[Due]) -> bool:
    return any(due.notice.severity in URGENT for due in chain)
