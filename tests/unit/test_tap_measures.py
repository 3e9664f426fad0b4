"""The measures of a tap against plain Python over the same rows, in any batches and any order."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.quantiles import middles
from watchdog.core.plan import MeasurePlan
from watchdog.tap.measures import BINS, DistinctValues, Histogram, accumulator_of, bounds_of

LARGEST = (1 << 63) - 1
SPECIAL = [
    0,
    1,
    -1,
    2,
    3,
    4,
    127,
    128,
    129,
    1023,
    1024,
    (1 << 53) - 1,
    1 << 53,
    (1 << 62) - 1,
    1 << 62,
    LARGEST,
    -LARGEST,
]
NUMBERS = st.one_of(st.sampled_from(SPECIAL), st.integers(-2_000, 2_000), st.integers(-LARGEST - 1, LARGEST))
SMALL = st.integers(-(1 << 40), 1 << 40)  # what a sum takes: see MOST in rules/formula.py
Rows = list[tuple[int, int, int]]


def rows_of(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Rows]:
    """Rows of slot, value and time; times meet."""
    return st.lists(st.tuples(st.integers(0, 5), numbers, st.integers(0, 9)), min_size=1, max_size=60)


def measured(op: str, rows: Rows, cuts: list[int], parameters: tuple[float, ...] = ()) -> list[Any]:
    """The measure of slots 0 to 5, with the rows added in several batches."""
    accumulator = accumulator_of(MeasurePlan("m", op, None, None, parameters))
    edges = sorted({0, len(rows), *(cut % (len(rows) + 1) for cut in cuts)})
    for start, stop in itertools.pairwise(edges):
        slots, values, times = (np.array(column, np.int64) for column in zip(*rows[start:stop], strict=True))
        accumulator.add(slots, values, times)
    return list(accumulator.cells(6).tolist())


def by_slot(rows: Rows) -> dict[int, list[tuple[int, int]]]:
    found = defaultdict(list)
    for slot, value, time in rows:
        found[slot].append((value, time))
    return found


CUTS = st.lists(st.integers(0, 60), max_size=4)


@settings(max_examples=60, deadline=None)
@given(rows_of(SMALL), CUTS)
def test_sums(rows: Rows, cuts: list[int]) -> None:
    found = by_slot(rows)
    assert measured("sum", rows, cuts) == [sum(value for value, _ in found[slot]) for slot in range(6)]


@settings(max_examples=100, deadline=None)
@given(rows_of(NUMBERS), CUTS)
def test_least_greatest_latest_and_distinct(rows: Rows, cuts: list[int]) -> None:
    found = by_slot(rows)
    values = [[value for value, _ in found[slot]] for slot in range(6)]
    assert measured("min", rows, cuts) == [min(one, default=0) for one in values]
    assert measured("max", rows, cuts) == [max(one, default=0) for one in values]
    assert measured("distinct", rows, cuts) == [len(set(one)) for one in values]
    latest = [max(found[slot], key=lambda pair: (pair[1], pair[0]), default=(0, 0))[0] for slot in range(6)]
    assert measured("last", rows, cuts) == latest


@settings(max_examples=100, deadline=None)
@given(rows_of(st.integers(-3, 3)), CUTS)
def test_shares_and_entropy(rows: Rows, cuts: list[int]) -> None:
    found = by_slot(rows)
    counts = [Counter(value for value, _ in found[slot]) for slot in range(6)]
    shares = [max(one.values(), default=0) / max(one.total(), 1) for one in counts]
    assert measured("top_share", rows, cuts) == pytest.approx(shares)
    bits = [-sum(n / one.total() * math.log2(n / one.total()) for n in one.values()) for one in counts]
    assert measured("entropy", rows, cuts) == pytest.approx(bits, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(rows_of(NUMBERS), CUTS, st.sampled_from([0.01, 0.5, 0.95, 0.999]))
def test_quantiles(rows: Rows, cuts: list[int], share: float) -> None:
    found = by_slot(rows)
    wanted = []
    for slot in range(6):
        values = sorted(value for value, _ in found[slot])
        rank = max(math.ceil(round(len(values) * share, 9)), 1)
        wanted.append(int(middles(np.array([values[rank - 1]]))[0]) if values else 0)
    assert measured("quantile", rows, cuts, (share,)) == wanted


@settings(max_examples=100, deadline=None)
@given(rows_of(NUMBERS), CUTS)
def test_histograms(rows: Rows, cuts: list[int]) -> None:
    cells = measured("histogram", rows, cuts)
    for slot, pairs in by_slot(rows).items():
        wanted = [0] * BINS
        for value, _ in pairs:
            size = min(abs(value), LARGEST)
            wanted[64 + (size.bit_length() if value > 0 else -size.bit_length())] += 1
        assert cells[slot] == wanted


def test_bins_meet_without_a_gap() -> None:
    edges = [bounds_of(bin_) for bin_ in range(1, BINS - 1)]
    assert all(high == low for (_, high), (low, _) in itertools.pairwise(edges))
    assert [bounds_of(bin_) for bin_ in (62, 63, 64, 65, 66)] == [(-3, -1), (-1, 0), (0, 1), (1, 2), (2, 4)]


def test_values_beyond_the_most_are_refused_and_counted() -> None:
    distinct = DistinctValues(10)
    distinct.add(np.zeros(25, np.int64), np.arange(25), np.zeros(25, np.int64))
    distinct.add(np.zeros(5, np.int64), np.arange(5), np.zeros(5, np.int64))
    assert (distinct.cells(1).tolist(), distinct.refused) == ([10], 15)


def test_a_key_beyond_those_that_came_is_empty() -> None:
    histogram = Histogram()
    histogram.add(np.array([0]), np.array([5]), np.array([0]))
    assert histogram.cells(3).sum(axis=1).tolist() == [1, 0, 0]
