"""Budgets learn nothing while rules of other sources have incidents: the same for any interleaving, cut and kill."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.events import SECOND, batch, one_slice
from tests.support.rulesets import plans
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.engine.budgets import BudgetFact
from watchdog.engine.engine import Engine

Row = dict[str, Any]
MESSAGE, ACCEPTED, MEMPOOL = "net:inbound_message", "log:connection_accepted", "rpc:mempool"
KINDS: Mapping[str, frozenset[str]] = {
    "capture": frozenset({MESSAGE, "source:gap"}),
    "log": frozenset({ACCEPTED, "node:started", "source:gap"}),
    "snapshots": frozenset({MEMPOOL, "node:started", "source:gap"}),
}
HEAD = "attack: message-anomaly, severity: warning, over: 2m, pane: 1m"
ODD = 'anomalous(n, law="counts", floor=1, warmup=20m, half_life=2h, budget="1 per 1d")'
TEXT = f"""
rules:
  counts: {{title: a, {HEAD}, on: {MESSAGE}, resolve_after: 1m, measure: {{n: sum(size), odd: '{ODD}'}}, fire: odd}}
  logged: {{title: b, {HEAD}, on: {ACCEPTED}, resolve_after: 5m, measure: {{n: count()}}, fire: n > 12}}
  accepted: {{title: c, {HEAD}, on: {ACCEPTED}, resolve_after: 5m, measure: {{n: count(), odd: '{ODD}'}}, fire: odd}}
  level: {{title: e, {HEAD}, on: {MESSAGE}, by: [type], resolve_after: 1m, fire: odd,
    measure: {{n: sum(size), odd: 'anomalous(n, floor=4, threshold=4, half_life=1h, warmup=20m, freeze_at_most=2h)'}}}}
  fixed: {{title: f, {HEAD}, on: {MESSAGE}, by: [type], resolve_after: 5m, measure: {{n: sum(size)}}, fire: n > 7}}
  polled: {{title: d, {HEAD}, on: {MEMPOOL}, resolve_after: 2m, measure: {{n: sum(txs), odd: '{ODD}'}}, fire: odd}}
"""
RULES = plans(TEXT)
BEGIN, END = 1_080, 1_620  # minutes: from six hours before midnight to three behind it


def _rows(seed: int) -> dict[str, list[Row]]:
    """A row a minute and source, and attacks that one source alone sees."""
    chance, rows = random.Random(seed), {name: list[Row]() for name in KINDS}
    loud = {name: chance.randrange(BEGIN + 40, END - 120) for name in KINDS}
    for minute in range(BEGIN, END):
        for name in KINDS:
            number = chance.randrange(2, 5) + 30 * (loud[name] <= minute < loud[name] + chance.choice((3, 3, 40)))
            if name == "log":
                rows[name] += [{"t": minute * 60.0 + at} for at in range(number)]
            else:
                kind = chance.choice(("inv", "tx"))
                rows[name].append({"t": minute * 60.0 + 30, "type": kind, "size": number, "txs": number})
    return rows


def _slices(source: str, rows: Sequence[Row], chance: random.Random) -> list[Slice]:
    kind = next(kind for kind in (MESSAGE, ACCEPTED, MEMPOOL) if kind in KINDS[source])
    cuts = sorted({BEGIN, END, *(chance.randrange(BEGIN, END) for _ in range(chance.randrange(12)))})
    parts = [[row for row in rows if start * 60 <= row["t"] < stop * 60] for start, stop in itertools.pairwise(cuts)]
    return [
        one_slice([batch(kind, part, source=source)], stop * 60, source)
        for part, stop in zip(parts, cuts[1:], strict=True)
    ]


def _run(
    rows: Mapping[str, Sequence[Row]], seed: int, *, kills: bool = False
) -> tuple[list[Finding], list[BudgetFact]]:
    chance = random.Random(seed)
    queues = [_slices(name, given, chance) for name, given in rows.items()]
    engine, found = Engine(RULES, KINDS), list[Finding]()
    while any(queues):
        found += engine.process(chance.choice([queue for queue in queues if queue]).pop(0))
        if kills and chance.random() < 0.5:
            again = Engine(RULES, KINDS)
            assert not again.restore(engine.snapshot())
            engine = again
    found += engine.finish()
    return sorted(found, key=lambda one: (one.time_ns, one.rule, one.change)), engine.budgets.facts()


@given(seed=st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=8)
def test_what_is_learnt_does_not_depend_on_who_is_ahead(seed: int) -> None:
    rows = _rows(seed)
    first = _run(rows, seed)
    assert _run(rows, seed + 1) == first
    assert _run(rows, seed + 2, kills=True) == first


def test_an_incident_of_the_log_keeps_the_capture_from_learning() -> None:
    rows = _rows(3)
    calm = {**rows, "log": [row for row in rows["log"] if row["t"] % 60 < 2]}
    flood = [{"t": (BEGIN + 90) * 60.0 + at / 5} for at in range(9_000)]  # for half an hour, which the log alone shows
    attacked = {**rows, "log": sorted([*calm["log"], *flood], key=lambda row: float(row["t"]))}
    learnt, of_calm = ({fact.rule: fact for fact in _run(given, 0)[1]} for given in (attacked, calm))
    for rule in ("counts", "polled"):
        assert of_calm[rule].vetted_ns - learnt[rule].vetted_ns >= 30 * 60 * SECOND, rule
        assert learnt[rule].watched_ns == of_calm[rule].watched_ns, rule


def test_a_fixed_rule_that_waits_for_fewer_sources_freezes_the_baseline() -> None:
    expected = []
    for fixed in (RULES, plans(TEXT.replace("n > 7", "n > 1000000"))):
        engine = Engine(fixed, KINDS)
        groups = [group.rules for group in engine.groups]
        assert ("fixed",) in groups, "it waits for the capture alone"
        for minute in range(190):
            size = min(2 + max(minute - 60, 0) // 12, 6)  # a slow rise, over two hours, which the baseline follows
            for name in ("log", "snapshots", "capture"):
                rows = [batch(MESSAGE, [{"t": minute * 60.0 + 30, "type": "inv", "size": size}], source=name)]
                engine.process(one_slice(rows if name == "capture" else [], minute * 60 + 60, name))
        at = next(at for at, rules in enumerate(groups) if "level" in rules)
        windows = [one for one in engine._engines[at].windows if "level" in one.seconds]
        baseline = windows[0]._verdicts[0].learning._baselines[0]
        expected.append(float(baseline.law.expected(baseline.learnt.mean)[0]))
    frozen, free = expected
    assert frozen < free - 1


def test_a_rule_that_begins_without_state_leaves_no_incident_open_beside_it() -> None:
    engine = Engine(RULES, KINDS)
    for name, kind, number in (("log", ACCEPTED, 60), ("snapshots", MEMPOOL, 1), ("capture", MESSAGE, 1)):
        rows = [{"t": BEGIN * 60.0 + at, "size": 3, "txs": 3} for at in range(number)]
        engine.process(one_slice([batch(kind, rows, source=name)], BEGIN * 60 + 60, name))
    changed = Engine(plans(TEXT.replace("n > 12", "n > 13")), KINDS)
    assert changed.restore(engine.snapshot()) == {"logged"}
    now_ns = (BEGIN + 2) * 60 * SECOND
    number = next(at for at, group in enumerate(engine.groups) if "counts" in group.rules)
    beside = [one._engines[number].budgets.beside.spans("message-anomaly", now_ns) for one in (engine, changed)]
    assert beside == [[((BEGIN + 1) * 60 * SECOND, now_ns)], []]
    assert engine._engines[number].budgets.beside.spans("message-anomaly", BEGIN * 60 * SECOND) == []
