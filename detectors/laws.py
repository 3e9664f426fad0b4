"""The laws by which a baseline judges a series: what it averages, and how far a value is from that.

`LevelLaw` is for bytes, ratios and gauges, `CountLaw` for whole numbers of events; both give a score for each side.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

import numpy as np

from detectors.counts import LARGEST, LEAST_MEAN, LEAST_SPREAD, surprises
from detectors.windows import Floats

LARGEST_LEVEL: Final = 1e18  # a value beyond it reads as this
# Of log1p(x / floor): a deviation is at least ten percent of the series, however steady it was. Chosen; with it and a
# threshold of 5 the law gave two false episodes in 44 series of the quiet open recordings, three times the promise.
LEAST_DEVIATION: Final = 0.1


class Law(Protocol):
    """What a baseline averages of a series, and what it makes of mean and variance."""

    def samples(self, values: Floats) -> Floats:
        """Return what is averaged of these finite values."""
        ...

    def expected(self, mean: Floats) -> Floats:
        """Return the expected value, in the unit of the series."""
        ...

    def deviation(self, mean: Floats, variance: Floats) -> Floats:
        """Return one deviation of the samples, above 0."""
        ...

    def deviation_at(self, mean: float, variance: float) -> float:
        """Return the same of single numbers, to the last bit."""
        ...

    def above(self, values: Floats, mean: Floats, variance: Floats) -> Floats:
        """Return how far each value is above what is expected, in the unit of the threshold."""
        ...

    def below(self, values: Floats, mean: Floats, variance: Floats) -> Floats:
        """Return how far below."""
        ...


class LevelLaw:
    """A stabilised series y = log1p(x / floor): below the floor differences hardly count, above it as ratios.

    Rates of a node's traffic are heavy-tailed: plain deviations of them reach hundreds on quiet days, those of y do
    not. Scores are deviations of y. floor: above 0, in the unit of the series.
    """

    def __init__(self, floor: float) -> None:
        if not floor > 0:
            raise ValueError("a level needs a floor above 0")
        self._floor = floor

    def samples(self, values: Floats) -> Floats:
        """Return y."""
        return np.log1p(np.clip(values, 0.0, LARGEST_LEVEL) / self._floor)

    def expected(self, mean: Floats) -> Floats:
        """Return x of a mean of y."""
        expected: Floats = np.expm1(mean) * self._floor
        return expected

    def deviation(self, mean: Floats, variance: Floats) -> Floats:  # noqa: ARG002 - as the law says
        """Return a deviation of y."""
        return np.maximum(np.sqrt(variance), LEAST_DEVIATION)

    def deviation_at(self, mean: float, variance: float) -> float:  # noqa: ARG002 - as the law says
        """Return the same of single numbers."""
        return max(math.sqrt(variance), LEAST_DEVIATION)

    def above(self, values: Floats, mean: Floats, variance: Floats) -> Floats:
        """Return deviations of y above its mean."""
        distance: Floats = (self.samples(values) - mean) / self.deviation(mean, variance)
        return distance

    def below(self, values: Floats, mean: Floats, variance: Floats) -> Floats:
        """Return deviations of y below its mean."""
        return -self.above(values, mean, variance)


class CountLaw:
    """Whole numbers of events by a negative binomial law. Scores are surprises: see `detectors.counts`."""

    def samples(self, values: Floats) -> Floats:
        """Return the counts, at most LARGEST."""
        return np.clip(values, 0.0, LARGEST)

    def expected(self, mean: Floats) -> Floats:
        """Return the mean."""
        return mean

    def deviation(self, mean: Floats, variance: Floats) -> Floats:
        """Return a deviation of the law."""
        usual = np.maximum(mean, LEAST_MEAN)
        share = usual * LEAST_SPREAD
        return np.sqrt(np.maximum(variance, usual + share * share))

    def deviation_at(self, mean: float, variance: float) -> float:
        """Return the same of single numbers."""
        usual = max(mean, LEAST_MEAN)
        share = usual * LEAST_SPREAD
        return math.sqrt(max(variance, usual + share * share))

    def above(self, values: Floats, mean: Floats, variance: Floats) -> Floats:
        """Return how surprising counts at least as large are."""
        return surprises(self.samples(values), mean, variance, up=True)

    def below(self, values: Floats, mean: Floats, variance: Floats) -> Floats:
        """Return how surprising counts at most as large are."""
        return surprises(self.samples(values), mean, variance, down=True)
