"""The body of a heartbeat: state, uptime, and the rules that cannot fire."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from watchdog.pipeline.clock import Clock
from watchdog.service.nodes import Nodes
from watchdog.service.vitals import Vitals

CANNOT_FIRE_MOST = 500  # rules that a heartbeat names
_LOG = logging.getLogger("watchdog.service")


class SignOfLife:
    """The sender calls this for each heartbeat.

    state_of: `ok`, `degraded` or `blind`. cannot_fire: ids of rules that no source can feed. The daemon replaces it.
    """

    def __init__(self, vitals: Vitals, nodes: Nodes, clock: Clock) -> None:
        self._vitals, self._nodes, self._clock = vitals, nodes, clock
        self._started_s = clock.monotonic()
        self._logged = ""
        self._blind: frozenset[str] = frozenset()
        self.state_of: Callable[[], str] = self._vitals.state
        self.cannot_fire: Callable[[], Sequence[str]] = tuple

    def __call__(self) -> dict[str, object] | None:
        """Return the body; None while the service is blind. Log each new reason for that."""
        state = self.state_of()
        trouble = (self._vitals.trouble() or "it is blind") if state == "blind" else ""
        if trouble and trouble != self._logged:
            _LOG.error("the service is unhealthy, so no heartbeat is sent: %s", trouble)
        elif self._logged and not trouble:
            _LOG.info("the service is healthy again")
        self._logged = trouble
        if trouble:
            return None
        silent = list(self.cannot_fire())
        body = {
            "node": ", ".join(self._nodes.engines),
            "state": state,
            "uptime_s": round(self._clock.monotonic() - self._started_s),
            "events": sum(engine.watch.events for engine in self._nodes),
            "cannot_fire": silent[:CANNOT_FIRE_MOST],
            "cannot_fire_beyond": max(len(silent) - CANNOT_FIRE_MOST, 0),
        }
        return body | self._by_node() if self._nodes.labelled else body

    def _by_node(self) -> dict[str, object]:
        """Return the state of each node, and log a node that can no longer be watched, or can again."""
        states = self._vitals.node_states()
        blind = {name: reason for name, (state, reason) in states.items() if state == "blind"}
        for name in blind.keys() - self._blind:
            _LOG.error("node %s is not watched: %s", name, blind[name])
        for name in (self._blind - blind.keys()) & states.keys():
            _LOG.info("node %s is watched again", name)
        self._blind = frozenset(blind)
        return {"nodes": [{"node": name, "state": state, "reason": why} for name, (state, why) in states.items()]}
