"""What is normal for a key, learned as it goes: EWMA of a stabilised rate.

The series is stabilised as y = log1p(x / floor): below the effect floor differences hardly
count, above it they count as ratios. Rates of a node's traffic are heavy-tailed, plain
z-scores of them reach hundreds on quiet days; on the log scale they do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from detectors.windows import SMALLEST

Floats = NDArray[np.float64]

LEAST_DEVIATION = 0.1  # of y: a spread below ten percent is never taken for surprise
LEARN_LIMIT = 3.0  # a sample moves the mean as if it were at most this many deviations away


class Baseline:
    """Mean and variance of a stabilised series for each slot, one sample a step.

    threshold: deviations; floor: least difference from the expectation, in the unit of the
    series; weight: of a new sample once the series is old, 0..1; warmup: samples before the first verdict.
    up, down: the sides of the expectation that count.
    """

    def __init__(
        self, threshold: float, floor: float, weight: float, warmup: int, *, up: bool = False, down: bool = False
    ) -> None:
        self.threshold, self.floor = threshold, floor
        self.up, self.down = up, down
        self.weight, self.warmup = weight, warmup
        self.mean: Floats = np.zeros(SMALLEST)
        self.variance: Floats = np.zeros(SMALLEST)
        self.samples: NDArray[np.int64] = np.zeros(SMALLEST, np.int64)

    def reserve(self, slots: int) -> None:
        """Make room for slots 0..slots-1."""
        if slots > len(self.mean):
            more = (1 << (slots - 1).bit_length()) - len(self.mean)
            self.mean = np.concatenate([self.mean, np.zeros(more)])
            self.variance = np.concatenate([self.variance, np.zeros(more)])
            self.samples = np.concatenate([self.samples, np.zeros(more, np.int64)])

    def judge(self, slots: NDArray[np.int64], values: Floats) -> tuple[NDArray[np.bool_], Floats]:
        """Whether each value is anomalous, and what was expected. Raises ValueError on non-finite values."""
        if not np.isfinite(values).all():
            raise ValueError("a baseline takes finite values only")
        expected = np.expm1(self.mean[slots]) * self.floor
        distance = (np.log1p(np.maximum(values, 0.0) / self.floor) - self.mean[slots]) / self._deviation(slots)
        effect = values - expected
        odd = np.zeros(len(slots), np.bool_)
        if self.up:
            odd |= (distance > self.threshold) & (effect >= self.floor)
        if self.down:
            odd |= (distance < -self.threshold) & (-effect >= self.floor)
        return odd & (self.samples[slots] >= self.warmup), expected

    def learn(self, slots: NDArray[np.int64], values: Floats) -> None:
        """Take one sample of each of these slots (distinct ones)."""
        samples = np.log1p(np.maximum(values, 0.0) / self.floor)
        seen, mean = self.samples[slots], self.mean[slots]
        reach = self._deviation(slots) * LEARN_LIMIT
        step = samples - mean
        step = np.where(seen >= self.warmup, np.clip(step, -reach, reach), step)
        weight = np.maximum(self.weight, 1.0 / (seen + 1.0))  # a plain average while the series is young
        self.mean[slots] = mean + weight * step
        self.variance[slots] = (1.0 - weight) * (self.variance[slots] + weight * step * step)
        self.samples[slots] = seen + 1

    def _deviation(self, slots: NDArray[np.int64]) -> Floats:
        return np.maximum(np.sqrt(self.variance[slots]), LEAST_DEVIATION)

    def purge(self, slots: NDArray[np.int64]) -> None:
        """Forget these slots."""
        self.mean[slots], self.variance[slots], self.samples[slots] = 0.0, 0.0, 0

    def state(self) -> State:
        """Mean, variance and number of samples, as arrays."""
        return {"mean": self.mean, "variance": self.variance, "samples": self.samples}

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.mean, self.variance = state["mean"].copy(), state["variance"].copy()
        self.samples = state["samples"].copy()
