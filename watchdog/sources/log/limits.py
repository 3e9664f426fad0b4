"""Source locations of Core whose lines are dropped for now, because they logged too much."""

from __future__ import annotations

from typing import NamedTuple

from watchdog.sources.core_log.locations import NO_KIND, kinds_of

LIMITS = 256  # locations at a time; Core has a few hundred unconditional log calls


class Location(NamedTuple):
    """A place in Core's source as a line names it."""

    file: str
    line: int
    function: str


class Begun(NamedTuple):
    """A location, and since when its lines are dropped."""

    location: Location
    time_ns: int


def describe(location: Location) -> tuple[str, str]:
    """Return the location for people, and the kinds that its lines give, comma-joined."""
    kinds = kinds_of(location.file, location.function)
    return f"{location.file}:{location.line} ({location.function})", ",".join(kinds) or NO_KIND


class Limits:
    """The locations that are suppressed now; bounded, and part of a source's position."""

    def __init__(self) -> None:
        self._begun: dict[Location, int] = {}

    def begin(self, location: Location, time_ns: int) -> list[Begun]:
        """Lines of a location are dropped from now on; the oldest that has to make room for it, if any."""
        self._begun.setdefault(location, time_ns)
        if len(self._begun) <= LIMITS:
            return []
        oldest = next(iter(self._begun))
        return [Begun(oldest, self._begun.pop(oldest))]

    def end(self, location: Location, otherwise_ns: int) -> Begun:
        """They are written again; `otherwise_ns` is the beginning of one whose beginning was not seen."""
        return Begun(location, self._begun.pop(location, otherwise_ns))

    def all(self) -> list[Begun]:
        """Return all of them, which end with the node's process."""
        ended = [Begun(location, time_ns) for location, time_ns in self._begun.items()]
        self._begun.clear()
        return ended

    def state(self) -> list[list[object]]:
        """What a resume needs, JSON-able."""
        return [[*location, time_ns] for location, time_ns in self._begun.items()]

    def restore(self, state: object) -> None:
        """Take up what `state` gave; nothing from a position that is older than this. TypeError or ValueError."""
        if not isinstance(state, list):
            raise TypeError("limits are not a list")
        for file, line, function, time_ns in state:
            self._begun[Location(str(file), int(line), str(function))] = int(time_ns)
