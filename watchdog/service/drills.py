"""Drills of a running service: taken from the database, made as cases are, and ended whatever happens."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from alerts.drill import DrillCase, DrillStep
from alerts.store.drills import Drill, Drills
from watchdog.core.episode import Episode
from watchdog.core.errors import StoreUnavailableError
from watchdog.core.text import printable
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.engine_thread import Bundle

LOOK_S = 1.0
_LOG = logging.getLogger("watchdog.service")


class LiveDrills:
    """One loop, in the event loop of the service. out: the queue to the writer. nodes: those that are watched."""

    def __init__(
        self,
        store: Drills,
        executor: BoundedExecutor,
        out: queue.Queue[Bundle],
        *,
        nodes: Callable[[], Sequence[str]],
        wall_ns: Callable[[], int],
    ) -> None:
        self._store, self._executor, self._out = store, executor, out
        self._nodes, self._wall_ns = nodes, wall_ns
        self._cases: dict[str, DrillCase] = {}
        self._opening: dict[str, DrillStep] = {}
        self._resumed, self._ended = set[str](), set[str]()
        self._waiting: deque[Bundle] = deque()  # for room in the queue; a drill gives three at most
        self._fault = Episode()

    async def run(self) -> None:
        """Look, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self.look()
            except StoreUnavailableError as error:
                if self._fault.failed(str(error)):
                    _LOG.warning("drills: %s", error)
            else:
                self._fault.worked(loop.time())
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Take what was asked for, and move on what is under way."""
        self._send()
        for drill in await self._executor.ask(self._store.unfinished):
            if drill.begun_ns is None:
                await self._begin(drill)
            else:
                await self._move(drill)

    async def _begin(self, drill: Drill) -> None:
        now_ns, nodes = self._wall_ns(), list(self._nodes())
        node = drill.node or (nodes[0] if nodes else "")
        error = "" if node in nodes else f"no node {printable(node, 80)!r}; there are {', '.join(nodes[:20])}"
        if drill.over or now_ns >= drill.until_ns:
            error = "it was asked to end before the service took it"
        if error:
            await self._executor.ask(partial(self._store.finish, drill.id, now_ns, error))
            return
        await self._executor.ask(partial(self._store.begin, drill.id, node, now_ns))
        _LOG.warning("drill %s of node %s begins, asked for by %s", drill.id, printable(node), printable(drill.who))
        self._cases[drill.id] = DrillCase(drill.id, node, drill.severity, now_ns)

    async def _move(self, drill: Drill) -> None:
        """Open the case once it is time; end it when asked to, at its time, or when another process began it."""
        now_ns, case = self._wall_ns(), self._cases.get(drill.id)
        if case is None:
            case = self._cases[drill.id] = DrillCase(drill.id, drill.node, drill.severity, drill.begun_ns or now_ns)
            self._resumed.add(drill.id)
            if drill.case_id:
                self._put(case.advance(max(case.opens_ns, now_ns)))  # the same notice again, under its id
        if drill.id in self._resumed or drill.over or now_ns >= drill.until_ns:
            await self._end(drill, case, now_ns)
            return
        if not case.case_id:
            self._opening[drill.id] = case.advance(now_ns)
        if case.case_id and drill.id in self._opening:
            await self._executor.ask(partial(self._store.opened, drill.id, case.case_id))
            self._put(self._opening.pop(drill.id))  # only now: a case that no one knows of would never end

    async def _end(self, drill: Drill, case: DrillCase, now_ns: int) -> None:
        """End the case; the drill is over once that is in the history."""
        if drill.case_id and drill.id not in self._ended:
            self._put(case.end(now_ns))
            self._ended.add(drill.id)
        if drill.case_id and not await self._executor.ask(partial(self._store.is_resolved, drill.case_id)):
            return
        error = "the service was restarted meanwhile" if drill.id in self._resumed else ""
        await self._executor.ask(partial(self._store.finish, drill.id, now_ns, error))
        _LOG.warning("drill %s is over", drill.id)
        for known in (self._ended, self._resumed):
            known.discard(drill.id)
        self._cases.pop(drill.id, None)
        self._opening.pop(drill.id, None)

    def _put(self, step: DrillStep) -> None:
        if step.changes:
            self._waiting.append(Bundle(cases=step.cases, notices=step.changes))
        self._send()

    def _send(self) -> None:
        """Pass to the writer what it has room for; the event loop must not wait for it."""
        while self._waiting:
            try:
                self._out.put_nowait(self._waiting[0])
            except queue.Full:
                return
            self._waiting.popleft()
