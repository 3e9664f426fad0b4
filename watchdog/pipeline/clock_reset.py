"""A source restarts at the first event whose time fits the wall clock, once a wrong clock is right again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from watchdog.core.batch import Batch, Column, Strings
from watchdog.core.durations import MINUTE_NS
from watchdog.engine.coverage import GAP

BEHIND_NS = MINUTE_NS
"""An event that is new and further behind the wall clock than this, beyond the skew, is of a clock that is wrong.

Sources need less to give what was written (`feed.WRITE_DELAY_NS`, `debuglog.LATENESS_NS`).
"""


def gap_of(node: str, source: str, span: tuple[int, int], reason: str, told_ns: int) -> Batch:
    """Return the event at `told_ns` for a span (from, to; ns) in which nothing of a source is known."""
    columns: dict[str, Column] = {
        "time_ns": np.array([told_ns], np.int64),
        "from_ns": np.array([span[0]], np.int64),
        "to_ns": np.array([span[1]], np.int64),
        "lost": np.zeros(1, np.uint64),
        "reason": Strings.of([reason]),
        "kinds": Strings.of([""]),
    }
    return Batch(GAP, node, source, columns)


def fitting(batches: Iterable[Batch], now_ns: int, skew_ns: int) -> int | None:
    """Return the earliest event time that fits the wall clock; None when no event does."""
    first_ns, last_ns = now_ns - BEHIND_NS - skew_ns, now_ns + skew_ns
    times_ns = [
        int(times[fits].min())
        for batch in batches
        if batch.rows and batch.kind != GAP
        for times in (batch.time_ns,)
        for fits in ((times >= first_ns) & (times <= last_ns),)
        if np.any(fits)
    ]
    return min(times_ns, default=None)
