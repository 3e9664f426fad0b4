"""state: what the engine's state costs in memory.

state: bytes for each live key with the 30 rules of W30 and 100,000 keys (90,000 peers in 10,000 netgroups, and the
node), as tracemalloc counts what the engine holds after 400 s of 1,000 events a second: arrays, tables and texts with
their growth slack, divided by the keys that are live.

state-growth: how far the peak of a process's memory (resident) rises while 10,000,000 distinct addresses pass, as rows
of p2p:addr_entry, through rules that count distinct addresses for the node, the connection and the netgroup, and count
rows for each address. Measured in a process of its own, from after the first 200,000 addresses.

Alone: python -m benchmarks.state ADDRESSES prints the growth in MB.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np

from benchmarks import w30
from benchmarks.rounds import Row, Settings
from rules.load import load_text
from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.prefix import parse_prefix
from watchdog.engine.engine import Engine

LIMIT_BYTES, LIMIT_MB = 1_000.0, 200.0
PEERS, GROUPS = 90_000, 10_000
ROWS, QUICK_ROWS, DENSITY, BATCH_ROWS = 400_000, 40_000, 1_000, 10_000
ADDRESSES, QUICK_ADDRESSES, FIRST_ADDRESSES = 10_000_000, 1_000_000, 200_000
ADDRESSES_A_SECOND, CONNECTIONS, ADDRESS_GROUPS = 5_000, 125, 20_000
SECOND = 1_000_000_000

RULES = """
rules:
""" + "".join(
    f"""
  {name}:
    title: addresses
    attack: addr-flooding
    severity: info
    on: p2p:addr_entry
    by: [{by}]
    measure: {{value: {measure}}}
    over: 10m
    pane: 10s
    fire: value > {above}
    resolve_after: 10m
    evidence: 0
    entities: []
    summary: "{{value}}"
"""
    for name, by, measure, above in (
        ("of-node", "", "distinct(address_id)", 1_000_000_000),
        ("of-connection", "conn", "distinct(address_id)", 1_000_000_000),
        ("of-netgroup", "entry_netgroup", "distinct(address_id)", 1_000_000_000),
        ("of-address", "address_id", "count()", 1_000),
    )
)


def measure(settings: Settings) -> list[Row]:
    """Both rows; the limit stands in for a rival."""
    size, keys = bytes_per_key(QUICK_ROWS if settings.quick else ROWS)
    count = QUICK_ADDRESSES if settings.quick else ADDRESSES
    process = [sys.executable, "-m", "benchmarks.state", str(count)]
    said = subprocess.run(process, check=True, capture_output=True, text=True)
    growth = float(said.stdout)
    many = f"{count:,} distinct addresses"
    return [
        Row("state", size, LIMIT_BYTES, "bytes/key", LIMIT_BYTES / size, "limit", 1.0, f"{keys:,} live keys, 30 rules"),
        Row("state-growth", growth, LIMIT_MB, "MB", LIMIT_MB / max(growth, 0.1), "limit", 1.0, many),
    ]


def bytes_per_key(rows: int) -> tuple[float, int]:
    """Bytes for each live key, and the number of keys."""
    gc.collect()
    tracemalloc.start()
    try:
        engine = _fed(rows)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    keys = sum(counts["live"] for counts in engine.usage.key_counts().values())
    return held / keys, keys


def _fed(rows: int) -> Engine:
    """Return an engine after these events; the workload is gone when this returns."""
    engine = Engine(w30.plans(w30.rules(DENSITY)), {w30.SOURCE: ALL_KINDS})
    stream = w30.workload(rows, DENSITY, peers=PEERS, groups=GROUPS)
    for part in stream.slices(0, rows, BATCH_ROWS):
        engine.process(part)
    return engine


def growth_mb(addresses: int) -> float:
    """How far the peak rises from the first addresses to the last."""
    engine = Engine(load_text(RULES).plans, {"hand": ALL_KINDS})
    names = np.array([parse_prefix(f"{16 + (n >> 8)}.{n & 255}.0.0/16") for n in range(ADDRESS_GROUPS)], np.uint64)
    peak = 0.0
    for start in range(0, addresses, BATCH_ROWS):
        engine.process(_addresses(start, names))
        if start + BATCH_ROWS <= FIRST_ADDRESSES:
            peak = peak_mb()
    return peak_mb() - peak


def _addresses(start: int, groups: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> Slice:
    """Return the next addresses, none of which came before, from changing connections."""
    numbers = np.arange(start, start + BATCH_ROWS)
    times = w30.START_NS + numbers * (SECOND // ADDRESSES_A_SECOND)
    columns: dict[str, Column] = {
        "time_ns": times,
        "conn": numbers // 1_000 % CONNECTIONS + numbers // 1_000_000 * CONNECTIONS,
        "peer": Strings.constant("60.1.1.1:8333", BATCH_ROWS),
        "peer_addr": Strings.constant("60.1.1.1", BATCH_ROWS),
        "netgroup": np.full(BATCH_ROWS, groups[0]),
        "address_id": numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
        "entry_netgroup": groups[numbers * 7 % len(groups)],
    }
    return Slice("hand", (Batch("p2p:addr_entry", "node", "hand", columns),), int(times[-1]))


def rss_mb() -> float:
    """Return this process's resident memory now; its peak so far where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_mb()
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
    return int(lines["VmRSS"].split()[0]) * 1_024 / 1e6


def peak_mb() -> float:
    """Return the peak of this process's memory so far.

    From /proc where there is one: ru_maxrss of a new process on Linux begins with the peak of the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1_024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1_024 / 1e6


if __name__ == "__main__":
    print(growth_mb(int(sys.argv[1]) if len(sys.argv) > 1 else ADDRESSES))
