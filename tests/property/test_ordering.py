"""Packed sorting is plain stable sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.ordering import sorted_with_order


@given(codes=st.lists(st.integers(0, 1 << 61), max_size=50), runs=st.booleans(), small=st.booleans())
def test_packed_sorting_is_stable_sorting(codes: list[int], runs: bool, small: bool) -> None:
    column = np.array([code % 7 if small else code for code in codes], np.int64)
    found, order = sorted_with_order(column, runs=runs)
    assert order.tolist() == np.argsort(column, kind="stable").tolist()
    assert found.tolist() == np.sort(column).tolist()


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 1023, 1024, 1025])
def test_every_row_is_named_once(rows: int) -> None:
    found, order = sorted_with_order(np.zeros(rows, np.int64))
    assert order.tolist() == list(range(rows))
    assert not found.any()
