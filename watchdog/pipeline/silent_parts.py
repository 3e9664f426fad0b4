"""Parts of the rules that a running service no longer waits for: those that make no progress while others advance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from watchdog.pipeline.clock import Clock

PATIENCE_S: Final = 120.0
LONGEST_STEP_S: Final = 10.0
"""What counts at most between two looks: a machine that slept has not heard from any part."""


class SilentParts:
    """Measures, by the monotonic clock, how long each part has made no progress behind another.

    A part that is far behind but advances, as one that catches up on a log does, is not silent. A replay has no clock:
    it waits for every part.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_s = clock.monotonic()
        self._marks: list[int] = []
        self._still_s: list[float] = []

    def heard(self, marks: Sequence[int], running: Sequence[bool]) -> list[int]:
        """Return the marks of the running parts to wait for: all but the silent ones, or all if every part is silent.

        marks: the event time that each part has reached. running: whether it may still advance.
        """
        now_s = self._clock.monotonic()
        step_s, self._last_s = min(now_s - self._last_s, LONGEST_STEP_S), now_s
        if len(marks) != len(self._marks):  # the rules were changed
            self._marks, self._still_s = list(marks), [0.0] * len(marks)
        furthest = max(marks, default=0)
        for part, mark in enumerate(marks):
            stands = mark == self._marks[part] and mark < furthest
            self._still_s[part] = self._still_s[part] + step_s if stands else 0.0
        self._marks = list(marks)
        waited = [mark for mark, runs in zip(marks, running, strict=True) if runs]
        heard = [
            mark
            for mark, runs, still_s in zip(marks, running, self._still_s, strict=True)
            if runs and still_s < PATIENCE_S
        ]
        return heard or waited
