"""Which nodes take part: a node that stays behind would hold up the comparisons of all others.

A node is left out while its watermark is 120 s behind the furthest one's, and so is a node without any.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from watchdog.core.durations import SECOND_NS, rough_duration
from watchdog.core.source import END_OF_TIME_NS
from watchdog.fleet.members import Members

BEHIND_NS: Final = 120 * SECOND_NS
BACK_NS: Final = BEHIND_NS // 2  # a node at the very limit would leave and come back with every report
LEAVE_S: Final = 10.0
"""Monotonic: how long a node must be that far behind. A node that catches up after a start is, for a moment."""
_LOG = logging.getLogger("watchdog.fleet")


class Attendance:
    """Decides by the wall clock which members of a stage leave and return. monotonic: seconds. wall_ns: the clock."""

    def __init__(self, members: Members, monotonic: Callable[[], float], wall_ns: Callable[[], int]) -> None:
        self._members, self._monotonic, self._wall_ns = members, monotonic, wall_ns
        self._behind_s: dict[str, float] = {}

    def judge(self) -> bool:
        """Leave out nodes that are too far behind for too long, and let those back that have caught up.

        Returns whether any node left or came back.
        """
        marks, away, now_s = self._members.marks, self._members.away, self._monotonic()
        finite = [mark for mark in (*marks.values(), *away.values()) if mark < END_OF_TIME_NS]
        furthest = min(max(finite, default=0), self._wall_ns())  # times ahead of the clock leave out no other node
        behind = {node: furthest - mark for node, mark in marks.items() if furthest - mark > BEHIND_NS}
        self._behind_s = {node: self._behind_s.get(node, now_s) for node in behind}
        leaving = [node for node in behind if now_s - self._behind_s[node] >= LEAVE_S]
        for node in leaving:
            what = f"{rough_duration(behind[node])} behind" if marks[node] > 0 else "without any event so far"
            _LOG.warning("node %s is %s: the rules over nodes no longer wait for it", node, what)
            self._members.leave(node, behind[node] if marks[node] > 0 else 0)
        returning = [node for node, mark in self._members.away.items() if mark > 0 and furthest - mark <= BACK_NS]
        for node in returning:
            _LOG.info("node %s takes part in the rules over nodes again", node)
            self._members.come_back(node)
        return bool(leaving or returning)
