"""Promised against achieved false findings of `anomalous` on series of a known law: `python -m benchmarks.promise`.

Writes the table between the marks in docs/DETECTORS.md; takes about a minute, and exits with 1 where a figure misses
its gate. Four replicas of 56 days of minutes, of which 21 are learnt and 35 judged. An attack is the fivefold rate for
ten minutes, at least FLOOR events a minute more, every 48 hours, in a second walk. No recording is long enough to check
a promise of 1 per 30d; these series are.

Three columns: the law alone, with the tail that a budget learns from vetted panes, and with an operator who marks every
false finding. The last one is what a service has after its first weeks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.baseline import Baseline
from detectors.laws import CountLaw
from detectors.tail import DAY_NS, MINUTE_NS, BudgetTail, Prior
from detectors.windows import Floats

PAGE: Final = Path(__file__).parents[1] / "docs" / "DETECTORS.md"
BEGIN, END = "<!-- promise: begin -->", "<!-- promise: end -->"
REPLICAS, LEARNT_DAYS, JUDGED_DAYS = 4, 21, 35
DAY: Final = 1_440  # minutes
LENGTH: Final = 10  # minutes of an attack, and between two episodes
OPEN: Final = 30  # minutes for which an incident stays open behind its last alarm
FLOOR: Final = 5.0
MODES: Final = ("the law", "learnt tail", "with marks")
Chance = np.random.Generator
Maker = Callable[[Chance, int], Floats]


class Series(NamedTuple):
    """A series: its usual rate a minute, the most false findings in promises, the least share of attacks found."""

    name: str
    make: Maker
    rate: float
    most: float
    least: float


def poisson(rate: float) -> Maker:
    """Return a maker of counts of a constant rate a minute."""
    return lambda chance, minutes: chance.poisson(rate, minutes).astype(np.float64)


def swinging(rate: float) -> Maker:
    """Return a maker of counts with a day of +-35 %, linked hours, and more spread than chance."""

    def make(chance: Chance, minutes: int) -> Floats:
        hours, level = chance.normal(0.0, 0.15, minutes // 60 + 1), 0.0
        for hour in range(len(hours)):
            level = hours[hour] = 0.7 * level + hours[hour]
        day = 1 + 0.35 * np.sin(2 * np.pi * np.arange(minutes) / DAY)
        rates = rate * day * np.exp(np.repeat(hours, 60)[:minutes])
        return chance.negative_binomial(20, 20 / (20 + rates)).astype(np.float64)

    return make


def bursting(chance: Chance, minutes: int) -> Floats:
    """Return counts of 3 a minute, with 5 to 20 more in one minute about every twelve hours."""
    values = chance.poisson(3.0, minutes).astype(np.float64)
    at = np.cumsum(chance.exponential(720.0, minutes // 360)).astype(np.int64)
    at = at[at < minutes]
    values[at] += chance.integers(5, 21, len(at))
    return values


SERIES: Final = (
    Series("changes of tried, 5 an hour", poisson(5 / 60), 5 / 60, 3, 0.95),
    Series("inbound connections, 3 a minute", poisson(3.0), 3.0, 3, 0.94),
    Series("gossip, 10 a minute, swinging", swinging(10.0), 10.0, 6, 0.63),
    Series("transactions, 280 a minute, swinging", swinging(280.0), 280.0, 3, 0.92),
    Series("pings, 25 a minute", poisson(25.0), 25.0, 3, 0.95),
    Series("rare bursts, 3 a minute", bursting, 3.0, 3, 0.0),
)


class Walk:
    """All rows of a table at once, a tail for each: rows x minutes of counts. modes: by row, its place in MODES."""

    def __init__(self, table: Floats, attacked: NDArray[np.bool_], modes: list[int]) -> None:
        self.table, self.attacked, self.modes = table, attacked, modes
        panes = 60.0  # the prior of `counts` with panes of a minute: see watchdog.engine.budgets
        prior = Prior(np.log10(panes), 1 / np.log(10), 20, int(20 * panes) * MINUTE_NS)
        self.tails = [BudgetTail(prior, 30 * DAY_NS, quantile=1 - 1 / panes, model=True) for _ in range(len(table))]
        self.open_until = np.full(len(table), -1)

    def verdicts(self) -> NDArray[np.bool_]:
        """Return where an alarm is, rows x minutes, also in the days that are learnt."""
        rows, minutes = self.table.shape
        baseline = Baseline(4.64, FLOOR, 1 - 2 ** (-1 / 360), 30, up=True, law=CountLaw(), freeze=360)
        slots, odd = np.arange(rows), np.zeros(self.table.shape, np.bool_)
        baseline.reserve(rows)
        for day in range(minutes // DAY):
            scores = np.zeros((rows, DAY))
            thresholds = np.array([tail.threshold for tail in self.tails])
            for minute in range(DAY):
                at = day * DAY + minute
                values = self.table[:, at]
                scores[:, minute], _ = baseline.scored(values, baseline.at(slots))
                odd[:, at] = scores[:, minute] > thresholds
                baseline.learn(slots, values, ~odd[:, at])
            for row in range(rows):
                self._end_of_day(row, day, scores[row], odd[row, day * DAY : (day + 1) * DAY])
        return odd

    def _end_of_day(self, row: int, day: int, scores: Floats, odd: NDArray[np.bool_]) -> None:
        """Let the tail of a row learn the vetted minutes of a day, and the operator mark what was false."""
        mode, tail = self.modes[row], self.tails[row]
        if not mode:
            return
        ends = (day * DAY + 1 + np.arange(DAY)) * MINUTE_NS
        alarms = np.flatnonzero(odd)
        vetted = day * DAY + np.arange(DAY) > self.open_until[row]
        for alarm in alarms.tolist():
            vetted[max(alarm - 1, 0) : alarm + OPEN] = False
            self.open_until[row] = day * DAY + alarm + OPEN
        tail.watch(DAY_NS)
        tail.learn(ends[vetted], scores[vetted], MINUTE_NS)
        tail.renew((day + 1) * DAY_NS)
        false = alarms[~self.attacked[row, day * DAY + alarms]]
        if mode == MODES.index("with marks") and len(false):
            for episode in np.split(false, np.flatnonzero(np.diff(false) > LENGTH) + 1):
                tail.mark(f"{day} {episode[0]}", float(scores[episode].max()), (day + 1) * DAY_NS)


def episodes(odd: NDArray[np.bool_]) -> int:
    """Return how many episodes of alarms there are."""
    gaps = [np.diff(np.flatnonzero(row), prepend=-2 * LENGTH) for row in odd]
    return sum(int((gap > LENGTH).sum()) for gap in gaps)


def measured() -> list[list[tuple[float, float]]]:
    """Return, by series and mode, false episodes in 30 days, and the share of attacks with an alarm."""
    minutes = (LEARNT_DAYS + JUDGED_DAYS) * DAY
    begins = np.arange(LEARNT_DAYS * DAY + 700, minutes - LENGTH, 2 * DAY)
    within = (begins[:, None] + np.arange(LENGTH)).reshape(-1)
    mask = np.zeros(minutes, np.bool_)
    mask[within] = True
    tables, masks = [], []
    for one in SERIES:
        quiet = np.stack([one.make(np.random.default_rng(100 + number), minutes) for number in range(REPLICAS)])
        attacked = quiet.copy()
        attacked[:, within] += np.random.default_rng(7).poisson(max(4 * one.rate, FLOOR), (REPLICAS, len(within)))
        tables += [quiet, attacked]
        masks += [np.zeros_like(quiet, np.bool_), np.broadcast_to(mask, quiet.shape)]
    table, attacks = np.concatenate(tables), np.concatenate(masks)
    modes = [mode for mode in range(len(MODES)) for _ in range(len(table))]
    walk = Walk(np.concatenate([table] * len(MODES)), np.concatenate([attacks] * len(MODES)), modes)
    odd = walk.verdicts().reshape(len(MODES), len(SERIES), 2, REPLICAS, minutes)
    found = []
    for number in range(len(SERIES)):
        row = []
        for mode in range(len(MODES)):
            quiet, attacked = odd[mode, number]
            false = episodes(quiet[:, LEARNT_DAYS * DAY :]) * 30 / (JUDGED_DAYS * REPLICAS)
            heard = attacked[:, within].reshape(REPLICAS, -1, LENGTH).any(axis=2)
            row.append((false, float(heard.mean())))
        found.append(row)
    return found


def main() -> int:
    """Measure, and write the table into the page; return 1 where a gate is missed."""
    lines = [f"| series | {' | '.join(MODES)} | gate |", "| --- |" + " --- |" * (len(MODES) + 1)]
    missed = []
    for one, row in zip(SERIES, measured(), strict=True):
        cells = " | ".join(f"{false:.1f}, {power:.0%}" for false, power in row)
        gate = f"{one.most:g}" + (f", {one.least:.0%}" if one.least else "")
        lines.append(f"| {one.name} | {cells} | {gate} |")
        print(lines[-1], flush=True)
        false, power = row[-1]
        if false > one.most or power < one.least:
            missed.append(one.name)
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    if not tail:
        print(f"'{PAGE.name}' has no marks for the table", file=sys.stderr)
        return 2
    PAGE.write_text("\n".join([f"{head}{BEGIN}", *lines, f"{END}{tail}"]), encoding="utf-8")
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
