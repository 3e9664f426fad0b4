"""Which rules of the running service can fire, by the kinds of events that its sources have given so far."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from watchdog.core.text import printable
from watchdog.service.assembly import InForce
from watchdog.service.capabilities import Capability, Facts, capabilities, lines
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.source_paths import facts_of

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
        key = (self._in_force.rules.hash, seen)
        if self._known is None or self._known[0] != key:
            facts = Facts(self._begun.asmap, seen, self._begun.log_net, self._begun.log_addrman)
            self._known = (key, capabilities(self._in_force.rules.plans, self._engine.feed.kinds, facts))
        return self._known[1]

    def cannot_fire(self) -> list[str]:
        """Return the ids of the rules that cannot fire, sorted."""
        return sorted(rule for rule, one in self.now().items() if one.can_fire is False)

    def log(self) -> None:
        """Log a line for each thing that rules lack."""
        for line in lines(self.now()):
            _LOG.warning("%s", printable(line, LONGEST))
