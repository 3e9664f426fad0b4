"""How long people wait for the first notice of a case."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from alerts.case.change import DRILL
from alerts.delivery.ports import Due, Fate, Outcome
from watchdog.core.durations import HOUR_NS

BOUNDS_S: Final = (15.0, 30.0, 60.0, 90.0, 120.0, 150.0, 300.0, 600.0, 1800.0, 3600.0)
OPENED = "case.opened"
LIVE_NS = HOUR_NS
"""An opening that was made later than this after its event is of a recording, or of a time that was read later."""


class NoticeDelays:
    """Counts `case.opened` by receiver; belongs to the event loop.

    A delay is the wall clock at which the receiver accepted the notice, less the event time at which the first claim of
    the case began; never below 0. It has all waits in it: of the rule, of the case, of the receiver.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def note(self, due: Due, outcome: Outcome) -> None:
        """Take an attempt whose outcome is stored."""
        notice, opened = due.notice, due.notice.body.get("opened")
        if (
            notice.type != OPENED
            or notice.body.get(DRILL)
            or outcome.fate is not Fate.SENT
            or not isinstance(opened, int | float)
        ):
            return
        opened_ns = int(opened * 1e9)
        if notice.created_ns - opened_ns > LIVE_NS:
            return
        delay_s = max(0.0, (outcome.at_ns - opened_ns) / 1e9)
        numbers = self._numbers.setdefault(notice.receiver, [0] * (len(BOUNDS_S) + 1))
        numbers[bisect_left(BOUNDS_S, delay_s)] += 1
        self._sums[notice.receiver] = self._sums.get(notice.receiver, 0.0) + delay_s

    def samples(self) -> list[tuple[dict[str, str], Sequence[int], float]]:
        """Return labels, numbers by bucket and the sum, by receiver."""
        return [({"receiver": name}, numbers, self._sums[name]) for name, numbers in sorted(self._numbers.items())]
