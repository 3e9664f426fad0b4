"""The arithmetic behind the tables of docs/DETECTORS.md: episodes, labels found, quiet time."""

from __future__ import annotations

import numpy as np

from benchmarks import promise
from benchmarks.changed import changed_alarms, delays, false_moves
from benchmarks.detectors import GRACE, Recording, Score, attacks, baseline_alarms, counting, episodes, row
from watchdog.offline.labels import Label

MINUTES = 200


def recording() -> Recording:
    """Two hundred minutes from minute 1,000: pings with a flood at 100 to 110, and a stall that raises nothing."""
    values = np.random.default_rng(1).poisson(20.0, MINUTES).astype(np.float64)
    values[100:110] = 900.0
    labels = (
        Label("node_start", "benign", 1_000 * 60.0, 1_010 * 60.0, ()),
        Label("ping_flood", "message-anomaly", 1_100 * 60.0, 1_110 * 60.0, ()),
        Label("stalled_blocks", "message-anomaly", 1_150 * 60.0, 1_160 * 60.0, ()),
    )
    return Recording("made", labels, 1_000, {"ping": values}, {}, {})


def test_alarms_close_to_each_other_are_one_episode() -> None:
    assert list(episodes([])) == []
    assert list(episodes([60, 5, 6, 6 + GRACE, 50])) == [5, 50]
    assert list(episodes([5, 6 + GRACE])) == [5, 6 + GRACE]


def test_a_label_is_found_by_an_episode_that_begins_inside_it() -> None:
    one = recording()
    assert [label.attack for label in attacks(one)] == ["ping_flood"]
    for alarms, found in (([100], 1), ([120], 1), ([121], 0), ([99], 0), ([95, 104], 0), ([], 0)):
        score = Score("it")
        score.add(one, [alarms], 1)
        assert (score.found, score.labels) == (found, 1)


def test_false_alarms_are_counted_outside_of_all_labels_only() -> None:
    score = Score("it")
    score.add(recording(), [[5, 60, 105, 155], [80]], 2)
    assert score.false == 2
    assert 0.0 < score.quiet_days < 2 * MINUTES / 1_440
    assert "2 in" in row(score)


def test_the_shipped_law_finds_the_flood_and_nothing_else() -> None:
    alarms, us = baseline_alarms(recording(), counting())
    assert alarms == [list(range(100, 110))]
    assert us > 0


def test_the_episodes_of_a_promise_are_counted_by_replica() -> None:
    verdicts = np.zeros((2, 100), np.bool_)
    verdicts[0, [3, 5, 40]] = True
    verdicts[1, [0, 99]] = True
    assert promise.episodes(verdicts) == 4


def test_the_synthetic_transactions_have_the_rate_that_is_said() -> None:
    made = promise.swinging(280.0)(np.random.default_rng(2), 20 * promise.DAY)
    assert 250 < made.mean() < 310
    assert made.var() > 2 * made.mean()


def test_moves_are_counted_where_the_normal_moves_only() -> None:
    make, rate = next((one.make, one.rate) for one in promise.SERIES if one.name.startswith("pings"))
    assert false_moves(make, rate / 3, 2.0) == [0] * promise.REPLICAS
    seen = delays(make, rate, rate / 3)
    assert len(seen) == promise.REPLICAS
    assert all(0 < minutes < 90 for minutes in seen)
    alarms, us = changed_alarms({"pings": np.repeat([20.0, 100.0], [300, 300]), "still": np.full(600, 7.0)})
    assert [len(one) for one in alarms] == [1, 0]
    assert us > 0
