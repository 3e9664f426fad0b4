"""The time that the regular calls to a node leave of its budget, for the calls that come beside them."""

from __future__ import annotations

from collections.abc import Mapping

from watchdog.sources.rpc.schedule import Interval


class SpareTime:
    """Shared by all calls that have no interval of their own; belongs to the poller's thread.

    budget: the share of time that all calls may take. Times are seconds of a monotonic clock.
    """

    def __init__(self, budget: float) -> None:
        self._budget, self._free_s = budget, 0.0

    def is_free(self, now_s: float, intervals: Mapping[str, Interval]) -> bool:
        """Return whether a call fits now. intervals: of the regular calls; they come first."""
        return now_s >= self._free_s and self._share(intervals) > 0

    def spend(self, took_s: float, now_s: float, intervals: Mapping[str, Interval]) -> None:
        """Take the time of a call, answered or abandoned: the next one waits until this one fits the budget."""
        share = self._share(intervals)
        if share > 0:
            self._free_s = max(self._free_s, now_s) + took_s / share

    def _share(self, intervals: Mapping[str, Interval]) -> float:
        return self._budget - sum(one.cost_s / one.present_s for one in intervals.values())
