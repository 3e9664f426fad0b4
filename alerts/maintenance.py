"""Maintenance: windows by the clock of a time zone, in which notices about some nodes are held back.

Incidents and cases are kept as ever. What was held back is not lost: when the window ends and the case still fires, one
notice reports its present state (`alerts.case.maintenance`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

from alerts.incident import RANK
from watchdog.core.durations import SECOND_NS
from watchdog.core.finding import Severity

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_WINDOWS = 100
_LAST_NS = 253_402_000_000 * SECOND_NS  # the last days of the year 9999, beyond which `datetime` knows none


@dataclass(frozen=True, slots=True)
class QuietWindow:
    """One weekly window. nodes: empty for all of them and the house. days: on which it begins; empty for every day.

    from_, to: by the clock of the zone. When `to` is not after `from_` it ends on the next day. keeps: the least
    severity that is sent all the same. place: in the configuration.
    """

    name: str
    from_: time
    to: time
    zone: str = "UTC"
    days: tuple[Day, ...] = ()
    nodes: tuple[str, ...] = ()
    keeps: Severity = "critical"
    place: str = ""

    def holds(self, node: str, severity: Severity) -> bool:
        """Whether it is about a node, and holds this severity back."""
        return (not self.nodes or node in self.nodes) and RANK[severity] < RANK[self.keeps]

    def around(self, time_ns: int) -> tuple[int, int] | None:
        """Return the beginning and the end of the window that a time is in, as unix ns; None outside.

        A clock that is set forward skips what it skips, one that is set back repeats it: a window from 02:00 to 03:00
        has no length in the night in which that hour is left out, and two hours in the one that has it twice.
        """
        if not 0 <= time_ns < _LAST_NS:
            return None
        zone = zone_of(self.zone)
        today = datetime.fromtimestamp(time_ns // SECOND_NS, UTC).astimezone(zone).date()
        for day in (today - timedelta(days=1), today):
            if self.days and DAYS[day.weekday()] not in self.days:
                continue
            begins_ns = instant_ns(day, self.from_, zone, last=False)
            ends_ns = instant_ns(day if self.to > self.from_ else day + timedelta(days=1), self.to, zone, last=True)
            if begins_ns <= time_ns < ends_ns:
                return begins_ns, ends_ns
        return None


@lru_cache(maxsize=MOST_WINDOWS)
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone; `check_zone` has found it before."""
    return ZoneInfo(name)


def instant_ns(day: date, clock: time, zone: ZoneInfo, *, last: bool) -> int:
    """Return the unix ns at which a clock shows a time. Of two such moments the first, or with `last` the second one.

    A time that the clock skips is the moment of the skip.
    """
    naive = datetime.combine(day, clock)
    first, second = (naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(zone).replace(tzinfo=None) != naive:  # skipped: `fold` 1 is before the gap, 0 behind it
        return _moment_of_skip(second, first, zone) * SECOND_NS
    return int((second if last else first).timestamp()) * SECOND_NS


def _moment_of_skip(before: datetime, behind: datetime, zone: ZoneInfo) -> int:
    """Return the unix seconds at which a zone's clock is set forward, between two moments."""
    low, high = int(before.timestamp()), int(behind.timestamp())
    offset = before.astimezone(zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        same = datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == offset
        low, high = (middle, high) if same else (low, middle)
    return high


def in_maintenance(windows: Iterable[QuietWindow], node: str, severity: Severity, time_ns: int) -> QuietWindow | None:
    """Return the first window that holds a change of a node back at a time; None when it is sent."""
    return next((one for one in windows if one.holds(node, severity) and one.around(time_ns) is not None), None)


def ends_ns(windows: Sequence[QuietWindow], node: str, severity: Severity, time_ns: int) -> int | None:
    """Return when a change that is held back at a time may be sent; None when it is not held back.

    Windows that follow each other without a break count as one; those that never end give the end of a week.
    """
    at_ns, limit_ns = time_ns, time_ns + 8 * 86_400 * SECOND_NS
    while at_ns < limit_ns:
        spans = [span for one in windows if one.holds(node, severity) and (span := one.around(at_ns)) is not None]
        if not spans:
            break
        at_ns = max(end for _, end in spans)
    return at_ns if at_ns > time_ns else None
