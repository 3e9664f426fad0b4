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
        return self._daemon.store.queries

    @property
    def outbox(self) -> Outbox:
        """Notices and their deliveries."""
        return self._daemon.store.outbox

    @property
    def api(self) -> ApiSettings:
        """Where the API listens, its token and public address."""
        return self._daemon.config.api

    async def ask(self, call: Callable[[], T], /) -> T:
        """Run a database call in a thread."""
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
        """Return the rules in force."""
        return rule_facts(self._daemon.in_force.rules, self._daemon.abilities.now())

    def receivers(self) -> Sequence[Mapping[str, object]]:
        """Return the receivers without secrets, with the state of their queues."""
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
        """Return a subscription from now on; None when there are too many."""
        return self._daemon.hub.join()

    def status(self) -> Mapping[str, object]:
        """Return facts for the page's head."""
        daemon, watch = self._daemon, self._daemon.engine.watch
        watermark_ns = watch.engine.watermark_ns
        live = 0 < watermark_ns < END_OF_TIME_NS
        return {
            "node": daemon.config.node,
            "version": VERSION,
            "uptime_s": round(daemon.clock.monotonic() - daemon.started_s, 1),
            "event_time": None if watch.last_event_ns is None else watch.last_event_ns / 1e9,
            "lag_s": round((daemon.wall_ns() - watermark_ns) / 1e9, 3) if live else None,
            "events": watch.events,
            "sources": [
                {
                    "name": printable(one.name),
                    "state": "failing" if one.error else "ended" if one.ended else "open",
                    "error": one.error,
                    "watermark": one.watermark_ns / 1e9 if 0 < one.watermark_ns < END_OF_TIME_NS else None,
                }
                for one in list(daemon.engine.feed.channels)
            ],
            "queues": {"changes": daemon.engine.out.qsize(), "outcomes": daemon.sender.unstored},
        }

    def health(self) -> Health:
        """Return whether the service is alive."""
        return self._daemon.vitals.health()

    def readiness(self) -> Health:
        """Return whether the service does its work."""
        return self._daemon.vitals.readiness()

    def metrics(self) -> str:
        """Return the Prometheus text."""
        daemon = self._daemon
        parts = Measured(
            engine=daemon.engine,
            writer=daemon.writer,
            sender=daemon.sender,
            hub=daemon.hub,
            stored=daemon.stored,
            api_queries=daemon.api_queries,
            callers=daemon.callers,
            vitals=daemon.vitals,
            judged=daemon.abilities.now(),
        )
        return exposition(parts, daemon.wall_ns())
