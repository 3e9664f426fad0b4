"""Which rules of the running service can fire, by the kinds of events that its sources have given so far."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from watchdog.core.source import Counting, FormCounting
from watchdog.core.text import printable
from watchdog.service.assembly import InForce
from watchdog.service.capabilities import Capability, Facts, capabilities, lines
from watchdog.service.channel import Channel
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.source_paths import facts_of
from watchdog.sources.log.categories import ENOUGH_LINES

LONGEST: Final = 4_096  # characters of a line
_LOG = logging.getLogger("watchdog.service")


class Abilities:
    """Belongs to the event loop. The ends of the logs are read once, at the start; later events add to that."""

    def __init__(self, engine: EngineLoop, in_force: InForce) -> None:
        self._engine, self._in_force = engine, in_force
        self._begun = facts_of(in_force.config.sources, in_force.config.asmap)
        self._known: tuple[object, dict[str, Capability]] | None = None

    def now(self) -> Mapping[str, Capability]:
        """Return the capability of each rule in force, by id."""
        seen = frozenset(kind for kind, _ in dict(self._engine.watch.seen))
        log_net = net_of(self._engine.feed.channels, self._begun.log_net)
        key = (self._in_force.rules.hash, seen, log_net)
        if self._known is None or self._known[0] != key:
            facts = Facts(self._begun.asmap, seen, log_net, self._begun.log_addrman)
            self._known = (key, capabilities(self._in_force.rules.plans, self._engine.feed.kinds, facts))
        return self._known[1]

    def cannot_fire(self) -> list[str]:
        """Return the ids of the rules that cannot fire, sorted."""
        return sorted(rule for rule, one in self.now().items() if one.can_fire is False)

    def log(self) -> None:
        """Log a line for each thing that rules lack."""
        for line in lines(self.now()):
            _LOG.warning("%s", printable(line, LONGEST))


def net_of(channels: Iterable[Channel], begun: bool | None) -> bool | None:
    """Whether a log has lines of the category net; begun: as the ends of the logs showed it at the start.

    A log that was too short then is judged by what was read since: `ENOUGH_LINES` without one of them is an answer.
    """
    sources: list[object] = [one.source for one in list(channels)]
    logs = [one for one in sources if isinstance(one, FormCounting)]
    if any(log.net_lines for log in logs):
        return True
    if begun is not None or not logs:
        return begun
    counted: list[object] = [*logs]
    lines = [one.counters.get("lines", 0) for one in counted if isinstance(one, Counting)]
    return False if lines and min(lines) >= ENOUGH_LINES else None
