"""fleet-rpc: what each further node costs a service, with 32 fake nodes in another process.

125 peers and tables of 20,000 entries each, default intervals, all rules, 30 minutes of virtual time. The cost of a
service for one node is subtracted, and the rest divided by the other nodes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final, TypedDict

from benchmarks.rounds import Row, Settings

NODES, ENTRIES, MINUTES = 32, 20_000, 30.0
QUICK_NODES, QUICK_ENTRIES, QUICK_MINUTES = 3, 500, 2.0
MOST_PERCENT, MOST_MB = 0.5, 25.0  # of issue 11
LIMIT_S: Final = 1_800.0


class Measured(TypedDict):
    """What fleet_service prints."""

    cpu_s: float
    peak: float
    requests: int
    done: str


def measure(settings: Settings) -> list[Row]:
    """Per cent of a core and megabytes for each further node. AssertionError when big answers take no turns."""
    nodes, entries, minutes = (
        (QUICK_NODES, QUICK_ENTRIES, QUICK_MINUTES) if settings.quick else (NODES, ENTRIES, MINUTES)
    )
    single, _ = service(1, entries, minutes)
    many, most_at_once = service(nodes, entries, minutes)
    if most_at_once != 1:
        raise AssertionError(f"{most_at_once} big answers at once")
    if many["requests"] < 10 * minutes:
        raise AssertionError(f"a node was asked {many['requests']} times only")
    percent = 100 * (many["cpu_s"] - single["cpu_s"]) / (nodes - 1) / (60 * minutes)
    megabytes = (many["peak"] - single["peak"]) / (nodes - 1) / 1e6
    alone = f"the first node takes {100 * single['cpu_s'] / (60 * minutes):.2g} %"
    note = f"{nodes} nodes, {minutes:g} virtual minutes, {many['done']}; {alone}"
    first = f"the first node takes {single['peak'] / 1e6:.0f} MB; one big answer at a time"
    return [
        _row("fleet-rpc", percent, MOST_PERCENT, "% of a core", note),
        _row("fleet-rpc-memory", megabytes, MOST_MB, "MB", first),
    ]


def _row(name: str, value: float, most: float, unit: str, note: str) -> Row:
    value = max(value, 1e-3)  # a quick run may be within the noise
    return Row(name, value, most, unit, most / value, "limit", 1.0, note)


def service(nodes: int, entries: int, minutes: float) -> tuple[Measured, int]:
    """Run the nodes in one process and the service in another; what it used, and the most big answers at once."""
    with tempfile.TemporaryDirectory(prefix="watchdog-bench-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmarks.fleet_nodes", str(nodes), str(entries), name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as fakes:
            assert fakes.stdin is not None
            assert fakes.stdout is not None
            places = fakes.stdout.readline()
            run = [sys.executable, "-m", "benchmarks.fleet_service", str(minutes), str(folder)]
            done = subprocess.run(run, input=places, capture_output=True, text=True, timeout=LIMIT_S, check=False)
            fakes.stdin.close()
            most_at_once = int(fakes.stdout.readline())
        if done.returncode:
            raise AssertionError(done.stderr)
        measured: Measured = json.loads(done.stdout)
        return measured, most_at_once
