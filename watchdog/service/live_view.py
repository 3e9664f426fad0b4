"""The running service as page and API see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from alerts.incident_table import IncidentError
from alerts.store.actions import VERBS, Done
from alerts.store.incidents import IncidentQueries
from alerts.store.outbox import NoReceiverError, Outbox
from watchdog.core.release import VERSION
from watchdog.core.source import END_OF_TIME_NS
from watchdog.core.text import printable
from watchdog.service.assembly import rule_facts
from watchdog.service.config.settings import ApiSettings
from watchdog.service.daemon import Daemon
from watchdog.service.metrics import Measured, exposition
from watchdog.service.view import Health, Subscription

T = TypeVar("T")


class LiveView:
    """A `ServiceView` of a daemon; everything here belongs to the event loop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    @property
    def queries(self) -> IncidentQueries:
        """Stored incidents."""
        return self._daemon.core.store.queries

    @property
    def outbox(self) -> Outbox:
        """Notices and what became of them."""
        return self._daemon.core.store.outbox

    @property
    def api(self) -> ApiSettings:
        """Where the API listens, its token and public address."""
        return self._daemon.config.api

    async def ask(self, call: Callable[[], T], /) -> T:
        """Run a database call in a thread of a small pool."""
        return await self._daemon.ask(call)

    async def act(self, incident_id: str, action: str, who: str, text: str) -> Done:
        """Store an operator's action and wake the engine. IncidentError when it cannot be done."""
        verb = next((one for one in VERBS if one == action), None)
        if verb is None:
            raise IncidentError(f"no action {action!r}; there are {', '.join(VERBS)}")
        now_ns = self._daemon.wall_ns()
        done = await self._daemon.ask(lambda: self.queries.act(incident_id, verb, who, text, now_ns))
        self._daemon.look_for_actions()
        return done

    async def resend(self, delivery_id: str) -> None:
        """Send a notice again, with its id. UnknownDeliveryError, or NoReceiverError: see there."""
        now_ns = self._daemon.wall_ns()
        receiver = (await self._daemon.ask(lambda: self.outbox.one(delivery_id))).notice.receiver
        if receiver not in {one.name for one in self._daemon.config.receivers}:
            raise NoReceiverError(f"receiver {receiver!r} is not in the configuration: nothing would be sent")
        again = await self._daemon.ask(lambda: self.outbox.resend(delivery_id, now_ns))
        self._daemon.hub.announce("delivery", again.as_object())
        await self._daemon.sender.poke()

    def rules(self) -> Sequence[Mapping[str, object]]:
        """The rules in force."""
        return rule_facts(self._daemon.core.rules, self._daemon.abilities.now())

    def receivers(self) -> Sequence[Mapping[str, object]]:
        """Receivers without secrets, with the state of their queues."""
        states = {one.receiver: one.state for one in self._daemon.sender.status()}
        return [
            {
                "name": one.name,
                "format": one.format,
                "host": urlsplit(one.url.reveal()).hostname or "",
                "severity": one.severity,
                "events": list(one.events),
                "enabled": one.enabled,
                "state": states.get(one.name, ""),
            }
            for one in self._daemon.config.receivers
        ]

    def subscribe(self) -> Subscription | None:
        """Watch live, from now on; None when as many watch as may."""
        return self._daemon.hub.join()

    def status(self) -> Mapping[str, object]:
        """Facts for the page's head."""
        daemon, watch = self._daemon, self._daemon.core.engine.watch
        mark_ns = watch.engine.watermark_ns
        live = 0 < mark_ns < END_OF_TIME_NS
        return {
            "node": daemon.config.node,
            "version": VERSION,
            "uptime_s": round(daemon.clock.monotonic() - daemon.started_s, 1),
            "event_time": None if watch.last_event_ns is None else watch.last_event_ns / 1e9,
            "lag_s": round((daemon.wall_ns() - mark_ns) / 1e9, 3) if live else None,
            "events": watch.events,
            "sources": [
                {
                    "name": printable(one.name),
                    "state": "failing" if one.error else "ended" if one.ended else "open",
                    "error": one.error,
                    "watermark": one.mark_ns / 1e9 if 0 < one.mark_ns < END_OF_TIME_NS else None,
                }
                for one in list(daemon.core.engine.feed.channels)
            ],
            "queues": {"changes": daemon.core.bundles.qsize(), "outcomes": daemon.sender.unstored},
        }

    def health(self) -> Health:
        """Whether the service is alive: its loops beat."""
        return self._daemon.vitals.health()

    def readiness(self) -> Health:
        """Whether it does its work: sources open, database reachable, engine caught up."""
        return self._daemon.vitals.readiness()

    def metrics(self) -> str:
        """The Prometheus text."""
        daemon, core = self._daemon, self._daemon.core
        parts = Measured(
            engine=core.engine,
            writer=core.writer,
            sender=daemon.sender,
            hub=daemon.hub,
            stored=daemon.stored,
            asked=daemon.asked,
            callers=daemon.callers,
            vitals=daemon.vitals,
            judged=daemon.abilities.now(),
        )
        return exposition(parts, daemon.wall_ns())
