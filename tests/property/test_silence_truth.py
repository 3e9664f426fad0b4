"""Silence costs nothing and says what a walk through every pane says, wherever gaps and starts of the node are."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.batch import Batch, Slice
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.plan import RulePlan
from watchdog.engine.coverage import Coverage, Gap
from watchdog.engine.engine import Engine
from watchdog.engine.stream import StreamWindow

KIND = "net:inbound_message"
DAY, TWO_DAYS, TEN_YEARS = 86_400, 2 * 86_400, 3_650 * 86_400

HEAD = "attack: message-anomaly, severity: info, on: net:inbound_message, resolve_after: 10m"
RULES = f"""
rules:
  absent: {{title: t, {HEAD}, measure: {{n: count()}}, over: 10m, pane: 1m, fire: flat(n), summary: "{{n}}"}}
  absent-long:
    {{title: t, {HEAD}, measure: {{n: count()}}, over: 30m, pane: 5m, fire: flat(n), for: 3h,
     escalate: {{high: n == 0}}, summary: "{{n}}"}}
  fewer:
    {{title: t, {HEAD}, measure: {{n: count()}}, over: 5m, pane: 1m,
     fire: 'anomalous(n, direction="down", floor=2, threshold=2, half_life=2h, warmup=5m)', summary: "{{n}}"}}
  more:
    {{title: t, {HEAD}, by: [peer_addr], measure: {{n: count(), most: max(size)}}, over: 4m, pane: 1m,
     fire: 'anomalous(n, floor=1, threshold=2, half_life=1d, warmup=30m)', summary: "{{n}} {{most}}"}}
  lasting:
    {{title: t, {HEAD}, by: [peer_addr], measure: {{n: count()}}, over: 2d, pane: 5m, fire: n >= 2, for: 20h,
     summary: "{{n}}"}}
"""


@pytest.fixture(scope="module", name="compiled")
def _compiled() -> tuple[RulePlan, ...]:
    return plans(RULES)


def _rows(chance: random.Random, start: int, seconds: int, count: int) -> list[dict[str, Any]]:
    peers = ("1.2.3.4", "5.6.7.8")
    times = sorted(start + chance.randrange(seconds) for _ in range(count))
    return [{"t": t, "peer_addr": chance.choice(peers), "size": chance.randrange(9)} for t in times]


def _gaps(chance: random.Random, until: int, count: int) -> list[dict[str, Any]]:
    found = []
    for _ in range(count):
        begin = chance.randrange(until)
        end = begin + chance.choice((0, 1, 30, 600, 40_000))
        told = chance.choice((begin, begin, end, end + 700))
        found.append({"t": min(told, until - 1), "from_ns": begin * SECOND, "to_ns": end * SECOND})
    return sorted(found, key=lambda one: one["t"])


def _history(seed: int, silence: int, gaps: int, starts: int) -> tuple[list[Batch], int]:
    """An hour of events, silence, an hour of events; gaps and starts of the node anywhere."""
    chance = random.Random(seed)
    until = silence + 7_200
    rows = [*_rows(chance, 0, 3_600, 60), *_rows(chance, 3_600 + silence, 3_600, 60)]
    batches = [batch(KIND, rows)]
    if gaps:
        batches.append(batch("source:gap", _gaps(chance, until, gaps)))
    if starts:
        batches.append(batch("node:started", [{"t": chance.randrange(until)} for _ in range(starts)]))
    return batches, until


def _findings(compiled: tuple[RulePlan, ...], slices: list[Slice]) -> list[Finding]:
    engine = Engine(compiled, {"hand": ALL_KINDS})
    return [finding for part in slices for finding in engine.process(part)]


def _in_slices(batches: list[Batch], until: int, cuts: list[int]) -> list[Slice]:
    slices, before = [], -1
    for stop in [*sorted(cuts), until]:
        inside = [b.take(np.flatnonzero((b.time_ns >= before * SECOND) & (b.time_ns < stop * SECOND))) for b in batches]
        slices.append(one_slice([one for one in inside if one.rows], stop))
        before = stop
    return slices


@given(
    seed=st.integers(0, 1 << 30),
    silence=st.one_of(st.integers(600, 20_000), st.integers(20_000, 60_000), st.just(TWO_DAYS)),
    gaps=st.integers(0, 8),
    starts=st.integers(0, 3),
)
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_silence_says_what_a_walk_through_every_pane_says(
    compiled: Any, monkeypatch: pytest.MonkeyPatch, seed: int, silence: int, gaps: int, starts: int
) -> None:
    batches, until = _history(seed, silence, gaps, starts)
    cuts = sorted(random.Random(seed).sample(range(until), 4))
    found = _findings(compiled, [one_slice(batches, until)])
    assert found == _findings(compiled, _in_slices(batches, until, cuts))
    with monkeypatch.context() as patch:
        patch.setattr(StreamWindow, "_next_pane", lambda self, pane, arrival, decider: (pane, pane))
        assert found == _findings(compiled, [one_slice(batches, until)])


def _panes_judged(compiled: tuple[RulePlan, ...], slices: list[Slice], monkeypatch: pytest.MonkeyPatch) -> int:
    judged = [0]
    judge = StreamWindow._judge

    def count(self: StreamWindow, *arguments: Any) -> None:
        judged[0] += 1
        judge(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(StreamWindow, "_judge", count)
        _findings(compiled, slices)
    return judged[0]


@pytest.mark.parametrize(("gaps", "starts"), [(0, 0), (1, 0), (0, 1), (20, 10)])
def test_ten_years_of_silence_judge_as_many_panes_as_two_days(
    compiled: Any, monkeypatch: pytest.MonkeyPatch, gaps: int, starts: int
) -> None:
    """The rules have 11.5 million panes in ten years, and 6,300 in two days."""
    batches, until = _history(1, TEN_YEARS, gaps, starts)
    assert _panes_judged(compiled, [one_slice(batches, until)], monkeypatch) < 2 * 6_300 + 20 * (gaps + starts)


def _covered_gaps(engine: Engine) -> list[Gap]:
    return engine._engines[-1]._coverage.gaps


def test_a_source_that_is_down_for_days_is_one_gap(compiled: Any) -> None:
    """The service reports such a gap each ten seconds."""
    engine = Engine(compiled, {"hand": ALL_KINDS})
    engine.process(one_slice([batch(KIND, [{"t": 0}, {"t": 1}])], 2))
    for start in range(10, 5 * DAY, 10):
        gap = {"t": start, "from_ns": start * SECOND, "to_ns": (start + 10) * SECOND}
        engine.process(one_slice([batch("source:gap", [gap])], 2))
    assert [gap[:3] for gap in _covered_gaps(engine)] == [(10 * SECOND, 5 * DAY * SECOND, 10 * SECOND)]


def test_gaps_that_no_window_reaches_are_forgotten() -> None:
    gaps = [{"t": t, "from_ns": t * SECOND, "to_ns": (t + 5) * SECOND} for t in range(0, 200_000, 20)]
    engine = Engine(plans(RULES), {"hand": ALL_KINDS})
    for at in range(0, len(gaps), 100):
        engine.process(one_slice([batch("source:gap", gaps[at : at + 100])], gaps[at + 99]["t"] + 10))
    assert {gap[1] for gap in _covered_gaps(engine)} >= {gap["to_ns"] for gap in gaps if gap["t"] > 200_000 - TWO_DAYS}
    assert len(_covered_gaps(engine)) < len(gaps)


@given(seed=st.integers(0, 1 << 30), over=st.integers(1, 50), pane=st.integers(1, 12))
@settings(deadline=None)
def test_disturbed_windows_are_those_that_a_gap_or_a_start_is_in(seed: int, over: int, pane: int) -> None:
    chance = random.Random(seed)
    coverage = Coverage()
    first = chance.randrange(30)
    coverage.begin(first * SECOND)
    gaps = [(f, f + chance.randrange(20), f + chance.choice((0, 0, 5, 40))) for f in chance.sample(range(300), 6)]
    rows = [{"t": told, "from_ns": start * SECOND, "to_ns": end * SECOND} for start, end, told in gaps]
    coverage.see(batch("source:gap", rows))
    starts = chance.sample(range(300), 3)
    coverage.see(batch("node:started", [{"t": start} for start in starts]))
    disturbed = coverage.disturbed(over * SECOND, ("p2p:ping",))

    def plainly(end: int) -> bool:
        begin = end - over
        seen = begin >= first
        lost = any(told < end and start < end and stop > begin for start, stop, told in gaps)
        return not seen or lost or any(begin < start < end for start in starts)

    ends = np.arange(1, 400)
    expected = [plainly(end) for end in ends.tolist()]
    assert [disturbed.at(end * SECOND) for end in ends.tolist()] == expected
    assert disturbed.among(ends * SECOND).tolist() == expected
    panes = [plainly((at + 1) * pane) for at in range(400 // pane)]
    changes = [at for at in range(1, len(panes)) if panes[at] != panes[at - 1]]
    walked, at = set(), 1
    while (at := disturbed.next_change(at, pane * SECOND)) < len(panes):
        walked.add(at)
        at += 1
    assert set(changes) <= walked
