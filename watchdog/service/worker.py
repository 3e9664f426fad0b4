"""The threads of the service: what the engine's and the writer's have in common."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from watchdog.pipeline.clock import Clock


class Worker(ABC):
    """One daemon thread with a heartbeat. The daemon calls `start` once, and `join` after `give_up` or a stop.

    beat_s: monotonic time of the latest heartbeat; written by the thread, read anywhere. A subclass beats at least once
    per round of its loop, and ends its loop soon after `_giving_up` is set.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.beat_s = 0.0
        self._clock = clock
        self._giving_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; RuntimeError when called twice."""
        self._beat()
        self._thread.start()

    def give_up(self) -> None:
        """End without waiting for the database: what it has not stored is computed again after a restart."""
        self._giving_up.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread; True when it has ended in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _beat(self) -> float:
        """Record a heartbeat and return its time."""
        self.beat_s = self._clock.monotonic()
        return self.beat_s

    @abstractmethod
    def _run(self) -> None:
        """Run in the thread until stopped."""
