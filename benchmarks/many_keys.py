"""many-keys: what comparing keys beside each other costs when peers and netblocks are many.

One pane of 10,000 peers with 24 measures and of 5,000 netblocks with 26, as the shipped rules `peer-unlike-others` and
`netblock-unlike-others` compare them, against one pane of 100 peers and 50 netblocks. CPU time for each key.
"""

from __future__ import annotations

import statistics
import tracemalloc

import numpy as np

from benchmarks.rounds import Row, Settings, by_cost, cpu_seconds
from detectors.unlike import unlike_others
from detectors.windows import Floats

MANY, FEW = (10_000, 5_000), (100, 50)  # peers, netblocks
MEASURES = (24, 26)
REPEATS_FEW = 100  # panes of few keys in one measurement, so that both take about as long
MOST_RATIO = 5.0  # of the cost for each key
MOST_BYTES = 64 << 20  # of one pane


def measure(settings: Settings) -> list[Row]:
    """Return the cost for each key, and the memory of a pane of many."""
    chance = np.random.default_rng(7)
    many = [made(chance, keys, width) for keys, width in zip(MANY, MEASURES, strict=True)]
    few = [made(chance, keys, width) for keys, width in zip(FEW, MEASURES, strict=True)]
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(settings.rounds):
        spent[0].append(cpu_seconds(lambda: compare(many, 1)) / sum(MANY) * 1e6)
        spent[1].append(cpu_seconds(lambda: compare(few, REPEATS_FEW)) / (REPEATS_FEW * sum(FEW)) * 1e6)
    costs = statistics.median(spent[0]), statistics.median(spent[1])
    note = f"{costs[0]:.2f} us a key among {sum(MANY):,}, {costs[1]:.2f} us among {sum(FEW)}"
    peak = peak_bytes(many)
    return [
        by_cost("many-keys", costs, "us", "few keys, for each key", gate=1 / MOST_RATIO, note=note),
        by_cost("many-keys-memory", (peak, MOST_BYTES), "bytes", "limit of a pane", gate=1.0, note="peak"),
    ]


def made(chance: np.random.Generator, keys: int, width: int) -> tuple[Floats, Floats]:
    """Return amounts by key and measure, most of them none, and the floors."""
    amounts = chance.poisson(0.3, (keys, width)) * chance.integers(1, 50, (keys, width))
    return amounts.astype(np.float64), np.full(width, 3.0)


def compare(panes: list[tuple[Floats, Floats]], times: int) -> None:
    """Compare the keys of each pane, `times` times."""
    for _ in range(times):
        for amounts, floors in panes:
            unlike_others(amounts, floors, least=8)


def peak_bytes(panes: list[tuple[Floats, Floats]]) -> int:
    """Return the most memory that one comparison takes beside its input."""
    tracemalloc.start()
    try:
        compare(panes, 1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
