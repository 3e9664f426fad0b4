"""What page and API see of the service; the daemon implements it, tests of the web put their own behind it."""

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
    """One thing that happened, for those who watch live.

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
    """One who watches live; belongs to the event loop."""

    async def next(self, timeout_s: float) -> Announcement | None:
        """The next announcement; None when none came in time (send a comment then) or when dropped."""
        ...

    @property
    def dropped(self) -> bool:
        """Whether it was too slow and gets nothing any more: the stream is to be closed."""
        ...

    def close(self) -> None:
        """Give the place back; a second call does nothing."""
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
        """Run a database call in a thread of a small pool; what it raises is raised here. Never blocks the loop.

        BusyError when as many wait for a thread as may, StoreUnavailableError when no answer comes in time.
        """
        ...

    async def act(self, incident_id: str, action: str, who: str, text: str) -> Done:
        """Store an operator's `ack`, `resolve` or `note` and wake the engine; what became of it.

        UnknownIncidentError when there is no such incident, IncidentError when it cannot change that way.
        """
        ...

    async def resend(self, delivery_id: str) -> None:
        """Send a notice again, with its id, and wake the sender.

        UnknownDeliveryError when there is no such notice, NoReceiverError when nobody is configured to get it.
        """
        ...

    def rules(self) -> Sequence[Mapping[str, object]]:
        """The rules in force, as `watchdog rules list --json` gives them."""
        ...

    def receivers(self) -> Sequence[Mapping[str, object]]:
        """Receivers without secrets: name, format, host, severity, events, enabled."""
        ...

    def subscribe(self) -> Subscription | None:
        """Watch live, from now on; None when as many watch as may."""
        ...

    def status(self) -> Mapping[str, object]:
        """Facts for the page's head: node, version, uptime_s, event_time, lag_s, sources, queues."""
        ...

    def health(self) -> Health:
        """Whether the service is alive: its loops beat. False where a start anew would help."""
        ...

    def readiness(self) -> Health:
        """Whether it does its work: sources open, database reachable, engine caught up."""
        ...

    def metrics(self) -> str:
        """The Prometheus text (version 0.0.4)."""
        ...
