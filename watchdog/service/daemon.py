"""The service: engine and writer in threads, sender and web in one event loop, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Final, TypeVar

from alerts.delivery.ports import Due, Fate, Outcome, SystemDeliveryClock
from alerts.delivery.sender import Sender
from alerts.notice import ChangeRecord
from alerts.store.due import StoredOutbox
from alerts.store.outbox import Delivery
from alerts.store.retention import remove_resolved, remove_settled
from watchdog.core.episode import Episode
from watchdog.core.errors import ServiceError, StoreError, StoreUnavailableError, WatchdogError
from watchdog.core.text import counted, printable
from watchdog.pipeline.clock import Clock, SystemClock
from watchdog.service.abilities import Abilities
from watchdog.service.assembly import (
    ServiceParts,
    build,
    heartbeat,
    in_force,
    load_rules,
    needs_restart,
    receivers_text,
    routes,
)
from watchdog.service.bounded_executor import ANSWER_S, WAITING_MOST, BoundedExecutor
from watchdog.service.callers import Callers
from watchdog.service.config.read import load_config
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.hub import Hub
from watchdog.service.live_pipeline import anew_text
from watchdog.service.sign_of_life import SignOfLife
from watchdog.service.vitals import Stored, Vitals

T = TypeVar("T")
ENGINE_END_S, WRITER_END_S, SENDER_END_S, WEB_END_S = 2.0, 1.8, 3.0, 1.0  # together under the 5 s that an end may take
LOOK_S = 0.5  # between two looks at the threads
ACTIONS_S = 2.0  # between two looks at actions that came past us (command line); our own API wakes the engine at once
COUNTS_S = 5.0  # between two counts of the database for metrics
RETENTION_EVERY_S = 600.0
NOT_CONFIGURED = "its receiver is not in the configuration any more"
_LOG = logging.getLogger("watchdog.service")

Close = Callable[[], Awaitable[None]]


class Daemon:
    """One service. `run` returns when it was told to stop.

    ServiceError when a part of it failed; StoreError when its database is one that no waiting can heal.

    serve: starts the web over this service and returns how to end it; None for none. on_end: told when the end
    begins. clock and wall_ns:
    monotonic seconds and unix time, for tests to replace.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        serve: Callable[[Daemon], Awaitable[Close]] | None = None,
        on_end: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.config, self.clock, self.wall_ns = config, clock or SystemClock(), wall_ns
        self._begun: Final = config  # what only a start reads stays as it is here
        self.hub: Final = Hub(config.queues.events)
        self.stored: Final = Stored({}, {})
        self.started_s = self.clock.monotonic()
        self.reloads, self.callers = 0, Callers()
        self.ready = asyncio.Event()
        self._serve, self._on_end = serve, on_end
        self._stop, self._sender_stop, self._news = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._background: set[asyncio.Future[tuple[bool, str]]] = set()
        self._reloading = asyncio.Lock()
        # Two pools: what strangers ask for can never hold up what the service itself looks after, nor the other way.
        self.asked: Final = BoundedExecutor("database", waiting_most=WAITING_MOST, answer_s=ANSWER_S)
        self._own: Final = BoundedExecutor("chores")
        self._loop: asyncio.AbstractEventLoop | None = None
        self.core: ServiceParts = build(config, self.clock, wall_ns, self._on_stored)
        self.vitals: Final = Vitals(
            self.core.engine, self.core.writer, self.stored, self.clock, unstored_s=lambda: self.sender.unstored_s
        )
        self.abilities: Final = Abilities(self.core, config)
        self.sign_of_life: Final = SignOfLife(self.vitals, self.core.engine, config.node, self.clock)
        self.sign_of_life.cannot_fire = self.abilities.cannot_fire
        self.sender: Final = Sender(
            StoredOutbox(self.core.store.database),
            routes(config).receivers,
            SystemDeliveryClock(wall_ns),
            heartbeat=heartbeat(config),
            vitals=self.sign_of_life,
            on_attempt=self._on_attempt,
            page_of=self._page_of,
        )

    async def run(self) -> None:
        """Watch until `stop`, SIGTERM or SIGINT; SIGHUP reloads."""
        self._loop = asyncio.get_running_loop()
        self._catch_signals(self._loop)
        close_web: Close | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            close_web = await self._serve(self) if self._serve else None
            self.core.engine.start()
            self.core.writer.start()
            sending = asyncio.create_task(self.sender.run(self._sender_stop))
            chores = [asyncio.create_task(work) for work in self._chores()]
            tasks = [sending, *chores]
            _LOG.info("watching %s of node %s", counted(len(self.core.engine.feed.names), "source"), self.config.node)
            self.abilities.log()
            self.ready.set()
            await self._until_stopped(tasks)
            await self._end(sending, close_web, chores)
        finally:
            await self._let_go_of_threads()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # a failure is one line, whoever else has met it
            self.asked.close()
            self._own.close()
            self.core.close()

    def stop(self) -> None:
        """Drain, keep the state, end. In the loop's thread."""
        self._stop.set()

    async def ask(self, call: Callable[[], T], /) -> T:
        """Run a database call in a thread, for people and programs outside.

        BusyError when as many wait as may, StoreUnavailableError when the database does not answer in time.
        """
        return await self.asked.ask(call)

    async def reload(self) -> tuple[bool, str]:
        """Read configuration and rules again: all of it comes into force or nothing, and why or what."""
        async with self._reloading:
            self.reloads += 1
            try:
                config = await self._own.ask(lambda: load_config(self.config.path))
                rules = await self._own.ask(lambda: load_rules(config))
            except WatchdogError as error:
                _LOG.error("reload: nothing was changed: %s", error.in_one_line())
                return self._answered(ok=False, text=f"nothing was changed:\n{error}")
            except OSError as error:
                return self._answered(ok=False, text=f"nothing was changed: {error.strerror}")
            waiting = needs_restart(self._begun, config)
            config = in_force(self._begun, config)
            try:
                changed = await asyncio.wrap_future(self.core.engine.change_rules(rules))
            except ServiceError as error:
                return self._answered(ok=False, text=f"nothing was changed: {error}")
            self.core.rules = rules
            self.abilities.log()
            self.core.writer.routes = routes(config)
            self.sender.configure(self.core.writer.routes.receivers, heartbeat(config))
            text = f"{counted(len(rules.plans), 'rule')} ({'changed' if changed else 'as before'}), "
            text += f"{counted(len(config.receivers), 'receiver')} ({receivers_text(self.config, config)})"
            if changed:
                text += "; " + (anew_text(self.core.engine.watch.started_anew) or "all go on where they were")
            self.config = config
            text += await self._give_up_in_words()
            if waiting:
                text += f"; needs a restart: {', '.join(waiting)}"
            _LOG.info("reload: %s", text)
            return self._answered(ok=True, text=text)

    def look_for_actions(self) -> None:
        """An operator has acted: do not wait for the next look."""
        self._news.set()

    def _page_of(self, incident_id: str) -> str:
        return self.core.writer.routes.url_of(incident_id)  # a reload replaces the routes

    def _answered(self, *, ok: bool, text: str) -> tuple[bool, str]:
        self.hub.announce("reload", {"ok": ok, "text": text})
        try:
            self.core.pid_file.answer(self.reloads, ok=ok, text=text)
        except OSError as error:
            _LOG.error("reload: the answer cannot be written: %s", error.strerror)
        return ok, text

    def _catch_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        def hang_up() -> None:
            reloading = asyncio.ensure_future(self.reload())
            self._background.add(reloading)
            reloading.add_done_callback(self._background.discard)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, hang_up)

    def _chores(self) -> Sequence[Coroutine[None, None, None]]:
        return (self._fetch_actions(), self._count(), self._let_go())

    async def _until_stopped(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Until told to stop. When a thread or task ends by itself: its StoreError, or ServiceError."""
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while not stopped.done():
                await asyncio.wait((stopped, *tasks), timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()
                        raise ServiceError("a part of the service has ended by itself; see the log")
                if not (self.core.engine.alive and self.core.writer.alive):
                    raise self.core.writer.failure or ServiceError("a thread of the service has failed; see the log")
        finally:
            stopped.cancel()

    async def _end(
        self, sending: asyncio.Task[None], close_web: Close | None, tasks: Sequence[asyncio.Task[None]]
    ) -> None:
        _LOG.info("ending")
        self._on_end()
        self.core.engine.stop()
        self._sender_stop.set()
        self.hub.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        ends = [asyncio.wait((sending,), timeout=SENDER_END_S), self._drain()]
        if close_web is not None:
            ends.append(asyncio.wait((asyncio.ensure_future(close_web()),), timeout=WEB_END_S))
        await asyncio.gather(*ends)
        if self.core.writer.failure is not None:
            raise self.core.writer.failure
        _LOG.info("ended")

    async def _let_go_of_threads(self) -> None:
        """After a failure too no thread may outlive the loop; after an orderly end there is nothing left to do."""
        engine, writer = self.core.engine, self.core.writer
        engine.give_up()
        writer.give_up()
        if engine.alive:
            await asyncio.to_thread(engine.join, ENGINE_END_S)
        if writer.alive:
            await asyncio.to_thread(writer.join, WRITER_END_S)

    async def _drain(self) -> None:
        """Engine, then writer; what does not end in time is given up, and made again after a restart."""
        engine, writer = self.core.engine, self.core.writer
        if not await asyncio.to_thread(engine.join, ENGINE_END_S):
            engine.give_up()
        if not await asyncio.to_thread(writer.join, WRITER_END_S):
            writer.give_up()
            _LOG.warning("the database did not take everything; the rest is made again after a restart")
            await asyncio.to_thread(writer.join, 0.2)

    def _on_stored(self, records: Sequence[ChangeRecord]) -> None:
        """In the writer's thread: changes are in the database."""
        self.sender.poke_from_thread()
        if self._loop is not None and not self._loop.is_closed() and self.hub.watchers:
            objects = [_announced(record) for record in records]
            self._loop.call_soon_threadsafe(self._announce, objects)

    def _on_attempt(self, due: Due, outcome: Outcome) -> None:
        """What became of a try to deliver is in the database."""
        if self.hub.watchers:
            self.hub.announce("delivery", _attempted(due, outcome).as_object())

    def _announce(self, objects: Sequence[dict[str, object]]) -> None:
        for one in objects:
            self.hub.announce("incident", one)

    async def _fetch_actions(self) -> None:
        last, fault = self.core.engine.watch.last_action, Episode()
        while True:
            try:
                found = await self._own.ask(lambda after=last: self.core.store.actions.after(after))  # type: ignore[misc] # mypy cannot infer a lambda with a default
            except StoreUnavailableError as error:
                if fault.failed(str(error)):
                    _LOG.warning("actions: %s", error)
                found = []
            else:
                fault.worked(self.clock.monotonic())
            if found and self.core.engine.act(found):  # else the engine is behind: they are fetched again
                last = found[-1].id
            self._news.clear()
            try:
                async with asyncio.timeout(ACTIONS_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _count(self) -> None:
        while True:
            self.stored.begin(self.clock.monotonic())
            try:
                incidents = await self._own.ask(self.core.store.queries.counts)
                waiting = await self._own.ask(self.core.store.outbox.counts)
                self.stored.incidents = {(state, severity): many for (state, severity), many in incidents.items()}
                self.stored.outbox = {(name, status): many for (name, status), many in waiting.items()}
                self.stored.answered()
                async with self._reloading:
                    self.stored.begin(self.clock.monotonic())
                    await self._give_up_strays()
                    self.stored.answered()
            except StoreUnavailableError as error:
                self.stored.error = str(error)
            await asyncio.sleep(COUNTS_S)

    async def _give_up_strays(self) -> int:
        """Notices of receivers that the configuration does not name become dead letters; how many.

        Looked for at the start and at a reload, and now and then: a change that was routed just before a reload, or a
        `deliveries resend`, may bring another one. StoreUnavailableError when the database does not answer.
        """
        counts = await self._own.ask(self.core.store.outbox.counts)
        named = {one.name for one in self.config.receivers}
        strays = sorted({name for name, status in counts if status == "waiting"} - named)
        if not strays:
            return 0
        now_ns = self.wall_ns()
        many = await self._own.ask(lambda: self.core.store.outbox.give_up(strays, NOT_CONFIGURED, now_ns))
        shown = ", ".join(printable(name) for name in strays[:10])
        told = counted(many, "notice")
        _LOG.warning("made dead letters, as nobody is configured to get them: %s to %s", told, shown)
        self.hub.announce("deliveries", {"receivers": strays[:100], "status": "dead"})
        return many

    async def _give_up_in_words(self) -> str:
        """The same for the answer to a reload; a database that does not answer is asked again later (`_count`)."""
        try:
            many = await self._give_up_strays()
        except StoreError as error:
            _LOG.warning("dead letters: %s", error)
            return ""
        return f"; made dead letters: {counted(many, 'notice')} to receivers that are gone" if many else ""

    async def _let_go(self) -> None:
        """Old incidents and deliveries go; nothing of it is urgent."""
        while True:
            await asyncio.sleep(RETENTION_EVERY_S)
            try:
                incidents, deliveries = await self._own.ask(self._remove_old)
            except StoreUnavailableError as error:
                _LOG.warning("retention: %s", error)
            else:
                if incidents or deliveries:
                    _LOG.info("retention: %d incidents and %d deliveries removed", incidents, deliveries)

    def _remove_old(self) -> tuple[int, int]:
        """How many incidents and deliveries went.

        Old is what lies far behind event time: an old recording is not forgotten while it is read, and a wall clock
        that steps into the future removes nothing.
        """
        now_ns = min(self.wall_ns(), self.core.engine.watch.last_event_ns or 0)
        kept, database, stopped = self.config.retention, self.core.store.database, self._stop.is_set
        incidents = remove_resolved(database, now_ns - kept.resolved_ns, stopped=stopped)
        return incidents, remove_settled(database, now_ns - kept.deliveries_ns, stopped=stopped)


def _announced(record: ChangeRecord) -> dict[str, object]:
    """The incident without its evidence and steps, and the change."""
    shown = {name: value for name, value in record.document.items() if name not in ("evidence", "changes")}
    change = record.change
    step = {
        "sequence": change.sequence,
        "reason": change.reason.value,
        "text": change.text,
        "time": change.time_ns / 1e9,
    }
    return {**shown, "change": step}


def _attempted(due: Due, outcome: Outcome) -> Delivery:
    """The delivery as the outbox has it after an attempt."""
    waits = outcome.fate is Fate.RETRY
    opened = due.notice.body.get("opened")
    return Delivery(
        notice=due.notice,
        position=0,  # not shown
        status="waiting" if waits else "sent" if outcome.fate is Fate.SENT else "dead",
        attempts=due.attempts + 1,
        next_ns=outcome.retry_at_ns or 0,
        settled_ns=None if waits else outcome.at_ns,
        last_status=outcome.status,
        last_error=outcome.error or None,
        incident_opened_ns=round(opened * 1e9) if isinstance(opened, int | float) else None,
    )
