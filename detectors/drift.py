"""Whether the normal of a series has moved for good: information, not an alarm.

>>> from river.drift import ADWIN  # or any object with `update(value)` and `drift_detected`
>>> moved = Drift(lambda: ADWIN(delta=2.3e-5))
>>> found = [moved.sample(0, value) for value in [10.0, 12.0, 11.0] * 40 + [90.0, 99.0, 95.0] * 20]
>>> [(round(one.old), round(one.new)) for one in found if one]
[(11, 94)]

The detector of change sees log1p(value / floor) and says that there was a change; where it was is where the kept
values fall best into two levels. Its state is the values since then: a fresh detector is fed with them, at that moment
and after a restart alike, so both say the same. A change by less than `ratio` is not reported, but the level before it
stays what later ones are compared with: a slow ramp is reported once it has come that far.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from detectors.kept import KeptRows
from detectors.state import State, checked
from detectors.windows import Floats, Ints

MOST_VALUES: Final = 10_080  # by slot: a week of minutes
MOST_SLOTS: Final = 64
LEAST_NORMAL: Final = 30
"""Values before a change that are a normal; with fewer it is not known what was normal. The warm-up of `anomalous`."""
HIGHEST: Final = 700.0  # of the logarithms: e to the 700th is still a number
LARGEST: Final = 1e300  # of the levels that are given back


class ChangeDetector(Protocol):
    """What is asked of a detector of change. `river.drift` has such classes."""

    def update(self, x: float) -> Any:  # what it returns is not used
        """Take the next value."""
        ...

    @property
    def drift_detected(self) -> bool:
        """Whether the last value showed a change."""
        ...


class Moved(NamedTuple):
    """A normal that has moved: the levels before and after, in the unit of the series (geometric means)."""

    old: float
    new: float


class Drift:
    """Watches one series for each slot.

    make: returns a fresh detector of change. ratio: least quotient of old and new level, at least 1. floor: levels
    below it hardly differ, in the unit of the series. most: values that a slot keeps; slots: how many are watched,
    further ones are refused and counted.
    """

    def __init__(
        self,
        make: Callable[[], ChangeDetector],
        *,
        ratio: float = 2.0,
        floor: float = 1.0,
        most: int = MOST_VALUES,
        slots: int = MOST_SLOTS,
    ) -> None:
        if not (ratio >= 1 and 0 < floor < math.inf and most >= 2):
            raise ValueError("ratio is 1 or more, floor is above 0, most is 2 or more")
        self._make, self._floor, self._least = make, floor, math.log(ratio)
        self._kept = KeptRows(1, most, slots)
        self._detectors: dict[int, ChangeDetector] = {}
        self._normal: dict[int, float] = {}  # by slot, the level that later ones are compared with, as a logarithm

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def refused(self) -> int:
        """Samples of slots for which there was no place."""
        return self._kept.refused

    def sample(self, slot: int, value: float) -> Moved | None:
        """Take the next value of a slot; return what has moved, if it is seen now.

        Raises ValueError on non-finite values.
        """
        if not math.isfinite(value):
            raise ValueError("a detector of change takes finite values only")
        if not self._kept.admit(slot):
            return None
        if slot not in self._detectors:
            self._detectors[slot] = self._fed(self._kept.rows(slot)[:, 0])
        detector, level = self._detectors[slot], self._level(value)
        detector.update(level)
        size = self._kept.add(slot, (level,))
        if detector.drift_detected and size > 1:
            return self._change(slot)
        if size >= self._kept.most:
            self._continue_with(slot, size // 2)
        return None

    def _change(self, slot: int) -> Moved | None:
        """Forget the values before the change; return the two levels where it counts."""
        values = self._kept.rows(slot)[:, 0]
        at = split_at(values)
        before, after = float(values[:at].mean()), float(values[at:].mean())
        self._continue_with(slot, len(values) - at)
        normal = self._normal.get(slot)
        if normal is None:
            if at < LEAST_NORMAL:
                return None
            normal = before
        if abs(after - normal) < self._least:
            self._normal[slot] = normal
            return None
        self._normal.pop(slot, None)
        return Moved(self._value(normal), self._value(after))

    def _level(self, value: float) -> float:
        return math.copysign(min(math.log1p(abs(value) / self._floor), HIGHEST), value)

    def _value(self, level: float) -> float:
        return math.copysign(min(math.expm1(min(abs(level), HIGHEST)) * self._floor, LARGEST), level)

    def _continue_with(self, slot: int, last: int) -> None:
        """Keep the last values only, in a detector that has seen no others."""
        self._kept.keep(slot, last)
        self._detectors[slot] = self._fed(self._kept.rows(slot)[:, 0])

    def _fed(self, values: Floats) -> ChangeDetector:
        """Return a fresh detector that was fed with these values; what it sees in them is known already."""
        detector = self._make()
        for value in values.tolist():
            detector.update(value)
        return detector

    def purge(self, slots: Ints) -> None:
        """Forget these slots."""
        for slot in slots.tolist():
            self._kept.drop(slot)
            self._detectors.pop(slot, None)
            self._normal.pop(slot, None)

    def state(self) -> State:
        """Return the kept values, and the normal of each slot where one is known."""
        slots = self._kept.state({})["slots"].tolist()
        known = np.array([slot in self._normal for slot in slots], np.bool_)
        normal = np.array([self._normal.get(slot, 0.0) for slot in slots], np.float64)
        return self._kept.state({"known": known, "normal": normal})

    def restore(self, state: State) -> None:
        """Continue from `state`. ValueError on misfits. The detectors are fed when their slot has its next value."""
        slots = self._kept.restore(state)
        normal = checked(state, "normal", np.float64, len(slots))
        known = checked(state, "known", np.bool_, len(slots))
        if not np.isfinite(normal).all():
            raise ValueError("a normal is no number")
        self._detectors = {}
        self._normal = dict(zip(slots[known].tolist(), normal[known].tolist(), strict=True))


def split_at(values: Floats) -> int:
    """Return where a series falls best into two levels, by least squares: the first index of the second."""
    size = len(values)
    left = np.arange(1, size)
    sums = np.cumsum(values - values.mean())[:-1]  # of the left part; the right part has its opposite
    return 1 + int(np.argmax(sums * sums * (size / (left * (size - left)))))
