"""Passes silences and maintenance windows to the engines: of the configuration, and those that people add meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from alerts.delivery.encoding import SILENCE_ENDING
from alerts.maintenance import QuietWindow
from alerts.render import time_text
from alerts.silence import ClaimSilence, ending
from alerts.store.silences import Silences
from watchdog.core.durations import DAY_NS
from watchdog.core.episode import Episode
from watchdog.core.errors import StoreUnavailableError
from watchdog.core.text import printable
from watchdog.pipeline.clock import Clock
from watchdog.service.assembly import ServiceParts
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.vitals import Stored

FIRST_S: Final = 10.0  # that a start waits for the database
LOOK_S: Final = 2.0  # between two queries for silences of the command line; our own API wakes the loop at once
_LOG = logging.getLogger("watchdog.service")


class SilenceChore:
    """Belongs to the event loop. housekeeping: runs the database calls. stored: gets the counts of silences.

    announce: sends a signal to receivers, given its kind and data.
    """

    def __init__(
        self,
        parts: ServiceParts,
        housekeeping: BoundedExecutor,
        stored: Stored,
        *,
        clock: Clock,
        wall_ns: Callable[[], int],
    ) -> None:
        self._nodes, self._in_force, self._housekeeping = parts.nodes, parts.in_force, housekeeping
        self._kept, self._clock, self._wall_ns = Silences(parts.store.database), clock, wall_ns
        self._given: dict[EngineLoop, tuple[Sequence[ClaimSilence], Sequence[QuietWindow]] | None] = {}
        self._fault, self._reminded = Episode(), set[str]()
        self._changed, self._seen = asyncio.Event(), stored
        self.announce: Callable[[str, Mapping[str, object]], None] = lambda _kind, _data: None

    def look(self) -> None:
        """Look now: one has just been stored."""
        self._changed.set()

    async def first(self) -> None:
        """Pass on what there is before the engines begin, but never keep them waiting for long."""
        try:
            async with asyncio.timeout(FIRST_S):
                await self.pass_on()
        except TimeoutError:
            _LOG.warning("silences: the database does not respond; they begin when it does")

    async def pass_on(self) -> None:
        """Give each engine the silences of its events' time and the windows, where they differ from those that it has.

        A start does so before the engines begin: what is read a second time is silenced as it was the first time.
        """
        try:
            stored = await self._housekeeping.ask(self._stored)
        except StoreUnavailableError as error:
            if self._fault.failed(str(error)):
                _LOG.warning("silences: %s", error)
            return  # those that the engines have stay
        self._fault.worked(self._clock.monotonic())
        silences, windows = (*self._in_force.config.silences, *stored), self._in_force.config.maintenance
        self._given = {engine: self._given.get(engine) for engine in self._nodes.loops}
        for engine, given in self._given.items():
            if given != (silences, windows) and engine.silence(silences, windows):  # else it is behind: next time
                self._given[engine] = silences, windows
        await self._remind(silences)

    async def loop(self) -> None:
        """Look every few seconds, and when one is stored."""
        while True:
            self._changed.clear()
            await self.pass_on()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _stored(self) -> list[ClaimSilence]:
        since_ns = min([self._wall_ns(), *(engine.watch.last_event_ns or 0 for engine in self._nodes)])
        return self._kept.since(since_ns - DAY_NS)

    async def _remind(self, silences: Sequence[ClaimSilence]) -> None:
        """Announce each end once, a day before: what fires then counts again."""
        now_ns = self._wall_ns()
        soon = ending(silences, now_ns)
        self._seen.silences = sum(one.from_ns <= now_ns < one.until_ns for one in silences)
        self._seen.silences_ending = len(soon)
        fresh = [one for one in soon if f"{one.id} {one.until_ns}" not in self._reminded]
        self._reminded = {f"{one.id} {one.until_ns}" for one in soon}
        stored = [one.id for one in fresh if one.id.isdecimal()]
        try:
            new = set(await self._housekeeping.ask(lambda: self._kept.remind(stored))) if stored else set()
        except StoreUnavailableError:
            self._reminded -= {f"{one.id} {one.until_ns}" for one in fresh}  # at the next look
            return
        for one in fresh:
            if one.id in new or not one.id.isdecimal():
                self._announce(one)

    def _announce(self, one: ClaimSilence) -> None:
        end, author = time_text(one.until_ns), printable(one.author)
        text = f"silence {one.id} by {author} ends at {end} UTC: {one.matcher}"
        _LOG.warning("%s", text)
        facts = {"silence": one.id, "author": author, "until": one.until_ns / 1e9, "node": one.node or None}
        self.announce(SILENCE_ENDING, {**facts, "matcher": one.matcher, "text": text})
