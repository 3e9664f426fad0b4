"""Closing many panes of a window at once gives what closing them one by one gives: findings and state."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.engine import stream
from watchdog.engine.engine import Engine

HEAD = "attack: message-anomaly, severity: info, on: net:inbound_message, resolve_after: 1m"
RULES = f"""
rules:
  node-last: {{title: a, {HEAD}, over: 60s, pane: 5s, escalate: {{high: most > 95}},
    measure: {{n: count(), latest: last(size), most: max(size)}}, fire: latest > 50 and n > 1, clear: latest < 20}}
  node-silent: {{title: b, {HEAD}, over: 30s, pane: 5s,
    measure: {{n: count(), least: min(size)}}, fire: flat(n) or least > 60}}
  node-held: {{title: c, {HEAD}, over: 40s, pane: 5s, for: 20s,
    measure: {{n: count(), least: min(size where size > 10), most: max(size)}},
    fire: flat(count(size > 200)) and most - least > 30}}
  node-odd: {{title: f, {HEAD}, over: 25s, pane: 5s, escalate: {{high: total > 300}},
    measure: {{total: sum(size), odd: "anomalous(total, floor=20, threshold=3, half_life=5m, warmup=20s, step=10s)"}},
    fire: odd or total > 250, clear: total < 120}}
  node-both: {{title: g, {HEAD}, over: 35s, pane: 5s, for: 10s, measure: {{n: count(), least: sum(size where size > 50),
    quiet: 'anomalous(n, floor=1, threshold=2, half_life=5m, warmup=30s, step=5s, direction="both")',
    large: "anomalous(least, floor=10, threshold=3, half_life=5m, warmup=30s, step=15s)"}}, fire: quiet or large}}
  node-patient: {{title: h, {HEAD}, over: 45s, pane: 5s, for: 15s,
    measure: {{n: count(), latest: 'last(size where type == "inv")'}},
    fire: latest > 60 and n > 1, clear: latest < 30 and not flat(n)}}
  by-peer-last: {{title: j, {HEAD}, by: [peer_addr], over: 55s, pane: 5s,
    measure: {{n: count(), latest: 'last(size where type == "inv")'}}, fire: latest > 50}}
  node-slow: {{title: i, {HEAD}, over: 65s, pane: 5s, for: 10s,
    measure: {{total: sum(size), high: "anomalous(total, floor=20, threshold=2, half_life=5m, warmup=20s, step=5s)"}},
    fire: high or total > 220, clear: total < 100}}
  by-peer: {{title: d, {HEAD}, by: [peer_addr], over: 50s, pane: 5s,
    measure: {{total: sum(size), least: min(size), most: max(size), latest: last(size)}},
    fire: most - least > 40 or latest > 90, clear: most < 30}}
  by-type: {{title: e, {HEAD}, by: [type], over: 20s, pane: 10s, for: 20s,
    measure: {{most: max(size)}}, fire: most > 50}}
"""
PLANS = plans(RULES)


def _slices(seed: int) -> list[Slice]:
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    second = 0.0
    for _ in range(chance.randrange(5, 80)):
        second += chance.choice((0.3, 1.0, 4.0, 4.0, 9.0, 31.0, 31.0, 400.0))
        peer, kind = f"10.0.0.{chance.randrange(4)}", chance.choice(("inv", "tx"))
        rows.append({"t": second, "peer_addr": peer, "type": kind, "size": chance.randrange(1, 100)})
    slices, begin = [], 0
    while begin < len(rows):
        end = min(len(rows), begin + chance.choice((1, 7, 40, 200)))
        slices.append(one_slice([batch("net:inbound_message", rows[begin:end])], until=rows[end - 1]["t"]))
        begin = end
    last = slices[-1]
    if chance.random() < 0.5:
        slices.append(Slice(last.source, (), last.until_ns + chance.randrange(1, 300) * SECOND))
    return slices


def _told(slices: list[Slice], least: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Finding], bytes]:
    monkeypatch.setattr(stream, "RUN_LEAST", least)
    engine = Engine(PLANS, {slices[0].source: ALL_KINDS})
    findings = [finding for one in slices for finding in engine.process(one)]
    state = engine.snapshot()
    return [*findings, *engine.finish()], state


@given(seed=st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=30)
def test_runs_of_panes_change_nothing(seed: int) -> None:
    slices = _slices(seed)
    with pytest.MonkeyPatch.context() as monkeypatch:
        one_by_one, state = _told(slices, 1 << 40, monkeypatch)
        at_once, state_at_once = _told(slices, 2, monkeypatch)
    assert at_once == one_by_one
    assert state_at_once == state


def test_runs_are_taken_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: set[int] = set()
    judge_run = stream.StreamWindow._judge_run

    def noted(window: stream.StreamWindow, *arguments: Any) -> None:
        taken.add(window.over_ns)
        judge_run(window, *arguments)

    monkeypatch.setattr(stream.StreamWindow, "_judge_run", noted)
    for seed in range(12):
        _told(_slices(seed), 2, monkeypatch)
    assert taken == {span * SECOND for span in (60, 30, 40, 50, 25, 35, 45, 55, 65)}
