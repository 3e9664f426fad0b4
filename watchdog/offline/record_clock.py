"""A recording made while a clock is corrected: an event marks the place where a source restarts.

A clock that was ahead leaves a source with promises of the future, and every event of the right time is late in each
replay until that time has come. A replay has no wall clock to see that by, so the recorder writes the gap with the
reason `CLOCK` as soon as an event shows it: the source's promise is ahead of the wall clock, and the event is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from watchdog.core.batch import Batch, Slice
from watchdog.core.durations import MINUTE_NS
from watchdog.core.moments import CLOCK, clock_reset_ns
from watchdog.core.source import END_OF_TIME_NS, Source
from watchdog.pipeline.clock_reset import fitting, gap_of

SKEW_NS: Final = 2 * MINUTE_NS  # as the service allows by default (`clock_skew`)
Reopen = Callable[[Mapping[str, object], int], Source]


class ClockGuard:
    """A followed source; `poll` puts the reset in front of the first events of the right time.

    reopen: opens the source again at a position, without its times after the second argument (ns). mark_ns: until when
    the source is promised in the recording so far, 0 for a new one.
    """

    def __init__(self, source: Source, reopen: Reopen, node: str, wall_ns: Callable[[], int], mark_ns: int = 0) -> None:
        self.source = source  # another one after each reset
        self._reopen, self._node, self._wall_ns = reopen, node, wall_ns
        self._mark_ns = mark_ns if mark_ns < END_OF_TIME_NS else 0
        self._position: Mapping[str, object] = {}
        self._next: Slice | None = None

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that it can give."""
        return self.source.kinds

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.source.ended and self._next is None

    @property
    def progress(self) -> float:
        """Share of the input that was read."""
        return self.source.progress

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    def poll(self) -> Slice | None:
        """Return the source's next slice; where a clock was set back, one of future events, then one that resets."""
        if self._next is not None:
            held, self._next = self._next, None
            return held
        found = self.source.poll()
        if found is None:
            return None
        if (reset_ns := clock_reset_ns(found.batches)) is not None:
            self._mark_ns = reset_ns
        wall_ns = self._wall_ns()
        begin_ns = fitting(found.batches, wall_ns, SKEW_NS) if self._mark_ns - wall_ns > SKEW_NS else None
        if begin_ns is None or reset_ns is not None:
            self._mark_ns, self._position = max(self._mark_ns, found.until_ns), found.position
            return found
        return self._reset(found, begin_ns, wall_ns + SKEW_NS)

    def _reset(self, found: Slice, begin_ns: int, latest_ns: int) -> Slice:
        """Put rows after `latest_ns`, which have the wrong clock's times, first, as a slice of their own."""
        self.source.close()
        self.source = self._reopen(found.position, latest_ns)
        gap = gap_of(self._node, self.name, (min(self._mark_ns, begin_ns), begin_ns), CLOCK, begin_ns)
        ahead = _rows(found.batches, latest_ns, after=True)
        right = Slice(self.name, (gap, *_rows(found.batches, latest_ns, after=False)), begin_ns, found.position)
        before = Slice(self.name, ahead, self._mark_ns, self._position)
        self._mark_ns, self._position = begin_ns, found.position
        if not ahead:
            return right
        self._next = right
        return before


def _rows(batches: tuple[Batch, ...], latest_ns: int, *, after: bool) -> tuple[Batch, ...]:
    chosen = ((one, np.flatnonzero((one.time_ns > latest_ns) == after)) for one in batches)
    return tuple(one.take(rows) for one, rows in chosen if len(rows))
