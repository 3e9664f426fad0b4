"""Rules over findings: the same findings however events interleave, are cut or killed, and those that events give."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_parts_truth import KINDS, ROWS, RULES, UNTIL, Row, batches_of, mixed
from tests.support.events import SECOND
from tests.support.rulesets import plans
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.core.finding_events import finding_batches
from watchdog.core.kinds import FINDING_KINDS
from watchdog.core.plan import RulePlan
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.engine import Engine

OVER_FINDINGS = plans("""
rules:
  together:
    {title: t, attack: eclipse, severity: info, on: finding:fire, over: 30s, pane: 1s, escalate: {high: rules > 2},
     measure: {rules: distinct(rule), latest: last(since_ns)}, fire: rules > 1, summary: "{rules} {latest}"}
  by-peer:
    {title: p, attack: eclipse, severity: info, on: [finding:fire, finding:clear], where: peer_addr != "",
     by: [peer_addr], over: 20s, pane: 2s, measure: {n: count(), netblocks: distinct(netblock)}, fire: n > 1,
     incident: [], summary: "{peer_addr} {n} {netblocks}"}
  of-two:
    {title: o, attack: chain, severity: info, on: finding:fire, where: attack == "message-anomaly", by: [rule, key],
     over: 40s, pane: 5s, measure: {n: count()}, fire: n > 0, for: 10s, summary: "{rule} {key}"}
  still:
    {title: s, attack: data, severity: info, on: [finding:update, finding:escalate, finding:clear], over: 60s, pane: 5s,
     measure: {n: count()}, fire: n > 1, summary: "{n}"}
  nothing:
    {title: n, attack: data, severity: info, on: finding:fire, over: 15s, pane: 5s,
     measure: {n: count()}, fire: flat(n), summary: "{over}"}
  unusual:
    {title: u, attack: data, severity: info, on: finding:fire, where: rule != "lost", over: 10s, pane: 5s,
     measure: {n: count(), odd: "anomalous(n, floor=1, warmup=20s, half_life=1m, step=5s, threshold=2)"},
     fire: odd, summary: "{n}"}
""")
PLANS = (*RULES, *OVER_FINDINGS)
SECOND_STAGE = frozenset(plan.id for plan in OVER_FINDINGS)


def _findings(
    slices: Sequence[Slice], rules: Sequence[RulePlan] = PLANS, kills: random.Random | None = None
) -> dict[str, list[Finding]]:
    """Return all findings by rule; killed and resumed where the dice say so."""
    engine, reported = Engine(rules, KINDS), []
    for part in slices:
        reported += engine.process(part)
        if kills is not None and kills.random() < 0.5:
            blob, engine = engine.snapshot(), Engine(rules, KINDS)
            assert not engine.restore(blob), "the same rules keep their state"
    return _by_rule([*reported, *engine.finish()], rules)


def _by_rule(findings: Sequence[Finding], rules: Sequence[RulePlan]) -> dict[str, list[Finding]]:
    return {plan.id: [finding for finding in findings if finding.rule == plan.id] for plan in rules}


@given(rows=ROWS, seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_interleaving_cuts_and_kills_change_no_finding(rows: dict[str, list[Row]], seed: int) -> None:
    whole = _findings(mixed(rows, 0))
    assert _findings(mixed(rows, seed)) == whole
    assert _findings(mixed(rows, seed + 1), kills=random.Random(seed)) == whole
    at_once = [Slice(name, tuple(batches_of(name, given)), UNTIL * SECOND) for name, given in rows.items()]
    assert _findings([*at_once, *(Slice(name, (), END_OF_TIME_NS) for name in rows)]) == whole


@given(rows=ROWS, seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_the_first_stage_does_not_see_the_second(rows: dict[str, list[Row]], seed: int) -> None:
    whole, alone = _findings(mixed(rows, seed)), _findings(mixed(rows, seed), RULES)
    assert {rule: findings for rule, findings in whole.items() if rule not in SECOND_STAGE} == alone


@given(rows=ROWS, seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_findings_of_the_second_stage_are_those_of_an_engine_that_reads_finding_events(
    rows: dict[str, list[Row]], seed: int
) -> None:
    """Events of findings may as well come from a source; then the shares that were seen are those of this source."""
    whole = _findings(mixed(rows, seed))
    first = sorted((finding for plan in RULES for finding in whole[plan.id]), key=lambda finding: finding.time_ns)
    engine = Engine(OVER_FINDINGS, {"rules": FINDING_KINDS})
    given = engine.process(Slice("rules", finding_batches(first), END_OF_TIME_NS))
    without = [plan for plan in OVER_FINDINGS if not plan.absence and not plan.baselines]
    expected = _plain(_by_rule([*given, *engine.finish()], without))
    last_ns = max((finding.time_ns for finding in first), default=0)  # the source ends with the last finding
    assert _plain({plan.id: whole[plan.id] for plan in without}, last_ns) == expected


def _plain(findings: Mapping[str, Sequence[Finding]], last_ns: int = END_OF_TIME_NS) -> dict[str, list[Finding]]:
    """Return findings without the shares that were seen, up to the pane of a time."""
    panes = {plan.id: plan.pane_ns for plan in OVER_FINDINGS}
    return {
        rule: [
            replace(finding, watched=1.0, completeness=1.0)
            for finding in own
            if finding.time_ns <= (last_ns // panes[rule] + 1) * panes[rule]
        ]
        for rule, own in findings.items()
    }
