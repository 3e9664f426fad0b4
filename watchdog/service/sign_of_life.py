"""The body of a heartbeat: state, uptime, and the rules that cannot fire."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from watchdog.engine.source_groups import UNFED
from watchdog.pipeline.clock import Clock
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.vitals import Vitals

CANNOT_FIRE_MOST = 500  # rules that a heartbeat names
_LOG = logging.getLogger("watchdog.service")


class SignOfLife:
    """The sender calls this for each heartbeat.

    state_of: `ok`, `degraded` or `blind`. cannot_fire: ids of rules that no source can feed. The daemon replaces it.
    """

    def __init__(self, vitals: Vitals, engine: EngineLoop, node: str, clock: Clock) -> None:
        self._vitals, self._engine, self._node, self._clock = vitals, engine, node, clock
        self._started_s = clock.monotonic()
        self._logged = ""
        self.state_of: Callable[[], str] = self._vitals.state
        self.cannot_fire: Callable[[], Sequence[str]] = lambda: self._engine.watch.engine.groups[UNFED].rules

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
        return {
            "node": self._node,
            "state": state,
            "uptime_s": round(self._clock.monotonic() - self._started_s),
            "events": self._engine.watch.events,
            "cannot_fire": silent[:CANNOT_FIRE_MOST],
            "cannot_fire_beyond": max(len(silent) - CANNOT_FIRE_MOST, 0),
        }
