"""Whether the times of one source fit this machine's clock, judged while the source is followed.

A time can be wrong in three ways. All three are one fault: rules do not judge such events.

    ahead of the wall clock       the source leaves the event out and counts it (`Dated`)
    behind the promised time      the event is late: the clock of the source's writer was set back
    the promise itself is ahead   this machine's clock was set back, or a checkpoint is of a time when it was ahead

The fault ends with the first event whose time fits. State made from earlier events of the source is dropped, since
their times and the new ones come from two clocks: see `core.moments.CLOCK`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from watchdog.core.batch import Batch
from watchdog.core.source import Dated, Source
from watchdog.engine.coverage import GAP

WINDOW_S = 300.0
STEP_S = 1.0  # within which events are counted together
WRONG_SHARE, WRONG_LEAST = 0.1, 20
"""Above this share of the events of `WINDOW_S`, and at least this number: fewer are stragglers of a node's threads."""
LONE_S = 10.0
"""After a wrong time without a right one: a source with few events is not judged either, and must not seem to be."""
SETTLE_S = 20.0
"""The fault is shown for at least this long: probes ask each ten seconds or so, and must see it."""


@dataclass(slots=True)
class Timekeeping:
    """The times of one source, by monotonic seconds of the feed; belongs to the engine's thread.

    fault: its description, empty without one. begun_s: since when. shown: the text for operators until shown_s, also
    after the fault. live: the source was read up to its end once; times of older input do not depend on today's clocks.
    """

    fault: str = ""
    begun_s: float = 0.0
    shown_s: float = 0.0
    shown: str = ""
    faults: int = 0  # since the start
    live: bool = False
    _untrue: int = 0
    _wrong_s: float | None = None  # since when there were only wrong times
    _rows: int = 0  # of all that is in `_seen`
    _wrong: int = 0
    _seen: deque[tuple[float, int, int]] = field(default_factory=deque)  # when, events, wrong ones among them

    def opened(self) -> None:
        """Note that the source was opened again: its counts begin at 0."""
        self._untrue = 0

    def note(self, source: Source, batches: Iterable[Batch], promised_ns: int, skew_ns: int, now_s: float) -> None:
        """Note the result of a poll. promised_ns: earlier events are late."""
        rows = late = stale = 0
        for batch in batches:
            if batch.rows and batch.kind != GAP:
                rows += batch.rows
                late += int((batch.time_ns < promised_ns).sum())
                stale += int((batch.time_ns < promised_ns - skew_ns).sum())
        total = source.untrue_times if isinstance(source, Dated) else 0
        untrue, self._untrue = max(0, total - self._untrue), total
        if untrue + stale and untrue + stale >= rows + untrue:
            self._wrong_s = now_s if self._wrong_s is None else self._wrong_s
        elif rows:
            self._wrong_s = None
        if self.live and rows + untrue:
            self._count(now_s, rows + untrue, late + untrue)

    def _count(self, now_s: float, rows: int, wrong: int) -> None:
        if self._seen and now_s - self._seen[-1][0] < STEP_S:
            begun_s, rows_before, wrong_before = self._seen.pop()
            self._seen.append((begun_s, rows_before + rows, wrong_before + wrong))
        else:
            self._seen.append((now_s, rows, wrong))
        self._rows, self._wrong = self._rows + rows, self._wrong + wrong

    def judge(self, now_s: float) -> str:
        """Return why the source's times are distrusted, empty when they are not."""
        while self._seen and now_s - self._seen[0][0] > WINDOW_S:
            _, rows, wrong = self._seen.popleft()
            self._rows, self._wrong = self._rows - rows, self._wrong - wrong
        if self._wrong >= WRONG_LEAST and self._wrong > WRONG_SHARE * self._rows:
            return f"{self._wrong} of its last {self._rows} events have times that cannot be right"
        if self.live and self._wrong_s is not None and now_s - self._wrong_s >= LONE_S:
            return "its latest events have times that cannot be right"
        return ""

    def begin(self, fault: str, now_s: float) -> None:
        """Distrust the times from now on."""
        if not self.fault:
            self.begun_s = now_s
            self.faults += 1
        self.fault = self.shown = fault
        self.shown_s = now_s + SETTLE_S

    def end(self) -> None:
        """Trust the times again; drop the earlier counts."""
        self.fault, self._wrong_s = "", None
        self._seen.clear()
        self._rows = self._wrong = 0

    def told(self, now_s: float) -> str:
        """Return the fault to show, and for `SETTLE_S` one that is over. From any thread."""
        return self.fault or (self.shown if now_s < self.shown_s else "")


def earliest(batches: Iterable[Batch]) -> int | None:
    """Return the earliest event time; None without events."""
    return min((int(batch.time_ns.min()) for batch in batches if batch.rows and batch.kind != GAP), default=None)
