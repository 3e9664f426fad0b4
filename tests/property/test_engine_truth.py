"""The engine says what a plain loop over panes, keys and rows says: for any split, interleaving and kill."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.events import SECOND, batch, one_slice
from tests.support.naive_engine import NaiveRule, Row, entropy, quantile, top_share, verdicts
from tests.support.rulesets import plans
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.plan import RulePlan
from watchdog.engine.engine import Engine

KIND = "net:inbound_message"
UNTIL = 120

RULES = """
rules:
  many:
    title: many messages of a type
    attack: message-anomaly
    severity: info
    on: net:inbound_message
    where: type == "inv"
    by: [peer_addr]
    measure: {n: count(), bytes: sum(size), big: count(size > 50)}
    over: 10s
    pane: 1s
    fire: n > 3 or bytes > 300
    clear: n < 2 and big == 0
    summary: "{peer_addr} {n}"
    escalate: {high: n > 6}
    resolve_after: 1m
  spread:
    title: many different sizes
    attack: message-anomaly
    severity: info
    on: net:inbound_message
    by: [type]
    measure: {sizes: distinct(size), bits: entropy(size)}
    over: 20s
    pane: 2s
    fire: sizes > 4 and bits > 2.2
    summary: "{type} {sizes}"
    resolve_after: 1m
  extreme:
    title: extremes
    attack: message-anomaly
    severity: info
    on: net:inbound_message
    measure: {least: min(size), most: max(size), share: top_share(peer_addr), latest: last(size)}
    over: 15s
    pane: 5s
    fire: most - least > 80 or (share > 0.6 and latest > 20)
    summary: "{least} {most}"
    resolve_after: 1m
  typical:
    title: quantiles
    attack: message-anomaly
    severity: info
    on: net:inbound_message
    by: [peer_addr]
    measure: {most: "quantile(size, 0.9)", middle: 'quantile(size where type == "inv", 0.5)'}
    over: 12s
    pane: 3s
    fire: most > 80 or (middle > 0 and middle < 20)
    summary: "{most} {middle}"
    resolve_after: 1m
  lasting:
    title: holds for a while
    attack: message-anomaly
    severity: info
    on: net:inbound_message
    by: [type]
    measure: {n: count()}
    over: 12s
    pane: 2s
    fire: n >= 3
    for: 6s
    summary: "{type} {n}"
    resolve_after: 1m
  filtered:
    title: the latest of some rows, while others keep coming
    attack: message-anomaly
    severity: info
    on: net:inbound_message
    by: [peer_addr]
    measure: {latest: 'last(size where type == "inv")', least: 'min(size where type == "tx")'}
    over: 10s
    pane: 2s
    fire: latest > 30 or least > 60
    summary: "{latest} {least}"
    resolve_after: 1m
  patient:
    title: holds for a while, with pauses
    attack: message-anomaly
    severity: info
    on: net:inbound_message
    by: [type]
    measure: {n: count()}
    over: 8s
    pane: 2s
    fire: n >= 3
    clear: n < 2
    for: 4s
    summary: "{type} {n}"
    resolve_after: 1m
"""


def _sizes(rows: list[Row]) -> list[int]:
    return [row["size"] for row in rows]


def _extremes(rows: list[Row]) -> dict[str, float]:
    if not rows:
        return {"least": 0, "most": 0, "share": 0, "latest": 0}
    latest = max(rows, key=lambda row: (row["t"], row["size"]))["size"]
    share = top_share([row["peer_addr"] for row in rows])
    return {"least": min(_sizes(rows)), "most": max(_sizes(rows)), "share": share, "latest": latest}


def _quantiles(rows: list[Row]) -> dict[str, float]:
    return {
        "most": quantile(_sizes(rows), 0.9),
        "middle": quantile(_sizes([row for row in rows if row["type"] == "inv"]), 0.5),
    }


NAIVE = [
    NaiveRule(
        "many",
        lambda row: row["type"] == "inv",
        "peer_addr",
        lambda rows: {"n": len(rows), "bytes": sum(_sizes(rows)), "big": sum(s > 50 for s in _sizes(rows))},
        lambda v: v["n"] > 3 or v["bytes"] > 300,
        lambda v: v["n"] < 2 and v["big"] == 0,
        10,
        1,
    ),
    NaiveRule(
        "spread",
        lambda row: True,
        "type",
        lambda rows: {"sizes": len(set(_sizes(rows))), "bits": entropy(_sizes(rows))},
        lambda v: v["sizes"] > 4 and v["bits"] > 2.2,
        None,
        10,
        2,
    ),
    NaiveRule(
        "extreme",
        lambda row: True,
        None,
        _extremes,
        lambda v: v["most"] - v["least"] > 80 or (v["share"] > 0.6 and v["latest"] > 20),
        None,
        3,
        5,
    ),
    NaiveRule(
        "typical",
        lambda row: True,
        "peer_addr",
        _quantiles,
        lambda v: v["most"] > 80 or 0 < v["middle"] < 20,
        None,
        4,
        3,
    ),
    NaiveRule("lasting", lambda row: True, "type", lambda rows: {"n": len(rows)}, lambda v: v["n"] >= 3, None, 6, 2, 3),
    NaiveRule(
        "filtered",
        lambda row: True,
        "peer_addr",
        lambda rows: {
            "latest": _extremes([row for row in rows if row["type"] == "inv"])["latest"],
            "least": _extremes([row for row in rows if row["type"] == "tx"])["least"],
        },
        lambda v: v["latest"] > 30 or v["least"] > 60,
        None,
        5,
        2,
    ),
    NaiveRule(
        "patient",
        lambda row: True,
        "type",
        lambda rows: {"n": len(rows)},
        lambda v: v["n"] >= 3,
        lambda v: v["n"] < 2,
        4,
        2,
        2,
    ),
]

ROW = st.fixed_dictionaries(
    {
        "t": st.integers(0, UNTIL - 40),
        "type": st.sampled_from(["inv", "tx", "ping"]),
        "peer_addr": st.sampled_from(["1.2.3.4", "5.6.7.8", "9.9.9.9"]),
        "size": st.integers(0, 100),
    }
)
ROWS = st.lists(ROW, max_size=80)


@pytest.fixture(scope="module", name="compiled")
def _compiled() -> tuple[RulePlan, ...]:
    return plans(RULES)


def _slices(rows: Sequence[Row], cuts: int, seed: int, source: str = "hand") -> list[Slice]:
    """The rows in order of time, cut at random into batches and slices; equal times stay together in one slice."""
    chance = random.Random(seed)
    ordered = sorted(rows, key=lambda row: row["t"])
    marks = sorted({0, UNTIL, *(chance.randrange(UNTIL) for _ in range(cuts))})
    slices = []
    for start, stop in itertools.pairwise(marks):
        inside = [row for row in ordered if start <= row["t"] < stop]
        # Within the watermark the order of times is free; rows of one time keep their source's order.
        place = {row["t"]: chance.random() for row in inside}
        inside.sort(key=lambda row: place[row["t"]])
        middle = chance.randrange(len(inside) + 1)
        batches = [batch(KIND, part, source=source) for part in (inside[:middle], inside[middle:]) if part]
        slices.append(one_slice(batches, stop, source))
    return slices


def _run(compiled: tuple[RulePlan, ...], slices: Sequence[Slice], sources: Sequence[str] = ("hand",)) -> list[Finding]:
    engine = Engine(compiled, dict.fromkeys(sources, ALL_KINDS))
    return [finding for part in slices for finding in engine.process(part)]


def _short(findings: Sequence[Finding], rule: str) -> list[tuple[int, str, str]]:
    return sorted(
        (found.time_ns // SECOND, "".join(found.key.values()), found.change)
        for found in findings
        if found.rule == rule and found.change in ("fire", "clear")
    )


@given(rows=ROWS, cuts=st.integers(0, 12), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_the_engine_agrees_with_a_plain_loop(compiled: Any, rows: list[Row], cuts: int, seed: int) -> None:
    findings = _run(compiled, _slices(rows, cuts, seed))
    for rule in NAIVE:
        assert _short(findings, rule.name) == verdicts(rule, rows, UNTIL), rule.name


@given(rows=ROWS, cuts=st.integers(0, 12), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_findings_are_the_same_for_every_split(compiled: Any, rows: list[Row], cuts: int, seed: int) -> None:
    assert _run(compiled, _slices(rows, cuts, seed)) == _run(compiled, _slices(rows, 0, 0))


@given(rows=ROWS, cuts=st.integers(1, 12), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_findings_survive_kills_and_resumes(compiled: Any, rows: list[Row], cuts: int, seed: int) -> None:
    slices = _slices(rows, cuts, seed)
    engine, found = Engine(compiled, {"hand": ALL_KINDS}), []
    for part in slices:
        found += engine.process(part)
        blob = engine.snapshot()
        engine = Engine(compiled, {"hand": ALL_KINDS})
        engine.restore(blob)
    assert found == _run(compiled, slices)


@given(rows=ROWS, cuts=st.integers(0, 6), seed=st.integers(0, 1000))
@settings(deadline=None)
def test_two_sources_may_interleave_in_any_way(compiled: Any, rows: list[Row], cuts: int, seed: int) -> None:
    chance = random.Random(seed)
    left = _slices(rows[::2], cuts, seed, "left")
    right = _slices(rows[1::2], cuts, seed + 1, "right")
    orders = []
    for _ in range(2):
        queues = [list(left), list(right)]
        mixed: list[Slice] = []
        while any(queues):
            queue = chance.choice([queue for queue in queues if queue])
            mixed.append(queue.pop(0))
        orders.append(_run(compiled, mixed, ("left", "right")))
    assert orders[0] == orders[1]
    for rule in NAIVE:
        assert _short(orders[0], rule.name) == verdicts(rule, rows, UNTIL)
