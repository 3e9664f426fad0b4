"""Whether the service is healthy: facts, thresholds and reasons for heartbeat, probes and page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from watchdog.core.text import printable
from watchdog.pipeline.clock import Clock
from watchdog.service.channel import Channel
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.feed import DOWN_S
from watchdog.service.view import Check, Health
from watchdog.service.writer_thread import WriterLoop

LOST_S = DOWN_S
"""Withhold the heartbeat after this long: the time that a source may be down, and more than a locked database takes."""
BEAT_S = 30.0
"""A thread without a heartbeat for this long is stuck. A slice takes about a second; a thread waiting for the database
is judged by its wait instead."""
SILENT_S = 10.0
"""A database that has not answered for this long is unreachable; a locked one has failed by then."""
IDLE_S = 15.0
"""An engine that reached the end of its files within this time has caught up."""


@dataclass(slots=True)
class Stored:
    """Counts from the database, updated every few seconds by the chores; they also show whether it answers."""

    incidents: Mapping[tuple[str, str], int]
    outbox: Mapping[tuple[str, str], int]
    error: str = ""  # the database's latest error, empty after an answer
    asked_s: float | None = None  # monotonic time since which an answer is awaited

    def begin(self, now_s: float) -> None:
        """Note that a query starts; one after a failure counts from the first."""
        self.asked_s = now_s if self.asked_s is None else self.asked_s

    def answered(self) -> None:
        """Note an answer."""
        self.error, self.asked_s = "", None

    def waits_s(self, now_s: float) -> float:
        """Return how long an answer is overdue; 0 without a query."""
        return 0.0 if self.asked_s is None else now_s - self.asked_s


class Vitals:
    """Judges health from engine, writer, sender and `Stored`. Changes nothing and queries no database.

    unstored_s: how long delivery results have waited for the database.
    """

    def __init__(
        self, engine: EngineLoop, writer: WriterLoop, stored: Stored, clock: Clock, *, unstored_s: Callable[[], float]
    ) -> None:
        self._engine, self._writer, self._stored, self._clock = engine, writer, stored, clock
        self._unstored_s = unstored_s

    def trouble(self) -> str:
        """Return why the service is unhealthy, in one line; empty when healthy.

        A service that cannot read its sources, store changes or record deliveries must not report itself healthy. A
        fault that ends within `LOST_S` (a server restarts, a file is rotated) does not count: a missing heartbeat
        wakes people.
        """
        engine, writer, now_s = self._engine, self._writer, self._clock.monotonic()
        faults = (
            ("a thread has ended", not (engine.alive and writer.alive)),
            ("the engine is stuck", now_s - engine.beat_s > LOST_S),
            ("a source cannot be read", bool(engine.feed.down)),
            ("a clock is wrong, so a source is not judged", bool(engine.feed.clock_faults)),
            ("incident changes cannot be stored", writer.waits_s > LOST_S),
            ("the database does not answer", self._stored.waits_s(now_s) > LOST_S),
            ("delivery results cannot be stored", self._unstored_s() > LOST_S),
        )
        return ", ".join(text for text, true in faults if true)

    def state(self) -> Literal["ok", "degraded", "blind"]:
        """Return `blind` when unhealthy (`trouble`), `degraded` when not ready or an own finding fires, else `ok`."""
        if self.trouble():
            return "blind"
        return "ok" if self.readiness().ok and not self._engine.watch.own_open else "degraded"

    def health(self) -> Health:
        """Return whether the service is alive: its threads have heartbeats.

        A supervisor restarts the service when this fails. That does not help against a database that hangs, so a
        writer that waits for one is alive; `readiness` reports the reason.
        """
        now_s = self._clock.monotonic()
        engine, writer = self._engine, self._writer
        beats = (
            ("engine", engine.alive, now_s - engine.beat_s, False),
            ("writer", writer.alive, now_s - writer.beat_s, writer.counts.storing),
        )
        return Health(
            tuple(
                Check(name, alive and (waits or silent_s < BEAT_S), _moved_text(silent_s, alive=alive, waits=waits))
                for name, alive, silent_s, waits in beats
            )
        )

    def readiness(self) -> Health:
        """Return whether the service does its work: sources open, database reachable, engine caught up."""
        channels = list(self._engine.feed.channels)
        failing = [one for one in channels if one.error]
        sources = "; ".join(f"{printable(one.name)}: {one.error}" for one in failing)
        clocks = "; ".join(f"{printable(name)}: {fault}" for name, fault in self._engine.feed.clock_faults.items())
        error = self._database_error()
        idle_s = self._engine.counts.idle_s
        behind = idle_s is None or self._clock.monotonic() - idle_s > IDLE_S
        return Health(
            (
                Check("sources", not failing, (sources or _open_text(channels)) + _abandoned_text(channels)),
                Check("clocks", not clocks, clocks or "event times fit the clock of this machine"),
                Check("database", not error, error or "reachable"),
                Check("engine", not behind, "catching up" if behind else "caught up"),
            )
        )

    @property
    def database_up(self) -> bool:
        """Whether the database answers; a query younger than `SILENT_S` does not count as unanswered."""
        return not self._stored.error and self._silent_s() <= SILENT_S

    def _database_error(self) -> str:
        """Return why nothing is stored or read now; empty when both work."""
        if error := self._writer.counts.error or self._stored.error:
            return error
        waits_s, silent_s = self._writer.waits_s, self._silent_s()
        if waits_s > SILENT_S:
            return f"changes have waited for {waits_s:.0f} s to be stored"
        return f"no answer for {silent_s:.0f} s" if silent_s > SILENT_S else ""

    def _silent_s(self) -> float:
        return self._stored.waits_s(self._clock.monotonic())


def _moved_text(silent_s: float, *, alive: bool, waits: bool) -> str:
    if not alive:
        return "has ended"
    return f"waits for the database, for {silent_s:.1f} s" if waits else f"last moved {silent_s:.1f} s ago"


def _open_text(channels: Sequence[Channel]) -> str:
    """Return how many sources are read and how many have ended: `2 open, 1 ended`."""
    ended = sum(one.ended for one in channels)
    return f"{len(channels) - ended} open" + (f", {ended} ended" if ended else "")


def _abandoned_text(channels: Sequence[Channel]) -> str:
    """Return which sources left producers behind, for the end of a line; empty for none."""
    names = [f"{printable(one.name)} ({one.abandoned})" for one in channels if one.abandoned]
    return f"; producers that did not end: {', '.join(names)}" if names else ""
