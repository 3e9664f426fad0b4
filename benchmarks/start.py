"""start: `watchdog --help` against loading river's detectors; whole processes, real time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rounds import Row, Settings, by_cost, in_turns, wall_seconds

GATE = 3.0
LEAST_ROUNDS = 7  # they are short


def measure(settings: Settings) -> list[Row]:
    """Milliseconds for each process."""
    command = Path(sys.executable).with_name("watchdog")
    ours = [str(command), "--help"] if command.exists() else [sys.executable, "-m", "watchdog", "--help"]
    rival = [sys.executable, "-c", "import river.anomaly"]
    rounds = settings.rounds if settings.quick else max(settings.rounds, LEAST_ROUNDS)
    for process in (ours, rival):
        _milliseconds(process)  # once before, so that files are in the page cache and compiled
    measured = in_turns(rounds, lambda _: _milliseconds(ours), lambda _: _milliseconds(rival))
    return [by_cost("start", measured, "ms", "import river.anomaly", gate=GATE)]


def _milliseconds(process: Sequence[str]) -> float:
    return 1_000 * wall_seconds(lambda: subprocess.run(process, check=True, capture_output=True))
