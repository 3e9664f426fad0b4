"""Whether the service is well: the facts, the thresholds and the reasons, for heartbeat, probes and numbers to read."""

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
"""No heartbeat: as long as a source may be away, and beyond all tries of a locked database."""
BEAT_S = 30.0
"""A thread that has not moved for so long stands still: a slice takes a second, and who stores is asked otherwise."""
SILENT_S = 10.0
"""A database that has not answered for so long is not reachable; one that is locked has said so by then."""
IDLE_S = 15.0
"""An engine that met the end of its files within this time has caught up."""


@dataclass(slots=True)
class Stored:
    """Counts that only the database knows, looked up now and then by the service."""

    incidents: Mapping[tuple[str, str], int]
    outbox: Mapping[tuple[str, str], int]
    error: str = ""  # what the database said last, empty after an answer
    asked_s: float | None = None  # since when an answer is waited for, by the service's clock

    def begin(self, now_s: float) -> None:
        """The database is asked; a question that failed, or hangs, is the same one."""
        self.asked_s = now_s if self.asked_s is None else self.asked_s

    def answered(self) -> None:
        """It has answered."""
        self.error, self.asked_s = "", None

    def waits_s(self, now_s: float) -> float:
        """How long it has not answered; 0 when nothing is asked."""
        return 0.0 if self.asked_s is None else now_s - self.asked_s


class Vitals:
    """Reads engine, writer, what the database answers to the service's own questions, and the sender; changes nothing.

    unstored_s: for how long what became of deliveries has waited for the database. Asks no database itself.
    """

    def __init__(
        self, engine: EngineLoop, writer: WriterLoop, stored: Stored, clock: Clock, *, unstored_s: Callable[[], float]
    ) -> None:
        self._engine, self._writer, self._stored, self._clock = engine, writer, stored, clock
        self._unstored_s = unstored_s

    def trouble(self) -> str:
        """Why nobody may believe that all is watched and told, in a line; empty when all is well.

        Who is blind must not say "well", nor who cannot store or tell what he sees. What passes within `LOST_S`
        (a server that restarts, a file that is rotated) is no trouble: a heartbeat that stays away wakes people.
        """
        engine, writer, now_s = self._engine, self._writer, self._clock.monotonic()
        found = (
            ("a thread has ended", not (engine.alive and writer.alive)),
            ("the engine stands still", now_s - engine.beat_s > LOST_S),
            ("a source cannot be read", bool(engine.feed.down)),
            ("a clock is wrong, so a source is not judged", bool(engine.feed.clock_faults)),
            ("changes of incidents cannot be stored", writer.waits_s > LOST_S),
            ("the database does not answer", self._stored.waits_s(now_s) > LOST_S),
            ("what became of deliveries cannot be stored", self._unstored_s() > LOST_S),
        )
        return ", ".join(text for text, true in found if true)

    def state(self) -> Literal["ok", "degraded", "blind"]:
        """blind: it must not be believed that all is watched and told (`trouble`). degraded: something lacks."""
        if self.trouble():
            return "blind"
        return "ok" if self.readiness().ok and not self._engine.watch.own_open else "degraded"

    def health(self) -> Health:
        """Whether the service is alive: its loops beat.

        Whoever probes this starts the service anew when it fails. That would not help a database which hangs: a
        writer that waits for one is alive, and `readiness` says what is the matter.
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
        """Whether it does its work: sources open, database reachable, engine caught up."""
        channels = list(self._engine.feed.channels)
        failing = [one for one in channels if one.error]
        sources = "; ".join(f"{printable(one.name)}: {one.error}" for one in failing)
        clocks = "; ".join(f"{printable(name)}: {fault}" for name, fault in self._engine.feed.clock_faults.items())
        error = self._database_error()
        idle_s = self._engine.counts.idle_s
        behind = idle_s is None or self._clock.monotonic() - idle_s > IDLE_S
        return Health(
            (
                Check("sources", not failing, sources or _open_text(channels)),
                Check("clocks", not clocks, clocks or "event times fit the clock of this machine"),
                Check("database", not error, error or "reachable"),
                Check("engine", not behind, "reading what is there" if behind else "caught up"),
            )
        )

    @property
    def database_up(self) -> bool:
        """Whether it answers what the service asks; a question that is young is no doubt yet."""
        return not self._stored.error and self._silent_s() <= SILENT_S

    def _database_error(self) -> str:
        """Why nothing is stored or read now; empty when both works."""
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
    """How many sources are read and how many have ended: `2 open, 1 ended`."""
    ended = sum(one.ended for one in channels)
    return f"{len(channels) - ended} open" + (f", {ended} ended" if ended else "")
