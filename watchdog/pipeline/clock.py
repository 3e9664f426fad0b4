"""The clock that tests can replace, and pacing: event time at a multiple of real time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from watchdog.core.source import END_OF_TIME_NS

LONGEST_NAP_S = 0.2  # so that an interrupt is noticed


class Clock(Protocol):
    """Monotonic real time in seconds; its zero has no meaning."""

    def monotonic(self) -> float:
        """Return the time now; it never steps back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait this long."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Return the time now; it never steps back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait this long."""
        time.sleep(seconds)


class Pace:
    """Paces a replay: `speed` seconds of event time pass in each real second; None: no waiting."""

    def __init__(self, speed: float | None, clock: Clock) -> None:
        self._speed, self._clock = speed, clock
        self._start: tuple[float, int] | None = None

    def wait(self, time_ns: int, stopped: Callable[[], bool]) -> None:
        """Wait until `time_ns` is due or `stopped()` is true. The first call starts the run."""
        if self._speed is None or time_ns >= END_OF_TIME_NS:
            return
        if self._start is None:
            self._start = (self._clock.monotonic(), time_ns)
        started, first_ns = self._start
        due = started + (time_ns - first_ns) / 1e9 / self._speed
        while (left := due - self._clock.monotonic()) > 0 and not stopped():
            self._clock.sleep(min(left, LONGEST_NAP_S))
