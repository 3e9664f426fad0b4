"""live: a node with 125 peers and 500 messages a second, followed in four polls a second with all shipped rules.

Capture files grow on disk as the node writes them; the source is polled each 250 ms of event time, decodes, enriches;
the engine decides, incidents are kept. Measured is CPU time as a share of the event time that it covers: `live` is
engine and incidents, `live-files` the source on top, which looks at 250 files in each poll. Writing the files is not
measured, and nothing waits for a clock.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.node import WritingNode
from benchmarks.rounds import Row, Settings
from rules.load import load
from watchdog.core.source import SourceOptions
from watchdog.engine.coverage import wanted_kinds
from watchdog.engine.engine import Engine
from watchdog.pipeline.pipeline import Pipeline
from watchdog.sources.capture.source import CaptureSource

LIMIT = 5.0  # per cent of one core
TICKS_A_SECOND, MESSAGES_A_TICK = 4, 125
WARM_UP_S, ROUND_S = 60, 60
QUICK_S = 5
START_US = 1_760_000_000_000_000
TICK_US = 1_000_000 // TICKS_A_SECOND


def measure(settings: Settings) -> list[Row]:
    """Per cent of one core: the gated row, and for information the one with the source."""
    with tempfile.TemporaryDirectory() as folder:
        node = WritingNode(Path(folder), MESSAGES_A_TICK, TICK_US, START_US)
        rules = load([], packs=True)
        node.tick()
        source = CaptureSource(folder, SourceOptions(wanted=wanted_kinds(rules.plans), follow=True))
        course = Pipeline(Engine(rules.plans, {source.name: source.kinds}))
        warm_up, length = (QUICK_S, QUICK_S) if settings.quick else (WARM_UP_S, ROUND_S)
        _follow(node, source, course, warm_up)
        used = [_follow(node, source, course, length) for _ in range(settings.rounds)]
        source.close()
    engine = statistics.median(100 * decided / length for _, decided in used)
    whole = statistics.median(100 * (polled + decided) / length for polled, decided in used)
    note = f"{len(rules.plans)} rules, {course.events:,} events"
    return [
        Row("live", engine, 100.0, "% of a core", 100.0 / engine, "one core", 100.0 / LIMIT, note),
        Row("live-files", whole, 100.0, "% of a core", 100.0 / whole, "one core", note="capture files followed, too"),
    ]


def _follow(node: WritingNode, source: CaptureSource, course: Pipeline, seconds: int) -> tuple[float, float]:
    """CPU seconds of the source and of the rest for this much event time."""
    polled = decided = 0.0
    for _ in range(seconds * TICKS_A_SECOND):
        node.tick()
        start = time.process_time()
        piece = source.poll()
        between = time.process_time()
        if piece is not None:
            course.process(piece)
        polled += between - start
        decided += time.process_time() - between
    return polled, decided
