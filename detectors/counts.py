"""How surprising a count is: the chance of one as large, or as small, by a negative binomial law.

>>> usual, spread = np.full(3, 25.0), np.full(3, 30.0)  # mean and variance of pings a minute
>>> surprises(np.array([25.0, 40.0, 80.0]), usual, spread, up=True).round(1).tolist()
[0.0, 2.1, 13.1]

A surprise is -log10 of that chance, so the surprises of different series are on one scale: one in 43,200 is 4.6,
whether the series counts pings or addresses. A series with bursts has a larger variance, and by it a wider law.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from detectors.windows import Floats

LARGEST: Final = 1e12
"""A count beyond it reads as this: sums of logarithms stay exact to a hundredth."""
LEAST_MEAN: Final = 0.1
"""Of a series that was always 0: the next event alone is not impossible."""
LEAST_SPREAD: Final = 0.1
"""However steady a series was, its deviation is at least ten percent of its mean, beside what chance adds; chosen, as
for the law `level`."""
CALM: Final = 2.0
BURSTY: Final = 0.01
"""A count within CALM deviations above the mean is not looked at, unless the law's size is below BURSTY: its surprise
is below 2 there (a test holds it over a grid of laws)."""
MOST: Final = 300.0  # a surprise is at most this
_STEPS: Final = 400  # of the continued fraction; 60 suffice beyond two deviations
_CLOSE: Final = 1e-9
_TINY: Final = 1e-300


def spread(mean: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance of the law for those of a series; the variance is above the mean."""
    mean = np.maximum(mean, LEAST_MEAN)
    least: Floats = mean + np.square(LEAST_SPREAD * mean)
    return mean, np.maximum(variance, least)


def surprises(counts: Floats, mean: Floats, variance: Floats, *, up: bool = False, down: bool = False) -> Floats:
    """Return by row how surprising a count is: as large a one (`up`), as small a one (`down`), the larger of both.

    counts: 0 to LARGEST. mean, variance: of the series, finite. 0 where it is below 2 anyway, or on the other side of
    the mean.
    """
    mean, variance = spread(mean, variance)
    found = np.zeros(len(counts))
    if up:
        bursty = np.square(mean) < BURSTY * (variance - mean)
        rows = np.flatnonzero((counts > mean) & (bursty | (counts - mean > CALM * np.sqrt(variance))))
        found[rows] = _tails(counts[rows], mean[rows], variance[rows], above=True)
    if down:
        rows = np.flatnonzero(counts < mean)
        found[rows] = _tails(counts[rows], mean[rows], variance[rows], above=False)
    return found


def _tails(counts: Floats, mean: Floats, variance: Floats, *, above: bool) -> Floats:
    """Return -log10 of the chance of a count at least (above) or at most as large as each.

    With size r = mean^2 / (variance - mean), P(X >= k) is the regularised incomplete beta function I of k and r at
    1 - mean / variance, and P(X <= k) that of r and k + 1 at mean / variance.
    """
    if not len(counts):
        return np.zeros(0)
    size = np.square(mean) / (variance - mean)
    share = mean / variance
    if above:
        logs = _log_beta(np.maximum(counts, 1.0), size, np.log1p(-share), np.log(share))
    else:
        logs = _log_beta(size, counts + 1.0, np.log(share), np.log1p(-share))
    return np.clip(-logs / math.log(10.0), 0.0, MOST)


def _log_beta(a: Floats, b: Floats, log_x: Floats, log_rest: Floats) -> Floats:
    """Return the logarithm of the regularised incomplete beta function I_x(a, b), given log(x) and log(1 - x).

    By its continued fraction (DLMF 8.17.22), which converges fast below the mean of the beta law; above it the other
    tail is taken from 1.
    """
    swap = np.exp(log_x) > (a + 1.0) / (a + b + 2.0)
    first, second = np.where(swap, b, a), np.where(swap, a, b)
    log_first, log_second = np.where(swap, log_rest, log_x), np.where(swap, log_x, log_rest)
    front = first * log_first + second * log_second - np.log(first)
    front += _log_gamma(first + second) - _log_gamma(first) - _log_gamma(second)
    tail = front + np.log(_fraction(first, second, np.exp(log_first)))
    rest = np.log(np.maximum(-np.expm1(np.minimum(tail, 0.0)), _TINY))
    found: Floats = np.where(swap, rest, np.minimum(tail, 0.0))
    return found


def _log_gamma(values: Floats) -> Floats:
    return np.fromiter(map(math.lgamma, values.tolist()), np.float64, len(values))


def _fraction(a: Floats, b: Floats, x: Floats) -> Floats:
    """Return the continued fraction by Lentz' method; each row stops by itself, so no row depends on its neighbours."""
    found = np.ones(len(a))
    rows = np.arange(len(a))
    below = _away(1.0 - (a + b) * x / (a + 1.0))
    ratio, above = 1.0 / below, np.ones(len(a))
    value = ratio
    for step in range(1, _STEPS + 1):
        even = step * (b - step) * x / ((a + 2 * step - 1.0) * (a + 2.0 * step))
        ratio, above = 1.0 / _away(1.0 + even * ratio), _away(1.0 + even / above)
        value = value * ratio * above
        odd = -(a + step) * (a + b + step) * x / ((a + 2.0 * step) * (a + 2 * step + 1.0))
        ratio, above = 1.0 / _away(1.0 + odd * ratio), _away(1.0 + odd / above)
        change = ratio * above
        value = value * change
        going = np.abs(change - 1.0) > _CLOSE
        found[rows] = value
        if not going.any():
            break
        rows, a, b, x = rows[going], a[going], b[going], x[going]
        ratio, above, value = ratio[going], above[going], value[going]
    return np.maximum(found, _TINY)


def _away(values: Floats) -> Floats:
    """Return the values, kept away from 0."""
    return np.where(np.abs(values) < _TINY, _TINY, values)
