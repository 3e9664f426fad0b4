"""Decides when a notice is retried and when a receiver gets a pause: pure arithmetic without a clock of its own.

Standard Webhooks suggests retries after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h, 75 hours in all. Those
gaps suit a sender with very many receivers. An alert is worth little hours after its receiver came back, so the
same 75 hours are filled with an attempt every 5 minutes; the circuit breaker keeps the load on a receiver that is
down at one attempt in 5 minutes, however many notices wait. Attempts are counted, hours are not: a clock that
steps, or a service that was off for a week, ends no notice early.

What an answer means (`verdict`):
    2xx                      delivered
    410                      the receiver is gone: sending stops until a reload or a restart; nothing is lost
    405, 413, 415, 422       this notice is rejected: a dead letter after 3 attempts
    429, 503 and others with Retry-After: sending pauses for that time, at most `RETRY_AFTER_CAP_S`
    any other status, a redirect, no answer: retried by the schedule; also 400 and 401, which receivers answer
        to a timestamp outside their tolerance while this machine's clock is wrong
A dead letter is stored, shown, and resent on request.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

DELAYS_S = (5.0, 30.0, 120.0, 300.0)  # after the 1st, 2nd, ... failed attempt; the last one from then on
JITTER = 0.1  # each wait is up to 10 % shorter or longer, so that many senders do not meet
WHOLE_HOURS = 75  # from the first attempt to the last, as the schedule of Standard Webhooks adds up to
MAX_ATTEMPTS = 1 + len(DELAYS_S) + int((WHOLE_HOURS * 3600 - sum(DELAYS_S)) // DELAYS_S[-1])
REFUSED_ATTEMPTS = 3
ALONE_ATTEMPTS = 12  # for a notice that fails while the receiver accepts others: half an hour or so
RETRY_AFTER_CAP_S = 900.0
HORIZON_S = RETRY_AFTER_CAP_S * (1 + JITTER) + 60.0
HORIZON_NS = int(HORIZON_S * 1e9)
"""No retry is ever set further ahead than this; what is stored as later was stored before the clock stepped back."""

REFUSALS = frozenset({405, 413, 415, 422})
GONE = 410
TRIP_AFTER = 5  # failures in a row that open the breaker
OPEN_S = (15.0, 30.0, 60.0, 120.0, 300.0)  # seconds it stays open, by outage; the last value repeats
RESERVED = 5  # one in this many requests a minute is reserved for high and critical incidents
_MAX_HEADER = 64  # characters of Retry-After looked at


class RetryDecision(StrEnum):
    """What an answer says of the notice and of its receiver."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    GONE = "gone"
    FAILED = "failed"


def verdict(status: int | None) -> RetryDecision:
    """Return the meaning of a status; None means no answer at all."""
    if status is None:
        return RetryDecision.FAILED
    if 200 <= status < 300:
        return RetryDecision.ACCEPTED
    if status == GONE:
        return RetryDecision.GONE
    return RetryDecision.REFUSED if status in REFUSALS else RetryDecision.FAILED


def retry_delay(attempts: int, retry_after_s: float | None, chance: random.Random) -> float:
    """Return the seconds until the next attempt after `attempts` (1 or more) have failed."""
    planned = DELAYS_S[min(attempts, len(DELAYS_S)) - 1] * chance.uniform(1 - JITTER, 1 + JITTER)
    if retry_after_s is None:
        return planned
    asked = min(retry_after_s, RETRY_AFTER_CAP_S) * chance.uniform(1.0, 1 + JITTER)  # never earlier than asked
    return max(planned, asked)


def given_up(attempts: int, last: RetryDecision, *, others_accepted: bool) -> bool:
    """Return whether a notice becomes a dead letter after `attempts` failures.

    others_accepted: whether the receiver accepted other notices since this one failed before; then the fault
    lies with this notice, and it must not hold up its incident for days.
    """
    if last is RetryDecision.REFUSED:
        return attempts >= REFUSED_ATTEMPTS
    return attempts >= (ALONE_ATTEMPTS if others_accepted else MAX_ATTEMPTS)


def retry_after(header: str | None, now_ns: int) -> float | None:
    """Return the seconds of a Retry-After header, 0 to `RETRY_AFTER_CAP_S`; None when absent or unreadable.

    Both forms of RFC 9110 section 10.2.3: seconds, or a date (compared with `now_ns`, wall clock).
    """
    text = (header or "").strip()[:_MAX_HEADER]
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_CAP_S)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:  # "-0000": a UTC time of unknown place (RFC 5322 section 3.3)
        when = when.replace(tzinfo=UTC)
    return min(max(when.timestamp() - now_ns / 1e9, 0.0), RETRY_AFTER_CAP_S)


@dataclass(slots=True)
class Breaker:
    """Leaves a failing receiver alone: after `TRIP_AFTER` failures in a row one attempt at a time, ever rarer.

    Times are monotonic seconds.
    """

    failures: int = 0
    opened: int = 0
    closed_until: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether only single attempts may be made."""
        return self.opened > 0

    def wait_s(self, now: float) -> float:
        """Return the seconds until an attempt may be made; 0 when it may be made now."""
        return max(self.closed_until - now, 0.0)

    def hold(self, now: float, seconds: float) -> None:
        """Make no attempt for this long, as Retry-After asked."""
        self.closed_until = max(self.closed_until, now + seconds)

    def accepted(self) -> bool:
        """Note an accepted attempt. Return True when it ended an outage."""
        ended = self.is_open
        self.failures = self.opened = 0
        self.closed_until = 0.0
        return ended

    def failed(self, now: float, chance: random.Random) -> bool:
        """Note a failed attempt. Return True when it opened the breaker."""
        self.failures += 1
        if self.failures < TRIP_AFTER:
            return False
        first = not self.is_open
        pause = OPEN_S[min(self.opened, len(OPEN_S) - 1)] * chance.uniform(1 - JITTER, 1 + JITTER)
        if first or now >= self.closed_until:  # answers of attempts that were under way together count once
            self.opened += 1
            self.hold(now, pause)
        return first


@dataclass(slots=True)
class Bucket:
    """A token bucket: `per_minute` sends a minute, as many at once after a quiet minute; 0 is no limit.

    A part of it, one in `RESERVED`, is there for urgent sends only. Times are monotonic seconds.
    """

    per_minute: int
    tokens: float = 0.0
    filled: float | None = None

    def take(self, now: float, *, urgent: bool = True) -> float:
        """Return 0 when one send may go now (it is counted), else the seconds until it may."""
        if self.per_minute <= 0:
            return 0.0
        self._fill(now)
        needed = 1 if urgent else 1 + self.per_minute // RESERVED
        if self.tokens >= needed:
            self.tokens -= 1
            return 0.0
        return (needed - self.tokens) * 60 / self.per_minute

    def owe(self, more: int, now: float) -> None:
        """Count further requests of a send that went: what follows waits until the rate has made up for them."""
        if self.per_minute > 0:
            self._fill(now)
            self.tokens -= more

    def available(self, now: float) -> float:
        """Return how many requests may be sent at once; infinite without a limit."""
        if self.per_minute <= 0:
            return math.inf
        self._fill(now)
        return max(self.tokens, 0.0)

    def _fill(self, now: float) -> None:
        if self.filled is None:
            self.tokens = float(self.per_minute)
        else:
            gained = (now - self.filled) * self.per_minute / 60
            self.tokens = min(self.tokens + gained, float(self.per_minute))
        self.filled = now
