"""`Drift` alone: a step is seen once, with both levels; noise, days and nonsense are not; what it keeps is bounded."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from river import anomaly as river_anomaly
from river import drift as river_drift

import detectors.drift as module
import detectors.replayed as models
from detectors.drift import MOST_VALUES, Drift, Moved, split_at
from detectors.replayed import FREEZE, WARMUP, DriftModel, Replayed, RowModel, Scored
from detectors.windows import Floats

DAY = 1_440
LIMITS = {0: (0, 9), 1: (0, 9)}


def drift(**options: float) -> Drift:
    return Drift(lambda: river_drift.ADWIN(delta=2.3e-5), **options)  # type: ignore[arg-type] # numbers only


def moves(values: Floats, **options: float) -> list[tuple[int, Moved]]:
    watch = drift(**options)
    found = ((at, watch.sample(0, value)) for at, value in enumerate(values.tolist()))
    return [(at, moved) for at, moved in found if moved is not None]


def poisson(rate: Floats, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).poisson(rate).astype(float)


@pytest.mark.parametrize("one", [module, models])
def test_the_examples_in_the_documentation_are_true(one: object) -> None:
    results = doctest.testmod(one)  # type: ignore[arg-type] # a module is an object
    assert results.attempted > 3
    assert results.failed == 0


@pytest.mark.parametrize(("before", "after"), [(3.0, 12.0), (280.0, 60.0), (25.0, 400.0)])
def test_a_step_is_one_move_with_both_levels(before: float, after: float) -> None:
    found = moves(poisson(np.repeat([before, after], [600, 600])))
    assert len(found) == 1
    at, moved = found[0]
    assert 600 < at < 600 + 90
    assert moved.old == pytest.approx(before, rel=0.25)
    assert moved.new == pytest.approx(after, rel=0.25)


def test_a_steady_series_never_moves() -> None:
    assert moves(poisson(np.full(14 * DAY, 3.0))) == []
    assert moves(np.zeros(3 * DAY)) == []


def test_a_day_with_its_rhythm_is_no_new_normal() -> None:
    minutes = np.arange(10 * DAY)
    assert moves(poisson(60 * (1 + 0.35 * np.sin(2 * math.pi * minutes / DAY)))) == []


def test_a_slow_ramp_is_reported_once_it_has_come_that_far() -> None:
    minutes = np.arange(6 * DAY)
    found = moves(poisson(40 * 2 ** (minutes / (2 * DAY))))  # twofold in two days: each step is below the ratio
    assert 1 <= len(found) <= 3
    assert all(1.9 < moved.new / moved.old < 4 for _, moved in found)
    assert moves(poisson(40 * 2 ** (minutes / (12 * DAY)))) == [], "accepted: 1.4 times in six days"


def test_a_burst_of_minutes_is_no_new_normal_for_long() -> None:
    rate = np.full(3 * DAY, 20.0)
    rate[DAY : DAY + 10] = 100.0
    assert len(moves(poisson(rate))) <= 2, "one there at most, and one back"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_values_are_refused_and_change_nothing(value: float) -> None:
    watch = drift()
    watch.sample(0, 1.0)
    before = watch.state()
    with pytest.raises(ValueError, match="finite"):
        watch.sample(0, value)
    assert np.array_equal(watch.state()["rows"], before["rows"])


def test_negative_and_huge_values_have_levels() -> None:
    largest = np.finfo(float).max
    values = np.repeat([-50.0, largest], [200, 200]) + np.tile([0.0, 1.0], 200)
    ((_, moved),) = moves(values)
    assert moved.old == pytest.approx(-50, rel=0.05)
    assert math.isfinite(moved.new)
    assert moved.new > 1e290


def test_a_normal_needs_half_an_hour() -> None:
    assert moves(np.repeat([1.0, 500.0], [20, 300])) == []


def test_values_and_slots_are_bounded() -> None:
    watch = Drift(lambda: river_drift.ADWIN(delta=2.3e-5), most=100, slots=3)
    for at in range(1_000):
        for slot in range(5):
            watch.sample(slot, float(at % 3))
    state = watch.state()
    assert len(watch) == 3
    assert state["counts"].max() < 100
    assert watch.refused == 2_000
    watch.purge(np.array([1]))
    watch.sample(4, 1.0)
    assert sorted(watch.state()["slots"].tolist()) == [0, 2, 4]


def test_a_week_is_kept_at_most() -> None:
    watch = drift()
    for value in poisson(np.full(MOST_VALUES + 200, 5.0)).tolist():
        watch.sample(0, value)
    assert watch.state()["counts"].tolist() == [MOST_VALUES // 2 + 200]


def test_the_split_is_where_two_levels_fit_best() -> None:
    assert split_at(np.array([1.0, 1.1, 0.9, 5.0, 5.2])) == 3
    assert split_at(np.array([0.0, 1.0])) == 1
    assert split_at(np.zeros(5)) == 1


# ---- models


def trees(**options: object) -> Replayed:
    limits = {0: (0, 100)}
    return Replayed(
        lambda: RowModel(river_anomaly.HalfSpaceTrees(n_trees=5, window_size=40, limits=limits, seed=0, **options)),
        1,
        memory=200,
    )


def test_what_fires_teaches_nothing_until_it_has_lasted() -> None:
    watch = trees()
    for at in range(100):
        watch.sample(0, (float(at % 5),))
    kept = len(watch.state()["rows"])
    for _ in range(FREEZE):
        watch.sample(0, (90.0,), lambda _score: False)
    assert len(watch.state()["rows"]) == kept
    watch.sample(0, (90.0,), lambda _score: False)
    assert len(watch.state()["rows"]) == kept + 1, "after six hours it is learned all the same"


class Broken:
    """Raises, or gives what is no number, from the 40th row on."""

    freezes = True

    def __init__(self, answer: object) -> None:
        self.rows, self.answer = 0, answer

    def score(self, _row: object) -> float:
        if self.rows < 40:
            return 0.5
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value] # nonsense on purpose

    def learn(self, _row: object) -> None:
        self.rows += 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (TypeError("must be real number, not complex"), "TypeError: must be real number"),
        (complex(1, 2), "ValueError: its score is (1+2j)"),
        (math.nan, "its score is nan"),
        (None, "its score is None"),
        ("high", "its score is 'high'"),
    ],
)
def test_a_model_that_fails_is_counted_and_starts_afresh(answer: object, said: str) -> None:
    watch = Replayed(lambda: Broken(answer), 1, memory=100)
    found = [watch.sample(7, (1.0,)) for _ in range(100)]
    faults = [one.fault for one in found if one.fault]
    assert [one.score for one in found[:WARMUP]] == [0.0] * WARMUP
    assert len(faults) == watch.faults(7) == 2
    assert said in faults[0]


def test_a_gaussian_with_a_window_fails_where_a_counter_goes_quiet_and_says_so() -> None:
    watch = Replayed(lambda: RowModel(river_anomaly.GaussianScorer(window_size=20, grace_period=5)), 1, memory=2_000)
    chance = np.random.default_rng(2)
    values = [*chance.poisson(80, 300).tolist(), *[0.1] * 200]
    faults = [one.fault for one in (watch.sample(0, (float(value),)) for value in values) if one.fault]
    assert faults
    assert all("complex" in fault for fault in faults)


MAKERS = {
    "HalfSpaceTrees": lambda: river_anomaly.HalfSpaceTrees(n_trees=3, window_size=20, limits=LIMITS, seed=0),
    "LODA": lambda: river_anomaly.LODA(n_random_cuts=10, seed=0),  # not in the oldest river that is supported
    "LocalOutlierFactor": lambda: river_anomaly.LocalOutlierFactor(n_neighbors=5),
    "OneClassSVM": river_anomaly.OneClassSVM,
    "GaussianScorer": lambda: river_anomaly.GaussianScorer(grace_period=5),
    "StandardAbsoluteDeviation": river_anomaly.StandardAbsoluteDeviation,
    "PredictiveAnomalyDetection": river_anomaly.PredictiveAnomalyDetection,
}


def of(name: str) -> Replayed:
    return Replayed(lambda: RowModel(MAKERS[name]()), 2, memory=100)


@pytest.mark.parametrize("name", [name for name in MAKERS if hasattr(river_anomaly, name)])
@pytest.mark.parametrize("kill", [10, 60, 130])
def test_every_class_continues_after_a_kill(name: str, kill: int) -> None:
    chance = np.random.default_rng(kill)
    rows = [tuple(row) for row in chance.uniform(0, 9, (150, 2)).tolist()]

    def run(killed: int) -> list[Scored]:
        watch, found = of(name), []
        for at, row in enumerate(rows):
            if at == killed:
                state, watch = watch.state(), of(name)
                watch.restore(state)
            found.append(watch.sample(0, row, lambda score: score < 0.9))
        return found

    whole = run(-1)
    assert run(kill) == whole
    assert [one.fault for one in whole if one.fault] == []
    assert len({one.score for one in whole}) > 2


@pytest.mark.parametrize("make", [river_drift.ADWIN, river_drift.PageHinkley, lambda: river_drift.KSWIN(seed=0)])
def test_detectors_of_change_score_one_where_they_see_it(make: type) -> None:
    watch = Replayed(lambda: DriftModel(make()), 1, memory=1_000)
    scores = [watch.sample(0, (value,)).score for value in np.repeat([1.0, 60.0], [200, 200]) + np.tile([0, 0.1], 200)]
    assert set(scores) == {0.0, 1.0}
    assert 200 <= scores.index(1.0) < 300
