"""Several sources as one stream of slices, always from the source that is furthest behind in event time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from watchdog.core.batch import Slice
from watchdog.core.moments import clock_reset_ns
from watchdog.core.source import Source

IDLE_S = 0.25  # between two rounds in which no source had anything new
_START = -(1 << 63)


def merged(
    sources: Sequence[Source],
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Slice]:
    """Slices of all sources until all have ended; the source with the lowest watermark goes first.

    So sources stay together in event time, and what the engine has to keep open is bounded. A source that has
    nothing new for now is passed over until the others were asked; when none has anything, `wait(IDLE_S)` is called.
    Ties go to the source named first. One that starts anew (`core.moments.CLOCK`) is as far behind as its reset.
    """
    watermarks = [_START] * len(sources)
    idle: set[int] = set()
    while True:
        alive = [at for at, source in enumerate(sources) if not source.ended]
        ready = [at for at in alive if at not in idle]
        if not alive:
            break
        if not ready:
            wait(IDLE_S)
            idle.clear()
            continue
        chosen = min(ready, key=lambda at: (watermarks[at], at))
        slice_ = sources[chosen].poll()
        if slice_ is None:
            idle.add(chosen)
            continue
        idle.clear()
        if slice_.caught_up:
            idle.add(chosen)
        reset_ns = clock_reset_ns(slice_.batches)
        watermarks[chosen] = max(watermarks[chosen] if reset_ns is None else reset_ns, slice_.until_ns)
        yield slice_
