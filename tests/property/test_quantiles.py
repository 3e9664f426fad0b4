"""Quantiles of sliding windows against NumPy, for any division into closings, any order and any kill."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.quantiles import EXACT_BITS, RELATIVE_ERROR, QuantileWindow, middles

SLOTS, PANES, END = 3, 20, 30
VALUE = st.one_of(
    st.integers(-200, 200), st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from([0, 127, 128, -128, 1 << 20])
)
ROWS = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, PANES), VALUE), max_size=60)
CUTS = st.lists(st.integers(1, END - 1), max_size=8).map(lambda marks: sorted({0, END, *marks}))
SHARE = st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.95, 0.999])


@given(rows=ROWS, cuts=CUTS, width=st.integers(1, 7), share=SHARE, seed=st.integers(0, 99))
def test_a_quantile_is_that_of_numpy_within_its_error(
    rows: list[tuple[int, int, int]], cuts: list[int], width: int, share: float, seed: int
) -> None:
    window = QuantileWindow(width, share)
    every = np.arange(SLOTS)
    for start, stop in itertools.pairwise(cuts):
        part = [row for row in rows if start <= row[1] < stop]
        random.Random(seed).shuffle(part)
        slots, panes, values = (np.array([row[i] for row in part], np.int64) for i in range(3))
        window.close(slots, panes, values, start, stop)
        for slot, answer in enumerate(window.of(every).tolist()):
            inside = [value for s, pane, value in rows if s == slot and stop - 1 - width < pane < stop]
            exact = int(np.quantile(np.array(inside, np.int64), share, method="inverted_cdf")) if inside else 0
            assert abs(answer - exact) <= RELATIVE_ERROR * abs(exact)
            assert answer == exact or abs(exact) >= 1 << EXACT_BITS
        resumed = QuantileWindow(width, share)
        resumed.restore(window.state(), stop, SLOTS)
        window = resumed


@given(value=VALUE)
def test_a_bin_has_one_middle_and_keeps_the_order(value: int) -> None:
    low, high = min(value, 1 << 62), min(value, 1 << 62) + 1
    pair = middles(np.array([low, high], np.int64))
    assert pair[0] <= pair[1]
    assert (middles(pair) == pair).all()


def test_a_key_cannot_have_more_bins_than_stated() -> None:
    ends = [(1 << bits) + step for bits in range(63) for step in range(0, 1 << bits, max(1, (1 << bits) >> 7))]
    assert len(set(middles(np.array(ends, np.int64)).tolist())) <= 3_776


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_a_share_is_between_0_and_1(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        QuantileWindow(3, share)


def test_rows_beyond_the_room_are_counted() -> None:
    window = QuantileWindow(3, 0.5, max_pairs=4)
    window.close(np.zeros(9, np.int64), np.zeros(9, np.int64), np.arange(9), 0, 1)
    assert (len(window), window.refused) == (4, 5)
