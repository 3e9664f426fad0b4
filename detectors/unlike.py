"""Each key against the other keys of the same pane: who does far more of something than all others do.

>>> pings = [[3.0], [2.0], [3.0], [2.0], [3.0], [2.0], [3.0], [2.0], [400.0]]  # one row a peer, one column a measure
>>> found = unlike_others(np.array(pings), np.array([3.0]), least=8)
>>> found.score.round(1).tolist()[-1], found.median.tolist()[-1], found.peers.tolist()[-1]
(15.6, 3.0, 9)

Nothing is learned, so what everybody does at once, a surge or a release, moves the median too and is no oddity. Keys of
which more than half do the same are the median: when attackers hold most of the connections, this says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.windows import Floats

LEAST_DEVIATION: Final = 0.25
"""Of log1p(value / floor). Most peers do none of most things, so the median deviation is 0: one key is then odd from a
multiple of the floor on (4.2 floors at a threshold of 6.6). Chosen on quiet recordings of a real node."""
LARGEST: Final = 1e18  # a value beyond it reads as this, so that its quotient with any floor is finite
TO_SIGMA: Final = 1.4826  # of a normal distribution, by its median absolute deviation


@dataclass(frozen=True, slots=True, eq=False)
class Unlike:
    """By key. score: deviations above the median, of the measure where it is farthest; 0 where nothing was compared.

    measure: the number of that measure. value, median: of it, in its own unit. peers: keys in the comparison.
    """

    score: Floats
    measure: NDArray[np.int64]
    value: Floats
    median: Floats
    peers: NDArray[np.int64]


def unlike_others(
    values: Floats, floors: Floats, *, least: int, groups: Floats | None = None, live: NDArray[np.bool_] | None = None
) -> Unlike:
    """Compare the keys of one pane; only more than the others do is odd.

    values: keys x measures, at least 0; others count as 0. floors: by measure, above 0: differences below it hardly
    count. least: keys that a group must have. groups: by key, keys of equal number are compared with each other; None:
    all. live: by key, whether it takes part. Raises ValueError for shapes that do not fit.
    """
    size, width = values.shape
    if floors.shape != (width,) or not (floors > 0).all():
        raise ValueError("each measure needs a floor above 0")
    if any(part is not None and part.shape != (size,) for part in (groups, live)):
        raise ValueError("groups and live are given by key")
    score, median, peers = np.zeros(size), np.zeros(size), np.zeros(size, np.int64)
    measure, value = np.zeros(size, np.int64), np.zeros(size)
    taking_part = np.ones(size, np.bool_) if live is None else live
    numbers = np.zeros(size) if groups is None else groups
    amounts = np.clip(np.nan_to_num(values, nan=0.0), 0.0, LARGEST)
    for number in np.unique(numbers[taking_part]).tolist():
        members = np.flatnonzero(taking_part & (numbers == number))
        if len(members) < least:
            continue
        scaled = np.log1p(amounts[members] / floors)
        middle = np.median(scaled, axis=0)
        deviation = np.maximum(np.median(np.abs(scaled - middle), axis=0) * TO_SIGMA, LEAST_DEVIATION)
        distance = (scaled - middle) / deviation
        worst = distance.argmax(axis=1)
        score[members] = np.maximum(distance[np.arange(len(members)), worst], 0.0)
        measure[members], value[members] = worst, amounts[members, worst]
        median[members] = np.median(amounts[members], axis=0)[worst]
        peers[members] = len(members)
    return Unlike(score, measure, value, median, peers)
