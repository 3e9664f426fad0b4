"""The baseline: silent before warm-up, blind to small effects, not poisoned by an attack."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.baseline import Baseline

SLOT = np.zeros(1, np.int64)


def _after(samples: list[float], *, up: bool = True, down: bool = False) -> Baseline:
    baseline = Baseline(threshold=5.0, floor=0.5, weight=0.02, warmup=30, up=up, down=down)
    for value in samples:
        baseline.learn(SLOT, np.array([value]))
    return baseline


def _odd(baseline: Baseline, value: float) -> bool:
    return bool(baseline.judge(SLOT, np.array([value]))[0][0])


def test_nothing_is_odd_before_the_warm_up() -> None:
    assert not _odd(_after([1.0] * 29), 1_000.0)
    assert _odd(_after([1.0] * 30), 1_000.0)


def test_a_large_ratio_of_a_tiny_rate_is_not_odd() -> None:
    calm = _after([0.001] * 100)
    assert not _odd(calm, 0.4)
    assert _odd(calm, 2.0)


def test_a_fall_is_odd_only_when_asked_for() -> None:
    assert not _odd(_after([20.0] * 100), 0.0)
    assert _odd(_after([20.0] * 100, up=False, down=True), 0.0)


def test_a_rise_is_odd_only_when_asked_for_and_both_sides_may_be() -> None:
    assert not _odd(_after([20.0] * 100, up=False, down=True), 1_000.0)
    assert [_odd(_after([20.0] * 100, down=True), value) for value in (0.0, 20.0, 1_000.0)] == [True, False, True]


def test_the_expectation_is_in_the_unit_of_the_series() -> None:
    _, expected = _after([3.0] * 200).judge(SLOT, np.array([3.0]))
    assert expected[0] == pytest.approx(3.0)


def test_a_single_huge_sample_moves_an_old_baseline_little() -> None:
    baseline = _after([1.0] * 200)
    baseline.learn(SLOT, np.array([1e9]))
    assert baseline.judge(SLOT, np.array([1.0]))[1][0] < 1.1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        _after([1.0]).judge(SLOT, np.array([value]))


def test_a_restored_baseline_judges_the_same() -> None:
    rng = np.random.default_rng(7)
    old = _after(rng.exponential(3.0, 80).tolist())
    new = Baseline(threshold=5.0, floor=0.5, weight=0.02, warmup=30, up=True)
    new.restore(old.state())
    for value in rng.exponential(30.0, 50).tolist():
        assert _odd(old, value) == _odd(new, value)
        old.learn(SLOT, np.array([value]))
        new.learn(SLOT, np.array([value]))
