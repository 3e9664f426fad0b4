"""The service's own work on the database: operators' actions, counts for metrics, dead letters, retention."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from alerts.store.drills import Drills
from alerts.store.retention import remove_resolved, remove_settled
from alerts.store.timed_notices import TimedNotices
from watchdog.core.episode import Episode
from watchdog.core.errors import StoreUnavailableError
from watchdog.core.text import counted, printable
from watchdog.pipeline.clock import Clock
from watchdog.service.assembly import ServiceParts
from watchdog.service.attention import Attention
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.case_act_fetch import CaseActFetch
from watchdog.service.drills import LiveDrills
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.exception_record import ExceptionRecords
from watchdog.service.hub import Hub
from watchdog.service.silence_chore import SilenceChore
from watchdog.service.vitals import Stored

ACTIONS_S = 2.0  # between two queries for actions of the command line; our own API wakes the loop at once
COUNTS_S = 5.0  # between two counts of the database for metrics
RETENTION_EVERY_S = 600.0
EXCEPTIONS_S = 60.0  # between two looks at what exceptions have matched
NOT_CONFIGURED = "its receiver was removed from the configuration"
_LOG = logging.getLogger("watchdog.service")


class Chores:
    """Endless loops for the daemon, which runs each of `loops` as a task and cancels it. Belongs to the event loop.

    housekeeping: runs the database calls; apart from the API's queries, so that neither can delay the other. stored:
    updated with the latest counts. silences: passes them to the engines. wall_ns: unix time. stopped: whether the
    service is ending; called in any thread.
    """

    def __init__(
        self,
        parts: ServiceParts,
        hub: Hub,
        stored: Stored,
        *,
        clock: Clock,
        wall_ns: Callable[[], int],
        stopped: Callable[[], bool],
    ) -> None:
        self.housekeeping: Final = BoundedExecutor("chores")
        self._store, self._nodes, self._in_force = parts.store, parts.nodes, parts.in_force
        self._hub, self._stored = hub, stored
        self._clock, self._wall_ns, self._stopped = clock, wall_ns, stopped
        self._acted = asyncio.Event()
        self._case_acts = CaseActFetch(parts.store.case_acts, self.housekeeping)
        self.silences: Final = SilenceChore(parts, self.housekeeping, stored, clock=clock, wall_ns=wall_ns)
        self._drills = LiveDrills(
            Drills(parts.store.database),
            self.housekeeping,
            parts.nodes.out,
            nodes=lambda: list(parts.nodes.engines),
            wall_ns=wall_ns,
        )
        self._attention = Attention(
            TimedNotices(parts.store.database),
            self.housekeeping,
            parts.writer.counts,
            plan=lambda: parts.in_force.config.attention,
            routes=lambda: parts.writer.routes,
            wall_ns=wall_ns,
            caught_up=lambda: all(engine.counts.idle_s is not None for engine in parts.nodes.loops),
        )

    def loops(self) -> Sequence[Coroutine[None, None, None]]:
        """Return the loops. A StoreError that waiting cannot heal ends the one that meets it."""
        every = (self._fetch_actions(), self._count_loop(), self._retention_loop())
        return (*every, self.silences.loop(), self._exception_loop(), self._attention.run(), self._drills.run())

    def look_for_actions(self) -> None:
        """Fetch operators' actions now: one has just been stored."""
        self._acted.set()

    async def dead_letter_removed_receivers(self) -> int:
        """Turn waiting notices into dead letters where the configuration lacks their receiver; return how many.

        A reload calls this with the lock of `InForce` held, and so does the count loop: a change that was routed just
        before a reload, or a `deliveries resend`, may add another notice. StoreUnavailableError when the database does
        not answer.
        """
        counts = await self.housekeeping.ask(self._store.outbox.counts)
        configured = {receiver.name for receiver in self._in_force.config.receivers}
        removed = sorted({name for name, status in counts if status == "waiting"} - configured)
        if not removed:
            return 0
        now_ns = self._wall_ns()
        count = await self.housekeeping.ask(lambda: self._store.outbox.give_up(removed, NOT_CONFIGURED, now_ns))
        names = ", ".join(printable(name) for name in removed[:10])
        notices = counted(count, "notice")
        _LOG.warning("%s moved to dead letters, as their receivers are not configured: %s", notices, names)
        self._hub.announce("deliveries", {"receivers": removed[:100], "status": "dead"})
        return count

    async def _fetch_actions(self) -> None:
        """Pass operators' actions to the engine, each once."""
        given, fault = dict[EngineLoop, int](), Episode()
        while True:
            given = {engine: given.get(engine, engine.watch.actions.last_id) for engine in self._nodes.loops}
            last = min(given.values(), default=0)
            try:
                actions = await self.housekeeping.ask(lambda after=last: self._store.actions.after(after))  # type: ignore[misc] # mypy cannot infer a lambda with a default
                await self._case_acts.fetch(self._nodes.loops)
            except StoreUnavailableError as error:
                if fault.failed(str(error)):
                    _LOG.warning("actions: %s", error)
                actions = []
            else:
                fault.worked(self._clock.monotonic())
            for engine in given if actions else ():
                if engine.act(actions):  # else it is behind: they are fetched again
                    given[engine] = max(given[engine], actions[-1].id)
            self._acted.clear()
            try:
                async with asyncio.timeout(ACTIONS_S):
                    await self._acted.wait()
            except TimeoutError:
                continue

    async def _count_loop(self) -> None:
        """Keep `Stored` up to date, which is also the probe of whether the database answers."""
        while True:
            self._stored.begin(self._clock.monotonic())
            try:
                incidents = await self.housekeeping.ask(self._store.queries.counts)
                deliveries = await self.housekeeping.ask(self._store.outbox.counts)
                self._stored.incidents = {(state, severity): count for (state, severity), count in incidents.items()}
                self._stored.by_rule = await self.housekeeping.ask(self._store.queries.open_by_rule)
                self._stored.audit = await self.housekeeping.ask(self._store.audit.entries)
                self._stored.outbox = {(name, status): count for (name, status), count in deliveries.items()}
                self._stored.answered()
                async with self._in_force.lock:
                    self._stored.begin(self._clock.monotonic())
                    await self.dead_letter_removed_receivers()
                    self._stored.answered()
            except StoreUnavailableError as error:
                self._stored.error = str(error)
            await asyncio.sleep(COUNTS_S)

    async def _exception_loop(self) -> None:
        """Keep when each exception of the rules matched last."""
        folder = self._in_force.config.checkpoint.folder
        records = await self.housekeeping.ask(lambda: ExceptionRecords(folder))
        while True:
            await self.housekeeping.ask(lambda: self._note_exceptions(records))
            await asyncio.sleep(EXCEPTIONS_S)

    def _note_exceptions(self, records: ExceptionRecords) -> None:
        """Note what has matched. Not of the rules in force: after a reload with equal rules the old ones still run."""
        running = {one: None for engine in self._nodes.loops for one in engine.watch.rules.exceptions}
        records.note(list(running), self._wall_ns(), self._clock.monotonic())

    async def _retention_loop(self) -> None:
        """Remove old incidents and deliveries, now and then."""
        while True:
            await asyncio.sleep(RETENTION_EVERY_S)
            try:
                incidents, deliveries = await self.housekeeping.ask(self._remove_old)
            except StoreUnavailableError as error:
                _LOG.warning("retention: %s", error)
            else:
                if incidents or deliveries:
                    _LOG.info("retention: %d incidents and %d deliveries removed", incidents, deliveries)

    def _remove_old(self) -> tuple[int, int]:
        """Remove what retention no longer covers; return how many incidents and deliveries.

        Age counts from event time, or from the wall clock if that is earlier: an old recording is not removed while it
        is read, and a wall clock that jumps ahead removes nothing.
        """
        now_ns = min(self._wall_ns(), *(engine.watch.last_event_ns or 0 for engine in self._nodes))
        retention, database = self._in_force.config.retention, self._store.database
        incidents = remove_resolved(database, now_ns - retention.resolved_ns, stopped=self._stopped)
        return incidents, remove_settled(database, now_ns - retention.deliveries_ns, stopped=self._stopped)
