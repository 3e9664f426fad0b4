"""Rules with `changed` and with models of river: the same findings for any batches, and after a kill anywhere."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.plan import RulePlan
from watchdog.engine.engine import Engine

KIND = "net:inbound_message"
HEAD = f"attack: node, severity: info, on: {KIND}, resolve_after: 1m, evidence: 0"
STEP = "over: 20s, pane: 10s"  # a sample a minute; six panes between two
PANE = "over: 2m, pane: 1m"
TYPES = ("inv", "ping", "tx")
RULES = f"""
rules:
  node-moved: {{title: a, {HEAD}, {STEP}, fire: moved, measure: {{n: count(), moved: 'changed(n, delta=0.01)'}},
    summary: "{{moved_old}} {{moved_new}}"}}
  type-moved: {{title: b, {HEAD}, over: 1m, pane: 1m, by: [type], max_keys: 9, fire: moved,
    measure: {{n: count(), moved: 'changed(n, delta=0.01, ratio=1.5, floor=3)'}}}}
  mixed: {{title: c, {HEAD}, {STEP}, fire: moved or odd, measure: {{n: count(),
    moved: 'changed(n, delta=0.01, step=20s)', odd: 'anomalous(n, threshold=3, warmup=1m, step=10s)'}}}}
  trees: {{title: d, {HEAD}, {PANE}, model: river.anomaly.HalfSpaceTrees, memory: 100, fire: score > 0.9,
    parameters: {{n_trees: 3, height: 4, window_size: 20}}, limits: {{n: 0 to 60, bytes: 0 to 600}},
    measure: {{n: count(), bytes: sum(size)}}, summary: "{{score}}"}}
  gauss: {{title: e, {HEAD}, over: 1m, pane: 1m, by: [type], max_keys: 9, model: river.anomaly.GaussianScorer,
    memory: 100, parameters: {{window_size: 20, grace_period: 5}}, measure: {{n: count()}}, fire: score > 0.99}}
  hinkley: {{title: f, {HEAD}, {PANE}, model: river.drift.PageHinkley, memory: 120, features: [n],
    parameters: {{threshold: 8}}, measure: {{n: count()}}, fire: score > 0}}
  errors: {{title: g, {HEAD}, {PANE}, model: river.anomaly.PredictiveAnomalyDetection, memory: 100,
    measure: {{n: count(), size: mean(size)}}, fire: score > 0.99}}
"""
PLANS = plans(RULES)
MINUTES = 240


def _rows(seed: int) -> list[dict[str, Any]]:
    """Four hours; the pace changes every hour or so, with a silence in between."""
    chance, rows = random.Random(seed), []
    pace = 3.0
    for minute in range(MINUTES):
        if minute % 50 == 49:
            pace = 20.0 if pace < 10 else chance.choice((1.0, 3.0))
        if minute % 100 > 95:
            continue
        many = range(int(pace * chance.choice((0.5, 1, 1, 1.5))))
        rows += [{"t": minute * 60 + chance.random() * 60, "type": chance.choice(TYPES), "size": 7} for _ in many]
    return sorted(rows, key=lambda row: float(row["t"]))


def _slices(rows: list[dict[str, Any]], size: int) -> list[Slice]:
    made = []
    for at in range(0, len(rows), size):
        part, later = rows[at : at + size], rows[at + size :]
        until = float(later[0]["t"]) - 1e-6 if later else MINUTES * 60
        made.append(one_slice([batch(KIND, part)], until=until))
    return made


def _engine(plans: Sequence[RulePlan]) -> Engine:
    return Engine(plans, {"hand": ALL_KINDS})


def _findings(
    slices: list[Slice], kills: frozenset[int] = frozenset(), plans: Sequence[RulePlan] = PLANS
) -> list[Finding]:
    engine, found = _engine(plans), []
    for number, part in enumerate(slices):
        found += engine.process(part)
        if number in kills:
            again = _engine(plans)
            again.restore(engine.snapshot())
            engine = again
    return [*found, *engine.finish()]


def _in_order(found: list[Finding]) -> list[tuple[object, ...]]:
    return sorted((one.time_ns, one.rule, str(one.key), one.change, one.summary, str(one.measures)) for one in found)


@pytest.mark.parametrize("seed", range(2))
def test_batches_change_nothing_and_every_detector_finds_something(seed: int) -> None:
    rows = _rows(seed)
    whole = _in_order(_findings(_slices(rows, len(rows))))
    fired = {rule for _, rule, _, change, *_ in whole if change == "fire"}
    assert fired >= {"node-moved", "type-moved", "mixed", "hinkley"}
    for size in (3, 211):
        assert _in_order(_findings(_slices(rows, size))) == whole


@given(seed=st.integers(0, 3), kills=st.sets(st.integers(0, 30), min_size=1, max_size=4))
@settings(max_examples=6, deadline=None)
def test_a_killed_run_says_the_same(seed: int, kills: set[int]) -> None:
    slices = _slices(_rows(seed), 60)
    assert _in_order(_findings(slices, frozenset(kills))) == _in_order(_findings(slices))


def test_a_level_that_moves_is_reported_once_with_both_levels() -> None:
    pace = [4] * 120 + [20] * 120
    rows = [{"t": minute * 60 + at, "type": "inv"} for minute, n in enumerate(pace) for at in range(n)]
    found = [one for one in _findings(_slices(rows, 200)) if one.rule == "node-moved"]
    fired = [one for one in found if one.change == "fire"]
    assert len(fired) == 1
    assert {"n", "moved_old", "moved_new"} == fired[0].measures.keys()
    assert 120 * 60 * SECOND < fired[0].time_ns < 165 * 60 * SECOND, "ADWIN looks every 32 samples"
    assert fired[0].severity == "info"
    cleared = [one for one in found if one.change == "clear"]
    assert len(cleared) == 1
    assert cleared[0].time_ns == fired[0].time_ns + 10 * SECOND, "the next pane"


def test_a_window_with_a_gap_is_no_sample() -> None:
    rows = [{"t": minute * 60 + 50 + at, "type": "inv"} for minute in range(100) for at in range(4)]
    gap = {"t": 0.0, "from_ns": 0, "to_ns": 100 * 60 * SECOND, "lost": 1, "reason": "x", "kinds": ""}
    engine = _engine(PLANS)
    engine.process(one_slice([batch("source:gap", [gap]), batch(KIND, rows)], until=6_000))
    detectors = [one.river for group in engine._engines for rules in group.windows for one in rules._verdicts]
    drifts = [drift for river in detectors for drift in river._drifts]
    assert drifts
    assert not any(map(len, drifts))


def test_a_clock_that_jumps_by_a_year_is_a_silence_of_bounded_cost() -> None:
    year = 365 * 86_400
    rows = [
        {"t": at * year + minute * 60 + n, "type": "inv"} for at in (0, 1) for minute in range(90) for n in range(4)
    ]
    whole = [
        one_slice([batch(KIND, rows[:360])], until=5_400),
        one_slice([batch(KIND, rows[360:])], until=year + 5_400),
    ]
    few, begun = [plan for plan in PLANS if plan.id in ("type-moved", "gauss")], time.process_time()
    found = _findings(whole, plans=few)
    assert time.process_time() - begun < 60, "two days of it are sampled, not a year"
    assert not [one for one in found if one.rule == "type-moved" and one.time_ns < year * SECOND]
    assert _findings(whole, frozenset({0}), few) == found


def test_scores_are_numbers() -> None:
    found = [one for one in _findings(_slices(_rows(1), 100)) if "score" in one.measures]
    assert found
    assert all(math.isfinite(one.measures["score"]) for one in found)
