"""What the engine knows of what it did not see: gaps, starts of the node, its own beginning."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

import numpy as np

from detectors.state import State
from watchdog.core.batch import Batch
from watchdog.core.plan import RulePlan
from watchdog.engine.disturbed import Disturbed

GAP, STARTED = "source:gap", "node:started"
ALWAYS_WANTED = frozenset({GAP, STARTED, "node:stopped", "source:heartbeat"})
"""Asked of every source, whatever the rules are about: gaps and starts say what was not seen, the others until when."""
REMEMBERED = 100_000  # gaps and starts; beyond that the oldest are forgotten, whatever windows they may lie in
LONG_AGO = -(1 << 62)


def wanted_kinds(plans: Iterable[RulePlan]) -> frozenset[str]:
    """The kinds that rules or engine read: a source skips the work for all others."""
    return ALWAYS_WANTED.union(*(plan.kinds for plan in plans))


class Coverage:
    """Stretches of event time for which the input is known to be incomplete.

    A gap counts for windows that end after the event that tells of it: those were not closed before it came, in
    whatever slices it came, so that what is said of them is always the same.
    """

    def __init__(self, sources: Iterable[str] = ()) -> None:
        """sources: names of those that feed the rules; more are added with their first events."""
        self.first_ns: int | None = None
        self.gaps: list[tuple[int, int, int]] = []  # from, to, time of the event that tells of it
        self.starts: list[int] = []
        self.lost = 0
        self._began: dict[str, int | None] = dict.fromkeys(sources)  # by source: its first event of any kind
        self._disturbed: dict[int, Disturbed] = {}  # by length of window, made when asked for
        self._seen: tuple[int, int, float, float] | None = None  # the last answer of `seen`

    def begin(self, first_ns: int, source: str = "") -> None:
        """A source had an event of any kind at this time."""
        known = self._began.get(source)
        if known is None or first_ns < known:
            self._began[source] = first_ns
            self._seen = None
        if self.first_ns is None or first_ns < self.first_ns:
            self.first_ns = first_ns
            self._disturbed.clear()

    def see(self, batch: Batch) -> None:
        """Learn from a batch of gaps or of starts of the node; any other tells nothing."""
        if batch.kind == GAP:
            begins = batch.numbers("from_ns").astype(np.int64).tolist()
            ends = batch.numbers("to_ns").astype(np.int64).tolist()
            told = batch.time_ns.tolist()
            self.gaps = _united(sorted({*self.gaps, *zip(begins, ends, told, strict=True)}))[-REMEMBERED:]
            self.lost += int(batch.numbers("lost").astype(np.int64).sum())
        elif batch.kind == STARTED:
            self.starts = sorted({*self.starts, *batch.time_ns.tolist()})[-REMEMBERED:]
        self._disturbed.clear()
        self._seen = None

    def forget(self, before_ns: int) -> None:
        """No window begins before this time any more."""
        self.gaps = [gap for gap in self.gaps if gap[1] > before_ns]
        self.starts = [start for start in self.starts if start > before_ns]
        self._disturbed.clear()

    def disturbed(self, over_ns: int) -> Disturbed:
        """Where a window of this length must not end to be whole: seen from begin to end, without gap or node start."""
        found = self._disturbed.get(over_ns)
        if found is None:
            first_ns = -LONG_AGO if self.first_ns is None else self.first_ns
            stretches = [(max(start, told), end + over_ns) for start, end, told in self.gaps]
            stretches += [(start, start + over_ns) for start in self.starts]
            found = self._disturbed[over_ns] = Disturbed([(LONG_AGO, first_ns + over_ns), *stretches])
        return found

    def seen(self, from_ns: int, to_ns: int) -> tuple[float, float]:
        """Of the window (from_ns, to_ns]: the share of its watched part outside of gaps, and the share watched; 0 to 1.

        Watched is what lies behind the first event of every source and behind the node's last start. A source without
        an event before the window's end is not watched yet, whether one has come since or not.
        """
        if to_ns <= from_ns:
            return 1.0, 1.0
        if self._seen is None or self._seen[:2] != (from_ns, to_ns):
            begin = min(max(from_ns, self._watched_from(to_ns)), to_ns)
            missing, seen_to = 0, begin
            for gap_from, gap_to, told in self.gaps[: bisect_left(self.gaps, (to_ns,))]:
                start, end = max(gap_from, seen_to), min(gap_to, to_ns)
                if told < to_ns and end > start:
                    missing += end - start
                    seen_to = end
            whole = 1.0 - missing / (to_ns - begin) if to_ns > begin else 1.0
            self._seen = (from_ns, to_ns, round(whole, 6), round((to_ns - begin) / (to_ns - from_ns), 6))
        return self._seen[2:]

    def _watched_from(self, before_ns: int) -> int:
        """Since when the input was watched, as far as it is known before this time."""
        firsts = (before_ns if first is None else first for first in self._began.values())
        started = self.starts[: bisect_left(self.starts, before_ns)][-1:]
        return max([*firsts, *started], default=before_ns)

    def state(self) -> State:
        """All of it."""
        return {
            "first_ns": -1 if self.first_ns is None else self.first_ns,
            "gaps": [list(gap) for gap in self.gaps],
            "starts": list(self.starts),
            "lost": self.lost,
            "began": [[source, first] for source, first in self._began.items() if first is not None],
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.first_ns = None if state["first_ns"] < 0 else state["first_ns"]
        self.gaps = [(int(start), int(end), int(told)) for start, end, told in state["gaps"]]
        self.starts, self.lost = [int(start) for start in state["starts"]], state["lost"]
        before = [[source, self.first_ns] for source in self._began]  # version 2 did not tell sources apart
        self._began.update({str(source): first for source, first in state.get("began", before)})
        self._disturbed.clear()
        self._seen = None


def _united(gaps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Gaps that continue each other as one, where that changes no answer: a source that is down reports many.

    Only those reported no later than they begin: another one covers nothing before its report.
    """
    united: list[tuple[int, int, int]] = []
    for start, end, told in gaps:
        if united and told <= start <= united[-1][1] and united[-1][2] <= united[-1][0]:
            first, before, told_first = united[-1]
            united[-1] = first, max(before, end), told_first
        else:
            united.append((start, end, told))
    return united
