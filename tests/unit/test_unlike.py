"""Keys beside each other: one that does far more is odd; what all do together is not; few keys say nothing."""

from __future__ import annotations

import doctest
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import detectors.unlike as module
from detectors.unlike import LEAST_DEVIATION, unlike_others
from detectors.windows import Floats

FLOORS = np.array([3.0, 20.0])


def quiet(peers: int = 20) -> Floats:
    """Pings and announcements of peers that are alike."""
    return np.array([[float(n % 3), 40.0 + n % 5] for n in range(peers)])


def test_the_example_in_its_documentation_is_true() -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_peer_that_does_far_more_is_odd_and_its_measure_is_named() -> None:
    values = quiet()
    values[7] = [1.0, 4_000.0]
    found = unlike_others(values, FLOORS, least=8)
    assert found.score.argmax() == 7
    assert (found.score > 6.6).sum() == 1
    assert (found.measure[7], found.value[7], found.median[7], found.peers[7]) == (1, 4_000.0, 42.0, 20)


def test_what_everybody_does_at_once_is_nothing_odd() -> None:
    found = unlike_others(quiet() * 50, FLOORS, least=8)
    assert found.score.max() < 6.6


def test_less_than_the_others_is_nothing_odd() -> None:
    values = quiet() + 1_000.0
    values[3] = 0.0
    assert unlike_others(values, FLOORS, least=8).score[3] == 0.0


def test_when_more_than_half_are_hostile_they_are_the_median() -> None:
    values = quiet(20)
    values[:11, 0] = 5_000.0
    assert unlike_others(values, FLOORS, least=8).score.max() < 6.6


@pytest.mark.parametrize("peers", [1, 3, 7])
def test_with_few_keys_nothing_is_compared(peers: int) -> None:
    values = quiet(peers)
    values[0] = 1e9
    found = unlike_others(values, FLOORS, least=8)
    assert not found.score.any()
    assert not found.peers.any()


def test_groups_are_compared_within_themselves_and_the_dead_take_no_part() -> None:
    values = np.concatenate([quiet(10), quiet(10) * 100])
    groups = np.repeat([1.0, 2.0], 10)
    assert unlike_others(values, FLOORS, least=8, groups=groups).score.max() < 6.6
    live = np.ones(20, np.bool_)
    live[:3] = False
    found = unlike_others(values, FLOORS, least=8, groups=groups, live=live)
    assert found.peers.tolist() == [0] * 10 + [10] * 10, "seven are too few"


def test_no_keys_and_numbers_that_are_none() -> None:
    assert len(unlike_others(np.zeros((0, 2)), FLOORS, least=8).score) == 0
    values = quiet()
    values[0], values[1] = np.nan, np.inf
    values[2] = -5.0
    found = unlike_others(values, FLOORS, least=8)
    assert np.isfinite(found.score).all()
    assert found.score.argmax() == 1


def test_numbers_that_overflow_with_a_small_floor_are_compared() -> None:
    values = np.full((12, 2), 1e308)
    values[:5] = 0.0
    found = unlike_others(values, np.array([0.01, 3.0]), least=8)
    assert np.isfinite(found.score).all()
    assert not found.score.max() > 6.6, "most do it"


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="floor"):
        unlike_others(quiet(), np.array([3.0]), least=8)
    with pytest.raises(ValueError, match="floor"):
        unlike_others(quiet(), np.array([3.0, 0.0]), least=8)
    with pytest.raises(ValueError, match="by key"):
        unlike_others(quiet(), FLOORS, least=8, groups=np.zeros(3))


def test_the_smallest_odd_value_is_a_multiple_of_the_floor() -> None:
    """Most peers do none of it: then a peer is odd from exp(threshold x least deviation) - 1 floors on."""
    edge = (np.exp(6.62 * LEAST_DEVIATION) - 1) * 3.0
    values = np.zeros((20, 1))
    for value, odd in ((edge * 0.99, False), (edge * 1.01, True)):
        values[0] = value
        assert bool(unlike_others(values, np.array([3.0]), least=8).score[0] > 6.62) is odd


@given(arrays(np.float64, (12, 2), elements=st.floats(0, 1e12)), st.randoms(use_true_random=False))
def test_the_order_of_the_keys_makes_no_difference(values: Floats, chance: Random) -> None:
    order = chance.sample(range(12), 12)
    straight, shuffled = unlike_others(values, FLOORS, least=8), unlike_others(values[order], FLOORS, least=8)
    assert straight.score[order].tolist() == shuffled.score.tolist()
    assert straight.measure[order].tolist() == shuffled.measure.tolist()
