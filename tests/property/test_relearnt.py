"""Baselines that count and forget: the same findings for any batches, runs of panes, walks and kills."""

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
from watchdog.engine.stream import StreamWindow
from watchdog.engine.surplus import PER_PANE

HEAD = "attack: message-anomaly, severity: warning, on: net:inbound_message, resolve_after: 1m"
COUNTS = 'law="counts", half_life=5m, warmup=1m, step=10s, freeze_at_most=2m'
RULES = f"""
rules:
  node-count: {{title: a, {HEAD}, over: 45s, pane: 5s, fire: odd or n > 60,
    measure: {{n: count(), odd: 'anomalous(n, threshold=2.5, {COUNTS})'}}}}
  node-budget: {{title: b, {HEAD}, over: 20s, pane: 10s, fire: odd or flat(n),
    measure: {{n: count(), odd: 'anomalous(n, budget="1000 per 1d", direction="both", {COUNTS})'}}}}
  node-level: {{title: c, {HEAD}, over: 30s, pane: 5s, fire: odd and total > 3, measure: {{total: sum(size),
    odd: "anomalous(total, floor=5, threshold=3, half_life=5m, warmup=30s, step=5s, freeze_at_most=1m)"}}}}
  node-patient: {{title: e, {HEAD}, over: 40s, pane: 10s, for: 30s, fire: odd or n > 70, clear: n < 25 and not odd,
    measure: {{n: count(), odd: 'anomalous(n, threshold=2.5, {COUNTS})'}}}}
  by-peer: {{title: d, {HEAD}, by: [peer_addr], over: 30s, pane: 10s, for: 10s,
    measure: {{n: count(), odd: 'anomalous(n, budget="1000 per 1d", {COUNTS})'}}, fire: odd or n > 40}}
"""
PLANS = plans(RULES)


def _rows(seed: int) -> list[dict[str, Any]]:
    """A quarter of an hour or more of four peers; stretches of silence, and of one that floods for minutes."""
    chance, rows, second = random.Random(seed), [], 0.0
    while second < 900:
        pace, length = (
            chance.choice(((2.0, 200), (0.15, 40), (0.1, 240), (9.0, 300), (400.0, 1))),
            chance.randrange(1, 4),
        )
        end = second + pace[1] * length
        peers = chance.choice((1, 4))
        while second < end:
            second += pace[0] * chance.choice((0.2, 1.0, 1.6))
            peer = f"10.0.0.{chance.randrange(peers)}"
            rows.append({"t": round(second, 3), "peer_addr": peer, "type": "inv", "size": chance.randrange(1, 30)})
    return rows


def _slices(rows: list[dict[str, Any]], size: int) -> list[Slice]:
    made = []
    for at in range(0, len(rows), size):
        part, later = rows[at : at + size], rows[at + size :]
        until = float(later[0]["t"]) - 1e-6 if later else float(part[-1]["t"]) + 900
        made.append(one_slice([batch("net:inbound_message", part)], until=until))
    return made


def _findings(rows: list[dict[str, Any]], size: int, *, kill: bool = False) -> list[Finding]:
    engine = Engine(PLANS, {"hand": ALL_KINDS})
    found: list[Finding] = []
    for part in _slices(rows, size):
        found += engine.process(part)
        if kill:
            again = Engine(PLANS, {"hand": ALL_KINDS})
            again.restore(engine.snapshot())
            engine = again
    return [*found, *engine.finish()]


def _order(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: (one.time_ns, one.rule, sorted(one.incident.items()), str(one.key)))


@given(seed=st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=6)
def test_batches_runs_walks_and_kills_change_nothing(seed: int) -> None:
    rows = _rows(seed)
    whole = _findings(rows, len(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "RUN_LEAST", 1 << 40)
        assert _order(_findings(rows, len(rows))) == _order(whole)
        patch.setattr(StreamWindow, "_next_pane", lambda self, pane, arrival, decider: (pane, pane))
        assert _order(_findings(rows, len(rows))) == _order(whole)
    for size in (40, 300):
        assert _order(_findings(rows, size)) == _order(whole)
    assert _order(_findings(rows, 150, kill=True)) == _order(whole)


def test_the_histories_have_what_they_are_for() -> None:
    """Each rule fires, and each learns its normal afresh: where one begins and where it ends are reported."""
    seen = {
        (one.rule, "normal" in one.incident, one.change) for seed in range(8) for one in _findings(_rows(seed), 200)
    }
    for plan in PLANS:
        assert {(plan.id, False, "fire"), (plan.id, True, "fire"), (plan.id, True, "clear")} <= seen, plan.id


def test_a_normal_that_is_learnt_afresh_is_an_incident_of_its_own() -> None:
    """Three messages a second for ten minutes, then thirty: an alarm, and after two minutes the new normal."""
    rows = [{"t": n / 3, "peer_addr": "10.0.0.1", "type": "inv", "size": 1} for n in range(1_800)]
    rows += [{"t": 600 + n / 30, "peer_addr": "10.0.0.1", "type": "inv", "size": 1} for n in range(18_000)]
    own = [one for one in _findings(rows, 500) if one.rule == "node-budget" and one.time_ns < 1_200 * SECOND]
    told = [(one.change, one.severity, one.incident.get("normal"), one.time_ns // SECOND) for one in own]
    assert [one for one in told if one[0] != "update"] == [
        ("fire", "warning", None, 610),
        ("fire", "info", "odd", 720),
        ("clear", "warning", None, 730),
        ("clear", "info", "odd", 780),
    ]
    first, last, _ = (one for one in own if one.incident)
    assert last.change == "update"
    assert first.summary == "no normal value for 2m: learns a new normal, without a verdict for 1m"
    assert last.summary.startswith("normal re-learnt at 10x the old level: ")
    assert last.measures["odd_new"] == pytest.approx(600, rel=0.02)
    assert last.measures["odd_old"] == pytest.approx(60, rel=0.05)


EACH = """
rules:
  each: {title: t, attack: message-anomaly, severity: info, on: net:inbound_message, by: [peer_addr], over: 60s,
    pane: 60s, fire: odd, evidence: 0, entities: [], MORE measure: {n: count(),
    odd: 'anomalous(n, law="counts", threshold=2, floor=1, warmup=3m, freeze_at_most=2m)'}}
"""


def _turned(rows: list[dict[str, Any]], more: str, size: int) -> dict[str, list[str]]:
    """The keys of which it is reported that they begin and that they end to learn afresh."""
    engine = Engine(plans(EACH.replace("MORE", more)), {"hand": ALL_KINDS})
    found = [one for part in _slices(rows, size) for one in engine.process(part) if "normal" in one.incident]
    return {change: sorted(one.key["peer_addr"] for one in found if one.change == change) for change in TURNED}


TURNED = ("fire", "clear")


def test_what_begins_to_learn_afresh_ends_though_others_begin_at_that_pane() -> None:
    """Three hundred peers change their pace, and three hundred others just when the first have learnt theirs."""
    rows = [
        {"t": minute * 60 + 0.05 * peer, "peer_addr": f"10.0.{peer // 250}.{peer % 250}", "type": "inv", "size": 1}
        for minute in range(20)
        for peer in range(600)
        for _ in range(1 if minute < (6 if peer % 2 else 9) else 30)
    ]
    turned = _turned(rows, "", 50_000)
    assert len(turned["fire"]) == 600
    assert turned["fire"] == turned["clear"]


def test_a_key_that_learns_afresh_is_not_evicted_before_its_end_is_reported() -> None:
    """Twenty peers learn afresh when strangers crowd a table of sixty keys."""
    rows = [
        {"t": minute * 60 + 0.05 * peer, "peer_addr": f"10.0.0.{peer}", "type": "inv", "size": 1}
        for minute in range(12)
        for peer in range(20)
        for _ in range(1 if minute < 6 else 30)
        if minute < 9  # they say nothing more
    ]
    rows += [
        {"t": 9 * 60 + at, "peer_addr": f"10.1.{at // 250}.{at % 250}", "type": "inv", "size": 1} for at in range(400)
    ]
    turned = _turned(rows, "max_keys: 60,", 25)
    assert len(turned["fire"]) == 20
    assert turned["fire"] == turned["clear"]


def test_at_most_five_hundred_keys_of_a_pane_are_reported_and_the_others_counted() -> None:
    """Six hundred peers change their pace at once: all learn afresh at one pane, and again at another."""
    rule = """
    rules:
      each: {title: t, attack: message-anomaly, severity: info, on: net:inbound_message, by: [peer_addr], over: 60s,
        pane: 60s, fire: odd, evidence: 0, entities: [], measure: {n: count(),
        odd: 'anomalous(n, law="counts", threshold=2, floor=1, warmup=3m, freeze_at_most=2m)'}}
    """
    rows = [
        {"t": minute * 60 + 0.05 * peer, "peer_addr": f"10.0.{peer // 250}.{peer % 250}", "type": "inv", "size": 1}
        for minute in range(16)
        for peer in range(600)
        for _ in range(1 if minute < 6 else 30)
    ]
    engine = Engine(plans(rule), {"hand": ALL_KINDS})
    found = [one for part in _slices(rows, 50_000) for one in engine.process(part)]
    turned = [one for one in found if "normal" in one.incident]
    assert {change: sum(one.change == change for one in turned) for change in ("fire", "update", "clear")} == {
        "fire": PER_PANE,
        "update": PER_PANE,
        "clear": PER_PANE,
    }
    assert engine.usage.findings_cut()["each"] >= 3 * (600 - PER_PANE)
