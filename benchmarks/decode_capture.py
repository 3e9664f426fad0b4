"""decode-capture: the capture tree of open-2 to columns of all kinds, against dicts by plain Python.

Both sides read the same unpacked files from the page cache, in turns. Ours also merges all files by time in bounded
memory, finds connections and directions, enriches addresses, and keeps each entry of addr as a row.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.recordings import capture_tree
from benchmarks.rivals import plain_capture, tuned_capture
from benchmarks.rounds import Row, Settings, by_rate, cpu_seconds, in_turns
from watchdog.core.source import SourceOptions
from watchdog.sources.capture.source import CaptureSource

GATE = 8.0
MESSAGES = ("net:inbound_message", "net:outbound_message")


def measure(settings: Settings) -> list[Row]:
    """Messages a second of CPU time."""
    with capture_tree("open-2") as root:
        count = columns(root)
        if count != len(plain_capture.parse_tree(root)):
            raise AssertionError("the rival found another number of messages")

        def ours(_: int) -> float:
            return count / cpu_seconds(lambda: columns(root))

        tuned: list[float] = []

        def plain(_: int) -> float:
            tuned.append(count / cpu_seconds(lambda: tuned_capture.parse_tree(root)))
            return count / cpu_seconds(lambda: plain_capture.parse_tree(root))

        columns_rate, plain_rate = in_turns(settings.rounds, ours, plain)
    tuned_rate = statistics.median(tuned)
    return [
        by_rate("decode-capture", (columns_rate, plain_rate), "messages/s", "messages to dicts", gate=GATE),
        by_rate("decode-capture-tuned", (columns_rate, tuned_rate), "messages/s", "tuned parser to dicts"),
    ]


def columns(root: Path) -> int:
    """Read the whole tree, all kinds wanted; the number of messages."""
    source, count = CaptureSource(str(root), SourceOptions()), 0
    while not source.ended:
        piece = source.poll()
        for batch in piece.batches if piece else ():
            count += batch.rows if batch.kind in MESSAGES else 0
    return count
