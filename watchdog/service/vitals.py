"""Whether the service is healthy: facts, thresholds and reasons for heartbeat, probes and page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from watchdog.core.text import printable
from watchdog.pipeline.clock import Clock
from watchdog.service.channel import Channel
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.followed_sources import DOWN_S
from watchdog.service.nodes import Nodes
from watchdog.service.view import Check, Health
from watchdog.service.writer_thread import WriterLoop

HealthState = Literal["ok", "degraded", "blind"]
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
    by_rule: Mapping[tuple[str, str, str], int] = field(default_factory=dict)  # not resolved, by node, rule, severity
    audit: int = 0  # entries
    silences: int = 0  # in force
    silences_ending: int = 0  # of them within a day
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
    """Judges health from nodes, writer, sender and `Stored`. Changes nothing and queries no database.

    unstored_s: how long delivery results have waited for the database.
    """

    def __init__(
        self, nodes: Nodes, writer: WriterLoop, stored: Stored, clock: Clock, *, unstored_s: Callable[[], float]
    ) -> None:
        self._nodes, self._writer, self._stored, self._clock = nodes, writer, stored, clock
        self._unstored_s = unstored_s

    def trouble(self) -> str:
        """Return why the service is unhealthy, in one line; empty when healthy.

        A service that cannot read its sources, store changes or record deliveries must not report itself healthy. Of
        several nodes, one that works keeps the service healthy: `node_states` names the others. A fault that ends
        within `LOST_S` (a server restarts, a file is rotated) does not count: a missing heartbeat wakes people.
        """
        writer, now_s = self._writer, self._clock.monotonic()
        by_node = [self._node_faults(engine) for engine in self._nodes]
        faults = (
            ("a thread has ended", not (self._nodes.alive and writer.alive)),
            *((text, True) for text in dict.fromkeys(chain.from_iterable(by_node)) if all(by_node)),
            ("the engine of the rules over nodes is stuck", self._fleet_stuck(now_s)),
            ("incident changes cannot be stored", writer.waits_s > LOST_S),
            ("the database does not answer", self._stored.waits_s(now_s) > LOST_S),
            ("delivery results cannot be stored", self._unstored_s() > LOST_S),
        )
        return ", ".join(text for text, true in faults if true)

    def _fleet_stuck(self, now_s: float) -> bool:
        fleet = self._nodes.fleet
        return fleet is not None and now_s - fleet.beat_s > LOST_S

    def _node_faults(self, engine: EngineLoop) -> list[str]:
        """Return why nothing, or too little, is seen of a node; empty when it is watched."""
        faults = (
            ("the engine is stuck", self._clock.monotonic() - engine.beat_s > LOST_S),
            ("a source cannot be read", bool(engine.feed.down)),
            ("a clock is wrong, so a source is not judged", bool(engine.feed.clock_faults)),
        )
        return [text for text, true in faults if true]

    def node_states(self) -> dict[str, tuple[HealthState, str]]:
        """Return for each node `blind` with the reason, `degraded`, or `ok`; the reason is empty but for `blind`."""
        states: dict[str, tuple[HealthState, str]] = {}
        for engine in self._nodes:
            faults = self._node_faults(engine)
            fine = self._node_ready(engine) and not engine.watch.own_open
            states[engine.node] = ("blind" if faults else "ok" if fine else "degraded", ", ".join(faults))
        return states

    def state(self) -> HealthState:
        """Return `blind` when unhealthy (`trouble`), `degraded` when not ready or an own finding fires, else `ok`."""
        if self.trouble():
            return "blind"
        own_open = any(engine.watch.own_open for engine in self._nodes)
        return "ok" if self.readiness().ok and not own_open else "degraded"

    def health(self) -> Health:
        """Return whether the service is alive: its threads have heartbeats.

        A supervisor restarts the service when this fails. That does not help against a database that hangs, so a
        writer that waits for one is alive; `readiness` reports the reason.
        """
        now_s, writer = self._clock.monotonic(), self._writer
        beats = (
            *((self._named("engine", one), one.alive, now_s - one.beat_s, False) for one in self._nodes.loops),
            ("writer", writer.alive, now_s - writer.beat_s, writer.counts.storing),
        )
        return Health(
            tuple(
                Check(name, alive and (waits or silent_s < BEAT_S), _moved_text(silent_s, alive=alive, waits=waits))
                for name, alive, silent_s, waits in beats
            )
        )

    def readiness(self, node: str | None = None) -> Health:
        """Return whether the service does its work: sources open, database reachable, engines caught up.

        node: judge this node and the database only. KeyError when there is no such node.
        """
        engines = list(self._nodes) if node is None else [self._nodes.engines[node]]
        error = self._database_error()
        return Health(
            (
                *(self._sources_check(engine) for engine in engines),
                *(self._clocks_check(engine) for engine in engines),
                Check("database", not error, error or "reachable"),
                *(self._engine_check(engine) for engine in engines),
            )
        )

    def _named(self, check: str, engine: EngineLoop) -> str:
        return f"{check} of {engine.node}" if self._nodes.labelled else check

    def _sources_check(self, engine: EngineLoop) -> Check:
        channels = list(engine.feed.channels)
        failing = [one for one in channels if one.error]
        text = "; ".join(f"{printable(one.name)}: {one.error}" for one in failing) or _open_text(channels)
        return Check(self._named("sources", engine), not failing, text + _abandoned_text(channels))

    def _clocks_check(self, engine: EngineLoop) -> Check:
        clocks = "; ".join(f"{printable(name)}: {fault}" for name, fault in engine.feed.clock_faults.items())
        return Check(self._named("clocks", engine), not clocks, clocks or "event times fit the clock of this machine")

    def _engine_check(self, engine: EngineLoop) -> Check:
        idle_s = engine.counts.idle_s
        behind = idle_s is None or self._clock.monotonic() - idle_s > IDLE_S
        return Check(self._named("engine", engine), not behind, "catching up" if behind else "caught up")

    def _node_ready(self, engine: EngineLoop) -> bool:
        return all(one(engine).ok for one in (self._sources_check, self._clocks_check, self._engine_check))

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
