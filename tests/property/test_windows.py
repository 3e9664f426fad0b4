"""Windows, distinct counts and value counts against brute force, for any division into closings.

pane      0  1  2  3  4  5        width 3: the window at pane p is panes p-2, p-1, p
arrivals  5        2
value     5  5  5  2  2  2->0
"""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.distinct import DistinctWindow, Touches
from detectors.extremes import Extremes, Latest
from detectors.shares import ValueCounts, entropy_bits
from detectors.window_banks import BankChanges, WindowBank
from detectors.windows import Changes, Window
from tests.support.naive_engine import entropy, top_share

SLOTS, PANES, END = 4, 40, 60
ROWS = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, PANES), st.integers(0, 6)), max_size=60)
CUTS = st.lists(st.integers(1, END - 1), max_size=8).map(lambda marks: sorted({0, END, *marks}))
WIDTH = st.integers(1, 7)


def _ints(values: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def _closings(rows: list[tuple[int, int, int]], cuts: list[int]) -> list[tuple[int, int, list[tuple[int, int, int]]]]:
    return [(a, b, [row for row in rows if a <= row[1] < b]) for a, b in itertools.pairwise(cuts)]


def _inside(rows: list[tuple[int, int, int]], slot: int, pane: int, width: int) -> list[int]:
    return [value for s, p, value in rows if s == slot and pane - width < p <= pane]


@given(rows=ROWS, cuts=CUTS, width=WIDTH)
def test_a_window_holds_the_sum_of_its_last_panes(
    rows: list[tuple[int, int, int]], cuts: list[int], width: int
) -> None:
    window = Window(1, width)
    window.reserve(SLOTS)
    decided: dict[tuple[int, int], tuple[int, int]] = {}
    for start, stop, part in _closings(rows, cuts):
        slots, panes, values = (_ints([row[i] for row in part]) for i in range(3))
        told = window.close(Changes(slots, panes, values[:, None]), Changes.none(1), start, stop)
        keys = zip(told.slots.tolist(), told.panes.tolist(), strict=True)
        decided |= dict(zip(keys, zip(told.values[:, 0].tolist(), told.live.tolist(), strict=True), strict=True))
        again = Window(1, width)
        again.restore(window.state())
        window = again
        window.reserve(SLOTS)
    for slot in range(SLOTS):
        now = (0, 0)
        for pane in range(END):
            inside = _inside(rows, slot, pane, width)
            live = len({p for s, p, _ in rows if s == slot and pane - width < p <= pane})
            if (sum(inside), live) != now:
                assert (slot, pane) in decided, "a change of the value was not decided"
            now = decided.get((slot, pane), now)
            assert now == (sum(inside), live)


@given(rows=ROWS, cuts=CUTS, widths=st.lists(WIDTH, min_size=1, max_size=3))
def test_members_of_a_lane_are_windows_of_their_own(
    rows: list[tuple[int, int, int]], cuts: list[int], widths: list[int]
) -> None:
    lane = WindowBank(1, widths)
    values: dict[tuple[int, int, int], int] = {}
    for start, stop, part in _closings(rows, cuts):
        cells, panes, sums = [], [], []
        for member in range(len(widths)):
            slots = _ints([row[0] for row in part])
            cells.append(lane.cells(np.full(len(part), member), slots, SLOTS))
            panes.append(_ints([row[1] for row in part]))
            sums.append(_ints([row[2] for row in part]))
        arrivals = BankChanges(np.concatenate(cells), np.concatenate(panes), np.concatenate(sums)[None, :])
        nothing = BankChanges(_ints([]), _ints([]), np.zeros((1, 0), np.int64))
        for member, told in lane.close(arrivals, nothing, start, stop).items():
            for slot, pane, value in zip(
                told.slots.tolist(), told.panes.tolist(), told.values[0].tolist(), strict=True
            ):
                values[member, slot, pane] = value
        lane.take_back(_ints([]))
        again = WindowBank(1, widths)
        again.restore(lane.state())
        lane = again
    for member, width in enumerate(widths):
        for slot in range(SLOTS):
            now = 0
            for pane in range(END):
                now = values.get((member, slot, pane), now)
                assert now == sum(_inside(rows, slot, pane, width))


@given(rows=ROWS, cuts=CUTS, width=WIDTH)
def test_distinct_counts_are_exact_below_the_cap(rows: list[tuple[int, int, int]], cuts: list[int], width: int) -> None:
    window = DistinctWindow(width)
    window.reserve(SLOTS)
    changed: Counter[tuple[int, int]] = Counter()
    for start, stop, part in _closings(rows, cuts):
        slots, panes, values = (_ints([row[i] for row in part]) for i in range(3))
        touches = Touches(slots, panes, values.astype(np.uint64), np.full(len(part), width))
        told = window.close(touches, start, stop)
        for slot, pane, delta in zip(told.slots.tolist(), told.panes.tolist(), told.deltas[:, 0].tolist(), strict=True):
            changed[slot, pane] += delta
        again = DistinctWindow(width)
        again.restore(window.state())
        window = again
    for slot in range(SLOTS):
        for pane in range(END):
            count = sum(delta for (s, p), delta in changed.items() if s == slot and p <= pane)
            assert count == len(set(_inside(rows, slot, pane, width)))
    assert not window.pairs.any()


@given(rows=ROWS, cuts=CUTS, width=WIDTH)
def test_entropy_and_top_share_follow_the_window(rows: list[tuple[int, int, int]], cuts: list[int], width: int) -> None:
    counts = ValueCounts(width)
    totals: dict[int, list[int]] = {slot: [0, 0] for slot in range(SLOTS)}
    for start, stop in itertools.pairwise(sorted({*cuts, *range(END)})):
        part = [row for row in rows if start <= row[1] < stop]
        slots, panes, values = (_ints([row[i] for row in part]) for i in range(3))
        told = counts.close(slots, panes, values.astype(np.uint64), start, stop)
        for slot, deltas in zip(told.slots.tolist(), told.deltas.tolist(), strict=True):
            totals[slot] = [totals[slot][0] + deltas[0], totals[slot][1] + deltas[1]]
        for slot, (total, weight) in totals.items():
            inside = _inside(rows, slot, start, width)
            assert total == len(inside)
            assert entropy_bits(_ints([total]), _ints([weight]))[0] == pytest.approx(entropy(inside), abs=1e-4)
            assert counts.tops(_ints([slot]))[0] / max(total, 1) == pytest.approx(top_share(inside))


@given(rows=ROWS, width=WIDTH)
def test_extremes_and_the_latest_value_follow_the_window(rows: list[tuple[int, int, int]], width: int) -> None:
    least, most, latest = Extremes(width, least=True), Extremes(width, least=False), Latest()
    last = dict.fromkeys(range(SLOTS), 0)
    for pane in range(END):
        part = [row for row in rows if row[1] == pane]
        slots, panes, values = (_ints([row[i] for row in part]) for i in range(3))
        least.close(slots, values, pane)
        most.close(slots, values, pane)
        told = latest.close(slots, panes, panes, values)
        for slot, delta in zip(told.slots.tolist(), told.deltas[:, 0].tolist(), strict=True):
            last[slot] += delta
        for slot in range(SLOTS):
            inside = _inside(rows, slot, pane, width)
            assert least.of(_ints([slot]))[0] == min(inside, default=0)
            assert most.of(_ints([slot]))[0] == max(inside, default=0)
            here = [value for s, p, value in rows if s == slot and p == pane]
            if here:
                assert last[slot] == max(here)


@pytest.mark.parametrize(("least", "limit"), [(True, 2**63 - 1), (False, -(2**63))])
def test_a_window_of_only_the_largest_numbers_is_not_empty(least: bool, limit: int) -> None:
    extremes = Extremes(5, least=least)
    extremes.close(_ints([2, 2]), _ints([limit, limit]), 0)
    assert extremes.of(_ints([1, 2])).tolist() == [0, limit]
    assert extremes.over(_ints([1, 2]), _ints([3, 3])).tolist() == [0, limit]


def test_a_key_with_too_many_values_is_sampled_and_estimated() -> None:
    window = DistinctWindow(10, cap=1024)
    window.reserve(1)
    for pane in range(30):
        values = np.random.default_rng(pane).integers(0, 2**63, 5_000).astype(np.uint64)
        touches = Touches(np.zeros(5_000, np.int64), np.full(5_000, pane), values, np.full(5_000, 10))
        window.close(touches, pane, pane + 1)
        window.resample(np.zeros(1, np.int64))
        assert window.pairs[0] <= 1024
    estimate = int(window.pairs[0]) << int(window.level[0])
    assert estimate == pytest.approx(50_000, rel=0.12)


def test_memory_of_distinct_counts_is_bounded() -> None:
    window = DistinctWindow(10, cap=1 << 40, max_pairs=1_000)
    window.reserve(1)
    touches = Touches(
        np.zeros(5_000, np.int64), np.zeros(5_000, np.int64), np.arange(5_000, dtype=np.uint64), np.full(5_000, 10)
    )
    window.close(touches, 0, 1)
    assert window.pairs[0] == 1_000
    assert window.refused == 4_000
