"""debug.log of the recorded nodes: as many events of each kind as a slow and simple reader counts."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.catalogue import check_batch
from watchdog.core.source import SourceOptions
from watchdog.sources.log.source import DebugLogSource

SIMPLE = [
    ("log:addr_received", r"Received addr: "),
    ("log:addrman_inserted", r"Added \S+ to new\["),
    ("log:addrman_batch", r"Added \d+ addresses "),
    ("log:addrman_tried", r"Moved \S+ to tried"),
    ("log:addrman_removed", r"Removed .* from new"),
    ("log:addrman_collision", r"Collision with "),
    ("log:feeler_attempt", r"Making feeler "),
    ("log:feeler_completed", r"feeler connection completed"),
    ("log:connection_accepted", r"connection from .* accepted"),
    ("log:connection_added", r"Added connection "),
    ("log:peer_connected", r"New \S+ peer connected"),
    ("log:version", r"receive version message"),
    ("log:disconnected", r"Resetting socket"),
    ("log:evicted", r"selected \S+ connection for eviction"),
    ("log:misbehaving", r"Misbehaving: "),
    ("log:protocol_error", r"Header error: |ProcessMessages\("),
    ("log:stale_tip", r"Potential stale tip"),
    ("log:tip", r"UpdateTip: "),
    ("log:header", r"Saw new "),
    ("log:low_work_headers", r"Ignoring low-work"),
    ("node:started", r"Bitcoin Core version "),
    ("node:stopped", r"Shutdown done"),
]


def simple_counts(path: Path) -> Counter[str]:
    """Line by line, with one naive pattern."""
    names = [kind for kind, _ in SIMPLE]
    shape = re.compile(r"\S+Z (?:\[\w+\] )?(?:" + "|".join(f"({text})" for _, text in SIMPLE) + ")")
    counts: Counter[str] = Counter()
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        for line in file:
            found = shape.match(line)
            if found is not None and found.lastindex is not None:
                counts[names[found.lastindex - 1]] += 1
    return counts


def source_counts(path: Path) -> tuple[Counter[str], Counter[str]]:
    """Rows by kind, and disconnects by reason."""
    source = DebugLogSource(str(path), SourceOptions())
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    while not source.ended:
        slice_ = source.poll()
        assert slice_ is not None
        for batch in slice_.batches:
            check_batch(batch)
            counts[batch.kind] += batch.rows
            if batch.kind == "log:disconnected":
                reasons.update(batch.strings("reason").tolist())
    return counts, reasons


@pytest.mark.parametrize("name", ["open-5", pytest.param("open-3", marks=pytest.mark.slow)])
def test_a_recorded_log_gives_what_a_simple_reader_counts(recordings: Path, name: str) -> None:
    path = recordings / name / "debug.log.gz"
    counts, reasons = source_counts(path)
    assert counts == simple_counts(path)
    assert counts["log:connection_added"] == counts["log:disconnected"]
    assert reasons["evicted"] == counts["log:evicted"]
