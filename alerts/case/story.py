"""The story of a case beside its claims and notices: what operators did, what was merged, and flap damping."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Literal

StoryKind = Literal["acknowledged", "cleared", "resolved", "note", "split", "merged", "flapping"]
STORY_KINDS: tuple[StoryKind, ...] = ("acknowledged", "cleared", "resolved", "note", "split", "merged", "flapping")
"""cleared: an acknowledgement ended, as the case has something new. flapping: see `case_life.FLAPS`."""
KEPT_LINES = 200  # of one case: the first half and the latest half
ANYONE = ""  # `who` of what no operator did
SPLIT_FROM = "was split off from case"  # begins the line of the new case, behind its party


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One line. time_ns: event time; of what an operator did, the wall clock. who: the operator, else empty."""

    time_ns: int
    what: StoryKind
    text: str
    who: str = ANYONE

    def as_object(self) -> dict[str, object]:
        """Return the line as JSON-able data, time in unix seconds."""
        return {"time": self.time_ns / 1e9, "what": self.what, "who": self.who or None, "text": self.text}


@dataclass(slots=True)
class Story:
    """The lines of one case by time. beyond: lines that were dropped from the middle."""

    lines: list[StoryLine] = field(default_factory=list)
    beyond: int = 0

    def add(self, *lines: StoryLine) -> None:
        """Add lines; lines of one time keep the order in which they came."""
        self.lines = sorted([*self.lines, *lines], key=attrgetter("time_ns"))
        self._bound()

    def absorb(self, other: Story) -> None:
        """Take in the story of a case that is merged."""
        self.beyond += other.beyond
        self.lines = _by_content([*self.lines, *other.lines])
        self._bound()

    def _bound(self) -> None:
        gone = max(len(self.lines) - KEPT_LINES, 0)
        del self.lines[KEPT_LINES // 2 : KEPT_LINES // 2 + gone]
        self.beyond += gone


def _by_content(lines: Iterable[StoryLine]) -> list[StoryLine]:
    """Return lines by time, then by what they say: whichever case took in the other."""
    return sorted(lines, key=lambda one: (one.time_ns, one.what, one.who, one.text))
