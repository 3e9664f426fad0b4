"""What the engine knows of what it did not see: gaps, starts of the node, its own beginning."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from watchdog.core.batch import Batch
from watchdog.core.plan import RulePlan

GAP, LIMITED, STARTED = "source:gap", "source:limited", "node:started"
ALWAYS_WANTED = frozenset({GAP, LIMITED, STARTED, "node:stopped", "source:heartbeat"})
"""Asked of every source, whatever the rules are about: gaps and starts say what was not seen, the others until when."""
REMEMBERED = 1_000  # gaps; older ones are forgotten, windows are shorter than that


def wanted_kinds(plans: Iterable[RulePlan]) -> frozenset[str]:
    """The kinds that rules or engine read: a source skips the work for all others."""
    return ALWAYS_WANTED.union(*(plan.kinds for plan in plans))


class Gap(NamedTuple):
    """A stretch of event time in which events of a source are missing.

    told_ns: time of the event that reports it. kinds: those missing, or beginnings of kinds; empty: all. better_ns:
    time of a later event with a better end, which replaces this one for windows that end after it; 0 without one.
    """

    from_ns: int
    to_ns: int
    told_ns: int
    kinds: tuple[str, ...] = ()
    source: str = ""
    better_ns: int = 0

    def covers(self, kinds: Iterable[str]) -> bool:
        """Whether any of these kinds may be missing."""
        return not self.kinds or any(kind.startswith(self.kinds) for kind in kinds)


class Coverage:
    """Stretches of event time for which the input is known to be incomplete.

    A gap counts for windows that end after the event that tells of it: those were not closed before it came, in
    whatever slices it came, so that what is said of them is always the same. A gap of some kinds counts only for rules
    that read one of them. One that lasts (`source:limited`) counts until the `source:gap` with its true end comes.
    """

    def __init__(self) -> None:
        self.first_ns: int | None = None
        self.gaps: list[Gap] = []
        self.starts: list[int] = []
        self.lost = 0

    def begin(self, first_ns: int) -> None:
        """There was an event of any kind at this time."""
        self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)

    def see(self, batch: Batch) -> None:
        """Learn from a batch of gaps or of starts of the node; any other tells nothing."""
        if batch.kind == GAP:
            self._note(batch, "from_ns", "to_ns")
            self.lost += int(batch.numbers("lost").astype(np.int64).sum())
        elif batch.kind == LIMITED:
            self._note(batch, "time_ns", "until_ns")
        elif batch.kind == STARTED:
            self.starts = sorted({*self.starts, *batch.time_ns.tolist()})[-REMEMBERED:]

    def _note(self, batch: Batch, begin: str, end: str) -> None:
        begins = batch.numbers(begin).astype(np.int64).tolist()
        ends = batch.numbers(end).astype(np.int64).tolist()
        told, texts = batch.time_ns.tolist(), batch.strings("kinds").tolist()
        for from_ns, to_ns, told_ns, text in zip(begins, ends, told, texts, strict=True):
            new = Gap(from_ns, to_ns, told_ns, tuple(kind for kind in text.split(",") if kind), batch.source)
            if new.kinds:
                self.gaps = [_bettered(gap, new) for gap in self.gaps]
            self.gaps = sorted({*self.gaps, new})
        self.gaps = self.gaps[-REMEMBERED:]

    def disturbed_ns(self, kinds: Collection[str]) -> int:
        """The end of the latest gap of any of these kinds, or the latest start of the node; 0 without any."""
        ends = (gap.to_ns for gap in self.gaps if gap.covers(kinds) and not gap.better_ns)
        return max([0, *ends, *self.starts[-1:]])

    def completeness(self, from_ns: int, to_ns: int, kinds: Collection[str]) -> float:
        """Share of (from_ns, to_ns] outside of gaps of these kinds and after the first event, 0 to 1."""
        if to_ns <= from_ns:
            return 1.0
        begin = from_ns if self.first_ns is None else min(max(from_ns, self.first_ns), to_ns)
        missing, seen_to = begin - from_ns, begin
        for gap in self.gaps:
            if gap.told_ns >= to_ns or (gap.better_ns and gap.better_ns < to_ns) or not gap.covers(kinds):
                continue
            start, end = max(gap.from_ns, seen_to), min(gap.to_ns, to_ns)
            if end > start:
                missing += end - start
                seen_to = end
        return round(1.0 - missing / (to_ns - from_ns), 6)

    def whole(self, ends_ns: NDArray[np.int64], over_ns: int, kinds: Collection[str]) -> NDArray[np.bool_]:
        """For windows that end at `ends_ns`: seen from begin to end, without a gap of these kinds or a node start."""
        begins = ends_ns - over_ns
        ok = begins >= (self.first_ns if self.first_ns is not None else 1 << 62)
        for gap in self.gaps:
            if not gap.covers(kinds):
                continue
            counts = (gap.to_ns > begins) & (gap.from_ns < ends_ns) & (gap.told_ns < ends_ns)
            if gap.better_ns:
                counts &= gap.better_ns >= ends_ns
            ok &= ~counts
        for start in self.starts:
            ok &= (start <= begins) | (start >= ends_ns)
        return ok

    def state(self) -> State:
        """All of it."""
        return {
            "first_ns": -1 if self.first_ns is None else self.first_ns,
            "gaps": [
                [gap.from_ns, gap.to_ns, gap.told_ns, ",".join(gap.kinds), gap.source, gap.better_ns]
                for gap in self.gaps
            ],
            "starts": list(self.starts),
            "lost": self.lost,
        }

    def restore(self, state: State) -> None:
        """Continue from `state`; gaps of an older checkpoint cover all kinds."""
        self.first_ns = None if state["first_ns"] < 0 else state["first_ns"]
        self.gaps = [_gap_from(saved) for saved in state["gaps"]]
        self.starts, self.lost = [int(start) for start in state["starts"]], state["lost"]


def _bettered(gap: Gap, new: Gap) -> Gap:
    """The gap, of which a later event of its source may know the end better."""
    same = (gap.source, gap.from_ns, gap.kinds) == (new.source, new.from_ns, new.kinds)
    return gap._replace(better_ns=new.told_ns) if same and not gap.better_ns and gap.told_ns < new.told_ns else gap


def _gap_from(saved: list[Any]) -> Gap:
    from_ns, to_ns, told_ns, *rest = saved
    kinds, source, better_ns = rest or ("", "", 0)
    named = tuple(kind for kind in str(kinds).split(",") if kind)
    return Gap(int(from_ns), int(to_ns), int(told_ns), named, str(source), int(better_ns))
