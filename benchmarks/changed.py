"""`changed` on series of a known law: `python -m benchmarks.changed`; `benchmarks.detectors` uses it on recordings.

Writes the table between the marks in docs/DETECTORS.md; takes a minute. Four replicas of 35 days of minutes, whose
normal does not move (but that of transactions swings by day and hour), and four of two days before and after a step.
The floor is a third of the rate, 1 at least.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.promise import DAY, JUDGED_DAYS, REPLICAS, SERIES, Chance
from detectors.drift import Drift
from detectors.windows import Floats

PAGE: Final = Path(__file__).parents[1] / "docs" / "DETECTORS.md"
BEGIN, END = "<!-- moved: begin -->", "<!-- moved: end -->"
DELTA: Final = 2.3e-5  # the default of the rule language
FLOOR: Final = 5.0
RATIOS: Final = (2.0, 3.0)
STEP: Final = 5.0  # times the rate
STEP_DAYS: Final = 2


def moves(values: Floats, floor: float = FLOOR, ratio: float = 2.0) -> list[int]:
    """Return the minutes in which one series is said to have moved."""
    from river.drift import ADWIN  # noqa: PLC0415 - only these commands need river

    watch = Drift(lambda: ADWIN(delta=DELTA), floor=floor, ratio=ratio)
    return [minute for minute, value in enumerate(values.tolist()) if watch.sample(0, value)]


def changed_alarms(series: Mapping[str, Floats]) -> tuple[list[list[int]], float]:
    """Return the minutes of the moves by series, and microseconds of this process a sample."""
    begun = time.process_time()
    found = [moves(values) for values in series.values()]
    return found, (time.process_time() - begun) / sum(map(len, series.values())) * 1e6


def false_moves(make: Callable[[Chance, int], Floats], floor: float, ratio: float) -> list[int]:
    """Return how many moves each replica of a series without a step has."""
    minutes = JUDGED_DAYS * DAY
    return [len(moves(make(np.random.default_rng(100 + n), minutes), floor, ratio)) for n in range(REPLICAS)]


def delays(make: Callable[[Chance, int], Floats], rate: float, floor: float) -> list[int]:
    """Return after how many minutes a step to the fivefold rate is seen, by replica; none where it is not."""
    half, found = STEP_DAYS * DAY, []
    for number in range(REPLICAS):
        chance = np.random.default_rng(200 + number)
        values = make(chance, 2 * half)
        values[half:] += chance.poisson((STEP - 1) * rate, half)
        found += [minute - half for minute in moves(values, floor) if minute >= half][:1]
    return found


def main() -> int:
    """Measure, and write the table into the page."""
    lines = [
        "| series | moves in 35 days, ratio 2 | ratio 3 | fivefold rate seen after, minutes |",
        "| --- | --- | --- | --- |",
    ]
    for name, make, rate, _, _ in SERIES:
        floor = max(1.0, rate / 3)
        counts = [", ".join(map(str, false_moves(make, floor, ratio))) for ratio in RATIOS]
        seen = ", ".join(map(str, delays(make, rate, floor))) or "not seen"
        lines.append(f"| {name} | {counts[0]} | {counts[1]} | {seen} |")
        print(lines[-1], flush=True)
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    if not tail:
        print(f"'{PAGE.name}' has no marks for the table", file=sys.stderr)
        return 2
    PAGE.write_text("\n".join([f"{head}{BEGIN}", *lines, f"{END}{tail}"]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
