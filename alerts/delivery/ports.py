"""What delivery needs of others: time, and the stored notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from alerts.notice import Notice
from alerts.routing import Receiver


class Due(Protocol):
    """A notice whose turn has come, and how many attempts were made before (`alerts.store.outbox.Delivery` is one)."""

    @property
    def notice(self) -> Notice:
        """What to tell."""
        ...

    @property
    def attempts(self) -> int:
        """Tries so far."""
        ...

    @property
    def kept(self) -> str:
        """What the channel returned for the first notice of the same case or incident; empty for nothing."""
        ...


class Fate(StrEnum):
    """The outcome of one attempt."""

    SENT = "sent"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the outbox stores of one attempt.

    status: see `Response`. at_ns and retry_at_ns: wall clock; retry_at_ns is
    None unless the fate is RETRY. error: one harmless line, empty when sent. took_ms: duration. kept: see `Due`.
    """

    id: str
    fate: Fate
    status: int | None
    at_ns: int
    error: str = ""
    retry_at_ns: int | None = None
    took_ms: int = 0
    kept: str = ""


class OutboxLike(Protocol):
    """The stored notices; called from one thread that may wait for the database.

    All raise StoreUnavailableError when another try may help, StoreError when none can.
    """

    def due(self, now_ns: int, receiver: str, limit: int) -> Sequence[Due]:
        """Return due notices of a receiver, at most `limit`: the most severe incidents first, each in its order.

        A notice is left out while it, or an earlier undelivered one of its incident, waits for a retry after
        `now_ns`; the later ones of an incident may be left out or given too. A retry more than `schedule.HORIZON_NS`
        ahead was stored before the clock stepped back, and is due.
        """
        ...

    def merge(self, now_ns: int, receiver: str, least: int, in_hand: Collection[str]) -> int:
        """Make one notice of many untried openings of a rule where `least` or more wait; how many notices merged.

        in_hand: ids that stay as they are, since the sender has them under way.
        """
        ...

    def firing(self, receiver: Receiver) -> Sequence[str]:
        """Return the ids of unresolved incidents, or cases, of which the receiver was to be notified.

        Of incidents: those with a change of one of its events at its severity or above.
        """
        ...

    def pictures(self, receiver: Receiver, ids: Sequence[str]) -> Sequence[Mapping[str, object]]:
        """Return the objects of those incidents or cases that are still not resolved, without their evidence."""
        ...

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store the outcomes of attempts in one transaction; each adds one to the attempts of its notice."""
        ...


class DeliveryClock(Protocol):
    """Wall time for what is stored, monotonic time for every wait."""

    def wall_ns(self) -> int:
        """Return Unix time, nanoseconds; may step."""
        ...

    def monotonic(self) -> float:
        """Return seconds from any start; never steps."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Return when the event is set (True), or after `seconds` of monotonic time (False)."""
        ...


class SystemDeliveryClock:
    """The machine's own clocks; wall_ns: unix time in ns, for tests to step."""

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns

    def wall_ns(self) -> int:
        """Return Unix time, nanoseconds."""
        return self._wall_ns()

    def monotonic(self) -> float:
        """Return seconds; never steps."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Return when the event is set (True), or after `seconds` (False)."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
