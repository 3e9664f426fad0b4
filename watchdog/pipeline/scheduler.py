"""Which source to poll next: always the one that is furthest behind in event time, for replay and service alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from watchdog.core.batch import Slice
from watchdog.core.moments import clock_reset_ns
from watchdog.core.source import Source

IDLE_S = 0.25  # between two rounds in which no source had anything new
_START = -(1 << 63)


class Scheduler:
    """Polls in rounds: a source without news is passed over until the others are drained too.

    So sources stay together in event time, and the engine keeps a bounded number of panes open. The caller asks
    `choose` before each poll and reports every poll with `note`. Sources are numbered from 0; ties go to the lowest.
    """

    def __init__(self) -> None:
        self._drained: set[int] = set()

    def choose(self, watermarks: Sequence[int | None]) -> int | None:
        """Return the source to poll; None when all live sources are drained, and the next call starts a new round.

        watermarks: by source, in ns; None for a source that has ended.
        """
        ready = [
            (watermark_ns, source)
            for source, watermark_ns in enumerate(watermarks)
            if watermark_ns is not None and source not in self._drained
        ]
        if not ready:
            self._drained.clear()
            return None
        return min(ready)[1]

    def note(self, source: int, *, news: bool, drained: bool) -> None:
        """Record a poll. news: the others are worth polling again. drained: this source has nothing more for now."""
        if news:
            self._drained.clear()
        if drained:
            self._drained.add(source)


def merged(
    sources: Sequence[Source],
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Slice]:
    """Yield the slices of all sources until all have ended; when none has anything new, call `wait(IDLE_S)`.

    A source that restarts (`core.moments.CLOCK`) is as far behind as its reset.
    """
    watermarks = [_START] * len(sources)
    scheduler = Scheduler()
    while not all(source.ended for source in sources):
        chosen = scheduler.choose(
            [None if source.ended else mark for source, mark in zip(sources, watermarks, strict=True)]
        )
        if chosen is None:
            wait(IDLE_S)
            continue
        slice_ = sources[chosen].poll()
        scheduler.note(chosen, news=slice_ is not None, drained=slice_ is None or slice_.caught_up)
        if slice_ is not None:
            reset_ns = clock_reset_ns(slice_.batches)
            watermarks[chosen] = max(watermarks[chosen] if reset_ns is None else reset_ns, slice_.until_ns)
            yield slice_
