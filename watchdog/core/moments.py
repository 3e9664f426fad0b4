"""Which event times can be true, and what becomes of events whose time cannot.

One event far in the future would move its source's watermark, and all later events of the source would count as late.
So a source leaves out such rows, counts them, and reports them as `source:gap` with the reason `IMPLAUSIBLE`, at the
time of the neighbour before. A reader of old input tolerates a clock that is off by less than a day. A service
believes less: its `clock_skew` (see `SourceOptions.latest_ns`). Times are nanoseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from watchdog.core.arrays import Flags, Ints
from watchdog.core.batch import Batch

EARLIEST_NS = 1_230_940_800 * 10**9  # 2009-01-03, the day of the genesis block: no node is older
AHEAD_NS = 86_400 * 10**9  # a day: clocks of two machines differ by less, whatever their time zones
WRITTEN_NS = 1_795_219_200 * 10**9  # 2026-11-21, when this was written; a clock that shows less is wrong
IMPLAUSIBLE = "implausible time"  # reason of the source:gap
CLOCK = "clock"
"""Reason of the source:gap after which a source restarts without a past, once a clock was corrected.

It is an event of the recording: a replay, without a wall clock, drops the same state at the same place.
"""


def latest_plausible(now_ns: int) -> int:
    """Return the latest time that an event may have. now_ns: of the wall clock, which itself may be behind."""
    return max(now_ns, WRITTEN_NS) + AHEAD_NS


def plausible(times_ns: Ints, latest_ns: int) -> Flags:
    """Return which event times can be true: not before the genesis block, not after `latest_ns`. Shapes: (rows,)."""
    possible: Flags = (times_ns >= EARLIEST_NS) & (times_ns <= latest_ns)
    return possible


def is_plausible(time_ns: int, latest_ns: int) -> bool:
    """Return whether one event time can be true."""
    return EARLIEST_NS <= time_ns <= latest_ns


def before(times_ns: Ints, sound: Flags, first_ns: int) -> Ints:
    """Return for each row the time of the last sound row up to it; `first_ns` for rows before any sound one.

    Shapes: all (rows,). A row without a plausible time is reported as lost at this time.
    """
    last = np.maximum.accumulate(np.where(sound, np.arange(len(times_ns)), -1))
    filled: Ints = np.where(last >= 0, times_ns[np.maximum(last, 0)], first_ns) if len(times_ns) else times_ns
    return filled


def clock_reset_ns(batches: Iterable[Batch]) -> int | None:
    """Return the time at which a source restarts without a past (a gap with the reason `CLOCK`); None without one."""
    times = [
        int(to_ns)
        for batch in batches
        if batch.kind == "source:gap" and CLOCK in batch.strings("reason").values
        for to_ns, reason in zip(batch.numbers("to_ns").tolist(), batch.strings("reason").tolist(), strict=True)
        if reason == CLOCK
    ]
    return max(times, default=None)
