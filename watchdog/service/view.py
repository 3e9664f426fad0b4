"""What page and API see of the service; `LiveView` implements it for a daemon, web tests use their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from watchdog.service.config.settings import ApiSettings

if TYPE_CHECKING:
    from alerts.store.actions import Done
    from alerts.store.incidents import IncidentQueries
    from alerts.store.outbox import Outbox

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Announcement:
    """One event for live pages.

    number: counts up from 1 since the start of the service. event: `incident` (data: the incident object as
    `as_object` gives it, without its evidence, plus `change`: {sequence, reason, text, time}), `delivery` (one was
    tried, or is sent again; data: the object of `Delivery.as_object`), `deliveries` (many changed at once; data:
    receivers, status) or `reload` (data: ok, text).
    """

    number: int
    event: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a health answer. text: for people, without secrets."""

    name: str
    ok: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of `/healthz` or `/readyz`: 200 when all checks are right, else 503."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check is right."""
        return all(check.ok for check in self.checks)


class Subscription(Protocol):
    """A connected live page. Belongs to the event loop."""

    async def next(self, timeout_s: float) -> Announcement | None:
        """Return the next announcement; None when none came in time (send a comment then), or after a drop."""
        ...

    @property
    def dropped(self) -> bool:
        """Whether it was too slow and got dropped: close the stream."""
        ...

    def close(self) -> None:
        """Leave; a second call does nothing."""
        ...


class ServiceView(Protocol):
    """The service as page and API use it. `queries` and `outbox` block: call them through `ask`."""

    @property
    def queries(self) -> IncidentQueries:
        """Stored incidents."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Notices and what became of them."""
        ...

    @property
    def api(self) -> ApiSettings:
        """Where the API listens, its token and public address."""
        ...

    async def ask(self, call: Callable[[], T], /) -> T:
        """Run a database call in a thread; return its result or raise what it raises. Never blocks the loop.

        BusyError when the wait queue is full, StoreUnavailableError when no answer comes in time.
        """
        ...

    async def act(self, incident_id: str, action: str, who: str, text: str) -> Done:
        """Store an operator's `ack`, `resolve` or `note`, wake the engine, and return the result.

        UnknownIncidentError when there is no such incident, IncidentError when it cannot change that way.
        """
        ...

    async def resend(self, delivery_id: str) -> None:
        """Send a notice again, with its id, and wake the sender.

        UnknownDeliveryError when no notice has this id, NoReceiverError when its receiver is not configured.
        """
        ...

    def rules(self) -> Sequence[Mapping[str, object]]:
        """Return the rules in force, in the form of `watchdog rules list --json`."""
        ...

    def receivers(self) -> Sequence[Mapping[str, object]]:
        """Return the receivers without secrets: name, format, host, severity, events, enabled."""
        ...

    def subscribe(self) -> Subscription | None:
        """Return a subscription from now on; None when there are too many."""
        ...

    def status(self) -> Mapping[str, object]:
        """Return facts for the page's head: node, version, uptime_s, event_time, lag_s, sources, queues."""
        ...

    def health(self) -> Health:
        """Return whether the service is alive: its threads have heartbeats. Not ok where a restart would help."""
        ...

    def readiness(self) -> Health:
        """Return whether the service does its work: sources open, database reachable, engine caught up."""
        ...

    def metrics(self) -> str:
        """Return the Prometheus text (version 0.0.4)."""
        ...
