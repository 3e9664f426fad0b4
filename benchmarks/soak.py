"""python -m benchmarks.soak [KEYS] [--trace]: ten million hostile keys through the shipped rules; memory must not grow.

In every row all that a peer chooses is new: connection, address, netgroup, message type, user agent. The rows are of
every kind that a shipped rule reads and in which a peer chooses a key, and pass engine and incident books. Whatever
their number, they take 48,000 s of event time, so windows and tables are full after a fifth of them, which is a
quarter denser than the rest: tables double their room, and later rows must not fill them further. From there to the
end the resident memory may rise by 10 MB: medians over 25 slices, as a burst of findings is a passing peak. The caps
of the books are low here, so that they are full as well: a service remembers 10,000 resolved incidents of about
6 kB, and 10,000 members of an open one. --trace names what grows, and is slow.

`make soak` runs it; `make check` runs a tenth of it (tests/e2e/test_soak.py) in a process of its own, as memory that
other tests left free would hide growth. Exit code 0, 1 when memory grew, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alerts.incident import Policy
from benchmarks.state import rss_mb
from rules.load import load
from watchdog.core.batch import Batch, Blobs, Column, Slice, Strings
from watchdog.core.kinds import ALL_KINDS, KINDS, Field, dtype_of
from watchdog.core.plan import RulePlan
from watchdog.core.prefix import IPV6_32, pack_prefixes
from watchdog.engine.engine import Engine
from watchdog.engine.key_tables import VALUES
from watchdog.pipeline.pipeline import Pipeline

KEYS: Final = 10_000_000
LIMIT_MB: Final = 10.0
SLICES, FULL_SLICES, LINE_SLICES = 500, 100, 25  # all; those that fill what is bounded; between two lines of progress
SPAN_S: Final = 50_000  # at the later pace; the first fifth takes 8,000 s, the longest window has 7,200 s
START_NS, SECOND_NS = 1_760_000_000_000_000_000, 1_000_000_000
SOURCE: Final = "hostile"
CHOSEN: Final = frozenset({"conn", "netblock", "entry_netblock", "source_netblock"})
NUMBER_MU, NUMBER_SIGMA, LARGEST = 2.0, 2.5, 1e9  # log-normal, so that now and then a single row makes a rule fire
ODD: Final = 0x9E3779B1  # multiples of an odd number differ until they wrap
POLICY: Final = Policy(members=100, tracked_entities=50, history=20, open_per_rule=20, resolved=20)
INTERRUPTED: Final = 130
TRACED: Final = 12  # lines

Numbers = NDArray[np.int64]


def hostile_kinds(plans: Sequence[RulePlan]) -> tuple[str, ...]:
    """Return the kinds that the rules read and in which a peer chooses a key."""
    kinds = {kind for plan in plans for kind in plan.kinds}
    return tuple(sorted(kind for kind in kinds if CHOSEN & KINDS[kind].fields.keys()))


def hostile_slices(keys: int, kinds: Sequence[str]) -> Iterator[Slice]:
    """Yield SLICES slices of `keys` rows together, the kinds in turns by row; a start of the node comes first.

    keys: at least SLICES. Every run yields the same.
    """
    dice = np.random.default_rng(1)
    yield Slice(SOURCE, (_batch("node:started", np.zeros(1, np.int64), keys, dice),), START_NS)
    for number in range(SLICES):
        rows = np.arange(number * keys // SLICES, (number + 1) * keys // SLICES)
        parts = [(kind, rows[rows % len(kinds) == place]) for place, kind in enumerate(kinds)]
        batches = [_batch(kind, own, keys, dice) for kind, own in parts if len(own)]
        yield Slice(SOURCE, tuple(batches), int(_times_ns(np.array([rows[-1] + 1]), keys)[0]))


def _times_ns(numbers: Numbers, keys: int) -> Numbers:
    """Return when these rows come: those of the first fifth a quarter denser, so that later ones grow no table."""
    pace_ns, fifth = SPAN_S * SECOND_NS // keys, keys // 5
    times: Numbers = np.minimum(numbers, fifth) * (pace_ns * 4 // 5) + np.maximum(numbers - fifth, 0) * pace_ns
    return START_NS + times


def _batch(kind: str, numbers: Numbers, keys: int, dice: np.random.Generator) -> Batch:
    """Return a batch of the rows of these numbers, of `keys` in all."""
    columns = {name: _column(field, numbers, dice) for name, field in KINDS[kind].fields.items()}
    columns["time_ns"] = _times_ns(numbers, keys)
    return Batch(kind, "node", SOURCE, columns)


def _column(field: Field, numbers: Numbers, dice: np.random.Generator) -> Column:
    rows = len(numbers)
    if field.values:
        return Strings(dice.integers(0, len(field.values), rows).astype(np.int32), field.values)
    if field.type == "str":
        return Strings(np.arange(rows, dtype=np.int32), _texts(field.name, numbers))
    if field.type == "bytes":
        return Blobs(np.arange(rows + 1) * 32, dice.integers(0, 256, rows * 32).astype(np.uint8))
    if field.type == "prefix":
        return pack_prefixes(IPV6_32, numbers * ODD & 0xFFFF_FFFF)
    dtype = dtype_of(field.type)
    assert dtype is not None
    if field.identity:  # the connection, the AS
        return (numbers + 1).astype(dtype)
    if dtype.kind == "b":
        return dice.integers(0, 2, rows).astype(np.bool_)
    most = LARGEST if dtype.kind == "f" else min(LARGEST, float(np.iinfo(dtype.name).max))
    return np.minimum(dice.lognormal(NUMBER_MU, NUMBER_SIGMA, rows), most).astype(dtype)


def _texts(name: str, numbers: Numbers) -> tuple[str, ...]:
    """Return a text for each row, as sources give it: peers' own texts with their escapes."""
    if name in {"peer", "peer_addr"}:
        port = ":8333" if name == "peer" else ""
        return tuple(f"{16 + (n >> 24)}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}{port}" for n in numbers.tolist())
    return tuple(f"\\x1b[2J{name} {n:x} {{0}}" for n in numbers.tolist())


class Soak:
    """One run: `slices` through a pipeline, with a line of progress now and then and the memory after each slice."""

    def __init__(self, keys: int, *, trace: bool = False) -> None:
        plans = load([], packs=True).plans
        self._keys, self._trace = keys, trace
        self._slices = hostile_slices(keys, hostile_kinds(plans))
        self._pipeline = Pipeline(Engine(plans, {SOURCE: ALL_KINDS}), policy=POLICY)
        self._traces: list[tracemalloc.Snapshot] = []

    def run(self) -> float:
        """Return by how many MB resident memory rose after the first fifth."""
        begun, resident = time.monotonic(), list[float]()
        if self._trace:
            tracemalloc.start()
        for number, events in enumerate(self._slices):
            self._pipeline.process(events)
            resident.append(rss_mb())
            if number == FULL_SLICES:
                self._note_trace()
            if number and number % LINE_SLICES == 0:
                spent_s = time.monotonic() - begun
                print(f"{self._pipeline.events:>12,} keys  {spent_s:6.0f} s  {self._state()}", flush=True)
        self._note_trace()
        return median(resident[-LINE_SLICES:]) - median(resident[FULL_SLICES : FULL_SLICES + LINE_SLICES])

    def growth(self) -> list[str]:
        """Return what grew after the first fifth, by line of code; empty without `trace`."""
        if len(self._traces) < 2:
            return []
        differences = self._traces[1].compare_to(self._traces[0], "lineno")
        return [str(difference) for difference in differences[:TRACED]]

    def _note_trace(self) -> None:
        if self._trace:
            gc.collect()
            self._traces.append(tracemalloc.take_snapshot())

    def _state(self) -> str:
        counts = self._pipeline.engine.usage.key_counts()
        live = ", ".join(f"{name} {of['live']:,}" for name, of in sorted(counts.items()) if of["live"] > 1)
        evicted = sum(of["evicted"] for name, of in counts.items() if name != VALUES)
        opened = self._pipeline.opened
        return f"{rss_mb():6.1f} MB  live: {live}; evicted: {evicted:,}; incidents opened: {opened:,}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="hostile keys; memory must not grow")
    parser.add_argument("keys", nargs="?", type=int, default=KEYS, metavar="KEYS", help="default %(default)s")
    parser.add_argument("--trace", action="store_true", help="print what grew, by line of code (slow)")
    asked = parser.parse_args(arguments)
    if asked.keys < SLICES:
        parser.error(f"KEYS: at least {SLICES:,}")
    soak = Soak(asked.keys, trace=asked.trace)
    try:
        grown_mb = soak.run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    for line in soak.growth():
        print(line)
    keys = f"{asked.keys:,} hostile keys"
    print(f"{keys}: memory rose by {grown_mb:.1f} MB after the first fifth; limit {LIMIT_MB:g} MB")
    return 0 if grown_mb <= LIMIT_MB else 1


if __name__ == "__main__":
    sys.exit(main())
