"""Which rules of the running service can fire, by the kinds of events that its sources have given so far."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from watchdog.core.river_classes import river_installed
from watchdog.core.source import Counting, FormCounting, Lacking, Refused
from watchdog.core.text import printable
from watchdog.service.assembly import InForce
from watchdog.service.capabilities import Capability, Facts, capabilities, lines
from watchdog.service.channel import Channel
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.nodes import Nodes
from watchdog.service.source_paths import facts_of
from watchdog.sources.log.categories import ENOUGH_LINES

LONGEST: Final = 4_096  # characters of a line
_LOG = logging.getLogger("watchdog.service")


class Abilities:
    """Belongs to the event loop. The ends of the logs are read once for each node; later events add to that.

    Building it reads them; `look_at` does for a node that is added later.
    """

    def __init__(self, nodes: Nodes, in_force: InForce) -> None:
        self._nodes, self._in_force = nodes, in_force
        self._begun: dict[str, Facts] = {}
        for engine in nodes:
            self.look_at(engine)
        self._known: dict[str, tuple[object, dict[str, Capability]]] = {}

    def now(self, node: str | None = None) -> Mapping[str, Capability]:
        """Return the capability of each rule in force, by id: at a node, or at the node that can do most.

        KeyError when there is no such node.
        """
        if node is not None:
            return self._of(self._nodes.engines[node])
        each = [self._of(engine) for engine in self._nodes]
        return {rule: max((one[rule] for one in each), key=_rank) for rule in each[0]} if each else {}

    def _of(self, engine: EngineLoop) -> Mapping[str, Capability]:
        begun = self._begun[engine.node]
        seen = frozenset(kind for kind, _ in dict(engine.watch.seen))
        log_net = net_of(engine.feed.channels, begun.log_net)
        refused = _refused(engine.feed.channels)
        key = (id(engine), self._in_force.rules.hash, seen, log_net, len(self._nodes), frozenset(refused.items()))
        known = self._known.get(engine.node)
        if known is None or known[0] != key:
            facts = Facts(begun.asmap, seen, log_net, begun.log_addrman, len(self._nodes), river_installed())
            given = {one.name: one.kinds for one in list(engine.feed.channels)}
            kinds = {name: kinds - refused.get(name, frozenset()) for name, kinds in given.items()}
            known = (key, capabilities(self._in_force.rules.plans, kinds, facts))
            self._known[engine.node] = known
        return known[1]

    def look_at(self, engine: EngineLoop) -> None:
        """Read the ends of a node's logs. A reload calls it in a thread, before the node is added."""
        self._begun[engine.node] = facts_of(engine.feed.texts, self._in_force.config.asmap)

    def cannot_fire(self) -> list[str]:
        """Return the ids of the rules that can fire at no node, sorted."""
        return sorted(rule for rule, one in self.now().items() if one.can_fire is False)

    def log(self) -> None:
        """Log a line for each thing that rules lack."""
        for engine in self._nodes:
            whose = f"node {engine.node}: " if self._nodes.labelled else ""
            for line in lines(self._of(engine)):
                _LOG.warning("%s%s", whose, printable(line, LONGEST))


def _rank(one: Capability) -> int:
    """Order capabilities: a rule that can fire is above one of which nothing is known."""
    return 2 if one.can_fire else 1 if one.can_fire is None else 0


def _refused(channels: Iterable[Channel]) -> dict[str, frozenset[str]]:
    """Return the kinds that each source cannot give: its node refuses the calls that feed them, or has none."""
    sources: list[tuple[str, object]] = [(one.name, one.source) for one in list(channels)]
    found: dict[str, frozenset[str]] = {}
    for name, source in sources:
        refused = source.forbidden.values() if isinstance(source, Refused) else ()
        lacking = source.lacking if isinstance(source, Lacking) else frozenset[str]()
        if kinds := lacking.union(*refused):
            found[name] = kinds
    return found


def net_of(channels: Iterable[Channel], begun: bool | None) -> bool | None:
    """Return whether a log has lines of the category net; begun: as the ends of the logs showed it at the start.

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
