"""The queue of one receiver: sends its notices in order for each incident, within its rate and across outages.

Notices of one incident form a chain and are sent one after the other. Chains are sent concurrently, the most severe
first. A failed notice stops its chain until its retry is due. A notice is *held* from its fetch until its outcome is
stored, so that one process sends nothing twice. If more notices wait than are held, the most severe are fetched past
the window, and the least severe held ones are dropped from memory. Openings of one rule that arrive faster than the
receiver accepts them are merged into one notice (`alerts.store.merged`).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alerts.delivery.answers import Response
from alerts.delivery.chains import Chains
from alerts.delivery.courier import Courier
from alerts.delivery.formats import ENCODERS, misplaced, notice_bodies
from alerts.delivery.journal import line
from alerts.delivery.keepalive import Keepalive, PageOf
from alerts.delivery.kept import KeptTexts
from alerts.delivery.ledger import Ledger
from alerts.delivery.notice_facts import aliases_of
from alerts.delivery.ports import DeliveryClock, Due, Fate, Outcome
from alerts.delivery.schedule import Breaker, Bucket, RetryDecision, given_up, retry_after, retry_delay, verdict
from alerts.delivery.unexpected import failed_here
from alerts.incident import RANK
from alerts.notice import MERGED, Notice
from alerts.routing import Receiver

WINDOW = 256  # notices of one receiver in memory
LOW = WINDOW // 4  # fetch more when this many are left
HELD_MOST = WINDOW + LOW  # a window is fetched when at most LOW are left
AT_ONCE = 16  # concurrent attempts to one receiver: for low severities together, for high and for critical each
PAST_FULL = 32  # notices fetched past a full window: the most severe that wait
MERGE_LEAST, MERGE_MOST = 20, 200  # bounds of how many openings of a rule make a crowd; between them: a minute's rate
MERGE_PAUSE_S = 30.0  # after a crowd that could not merge
POLL_S = 2.0  # delay to notice a due retry or a resend by the command line; new notices wake the queue
_LOG = logging.getLogger("watchdog.delivery")

OnAttempt = Callable[[Due, Outcome], None]
"""Called in the event loop with each attempt's outcome once it is stored."""


@dataclass(slots=True)
class ReceiverCounts:
    """Counters of one receiver's queue since the service began.

    rate_waits: waits for the receiver's rate. outages: times the breaker opened. full: times the queue had nothing left
    to send and no room to fetch more, as the database had not stored the outcomes. merged: openings named in merged
    notices.
    """

    attempts: int = 0
    sent: int = 0
    failed: int = 0
    dead: int = 0
    rate_waits: int = 0
    outages: int = 0
    full: int = 0
    merged: int = 0
    last_error: str = ""


class ReceiverQueue:
    """Sends to one receiver until `stop`; everything runs in one event loop."""

    def __init__(
        self,
        receiver: Receiver,
        client: Courier,
        ledger: Ledger,
        clock: DeliveryClock,
        chance: random.Random,
        *,
        on_attempt: OnAttempt,
        page_of: PageOf = lambda _id, _about: None,
    ) -> None:
        self.receiver = receiver
        self.counts = ReceiverCounts()
        self.gone = False
        self._client, self._ledger, self._clock, self._chance = client, ledger, clock, chance
        self._on_attempt = on_attempt
        self._breaker = Breaker()
        self._bucket = Bucket(receiver.rate_per_minute)
        self._keepalive = Keepalive(
            receiver,
            client,
            ledger,
            clock,
            page_of,
            wanted=lambda: self.receiver.enabled and not self.gone,
            answered=self._note_misplaced,
        )
        self._misplaced = False  # logged once
        self._chains = Chains()
        self._threads = KeptTexts()
        self._failed_at: dict[str, int] = {}  # accepted notices of the queue when a notice failed last
        self._wake, self._go, self._stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._under_way: Counter[int] = Counter()  # attempts by `_class`
        self._unstored = 0  # outcomes that are not stored yet
        self._full = False
        self._limited = False
        self._more = False  # the last fetch was full, or something made room
        self._merge_at = 0.0

    @property
    def state(self) -> str:
        """`ok`, `failing` (the breaker is open), `gone` (answered 410) or `off`."""
        if not self.receiver.enabled:
            return "off"
        return "gone" if self.gone else "failing" if self._breaker.is_open else "ok"

    @property
    def held(self) -> int:
        """Notices in memory."""
        return len(self._chains)

    @property
    def keepalives(self) -> tuple[int, int]:
        """Requests that kept alerts alive: taken, and failed."""
        return self._keepalive.sent, self._keepalive.failed

    @property
    def under_way(self) -> int:
        """Attempts that were begun and have no answer yet."""
        return self._under_way.total()

    def poke(self) -> None:
        """Look for new work: something may be due."""
        self._wake.set()
        self._go.set()

    def change(self, receiver: Receiver) -> None:
        """Apply new settings of the same receiver, and retry it if it was gone or failing."""
        if receiver.rate_per_minute != self.receiver.rate_per_minute:
            self._bucket = Bucket(receiver.rate_per_minute)
        self.receiver, self.gone, self._breaker = receiver, False, Breaker()
        self._misplaced = False
        self._keepalive.change(receiver)
        self.poke()

    def stop(self) -> None:
        """Begin no further attempt; `run` ends when those under way have."""
        self._stopping.set()
        self._keepalive.stop()
        self.poke()

    async def run(self) -> None:
        """Send due notices until stopped. An unexpected error ends the queue and is raised."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fetch())
            tasks.create_task(self._keepalive.run())
            while not self._stopping.is_set():
                self._go.clear()
                pause = self._begin(tasks)
                await self._clock.wait(self._go, pause)

    async def _fetch(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            pause = await self._fill()
            await self._clock.wait(self._wake, pause)

    async def _fill(self) -> float:
        """Fetch due notices. Return the seconds until the next fetch."""
        pause = self._breaker.wait_s(self._clock.monotonic())
        if pause > 0:
            return pause
        probing, crowded = self._breaker.is_open, len(self._chains) > LOW
        self._note_full()
        fixed = self._unstored + self.under_way
        if self.gone or not self.receiver.enabled or fixed > WINDOW or (probing and self._chains):
            return POLL_S
        self._chains.held.begin_fetch()
        found = await self._ledger.due(self.receiver.name, PAST_FULL if crowded else WINDOW)
        if not crowded:
            self._more = found is not None and len(found) == WINDOW
        if self._stopping.is_set():
            return 0.0
        for due in (found or ())[: 1 if probing else None]:
            self._chains.add(due)
        self._more = bool(self._chains.evict(HELD_MOST)) or self._more
        if found and not probing:
            await self._merge_crowds()
        self._go.set()
        return POLL_S

    async def _merge_crowds(self) -> None:
        """Merge openings into one notice where more of a rule wait than the receiver takes in a minute."""
        if not ENCODERS[self.receiver.format].merges:
            return
        rate, now = self.receiver.rate_per_minute, self._clock.monotonic()
        least = min(max(rate, MERGE_LEAST), MERGE_MOST)
        if now < self._merge_at or self._chains.most_alike() - self._bucket.available(now) < least:
            return
        self._chains.evict(0)  # what is held could be sent beside the notice that names it
        merged = await self._ledger.merge(self.receiver.name, least, self._chains.held.ids())
        if merged:
            self.counts.merged += merged
            self._warn("openings-merged", notices=merged, rate_per_minute=rate)
        else:
            self._merge_at = now + MERGE_PAUSE_S
        self._more = True
        self._wake.set()

    def _note_full(self) -> None:
        """Count the times that all we hold waits to be stored, and is too much to fetch a window beside it."""
        full = self._unstored == len(self._chains) > LOW
        self.counts.full += full and not self._full
        self._full = full

    def _begin(self, tasks: asyncio.TaskGroup) -> float:
        """Begin the attempts due now, the most severe first. Return the seconds until the next may begin."""
        while not self._stopping.is_set() and (found := self._chains.first()) is not None:
            incident, rank = found
            now = self._clock.monotonic()
            outage = self._breaker.is_open and self.under_way > 0
            if self.gone or not self.receiver.enabled or outage or self._breaker.wait_s(now) > 0:
                self._chains.evict(0)  # fetched again when attempts may be made
                break
            if self._under_way[_class(rank)] >= AT_ONCE:
                break
            wait = self._bucket.take(now, urgent=rank >= RANK["high"])
            if wait > 0:
                self._note_limited()
                return wait
            self._limited = self._limited and len(self._chains) > 1
            self._under_way[_class(rank)] += 1
            tasks.create_task(self._send(self._chains.begin(incident), _class(rank)))
        return POLL_S

    def _note_limited(self) -> None:
        self.counts.rate_waits += 1
        if not self._limited:
            self._warn("rate-limit", rate_per_minute=self.receiver.rate_per_minute, waiting=len(self._chains))
        self._limited = True

    async def _send(self, due: Due, class_: int) -> None:
        """Make one attempt with the first notice of a chain; after a failure the rest of the chain waits."""
        incident = due.notice.subject
        try:
            await self._keepalive.clear_of(incidents_of(due.notice))
            now_ns = self._clock.wall_ns()
            bodies = await self._bodies(due, now_ns)
            self._bucket.owe(len(bodies) - 1, self._clock.monotonic())
            answer = await self._client.send(self.receiver, due.notice.id, now_ns // 1_000_000_000, bodies)
        except Exception as error:  # noqa: BLE001 (one notice that fails in our code must not end all receivers)
            answer = failed_here(error, self.receiver.name, due.notice.id)
        finally:
            self._under_way[class_] -= 1
        self._note_misplaced(answer.status)
        outcome = self._judge(due, answer)
        self._log_attempt(due, outcome)
        self._chains.landed(incident)
        stored = self._ledger.note(outcome)
        self._unstored += 1
        stored.add_done_callback(self._release(due, outcome))
        if outcome.fate is Fate.RETRY:
            self._go.set()
            await stored  # before that the rest of the chain would count as due
            self._chains.end(incident)
        else:
            self._chains.proceed(incident)
        self._wake_when_low()
        self._go.set()

    async def _bodies(self, due: Due, now_ns: int) -> Sequence[bytes]:
        """Encode a notice; in a thread where every text of a case, which may be large, is searched for addresses."""
        receiver, kept = self.receiver, self._threads.kept(due)
        if receiver.redact == "none":
            return notice_bodies(due.notice, receiver, now_ns, kept)
        return await asyncio.to_thread(notice_bodies, due.notice, receiver, now_ns, kept)

    def _release(self, due: Due, outcome: Outcome) -> Callable[[asyncio.Future[None]], None]:
        def stored(future: asyncio.Future[None]) -> None:
            self._unstored -= 1
            self._chains.held.release(due.notice.id)
            self._wake_when_low()
            if not future.cancelled():
                self._on_attempt(due, outcome)

        return stored

    def _wake_when_low(self) -> None:
        """Fetch again when more is known to wait, or when all is done: later notices of the same incidents may wait."""
        if not self._chains or (self._more and len(self._chains) <= LOW):
            self._wake.set()

    def _judge(self, due: Due, answer: Response) -> Outcome:
        """Apply an answer to the receiver's state, and return the outcome for the notice."""
        meaning, now_ns, now = answer.meaning or verdict(answer.status), self._clock.wall_ns(), self._clock.monotonic()
        took_ms = round(answer.took_s * 1000)
        self.counts.attempts += 1
        if meaning is RetryDecision.ACCEPTED:
            self._accept(due.notice.id)
            kept = self._threads.note(due, answer.kept)
            return Outcome(due.notice.id, Fate.SENT, answer.status, now_ns, took_ms=took_ms, kept=kept)
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
            self._warn("receiver-works-again")
            self.poke()

    def _fail(self, meaning: RetryDecision, now: float, asked: float | None) -> None:
        """Apply a failure to the receiver's state; the refusal of one notice does not change it."""
        if meaning is RetryDecision.GONE and not self.gone:
            self.gone = True
            self._warn("receiver-gone", status=410, hint="reload after its URL was changed; its notices wait")
        if asked is not None:
            self._breaker.hold(now, asked)
        if meaning is RetryDecision.FAILED and self._breaker.failed(now, self._chance):
            self.counts.outages += 1
            self._warn("receiver-failing", failures=self._breaker.failures, error=self.counts.last_error)

    def _note_misplaced(self, status: int | None) -> None:
        hint = misplaced(self.receiver, status)
        if hint and not self._misplaced:
            self._warn("receiver-misplaced", status=status, hint=hint)
        self._misplaced = self._misplaced or bool(hint)

    def _warn(self, event: str, **values: object) -> None:
        _LOG.warning(line(event, receiver=self.receiver.name, **values))

    def _log_attempt(self, due: Due, outcome: Outcome) -> None:
        level = logging.INFO if outcome.fate is Fate.SENT else logging.WARNING
        text = line(
            "delivery",
            receiver=self.receiver.name,
            id=due.notice.id,
            incident=due.notice.incident_id,
            case=due.notice.case_id,
            type=due.notice.type,
            attempt=due.attempts + 1,
            fate=outcome.fate.value,
            status=outcome.status,
            took_ms=outcome.took_ms,
            retry_s=outcome.retry_at_ns and round((outcome.retry_at_ns - outcome.at_ns) / 1e9),
            error=outcome.error,
        )
        _LOG.log(level, text)


def incidents_of(notice: Notice) -> list[str]:
    """Return the ids of the incidents, or of the case, that a notice is about."""
    named = notice.body.get("incidents") if notice.type == MERGED else None
    listed = [str(one["id"]) for one in named] if isinstance(named, list) else []
    if notice.case_id:  # what is kept alive goes by the id of now; the root is that of the first notice
        listed = [str(notice.body.get("id")), *aliases_of(notice)]
    return [notice.subject, *listed]


def _class(rank: int) -> int:
    """Return the ranks that share `AT_ONCE` attempts: all below high, high, critical."""
    return max(rank, RANK["high"] - 1)
