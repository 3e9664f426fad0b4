"""live: a node with 125 peers and 500 messages a second, followed in four polls a second with all shipped rules.

Capture files grow on disk as the node writes them; the source is polled each 250 ms of event time, decodes, enriches;
the engine decides, incidents are kept. Measured is CPU time as a share of the event time that it covers: `live` is
engine and incidents, `live-files` the source on top, which looks at 250 files in each poll. Writing the files is not
measured, and nothing waits for a clock.

`live-detectors` is what the rules with a detector add to the others in the same run: the same polls go through all
rules and, in turns, through those without a detector.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.node import WritingNode
from benchmarks.rounds import Row, Settings
from rules.load import load
from watchdog.core.plan import RulePlan
from watchdog.core.source import SourceOptions
from watchdog.engine.coverage import wanted_kinds
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline
from watchdog.sources.capture.source import CaptureSource

LIMIT = 3.0  # per cent of one core
DETECTORS_LIMIT = 0.5  # of what the other rules cost
TICKS_A_SECOND, MESSAGES_A_TICK = 4, 125
WARM_UP_S, ROUND_S = 60, 60
QUICK_S = 5
START_US = 1_760_000_000_000_000
TICK_US = 1_000_000 // TICKS_A_SECOND


@dataclass(slots=True)
class _Used:
    """CPU seconds of a round: of the source, of all rules, of those without a detector."""

    polled: float = 0.0
    all_rules: float = 0.0
    without: float = 0.0


def measure(settings: Settings) -> list[Row]:
    """Per cent of one core, gated; with the source, for information; and what the detectors add, gated."""
    with tempfile.TemporaryDirectory() as folder:
        node = WritingNode(Path(folder), MESSAGES_A_TICK, TICK_US, START_US)
        plans = load([], packs=True).plans
        node.tick()
        source = CaptureSource(folder, SourceOptions(wanted=wanted_kinds(plans), follow=True))
        without = [plan for plan in plans if not has_detector(plan)]
        both = [Pipeline(Engine(part, {source.name: source.kinds})) for part in (plans, without)]
        warm_up, length = (QUICK_S, QUICK_S) if settings.quick else (WARM_UP_S, ROUND_S)
        _follow(node, source, both, warm_up)
        rounds = [_follow(node, source, both, length) for _ in range(settings.rounds)]
        source.close()
    engine = statistics.median(100 * used.all_rules / length for used in rounds)
    whole = statistics.median(100 * (used.polled + used.all_rules) / length for used in rounds)
    added = statistics.median(used.all_rules / used.without - 1 for used in rounds)
    note = f"{len(plans)} rules, {both[0].events:,} events"
    detectors = f"{len(plans) - len(without)} rules with a detector"
    return [
        Row("live", engine, 100.0, "% of a core", 100.0 / engine, "one core", 100.0 / LIMIT, note),
        Row("live-files", whole, 100.0, "% of a core", 100.0 / whole, "one core", note="capture files followed, too"),
        Row("live-detectors", added, 1.0, "x", 1.0 / max(added, 1e-9), "other rules", 1.0 / DETECTORS_LIMIT, detectors),
    ]


def has_detector(plan: RulePlan) -> bool:
    """Return whether a rule compares keys, learns a baseline, notices drift or runs a model."""
    return bool(plan.comparisons or plan.baselines or plan.drifts or plan.model)


def _follow(node: WritingNode, source: CaptureSource, both: Sequence[Pipeline], seconds: int) -> _Used:
    """Pass this much event time through both pipelines; which of them is first changes with each poll."""
    used = _Used()
    for tick in range(seconds * TICKS_A_SECOND):
        node.tick()
        start = time.process_time()
        piece = source.poll()
        used.polled += time.process_time() - start
        if piece is None:
            continue
        for number in (0, 1) if tick % 2 else (1, 0):
            start = time.process_time()
            both[number].process(piece)
            spent = time.process_time() - start
            if number:
                used.without += spent
            else:
                used.all_rules += spent
    return used
