"""The first start of a source: the time from which it is read, and the incidents of its past that are not notified.

A first start reads the hour before its start to fill windows and baselines. Incidents that end before the start are not
notified: they are old news, and there may be many. An incident that still fires at the start is notified then, once,
with the time at which it opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.incident import IncidentChange, Reason
from watchdog.core.durations import DAY_NS, HOUR_NS, MINUTE_NS, parse_duration
from watchdog.engine.source_groups import SourceGroup
from watchdog.sources.registry import scheme_of

GroupOf = Callable[[str], int | None]

LEAD_NS: Final = HOUR_NS  # read before the start
LEAST_NS, MOST_NS = MINUTE_NS, 365 * DAY_NS
_FIRES: Final = frozenset({Reason.OPENED, Reason.REOPENED, Reason.UPDATED, Reason.MEMBER_JOINED, Reason.ESCALATED})
_ENDS: Final = frozenset({Reason.CLEARED, Reason.RESOLVED, Reason.RESOLVED_BY_OPERATOR, Reason.NODE_REMOVED})


def start_before(text: str, now_ns: int) -> int:
    """Return the time (ns) that a start means: 0 for `beginning`. ValueError: the text is no start."""
    if text == "beginning":
        return 0
    if text == "now":
        return now_ns
    length_ns = parse_duration(text)
    if length_ns is None or not LEAST_NS <= length_ns <= MOST_NS:
        raise ValueError(f"{text!r} is no start: now, beginning, or a duration from 1m to 365d")
    return max(1, now_ns - length_ns)


def has_start(text: str) -> bool:
    """Return whether `start` applies to a source; recorded ones are read whole."""
    return scheme_of(text).mode != "recorded"


def first_starts(
    texts: Iterable[str], known: Mapping[str, int], positions: Mapping[str, object], start_ns: int
) -> dict[str, int]:
    """Return the start of each live source without a position, as decided at its first start if that is known."""
    return {
        text: known.get(text, start_ns)
        for text in texts
        if has_start(text) and not positions.get(text) and known.get(text, start_ns) > 0
    }


@dataclass(slots=True)
class _Held:
    """An incident that was not notified. firing: whether it fires, by its last change."""

    opened: IncidentChange
    group: int
    firing: bool = True


class Quiet:
    """Holds back the changes of incidents until the source group of their rule has reached its start.

    starts: by source, the time before which its past is old news: its start, or how far an earlier run had come. False
    when nothing is held back.
    """

    def __init__(self) -> None:
        self.starts: dict[str, int] = {}
        self._held: dict[str, _Held] = {}
        self._until: dict[int, int] = {}  # by group that has not reached its start

    def __bool__(self) -> bool:
        return bool(self._held or self._until)

    def begin(self, starts: Mapping[str, int], groups: Sequence[SourceGroup]) -> None:
        """Apply these starts from now on."""
        self.starts = dict(starts)
        self._until = self._starts_of(groups)

    def rewind(self, now_ns: int, groups: Sequence[SourceGroup]) -> None:
        """Move starts that a wrong clock put later than now to now: held back until then, an attack would be silent."""
        if any(start_ns > now_ns for start_ns in self.starts.values()):
            self.begin({name: min(start_ns, now_ns) for name, start_ns in self.starts.items()}, groups)

    def divide(self, groups: Sequence[SourceGroup], group_of: GroupOf) -> None:
        """Take over a new division of the rules into source groups."""
        self._until = self._starts_of(groups)
        for id_, held in self._held.items():
            held.group = group_of(id_) or 0

    def held(self, group_of: GroupOf) -> tuple[tuple[IncidentChange, bool], ...]:
        """Return the state for a checkpoint; drop incidents that the books have dropped."""
        self._held = {id_: held for id_, held in self._held.items() if group_of(id_) is not None}
        return tuple((held.opened, held.firing) for held in self._held.values())

    def restore(
        self,
        starts: Mapping[str, int],
        held: Iterable[tuple[IncidentChange, bool]],
        groups: Sequence[SourceGroup],
        group_of: GroupOf,
    ) -> None:
        """Continue from a checkpoint."""
        self._held = {change.id: _Held(change, group_of(change.id) or 0, firing) for change, firing in held}
        self.begin(starts, groups)

    def due(self, group: int, time_ns: int) -> int | None:
        """Return the start that a group reaches by this time; None when it passed its start before, or not yet."""
        until_ns = self._until.get(group)
        return until_ns if until_ns is not None and time_ns >= until_ns - 1 else None

    def passed(self, group: int) -> list[IncidentChange]:
        """Note that a group reached its start; return the openings of the incidents that fire there."""
        self._until.pop(group, None)
        firing = [id_ for id_, held in self._held.items() if held.group == group and held.firing]
        return [self._held.pop(id_).opened for id_ in firing]

    def news(self, changes: Sequence[IncidentChange], group_of: GroupOf) -> list[IncidentChange]:
        """Return the changes to notify in place of these."""
        news = (self._news(change, group_of) for change in changes)
        return [change for change in news if change is not None]

    def _news(self, change: IncidentChange, group_of: GroupOf) -> IncidentChange | None:
        held = self._held.get(change.id)
        if held is None:
            group = group_of(change.id)
            if group in self._until and change.reason is Reason.OPENED:
                self._held[change.id] = _Held(change, group or 0)
                return None
            return change
        if held.group not in self._until and change.reason in _FIRES:
            return self._held.pop(change.id).opened
        held.firing = change.reason not in _ENDS and (held.firing or change.reason in _FIRES)
        return None

    def _starts_of(self, groups: Sequence[SourceGroup]) -> dict[int, int]:
        """Return the start of each group, the earliest of its sources; a group with a source without one has none."""
        starts = {
            number: min((self.starts.get(name, 0) for name in group.feeding), default=0)
            for number, group in enumerate(groups)
        }
        return {number: until_ns for number, until_ns in starts.items() if until_ns}
