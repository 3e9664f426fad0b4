"""Polls of the chain that another source asks for: it heard of a new tip, and the next regular poll may be far away."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

from watchdog.sources.rpc.schedule import Interval
from watchdog.sources.rpc.spare import SpareTime

TIP_CALL: Final = "getblockchaininfo"
LEAST_S: Final = 2.0
"""Between two such polls: blocks in a row, or a flood of announcements, cost no more than this."""


class TipPolls:
    """Decides when an announced tip is polled. `ring` is called from any thread, the rest by the poller's.

    An announcement that comes too early is kept, so that the last of several in a row is polled, too. spare: the time
    that the regular calls leave.
    """

    def __init__(self, spare: SpareTime) -> None:
        self._spare, self._rung = spare, threading.Event()
        self._next_s = 0.0

    def ring(self) -> None:
        """Note that the node has a new tip."""
        self._rung.set()

    def due(self, now_s: float, intervals: Mapping[str, Interval]) -> bool:
        """Return whether to poll now, and count that as done. intervals: of the regular calls.

        These polls take what the regular calls leave of the budget. Where that is nothing, the regular one has to do.
        """
        if not self._rung.is_set() or now_s < self._next_s or TIP_CALL not in intervals:
            return False
        if not self._spare.is_free(now_s, intervals):
            return False
        self._rung.clear()
        self._next_s = now_s + LEAST_S
        self._spare.spend(intervals[TIP_CALL].cost_s, now_s, intervals)
        return True
