"""How benchmarks measure: both sides in turns within one process, medians of all rounds."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

LEAST_ROUNDS = 5


class SkippedError(Exception):
    """A benchmark cannot run here; the text says why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """rounds: of each measurement. quick: less work in each, to see that everything runs; its figures mean little."""

    rounds: int = LEAST_ROUNDS
    quick: bool = False


PUBLIC = ("name", "ours", "rival", "unit", "ratio", "rival_name")  # of a row in results.json


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table, and one object of results.json.

    ours, rival: medians, in `unit`; rival None where nothing is compared. ratio: how many times better ours is than
    the rival (rates: ours / rival; costs: rival / ours), so more is always better. gate: the least ratio; None: a row
    for information. note: the gate in words.
    """

    name: str
    ours: float
    rival: float | None
    unit: str
    ratio: float | None
    rival_name: str
    gate: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether the row has a gate that the ratio does not reach."""
        return self.gate is not None and (self.ratio is None or self.ratio < self.gate)

    def as_object(self) -> dict[str, object]:
        """Return the public fields of the row, with four significant digits. Gates and notes are in the table."""
        return {name: _rounded(getattr(self, name)) for name in PUBLIC}


def by_rate(
    name: str, measured: tuple[float, float], unit: str, rival_name: str, *, gate: float | None = None, note: str = ""
) -> Row:
    """Return a row of rates: more is better."""
    ours, rival = measured
    return Row(name, ours, rival, unit, ours / rival, rival_name, gate, note)


def by_cost(
    name: str, measured: tuple[float, float], unit: str, rival_name: str, *, gate: float | None = None, note: str = ""
) -> Row:
    """Return a row of costs: less is better."""
    ours, rival = measured
    return Row(name, ours, rival, unit, rival / ours, rival_name, gate, note)


def in_turns(rounds: int, ours: Callable[[int], float], rival: Callable[[int], float]) -> tuple[float, float]:
    """Medians of what both return; they get the number of the round. Who begins changes each round."""
    mine, theirs = [], []
    for number in range(rounds):
        if number % 2:
            theirs.append(rival(number))
            mine.append(ours(number))
        else:
            mine.append(ours(number))
            theirs.append(rival(number))
    return statistics.median(mine), statistics.median(theirs)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of the process for `work`; the cycle collector is on, as in any program, and has nothing old to do."""
    return _seconds(work, time.process_time)


def wall_seconds(work: Callable[[], object]) -> float:
    """Real time of `work`, measured in the same way."""
    return _seconds(work, time.perf_counter)


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    gc.collect()
    start = clock()
    work()
    return max(clock() - start, 1e-9)


def _rounded(value: object) -> object:
    if not isinstance(value, float) or not value or not math.isfinite(value):
        return value
    digits = 3 - math.floor(math.log10(abs(value)))
    return round(value, digits) if digits > 0 else round(value)
