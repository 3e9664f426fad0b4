"""The service: engine and writer in threads, sender and web in one event loop, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from alerts.delivery.ports import Due, Outcome, SystemDeliveryClock
from alerts.delivery.sender import Sender
from alerts.notice import ChangeRecord
from alerts.routing import Subject
from alerts.store.due import StoredOutbox
from watchdog.core.errors import ServiceError
from watchdog.core.text import counted
from watchdog.pipeline.clock import Clock, SystemClock
from watchdog.service.abilities import Abilities
from watchdog.service.announcer import Announcer
from watchdog.service.assembly import build, heartbeat, routes
from watchdog.service.audit_log import audit_start
from watchdog.service.bounded_executor import ANSWER_S, WAITING_MOST, BoundedExecutor
from watchdog.service.callers import Callers
from watchdog.service.chores import Chores
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.hub import Hub
from watchdog.service.notice_delays import NoticeDelays
from watchdog.service.reload import Reloader
from watchdog.service.sign_of_life import SignOfLife
from watchdog.service.supervisor import Supervisor
from watchdog.service.vitals import Stored, Vitals

T = TypeVar("T")
ENGINE_END_S, WRITER_END_S, SENDER_END_S, WEB_END_S = 2.0, 1.8, 3.0, 1.0  # together below the 5 s that ending may take
LOOK_S = 0.5  # between two checks of the threads
_LOG = logging.getLogger("watchdog.service")

Close = Callable[[], Awaitable[None]]


class Daemon:
    """One service: built by `watchdog run`, which awaits `run`. All of it belongs to one event loop.

    Building it raises what `assembly.build` raises. serve: starts the web over this service and returns how to close
    it; None for no web. on_end: called when the end begins. supervisor: the service manager, if any. clock and
    wall_ns: monotonic seconds and unix time in ns, for tests to replace.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        serve: Callable[[Daemon], Awaitable[Close]] | None = None,
        on_end: Callable[[], None] = lambda: None,
        supervisor: Supervisor | None = None,
        clock: Clock | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.clock, self.wall_ns = clock or SystemClock(), wall_ns
        self.hub: Final = Hub(config.queues.events)
        self.stored: Final = Stored({}, {})
        self.delays: Final = NoticeDelays()
        self.callers: Final = Callers()
        self.started_s: Final = self.clock.monotonic()
        self.ready: Final = asyncio.Event()
        self._serve, self._on_end, self._supervisor = serve, on_end, supervisor or Supervisor()
        self._stop, self._sender_stop = asyncio.Event(), asyncio.Event()
        self._reloads: set[asyncio.Future[tuple[bool, str]]] = set()
        self._announcer = Announcer(self.hub)
        self._watching = ""
        parts = build(config, self.clock, wall_ns, self._on_stored)
        self.in_force, self.store = parts.in_force, parts.store
        self.nodes, self.writer = parts.nodes, parts.writer
        audit_start(self.store.audit, self.in_force.rules, wall_ns())
        self.api_queries: Final = BoundedExecutor("database", waiting_most=WAITING_MOST, answer_s=ANSWER_S)
        self._chores = Chores(
            parts, self.hub, self.stored, clock=self.clock, wall_ns=wall_ns, stopped=self._stop.is_set
        )
        self.vitals: Final = Vitals(
            self.nodes, self.writer, self.stored, self.clock, unstored_s=lambda: self.sender.unstored_s
        )
        self.abilities: Final = Abilities(self.nodes, self.in_force)
        self.sign_of_life: Final = SignOfLife(self.vitals, self.nodes, self.clock)
        self.sign_of_life.cannot_fire = self.abilities.cannot_fire
        self.sender: Final = self._new_sender(config)
        self._chores.silences.announce = self.sender.signals.put
        self._reloader = Reloader(parts, self.sender, self.hub, self.abilities, self._chores)
        self._close_parts = parts.close

    @property
    def config(self) -> ServiceConfig:
        """The configuration in force; a reload replaces it."""
        return self.in_force.config

    @property
    def engine(self) -> EngineLoop:
        """The engine of the only node. ServiceError with several."""
        return self.nodes.only

    async def run(self) -> None:
        """Watch until `stop`, SIGTERM or SIGINT; SIGHUP reloads.

        ServiceError when a part of the service failed; StoreError when its database is one that waiting cannot heal.
        """
        self._announcer.start()
        self.writer.cases_stored = self._announcer.cases_stored
        self._handle_signals()
        close_web: Close | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            close_web = await self._serve(self) if self._serve else None
            await self._chores.silences.first()
            for engine in self.nodes.loops:
                engine.start()
            self.writer.start()
            sending = asyncio.create_task(self.sender.run(self._sender_stop))
            chores = [asyncio.create_task(loop) for loop in self._chores.loops()]
            watching = [f"{counted(len(engine.feed.names), 'source')} of node {engine.node}" for engine in self.nodes]
            self._watching = f"watching {', '.join(watching)}"
            if self._supervisor.there:
                chores.append(asyncio.create_task(self._supervisor.keep_alive(self.vitals, self._watching)))
            tasks = [sending, *chores]
            for each in watching:
                _LOG.info("watching %s", each)
            self.abilities.log()
            self.ready.set()
            self._supervisor.ready(self._watching)
            await self._until_stopped(tasks)
            await self._end(sending, close_web, chores)
        finally:
            await self._join_threads()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # one failure is one line, however many tasks met it
            self.api_queries.close()
            self._chores.housekeeping.close()
            await asyncio.to_thread(self._close_parts)

    def stop(self) -> None:
        """Drain, keep the state, end. Called in the event loop."""
        self._stop.set()

    async def ask(self, call: Callable[[], T], /) -> T:
        """Run a database call of the API in a thread, and return its result.

        BusyError when the queue of waiting calls is full, StoreUnavailableError when the database does not answer in
        time; else what the call raises.
        """
        return await self.api_queries.ask(call)

    async def reload(self) -> tuple[bool, str]:
        """Reload configuration and rules, all or nothing; return whether that worked, and what changed or why not."""
        self._supervisor.reloading()
        try:
            return await self._reloader.reload()
        finally:
            self._supervisor.ready(self._watching)

    def look_for_actions(self) -> None:
        """Fetch operators' actions now: one has just been stored."""
        self._chores.look_for_actions()

    def look_for_silences(self) -> None:
        """Pass silences to the engines now: one has just been stored."""
        self._chores.silences.look()

    def _new_sender(self, config: ServiceConfig) -> Sender:
        return Sender(
            StoredOutbox(self.store.database),
            routes(config).receivers,
            SystemDeliveryClock(self.wall_ns),
            heartbeat=heartbeat(config),
            vitals=self.sign_of_life,
            on_attempt=self._attempted,
            page_of=self._page_of,
        )

    def _attempted(self, due: Due, outcome: Outcome) -> None:
        self.delays.note(due, outcome)
        self._announcer.attempted(due, outcome)

    def _page_of(self, id_: str, about: Subject) -> str | None:
        routes = self.writer.routes  # a reload replaces them
        return (routes.case_url_of if about == "cases" else routes.url_of)(id_)

    def _on_stored(self, records: Sequence[ChangeRecord]) -> None:
        """Wake the sender and announce the changes. Called in the writer's thread."""
        self.sender.poke_from_thread()
        self._announcer.stored(records)
        for record in records:
            engine = self.nodes.engines.get(record.incident.node)
            if engine is not None and engine.recorder is not None:
                engine.recorder.note(record)

    def _handle_signals(self) -> None:
        def hang_up() -> None:
            reloading = asyncio.ensure_future(self.reload())
            self._reloads.add(reloading)
            reloading.add_done_callback(self._reloads.discard)

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, hang_up)

    async def _until_stopped(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Return when stopped. Raise StoreError or ServiceError when a thread or task ends by itself."""
        stopped = asyncio.create_task(self._stop.wait())
        try:
            while not stopped.done():
                await asyncio.wait((stopped, *tasks), timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done():
                        task.result()
                        raise ServiceError("a part of the service ended by itself; see the log")
                if not (self.nodes.alive and self.writer.alive):
                    raise self.writer.failure or ServiceError("a thread of the service has failed; see the log")
        finally:
            stopped.cancel()

    async def _end(
        self, sending: asyncio.Task[None], close_web: Close | None, chores: Sequence[asyncio.Task[None]]
    ) -> None:
        """End in order: sources, chores, then sender, web and threads together. StoreError when the writer failed."""
        _LOG.info("ending")
        self._supervisor.stopping()
        self._on_end()
        self.nodes.stop()
        self._sender_stop.set()
        self.hub.close()
        for task in chores:
            task.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        ends = [asyncio.wait((sending,), timeout=SENDER_END_S), self._drain()]
        if close_web is not None:
            ends.append(asyncio.wait((asyncio.ensure_future(close_web()),), timeout=WEB_END_S))
        await asyncio.gather(*ends)
        if self.writer.failure is not None:
            raise self.writer.failure
        _LOG.info("ended")

    async def _join_threads(self) -> None:
        """Join both threads after a failure, so that none outlives the loop; an orderly end has joined them."""
        self.nodes.give_up()
        self.writer.give_up()
        if any(engine.alive for engine in self.nodes.loops):
            await asyncio.to_thread(self.nodes.join, ENGINE_END_S)
        if self.writer.alive:
            await asyncio.to_thread(self.writer.join, WRITER_END_S)

    async def _drain(self) -> None:
        """Wait for the engines, then for the writer. A restart computes again what was not stored in time."""
        if not await asyncio.to_thread(self.nodes.join, ENGINE_END_S):
            self.nodes.give_up()
        self.writer.finish()
        if not await asyncio.to_thread(self.writer.join, WRITER_END_S):
            self.writer.give_up()
            _LOG.warning("the database did not store every change in time; a restart computes the rest again")
            await asyncio.to_thread(self.writer.join, 0.2)
