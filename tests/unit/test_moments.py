"""Which event times can be true."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from watchdog.core.moments import AHEAD_NS, EARLIEST_NS, WRITTEN_NS, before, is_plausible, latest_plausible, plausible

NOW_NS = WRITTEN_NS + 400 * AHEAD_NS
LATEST_NS = latest_plausible(NOW_NS)
GENESIS_NS = 1_231_006_505 * 10**9  # time in the header of block 0
NEVER_NS, END_NS = -(1 << 63), (1 << 63) - 1


def test_the_first_plausible_day_is_that_of_the_genesis_block() -> None:
    assert datetime.fromtimestamp(EARLIEST_NS / 1e9, UTC) == datetime(2009, 1, 3, tzinfo=UTC)
    assert is_plausible(GENESIS_NS, LATEST_NS)


@pytest.mark.parametrize(
    ("time_ns", "sound"),
    [
        (NEVER_NS, False),
        (-1, False),
        (0, False),
        (EARLIEST_NS - 1, False),
        (EARLIEST_NS, True),
        (NOW_NS, True),
        (NOW_NS + AHEAD_NS, True),
        (NOW_NS + AHEAD_NS + 1, False),
        (END_NS, False),
    ],
)
def test_the_edges(time_ns: int, sound: bool) -> None:
    assert is_plausible(time_ns, LATEST_NS) is sound
    assert plausible(np.array([time_ns], np.int64), LATEST_NS).tolist() == [sound]


@pytest.mark.parametrize("clock_ns", [NEVER_NS, 0, EARLIEST_NS, WRITTEN_NS])
def test_a_clock_that_is_behind_does_not_condemn_what_was_recorded_before_this_was_written(clock_ns: int) -> None:
    assert latest_plausible(clock_ns) == WRITTEN_NS + AHEAD_NS
    assert is_plausible(WRITTEN_NS, latest_plausible(clock_ns))


def test_lost_rows_are_told_at_the_neighbour_before() -> None:
    times = np.array([9, 5, 9, 9, 7, 9], np.int64)
    assert before(times, times != 9, 3).tolist() == [3, 5, 5, 5, 7, 7]
    assert before(times[:1], np.array([False]), 0).tolist() == [0]
    assert before(times[:0], np.array([], np.bool_), 0).tolist() == []
