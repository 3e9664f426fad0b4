"""The law `counts`: surprises are those of a negative binomial law, for all that a series can be."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

import detectors.baseline
import detectors.counts
from detectors.baseline import RELEARNS, Baseline, Learnt
from detectors.counts import CALM, LARGEST, MOST, spread, surprises
from detectors.laws import CountLaw, LevelLaw
from detectors.windows import Floats

SLOT = np.zeros(1, np.int64)


@pytest.mark.parametrize("module", [detectors.counts, detectors.baseline])
def test_the_example_in_its_documentation_is_true(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type] # a module is an object
    assert results.attempted > 0
    assert results.failed == 0


def summed(count: int, mean: float, variance: float, *, above: bool) -> float:
    """-log10 of the chance of a count at least, or at most, as large: the terms of the law added one by one."""
    usual, spread_ = (float(part[0]) for part in spread(np.array([mean]), np.array([variance])))
    size, share = usual**2 / (spread_ - usual), usual / spread_
    terms, last = [], count + 60 * int(math.sqrt(spread_) + 10)
    for k in range(count, last) if above else range(count + 1):
        log = math.lgamma(k + size) - math.lgamma(size) - math.lgamma(k + 1)
        terms.append(math.exp(log + size * math.log(share) + k * math.log1p(-share)))
    return -math.log10(math.fsum(terms))


@pytest.mark.parametrize("mean", [0.01, 0.4, 3.0, 25.0, 280.0])
@pytest.mark.parametrize("ratio", [0.0, 1.5, 6.0, 40.0])
def test_surprises_are_those_of_a_plain_sum(mean: float, ratio: float) -> None:
    usual, variance = (float(part[0]) for part in spread(np.array([mean]), np.array([mean * ratio])))
    for distance in (2.1, 3.0, 5.0, 9.0, 20.0):
        count = math.ceil(usual + distance * math.sqrt(variance))
        found = surprises(np.array([float(count)]), np.array([mean]), np.array([mean * ratio]), up=True)
        assert found[0] == pytest.approx(summed(count, mean, mean * ratio, above=True), rel=1e-5)
    for count in range(0, math.ceil(usual), max(1, int(usual / 5))):
        found = surprises(np.array([float(count)]), np.array([mean]), np.array([mean * ratio]), down=True)
        assert found[0] == pytest.approx(summed(count, mean, mean * ratio, above=False), rel=1e-5, abs=1e-9)


def test_what_is_not_looked_at_would_be_no_surprise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every law of a grid: a count that is skipped has a surprise below 2, the least threshold."""
    chance = np.random.default_rng(3)
    mean = 10 ** chance.uniform(-2, 7, 40_000)
    variance = mean * 10 ** chance.uniform(-1, 6, len(mean))
    usual, spread_ = spread(mean, variance)
    counts = np.floor(usual + chance.uniform(0, CALM, len(mean)) * np.sqrt(spread_))
    skipped = surprises(counts, mean, variance, up=True) == 0.0
    monkeypatch.setattr(detectors.counts, "CALM", 0.0)
    assert skipped.sum() > 20_000
    assert surprises(counts, mean, variance, up=True)[skipped].max() < 2.0


def test_it_is_total_for_all_that_a_series_can_be() -> None:
    corners = np.array([0.0, 1e-300, 1.0, 5.5, 1e6, LARGEST])
    counts, mean, variance = (part.reshape(-1) for part in np.meshgrid(corners, corners, corners**2))
    found = surprises(counts, mean, variance, up=True, down=True)
    assert np.isfinite(found).all()
    assert found.min() >= 0.0
    assert found.max() <= MOST


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    chance = np.random.default_rng(5)
    mean = 10 ** chance.uniform(-2, 6, 300)
    variance = mean * 10 ** chance.uniform(0, 4, 300)
    counts = np.floor(mean + chance.uniform(-3, 30, 300) * np.sqrt(variance)).clip(0)
    together = surprises(counts, mean, variance, up=True, down=True)
    alone = [
        surprises(*(part[n : n + 1] for part in (counts, mean, variance)), up=True, down=True)[0] for n in range(300)
    ]
    assert together.tolist() == alone


# ---- the baseline by this law


def counting(threshold: float = 4.64, *, freeze: int = 1 << 40, floor: float = 5.0, shared: bool = False) -> Baseline:
    """A baseline of counts a minute with a half-life of six hours."""
    weight = 1 - 2 ** (-1 / 360)
    return Baseline(threshold, floor, weight, 30, up=True, law=CountLaw(), freeze=freeze, shared=shared)


def walked(baseline: Baseline, values: Floats) -> list[bool]:
    """The verdict on each value; an odd one teaches nothing."""
    verdicts = []
    for value in values.tolist():
        odd, _ = baseline.judge(SLOT, np.array([value]))
        baseline.learn(SLOT, np.array([value]), ~odd)
        verdicts.append(bool(odd[0]))
    return verdicts


def test_the_budget_is_kept_on_a_series_of_the_law() -> None:
    """Ninety days of minutes at one false finding in thirty days: three are promised, twelve are four times that."""
    chance = np.random.default_rng(11)
    values = chance.negative_binomial(12.0, 12.0 / 37.0, 129_600).astype(float)
    baseline = counting(-math.log10(1 / 43_200))
    learned = baseline.series(0, values, np.ones(len(values), np.bool_), teaches=True)
    odd = baseline.scored(values, Learnt._make(column[:-1] for column in learned))[0] > baseline.threshold
    assert odd.sum() <= 12


def test_a_baseline_of_one_value_hears_a_burst_and_not_a_single_event() -> None:
    for value, usual, odd in ((0.0, 2.0, 7.0), (1_000.0, 1_100.0, 2_000.0)):
        baseline = counting(floor=1.0)
        assert not any(walked(baseline, np.full(500, value)))
        assert walked(baseline, np.array([usual, odd])) == [False, True]


def test_a_small_count_is_heard_where_the_level_is_deaf() -> None:
    """Three a minute, five times as many for ten minutes: section 1.3 of the study, where the level finds a third."""
    chance = np.random.default_rng(2)
    quiet = chance.poisson(3.0, 2_000).astype(float)
    attack = chance.poisson(15.0, 10).astype(float)
    level = Baseline(5.0, 5.0, 1 - 2 ** (-1 / 360), 30, up=True, law=LevelLaw(5.0))
    walked(level, quiet)
    counts = counting()
    assert sum(walked(counts, quiet)) == 0
    assert sum(walked(counts, attack)) > sum(walked(level, attack))


def test_a_slow_attack_does_not_become_normal() -> None:
    """Half an hour of the five-fold rate stays an alarm to its end, and the normal is what it was."""
    chance = np.random.default_rng(4)
    baseline = counting()
    walked(baseline, chance.poisson(20.0, 3_000).astype(float))
    before = float(baseline.learnt.mean[0])
    assert all(walked(baseline, chance.poisson(100.0, 30).astype(float)))
    assert float(baseline.learnt.mean[0]) == before


def test_one_short_attack_every_two_days_does_not_poison_it() -> None:
    """Twenty attacks of ten minutes: the last is found as the first, as none of them taught anything."""
    chance = np.random.default_rng(6)
    baseline = counting()
    found = []
    for _ in range(20):
        walked(baseline, chance.poisson(3.0, 2 * 1_440).astype(float))
        found.append(sum(walked(baseline, chance.poisson(20.0, 10).astype(float))))
    assert min(found) >= 6
    assert sum(found[10:]) >= 0.9 * sum(found[:10])
    assert float(baseline.learnt.mean[0]) == pytest.approx(3.0, rel=0.15)


def test_a_lasting_change_is_learnt_afresh_after_the_freeze() -> None:
    baseline = counting(freeze=60)
    walked(baseline, np.full(300, 20.0))
    verdicts = walked(baseline, np.full(200, 200.0))
    assert verdicts == [True] * 60 + [False] * 140
    assert float(baseline.learnt.old[0]) == pytest.approx(20.0)
    assert float(baseline.learnt.mean[0]) == pytest.approx(200.0)
    assert walked(baseline, np.array([1_500.0])) == [True]


def test_nothing_is_judged_while_it_learns_afresh_and_a_held_condition_does_not_stop_it() -> None:
    baseline = counting(freeze=10)
    walked(baseline, np.full(100, 20.0))
    for _ in range(10):
        baseline.learn(SLOT, np.array([20.0]), np.zeros(1, np.bool_))
    assert int(baseline.learnt.frozen[0]) == RELEARNS
    for _ in range(29):
        assert not baseline.judge(SLOT, np.array([9_000.0]))[0][0]
        baseline.learn(SLOT, np.array([40.0]), np.zeros(1, np.bool_))
        assert int(baseline.learnt.frozen[0]) == RELEARNS
    baseline.learn(SLOT, np.array([40.0]), np.zeros(1, np.bool_))
    assert int(baseline.learnt.frozen[0]) == 0
    assert baseline.judge(SLOT, np.array([9_000.0]))[0][0]


def test_a_shared_threshold_asks_more_of_one_key_among_many() -> None:
    """One in 100 at one key is one in a million among ten thousand."""
    baseline = counting(2.0, floor=0.0, shared=True)
    walked(baseline, np.full(200, 3.0))
    score = surprises(np.array([9.0]), baseline.learnt.mean[:1], baseline.learnt.variance[:1], up=True)[0]
    assert 2.0 < score < 6.0
    assert baseline.judge(SLOT, np.array([9.0]))[0][0]
    assert not baseline.judge(SLOT, np.array([9.0]), 10_000)[0][0]


@pytest.mark.parametrize("law", [CountLaw(), LevelLaw(1e-6)])
def test_the_largest_numbers_leave_a_state_that_can_be_restored(law: CountLaw | LevelLaw) -> None:
    baseline = Baseline(5.0, 1.0, 0.01, 5, up=True, down=True, law=law, freeze=3)
    for value in (np.finfo(float).max, 0.0, 1e300, -1e300, 1e18, 5.0) * 5:
        baseline.judge(SLOT, np.array([value]))
        baseline.learn(SLOT, np.array([value]))
    baseline.restore(baseline.state())


def test_a_checkpoint_from_before_baselines_forgot_is_taken_over() -> None:
    old = counting()
    walked(old, np.full(50, 20.0))
    state = {name: old.state()[name] for name in ("mean", "variance", "samples")}
    new = counting()
    new.restore(state)
    assert walked(new, np.array([900.0])) == [True]


def test_a_level_needs_a_floor() -> None:
    with pytest.raises(ValueError, match="floor"):
        LevelLaw(0.0)
