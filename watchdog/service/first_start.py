"""Where a source begins that was never read before, and which incidents of its past nobody is told.

A first start reads the hour before its start to fill windows and baselines. Incidents that are over by then are kept to
ourselves: they are old news, and there may be many. One that still fires at the start is told then, once, with the time
at which it opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.incident import IncidentChange, Reason
from watchdog.core.durations import DAY_NS, HOUR_NS, MINUTE_NS, parse_duration
from watchdog.engine.source_groups import SourceGroup
from watchdog.sources.registry import scheme_of

PartOf = Callable[[str], int | None]

LEAD_NS: Final = HOUR_NS  # read before the start
LEAST_NS, MOST_NS = MINUTE_NS, 365 * DAY_NS
_FIRES: Final = frozenset({Reason.OPENED, Reason.REOPENED, Reason.UPDATED, Reason.MEMBER_JOINED, Reason.ESCALATED})
_ENDS: Final = frozenset({Reason.CLEARED, Reason.RESOLVED, Reason.RESOLVED_BY_OPERATOR})


def start_before(text: str, now_ns: int) -> int:
    """The time (ns) that a start means: 0 for `beginning`. ValueError when it is none."""
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
    """The start of each live source that has no position; as it was decided at its first start, if that is known."""
    return {
        text: known.get(text, start_ns)
        for text in texts
        if has_start(text) and not positions.get(text) and known.get(text, start_ns) > 0
    }


@dataclass(slots=True)
class _Held:
    """An incident nobody was told of. firing: whether it fires, by its last change."""

    opened: IncidentChange
    part: int
    firing: bool = True


class Quiet:
    """Holds back the changes of incidents until the part of their rule has come to its start.

    starts: by source, the time before which its past is old news: its start, or how far an earlier run had come. False
    when nothing is held back any more.
    """

    def __init__(self) -> None:
        self.starts: dict[str, int] = {}
        self._held: dict[str, _Held] = {}
        self._until: dict[int, int] = {}  # by part that has not come to its start

    def __bool__(self) -> bool:
        return bool(self._held or self._until)

    def begin(self, starts: Mapping[str, int], parts: Sequence[SourceGroup]) -> None:
        """From now on these starts count."""
        self.starts = dict(starts)
        self._until = self._starts_of(parts)

    def rewind(self, now_ns: int, parts: Sequence[SourceGroup]) -> None:
        """Move starts that a wrong clock put later than now to now: held back until then, an attack would be silent."""
        if any(start_ns > now_ns for start_ns in self.starts.values()):
            self.begin({name: min(start_ns, now_ns) for name, start_ns in self.starts.items()}, parts)

    def divide(self, parts: Sequence[SourceGroup], part_of: PartOf) -> None:
        """The rules are divided into other parts."""
        self._until = self._starts_of(parts)
        for id_, one in self._held.items():
            one.part = part_of(id_) or 0

    def held(self, part_of: PartOf) -> tuple[tuple[IncidentChange, bool], ...]:
        """What a checkpoint has to know; incidents that the books have forgotten are forgotten here."""
        self._held = {id_: one for id_, one in self._held.items() if part_of(id_) is not None}
        return tuple((one.opened, one.firing) for one in self._held.values())

    def restore(
        self,
        starts: Mapping[str, int],
        held: Iterable[tuple[IncidentChange, bool]],
        parts: Sequence[SourceGroup],
        part_of: PartOf,
    ) -> None:
        """Continue from a checkpoint."""
        self._held = {change.id: _Held(change, part_of(change.id) or 0, firing) for change, firing in held}
        self.begin(starts, parts)

    def due(self, part: int, time_ns: int) -> int | None:
        """The start of a part that reaches it by this time; None when it has passed it before, or does not yet."""
        until_ns = self._until.get(part)
        return until_ns if until_ns is not None and time_ns >= until_ns - 1 else None

    def passed(self, part: int) -> list[IncidentChange]:
        """The part has come to its start: the openings of what fires there."""
        self._until.pop(part, None)
        firing = [id_ for id_, one in self._held.items() if one.part == part and one.firing]
        return [self._held.pop(id_).opened for id_ in firing]

    def news(self, changes: Sequence[IncidentChange], part_of: PartOf) -> list[IncidentChange]:
        """The changes that are told in the place of these."""
        told = (self._news(change, part_of) for change in changes)
        return [change for change in told if change is not None]

    def _news(self, change: IncidentChange, part_of: PartOf) -> IncidentChange | None:
        held = self._held.get(change.id)
        if held is None:
            part = part_of(change.id)
            if part in self._until and change.reason is Reason.OPENED:
                self._held[change.id] = _Held(change, part or 0)
                return None
            return change
        if held.part not in self._until and change.reason in _FIRES:
            return self._held.pop(change.id).opened
        held.firing = change.reason not in _ENDS and (held.firing or change.reason in _FIRES)
        return None

    def _starts_of(self, parts: Sequence[SourceGroup]) -> dict[int, int]:
        """The start of each part: where the news of the first of its sources begins; none where one has no start."""
        starts = {
            number: min((self.starts.get(name, 0) for name in part.feeding), default=0)
            for number, part in enumerate(parts)
        }
        return {number: until_ns for number, until_ns in starts.items() if until_ns}
