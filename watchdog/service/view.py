"""What page and API see of the service; `LiveView` implements it for a daemon, web tests use their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from watchdog.core.errors import WatchdogError
from watchdog.service.config.settings import ApiSettings

if TYPE_CHECKING:
    from alerts.case.acts import CaseVerb
    from alerts.silence import ClaimSilence
    from alerts.store.actions import Done
    from alerts.store.audit import Audit
    from alerts.store.case_acts import CaseDone
    from alerts.store.cases import CaseQueries
    from alerts.store.incidents import IncidentQueries
    from alerts.store.outbox import Outbox
from alerts.store.silences import KeptSilence, Silences
from alerts.store.verdicts import OperatorVerdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Announcement:
    """One event for live pages.

    number: counts up from 1 since the start of the service. event: `incident` (data: the incident object as
    `as_object` gives it, without its evidence, plus `change`: {sequence, reason, text, time}), `delivery` (one was
    tried, or is sent again; data: the object of `Delivery.as_object`), `deliveries` (many changed at once; data:
    receivers, status), `case` (data: a case as `GET /api/v1/cases` lists it, with its first parties and latest notice
    only) or `reload` (data: ok, text).
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


class UnknownNodeError(WatchdogError):
    """The service watches no node of this name."""


class UnknownPeerError(WatchdogError):
    """The node has no connection of this number."""


class HistoryView(Protocol):
    """What the database has, and what operators do to it. Queries block: call them through `ask`."""

    @property
    def queries(self) -> IncidentQueries:
        """Stored incidents."""
        ...

    @property
    def outbox(self) -> Outbox:
        """Notices and their outcome."""
        ...

    @property
    def cases(self) -> CaseQueries:
        """Stored cases; blocks too."""
        ...

    @property
    def audit(self) -> Audit:
        """Who changed what; blocks too."""
        ...

    async def ask(self, call: Callable[[], T], /) -> T:
        """Run a database call in a thread; return its result or raise what it raises. Never blocks the loop.

        BusyError when the wait queue is full, StoreUnavailableError when no answer comes in time.
        """
        ...

    async def act(
        self, incident_id: str, action: str, who: str, text: str, *, verdict: OperatorVerdict | None = None
    ) -> Done:
        """Store an operator's `ack`, `resolve` or `note`, wake the engine, and return the result.

        verdict: with `resolve`, what the incident was. UnknownIncidentError when there is no such incident,
        IncidentError when it cannot change that way.
        """
        ...

    async def act_on_case(self, case: str, verb: CaseVerb, who: str, text: str, party: str = "") -> CaseDone:
        """Store what an operator does with a case, wake the engines, and return the result.

        UnknownIncidentError when there is no such case, IncidentError when it cannot change that way.
        """
        ...

    async def resend(self, delivery_id: str) -> None:
        """Send a notice again, with its id, and wake the sender.

        UnknownDeliveryError when no notice has this id, NoReceiverError when its receiver is not configured.
        """
        ...


class SilenceView(Protocol):
    """Silences, and cases to choose a party from. `silences` and `cases` block: call them through `ask`."""

    @property
    def silences(self) -> Silences:
        """Stored silences."""
        ...

    @property
    def cases(self) -> CaseQueries:
        """Stored cases."""
        ...

    def standing_silences(self) -> Sequence[ClaimSilence]:
        """Return those of the configuration."""
        ...

    def wall_ns(self) -> int:
        """Return the time of the wall clock, as unix ns."""
        ...

    async def silence(self, change: Callable[[Silences, int], KeptSilence], /) -> KeptSilence:
        """Store a change of silences with the time of the wall clock, wake the engines, and return the result.

        SilenceError when it cannot be; else what `ask` raises.
        """
        ...


class StateView(Protocol):
    """The service as it runs now. node: of this node only; UnknownNodeError when it is not watched."""

    def rules(self, node: str | None = None) -> Sequence[Mapping[str, object]]:
        """Return the rules in force, in the form of `watchdog rules list --json`."""
        ...

    def receivers(self) -> Sequence[Mapping[str, object]]:
        """Return the receivers without secrets: name, format, host, severity, events, enabled."""
        ...

    def status(self, node: str | None = None) -> Mapping[str, object]:
        """Return facts for the page's head: node, version, uptime_s, event_time, lag_s, sources, queues.

        With several nodes also `nodes`: node, state, reason, event_time, lag_s, events of each.
        """
        ...

    def health(self) -> Health:
        """Return whether the service is alive: its threads have heartbeats. Not ok where a restart would help."""
        ...

    def readiness(self, node: str | None = None) -> Health:
        """Return whether the service does its work: sources open, database reachable, engine caught up."""
        ...

    def metrics(self) -> str:
        """Return the Prometheus text (version 0.0.4)."""
        ...

    def peers(self, node: str) -> Mapping[str, object]:
        """Return the peers of a node with what they send and get, and the latest numbers of the node itself."""
        ...

    def messages(self, node: str, conn: int) -> Mapping[str, object]:
        """Return the latest messages of a peer, and keep further ones for a while. UnknownPeerError: see there."""
        ...


class ServiceView(HistoryView, SilenceView, StateView, Protocol):
    """The service as page and API use it."""

    @property
    def api(self) -> ApiSettings:
        """Where the API listens, its token and public address."""
        ...

    def subscribe(self) -> Subscription | None:
        """Return a subscription from now on; None when there are too many."""
        ...
