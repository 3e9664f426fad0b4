"""What the engine knows of what it did not see: gaps, starts of the node, its own beginning."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from watchdog.core.batch import Batch
from watchdog.core.plan import RulePlan

GAP, STARTED = "source:gap", "node:started"
ALWAYS_WANTED = frozenset({GAP, STARTED, "node:stopped", "source:heartbeat"})
"""Asked of every source, whatever the rules are about: gaps and starts say what was not seen, the others until when."""
REMEMBERED = 1_000  # gaps; older ones are forgotten, windows are shorter than that


def wanted_kinds(plans: Iterable[RulePlan]) -> frozenset[str]:
    """The kinds that rules or engine read: a source skips the work for all others."""
    return ALWAYS_WANTED.union(*(plan.kinds for plan in plans))


class Coverage:
    """Stretches of event time for which the input is known to be incomplete.

    A gap counts for windows that end after the event that tells of it: those were not closed before it came, in
    whatever slices it came, so that what is said of them is always the same.
    """

    def __init__(self) -> None:
        self.first_ns: int | None = None
        self.gaps: list[tuple[int, int, int]] = []  # from, to, time of the event that tells of it
        self.starts: list[int] = []
        self.lost = 0

    def begin(self, first_ns: int) -> None:
        """There was an event of any kind at this time."""
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)

    def see(self, batch: Batch) -> None:
        """Learn from a batch of gaps or of starts of the node; any other tells nothing."""
        if batch.kind == GAP:
            begins = batch.numbers("from_ns").astype(np.int64).tolist()
            ends = batch.numbers("to_ns").astype(np.int64).tolist()
            told = batch.time_ns.tolist()
            self.gaps = sorted({*self.gaps, *zip(begins, ends, told, strict=True)})[-REMEMBERED:]
            self.lost += int(batch.numbers("lost").astype(np.int64).sum())
        elif batch.kind == STARTED:
            self.starts = sorted({*self.starts, *batch.time_ns.tolist()})[-REMEMBERED:]

    @property
    def disturbed_ns(self) -> int:
        """The end of the latest gap or the latest start of the node, 0 without any."""
        return max([0, *(end for _, end, _ in self.gaps), *self.starts[-1:]])

    def completeness(self, from_ns: int, to_ns: int) -> float:
        """Share of (from_ns, to_ns] outside of gaps and after the first event, 0 to 1."""
        if to_ns <= from_ns:
            return 1.0
        begin = from_ns if self.first_ns is None else min(max(from_ns, self.first_ns), to_ns)
        missing, seen_to = begin - from_ns, begin
        for gap_from, gap_to, told in self.gaps:
            if told >= to_ns:
                continue
            start, end = max(gap_from, seen_to), min(gap_to, to_ns)
            if end > start:
                missing += end - start
                seen_to = end
        return round(1.0 - missing / (to_ns - from_ns), 6)

    def whole(self, ends_ns: NDArray[np.int64], over_ns: int) -> NDArray[np.bool_]:
        """For windows that end at `ends_ns`: seen from begin to end, without gap or node start."""
        begins = ends_ns - over_ns
        ok = begins >= (self.first_ns if self.first_ns is not None else 1 << 62)
        for start, end, told in self.gaps:
            ok &= (end <= begins) | (start >= ends_ns) | (told >= ends_ns)
        for start in self.starts:
            ok &= (start <= begins) | (start >= ends_ns)
        return ok

    def state(self) -> State:
        """All of it."""
        return {
            "first_ns": -1 if self.first_ns is None else self.first_ns,
            "gaps": [list(gap) for gap in self.gaps],
            "starts": list(self.starts),
            "lost": self.lost,
        }

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self.first_ns = None if state["first_ns"] < 0 else state["first_ns"]
        self.gaps = [(int(start), int(end), int(told)) for start, end, told in state["gaps"]]
        self.starts, self.lost = [int(start) for start in state["starts"]], state["lost"]
