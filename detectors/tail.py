"""How rare the worst score of a quiet pane is: the tail that turns a budget of false findings into a threshold.

>>> tail = BudgetTail(Prior(above=4.1, excess=0.34, peaks=19, span_ns=513 * MINUTE_NS), every_ns=30 * DAY_NS)
>>> tail.learn(np.arange(1, 7201) * MINUTE_NS, np.where(np.arange(7200) % 60, 3.0, 4.3), MINUTE_NS)
>>> tail.renew(6 * DAY_NS)
>>> round(tail.shipped, 2), round(tail.threshold, 2), tail.facts.peaks
(6.61, 5.57, 120)

Scores above a level come in peaks: those less than ten minutes apart are one, as an incident is what an operator pays
for. Above the level (the 90 % quantile of panes that overlap) the excess of peaks is exponential: a free shape was not
distinguishable from that with 10 to 19 peaks, and unstable. What ships with the program counts as 20 peaks beside
those of the node.

The teacher is hostile: one attack of ten minutes every two days lowered the power of an unbounded tail from 68 to 21 %.
So the owner shows it vetted panes only, no peak counts more than the threshold, and the threshold never exceeds 1.5
times the shipped one, unless a person marks false alarms: each mark lifts that bound by a fifth of the shipped value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from detectors.state import State, checked
from detectors.windows import Floats, Ints

MINUTE_NS: Final = 60_000_000_000
DAY_NS: Final = 1_440 * MINUTE_NS
APART_NS: Final = 10 * MINUTE_NS
WORTH: Final = 20  # peaks: what the shipped tail counts; below as many of its own a threshold is provisional
KEPT_DAYS: Final = 60  # older days and marks are forgotten: a node changes
MOST_RISE: Final = 1.5
RISE_BY_MARK: Final = 0.2
HEADROOM: Final = 1.0  # how far the threshold may be above the highest false alarm: a few marks give no far tail
MOST_MARKS: Final = 1_000
LARGEST: Final = 100.0  # a score beyond it reads as this
BIN: Final = 0.05  # of the scores' histogram
BINS: Final = int(LARGEST / BIN)
LEAST_EXCESS: Final = 0.02  # a node whose scores never move gives no tail that is thinner
HALVED_NS: Final = 14 * DAY_NS  # of panes in the histogram, at which old ones begin to count half
SURE: Final = 1.645  # deviations: 90 % of a normal law are within
FARTHEST: Final = 50.0  # of an exponent


class Prior(NamedTuple):
    """The shipped tail.

    peaks: their number above `above`, in `span_ns` of quiet event time. excess: their mean excess.
    """

    above: float
    excess: float
    peaks: int
    span_ns: int


class FalseAlarm(NamedTuple):
    """A finding that an operator calls a false alarm, and when it was marked (ns of event time)."""

    score: float
    at_ns: int


class TailFacts(NamedTuple):
    """What people see of a threshold.

    low, high: the right threshold is between them in 90 of 100 cases, by the number of peaks alone. peaks, vetted_ns:
    of the node's own, and the event time in which they came. watched_ns: in which scores were judged, vetted or not.
    provisional: the shipped tail counts more than the node's own peaks.
    """

    low: float
    high: float
    peaks: int
    vetted_ns: int
    watched_ns: int
    provisional: bool


@dataclass(slots=True)
class TailDay:
    """What one day has taught: the level of the day, vetted and watched event time, peaks and their summed excess."""

    above: float
    begun_ns: int = 0
    span_ns: int = 0
    watched_ns: int = 0
    peaks: int = 0
    excess: float = 0.0


class BudgetTail:
    """The threshold that keeps a budget, for the worst score of all keys of a pane.

    every_ns: event time for one false finding. quantile: of the panes, above which peaks count. model: whether the
    scores have a law of their own, whose threshold is the least one (-log10 of a chance); else the least one is the
    shipped one divided by 1.5.
    """

    def __init__(self, prior: Prior, every_ns: int, *, quantile: float = 0.9, model: bool = False) -> None:
        self.prior, self.every_ns, self._quantile, self._model = prior, every_ns, quantile, model
        self._days: list[TailDay] = []
        self._today = TailDay(prior.above)
        self._histogram = np.zeros(BINS, np.int64)
        self._panes_ns = 0
        self._last_ns, self._top = 0, 0.0  # of a peak that may not be over; top 0: none
        self.marks: dict[str, FalseAlarm] = {}
        self.shipped = self.threshold = 0.0
        self._excess, self._rate = prior.excess, 1.0
        self._fit()
        self.shipped = self.threshold
        self._fit()

    @property
    def facts(self) -> TailFacts:
        """What the threshold rests on."""
        peaks = sum(day.peaks for day in self._days)
        vetted_ns = sum(day.span_ns for day in self._days)
        return TailFacts(*self._interval(peaks), peaks, vetted_ns, self._watched_ns(), peaks < WORTH)

    def watch(self, span_ns: int) -> None:
        """Count event time in which scores were judged, also where nothing is learned of it."""
        self._today.watched_ns += span_ns

    def learn(self, ends_ns: Ints, scores: Floats, span_ns: int) -> None:
        """Take the worst scores of vetted panes of `span_ns` each, in the order of time; ends_ns: their ends."""
        if not len(scores):
            return
        day = self._today
        day.span_ns += span_ns * len(scores)
        self._panes_ns += span_ns * len(scores)
        bounded = np.clip(np.nan_to_num(scores, nan=0.0, posinf=LARGEST), 0.0, min(self.threshold, LARGEST))
        self._histogram += np.bincount(np.minimum(bounded / BIN, BINS - 1).astype(np.int64), minlength=BINS)
        over = np.flatnonzero(bounded > day.above)
        if not len(over):
            return
        times, tops = ends_ns[over], bounded[over]
        if self._top:
            times, tops = np.concatenate(([self._last_ns], times)), np.concatenate(([self._top], tops))
        begins = np.concatenate(([0], np.flatnonzero(np.diff(times) > APART_NS) + 1))
        highest = np.maximum.reduceat(tops, begins)
        for top in highest[:-1].tolist():
            self._count(top)
        self._last_ns, self._top = int(times[-1]), float(highest[-1])

    def renew(self, now_ns: int) -> None:
        """End a day, and take the threshold that follows from what is known. The owner calls it at fixed event times.

        It depends on nothing else, so that a verdict can be computed again.
        """
        self._count(self._top)
        self._last_ns, self._top = 0, 0.0
        since_ns = now_ns - KEPT_DAYS * DAY_NS
        if self._today.watched_ns or self._today.span_ns:
            self._today.begun_ns = now_ns
            self._days = [day for day in self._days if since_ns < day.begun_ns <= now_ns][-KEPT_DAYS + 1 :]
            self._days.append(self._today)
        self.marks = {name: mark for name, mark in self.marks.items() if mark.at_ns > since_ns}
        if self._panes_ns > HALVED_NS:
            self._histogram //= 2
            self._panes_ns //= 2
        self._today = TailDay(self._level())
        self._fit()

    def mark(self, name: str, score: float | None, at_ns: int) -> None:
        """Take a finding as a false alarm, or with None take a mark back; name: its incident. The threshold follows."""
        self.marks.pop(name, None)
        if score is not None:
            self.marks[name] = FalseAlarm(min(max(score, 0.0), LARGEST) if math.isfinite(score) else 0.0, at_ns)
        while len(self.marks) > MOST_MARKS:
            del self.marks[next(iter(self.marks))]
        self._fit()

    def once_in_ns(self, score: float) -> float:
        """Return in how much event time one peak is as high as this score."""
        rate = self._rate * math.exp(max(-FARTHEST, min(FARTHEST, -(score - self._today.above) / self._excess)))
        return 1.0 / max(rate, 1e-300)

    def _interval(self, own: int) -> tuple[float, float]:
        beyond = math.log(max(self._rate * self.every_ns, 1.0))
        spread = SURE * self._excess * math.sqrt((1.0 + beyond * beyond) / (WORTH + own + len(self.marks)))
        low, high = self._bounds()
        return max(self.threshold - spread, low), min(self.threshold + spread, max(high, self.threshold))

    def _count(self, top: float) -> None:
        if top > self._today.above:
            self._today.peaks += 1
            self._today.excess += top - self._today.above

    def _level(self) -> float:
        """Return the level above which peaks count: the quantile of the own panes, weighed with the shipped level."""
        counts = np.cumsum(self._histogram)
        if not counts[-1]:
            return self.prior.above
        own = (int(np.searchsorted(counts, self._quantile * counts[-1])) + 1) * BIN
        weight = self._panes_ns / (self._panes_ns + WORTH * self.prior.span_ns / self.prior.peaks)
        level = weight * own + (1.0 - weight) * self.prior.above
        return max(level, self.prior.above) if self._model else level

    def _bounds(self) -> tuple[float, float]:
        """Return the least and the largest threshold."""
        if not self.shipped:
            return 0.0, LARGEST
        highest = max((mark.score for mark in tuple(self.marks.values())), default=0.0)  # /metrics reads meanwhile
        lifted = self.shipped * (MOST_RISE + RISE_BY_MARK * len(self.marks))
        most = max(min(lifted, highest + HEADROOM), self.shipped * MOST_RISE)
        return self.shipped if self._model else self.shipped / MOST_RISE, most

    def _fit(self) -> None:
        """Take rate and mean excess of all peaks, and the threshold.

        A day had a level of its own; peaks above another one are fewer by the exponential law, so all days join.
        """
        above = self._today.above
        given = self.prior.span_ns / self.prior.peaks
        rows = [TailDay(self.prior.above, 0, int(WORTH * given), 0, WORTH, WORTH * self.prior.excess), *self._days]
        peaks = sum(row.peaks for row in rows)
        self._excess = max(sum(row.excess for row in rows) / peaks, LEAST_EXCESS)
        far = ((above - row.above) / self._excess for row in rows)
        spans = [row.span_ns * math.exp(max(-FARTHEST, min(FARTHEST, one))) for row, one in zip(rows, far, strict=True)]
        self._rate = peaks / max(sum(spans), 1.0)
        beyond = math.log(max(self._rate * self.every_ns, 1e-300))
        low, high = self._bounds()
        self.threshold = min(max(above + self._excess * beyond, self._beyond_marks(), above, low), high)

    def _beyond_marks(self) -> float:
        """Return the threshold at which what operators marked keeps the budget; 0 without marks.

        False alarms are peaks of another law than quiet panes: rare bursts among many quiet hours. So they have a tail
        of their own, from the least of them on.
        """
        if not self.marks:
            return 0.0
        scores = [mark.score for mark in self.marks.values()]
        least, watched_ns = min(scores), max(self._watched_ns(), DAY_NS)
        excess = max(sum(scores) / len(scores) - least, self.prior.excess)
        return least + excess * math.log(max(len(scores) * self.every_ns / watched_ns, 1e-300))

    def _watched_ns(self) -> int:
        return self._today.watched_ns + sum(day.watched_ns for day in self._days)

    def state(self) -> State:
        """Return all that was learned."""
        days = [*self._days, self._today]
        return {
            "whole": np.array([[d.begun_ns, d.span_ns, d.watched_ns, d.peaks] for d in days], np.int64),
            "parts": np.array([[d.above, d.excess] for d in days], np.float64),
            "histogram": self._histogram,
            "panes_ns": self._panes_ns,
            "open": [self._last_ns, self._top],
            "marks": {name: list(mark) for name, mark in self.marks.items()},
        }

    def restore(self, state: State) -> None:
        """Continue from `state`. ValueError when it does not fit."""
        whole = checked(state, "whole", np.int64, bounds=(0, 1 << 62), columns=4)
        parts = checked(state, "parts", np.float64, len(whole), columns=2)
        if not 1 <= len(whole) <= KEPT_DAYS + 1 or not np.isfinite(parts).all() or (parts < 0).any():
            raise ValueError("a tail has days that no panes give")
        days = [
            TailDay(above, begun, span, watched, peaks, excess)
            for (begun, span, watched, peaks), (above, excess) in zip(whole.tolist(), parts.tolist(), strict=True)
        ]
        self._days, self._today = days[:-1], days[-1]
        self._histogram = checked(state, "histogram", np.int64, BINS, (0, 1 << 53)).copy()
        self._panes_ns = int(state["panes_ns"])
        self._last_ns, self._top = int(state["open"][0]), float(state["open"][1])
        self.marks = _marks(state["marks"])
        if self._panes_ns < 0 or not 0 <= self._top <= LARGEST:
            raise ValueError("a tail has a peak that no scores give")
        self._fit()


def _marks(saved: Mapping[str, tuple[float, int]]) -> dict[str, FalseAlarm]:
    marks = {str(name): FalseAlarm(float(score), int(at_ns)) for name, (score, at_ns) in saved.items()}
    if len(marks) > MOST_MARKS or not all(0 <= mark.score <= LARGEST for mark in marks.values()):
        raise ValueError("a tail has marks that no findings give")
    return marks
