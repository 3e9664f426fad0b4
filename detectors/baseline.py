"""What is normal for a key, learned as it goes: EWMA of a stabilised rate.

The series is stabilised as y = log1p(x / floor): below the effect floor differences hardly
count, above it they count as ratios. Rates of a node's traffic are heavy-tailed, plain
z-scores of them reach hundreds on quiet days; on the log scale they do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.state import State, checked
from detectors.windows import SMALLEST

Floats = NDArray[np.float64]

# Of y: a deviation is at least ten percent of the series, however steady it was. Chosen; with it, the default threshold
# of 6 gave one false episode in 44 series of the quiet open recordings, as
# many as promised.
LEAST_DEVIATION = 0.1
# A sample moves the mean as if it were at most this many deviations away, so that an attack does not become the norm
# within its own length. Clipped so, 84 percent of the minutes of a flood like that of 2021 were in alarm, without a
# limit 22 percent (measured on the open recordings, with a negative binomial law).
LEARN_LIMIT = 3.0


SlotState = tuple[Floats, Floats, NDArray[np.int64]]  # mean, variance, samples


def _deviation(variance: Floats) -> Floats:
    return np.maximum(np.sqrt(variance), LEAST_DEVIATION)


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
        """Return whether each value is anomalous, and the expected values. Raises ValueError on non-finite values."""
        if not np.isfinite(values).all():
            raise ValueError("a baseline takes finite values only")
        return self.judged(values, (self.mean[slots], self.variance[slots], self.samples[slots]))

    def judged(self, values: Floats, state: SlotState) -> tuple[NDArray[np.bool_], Floats]:
        """Return the same for a given mean, variance and number of samples of each value's slot."""
        mean, variance, samples = state
        expected = np.expm1(mean) * self.floor
        distance = (np.log1p(np.maximum(values, 0.0) / self.floor) - mean) / _deviation(variance)
        effect = values - expected
        odd = np.zeros(len(values), np.bool_)
        if self.up:
            odd |= (distance > self.threshold) & (effect >= self.floor)
        if self.down:
            odd |= (distance < -self.threshold) & (-effect >= self.floor)
        return odd & (samples >= self.warmup), expected

    def learn(self, slots: NDArray[np.int64], values: Floats) -> None:
        """Take one sample of each of these slots (distinct ones)."""
        samples = np.log1p(np.maximum(values, 0.0) / self.floor)
        seen, mean = self.samples[slots], self.mean[slots]
        reach = _deviation(self.variance[slots]) * LEARN_LIMIT
        step = samples - mean
        step = np.where(seen >= self.warmup, np.clip(step, -reach, reach), step)
        weight = np.maximum(self.weight, 1.0 / (seen + 1.0))  # a plain average while the series is young
        self.mean[slots] = mean + weight * step
        self.variance[slots] = (1.0 - weight) * (self.variance[slots] + weight * step * step)
        self.samples[slots] = seen + 1

    def purge(self, slots: NDArray[np.int64]) -> None:
        """Forget these slots."""
        self.mean[slots], self.variance[slots], self.samples[slots] = 0.0, 0.0, 0

    def state(self) -> State:
        """Return mean, variance and number of samples, as arrays."""
        return {"mean": self.mean, "variance": self.variance, "samples": self.samples}

    def restore(self, state: State) -> None:
        """Continue from `state`; `reserve` makes room for slots that it lacks. ValueError on misfits."""
        mean = checked(state, "mean", np.float64)
        variance = checked(state, "variance", np.float64, len(mean))
        samples = checked(state, "samples", np.int64, len(mean), (0, 1 << 62))
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()) or (variance < 0).any():
            raise ValueError("a baseline has a mean or a variance that no samples give")
        self.mean, self.variance, self.samples = mean.copy(), variance.copy(), samples.copy()


class Path:
    """What a baseline learns while the series of its slots does not change; nothing is learned until `follow`.

    learns: by slot, whether it takes samples. sampled: by pane, whether one is taken there.
    """

    def __init__(
        self,
        baseline: Baseline,
        slots: NDArray[np.int64],
        values: Floats,
        learns: NDArray[np.bool_],
        sampled: NDArray[np.bool_],
    ) -> None:
        self._baseline, self._slots, self._values = baseline, slots, values
        self._samples_before = np.concatenate(([0], np.cumsum(sampled)))  # by pane: samples before it
        states = [self._state()]
        mine, own = slots[learns], values[learns]
        for _ in range(int(sampled.sum())):
            baseline.learn(mine, own)
            states.append(self._state())
        self._states = tuple(np.stack(columns) for columns in zip(*states, strict=True))
        self._put(0)

    def judged(self) -> tuple[NDArray[np.bool_], Floats]:
        """Return `Baseline.judge` of every slot at every pane; the panes of a slot follow each other."""
        mean, variance, samples = (column[self._samples_before[:-1]].T.reshape(-1) for column in self._states)
        return self._baseline.judged(np.repeat(self._values, len(self._samples_before) - 1), (mean, variance, samples))

    def follow(self, panes: int) -> None:
        """Take the samples of the first `panes` panes."""
        self._put(int(self._samples_before[panes]))

    def _state(self) -> SlotState:
        baseline, slots = self._baseline, self._slots
        return baseline.mean[slots], baseline.variance[slots], baseline.samples[slots]

    def _put(self, step: int) -> None:
        baseline, slots = self._baseline, self._slots
        mean, variance, samples = (column[step] for column in self._states)
        baseline.mean[slots], baseline.variance[slots], baseline.samples[slots] = mean, variance, samples
