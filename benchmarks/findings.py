"""many-findings: what a finding costs from the event to the change of its incident.

100,000 groups misbehave once each, by one rule that fires for each group; an hour later each has cleared. The first
1,000 have an incident each, all others share the rule's incident `*`.
Every event makes two findings, a fire and a clear, with summary, entities and evidence. Batches of 250 events, half
a second apart as a live source gives them, go through engine and incident book. The rival is the least that such
findings can be: one Python object and two changes of a dictionary for each, in a plain loop over the events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.rivals.plain_incidents import PlainIncidents
from benchmarks.rounds import Row, Settings, by_cost, cpu_seconds, in_turns
from rules.load import load_text
from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.kinds import ALL_KINDS, KINDS, dtype_of
from watchdog.core.plan import RulePlan
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline

KIND, SOURCE, SECOND = "net:inbound_message", "hand", 1_000_000_000
GROUPS, QUICK_GROUPS, BATCH_ROWS, STEP_NS = 100_000, 5_000, 250, SECOND // 2
START_NS = 1_700_000_000 * SECOND
MOST_MS, LEAST_RATIO = 0.15, 1 / 30
"""Commit 03b34e2 took 1.4 ms for each of these groups, some 300 times the plain loop: 1/30 is a tenth of that."""
RULE = """
rules:
  misbehaving-group:
    title: a group misbehaves
    attack: message-anomaly
    severity: warning
    on: net:inbound_message
    by: [peer_addr]
    incident: [peer_addr]
    measure: {strikes: count()}
    over: 1h
    pane: 1s
    fire: strikes >= 1
    resolve_after: 10m
    evidence: 20
    max_keys: 200000
    entities: [peer_addr]
    summary: "{peer_addr} misbehaved {strikes} times in {over}"
"""


def measure(settings: Settings) -> list[Row]:
    """Milliseconds of CPU time for a finding."""
    groups = QUICK_GROUPS if settings.quick else GROUPS
    plans = load_text(RULE).plans
    slices = _slices(groups)
    addresses = [_address(group) for group in range(groups)]

    def ours(_: int) -> float:
        return cpu_seconds(lambda: _run(plans, slices, groups)) / (2 * groups) * 1e3

    def rival(_: int) -> float:
        return (
            cpu_seconds(lambda: PlainIncidents().take(addresses, START_NS, STEP_NS // BATCH_ROWS)) / (2 * groups) * 1e3
        )

    cost, plain = in_turns(settings.rounds, ours, rival)
    note = f"{groups:,} groups"
    return [
        by_cost("many-findings", (cost, plain), "ms", "plain loop", gate=LEAST_RATIO, note=note),
        by_cost("many-findings-limit", (cost, MOST_MS), "ms", "limit for a finding", gate=1.0, note=note),
    ]


def _run(plans: Sequence[RulePlan], slices: Sequence[Slice], groups: int) -> None:
    course = Pipeline(Engine(plans, {SOURCE: ALL_KINDS}))
    for one in slices:
        course.process(one)
    course.finish()
    found = course.engine.statistics.findings
    if found != 2 * groups:
        raise AssertionError(f"{found} findings of {groups} groups")


def _address(group: int) -> str:
    return f"60.{group >> 16}.{group >> 8 & 255}.{group & 255}"


def _slices(groups: int) -> list[Slice]:
    slices, now_ns = [], START_NS
    for start in range(0, groups, BATCH_ROWS):
        texts = Strings.of([_address(group) for group in range(start, min(start + BATCH_ROWS, groups))])
        times = now_ns + np.arange(len(texts), dtype=np.int64) * (STEP_NS // BATCH_ROWS)
        now_ns += STEP_NS
        slices.append(Slice(SOURCE, (_batch(times, texts),), now_ns))
    return [*slices, Slice(SOURCE, (), now_ns + 7_200 * SECOND)]


def _batch(times: np.ndarray[tuple[int], np.dtype[np.int64]], addresses: Strings) -> Batch:
    columns: dict[str, Column] = {}
    for name, field in KINDS[KIND].fields.items():
        if field.type == "str":
            columns[name] = Strings.of(["misbehaving"] * len(times))
        else:
            columns[name] = np.zeros(len(times), dtype_of(field.type))
    return Batch(KIND, "node", SOURCE, {**columns, "time_ns": times, "peer_addr": addresses})
