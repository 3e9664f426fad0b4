"""Source locations of Core whose lines are dropped for now, because they logged too much."""

from __future__ import annotations

from typing import NamedTuple

from watchdog.sources.core_log.locations import NO_KIND, kinds_of

LIMITS = 256  # locations at a time; Core has a few hundred unconditional log calls


class SourceLocation(NamedTuple):
    """A place in Core's source as a line names it."""

    file: str
    line: int
    function: str


class Begun(NamedTuple):
    """A location, since when its lines are dropped, and when Core writes them again at the latest."""

    location: SourceLocation
    time_ns: int
    until_ns: int


def describe(location: SourceLocation) -> tuple[str, str]:
    """Return the location for people, and the kinds that its lines give, comma-joined."""
    kinds = kinds_of(location.file, location.function)
    return f"{location.file}:{location.line} ({location.function})", ",".join(kinds) or NO_KIND


class SuppressedLocations:
    """The locations that are suppressed now; bounded, and part of a source's position."""

    def __init__(self) -> None:
        self._begun: dict[SourceLocation, Begun] = {}

    def begin(self, location: SourceLocation, time_ns: int, until_ns: int) -> list[Begun]:
        """Note that lines of a location are dropped; return the limits that end with this: an earlier one of the same
        location, whose end was not seen, and the oldest of all if there are too many.
        """
        ended = [begun for begun in (self._begun.pop(location, None),) if begun is not None]
        self._begun[location] = Begun(location, time_ns, until_ns)
        if len(self._begun) > LIMITS:
            ended.append(self._begun.pop(next(iter(self._begun))))
        return ended

    def end(self, location: SourceLocation, otherwise_ns: int) -> Begun:
        """End a limit; `otherwise_ns` is the beginning of one whose beginning was not seen."""
        return self._begun.pop(location, Begun(location, otherwise_ns, otherwise_ns))

    def all(self) -> list[Begun]:
        """Return all of them, which end with the node's process."""
        ended = list(self._begun.values())
        self._begun.clear()
        return ended

    def state(self) -> list[list[object]]:
        """Return the state for a resume, JSON-able."""
        return [[*begun.location, begun.time_ns, begun.until_ns] for begun in self._begun.values()]

    def restore(self, state: object) -> None:
        """Take up what `state` gave; nothing from a position that is older than this. TypeError or ValueError."""
        if not isinstance(state, list):
            raise TypeError("limits are not a list")
        for file, line, function, time_ns, until_ns in state:
            location = SourceLocation(str(file), int(line), str(function))
            self._begun[location] = Begun(location, int(time_ns), int(until_ns))
