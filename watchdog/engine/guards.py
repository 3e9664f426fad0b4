"""When budgeted detectors keep silent: after a start of the node, in initial download, until enough keys are there.

Fixed rules always speak. Guards beat statistics here: a node that has just started behaves like no quiet minute.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from detectors.windows import Ints
from watchdog.engine.coverage import Coverage

FOR_SYNC = "for the end of the initial download"


class PaneGuards(NamedTuple):
    """By row: whether its window was seen whole, whether the node had just started, and was in initial download.

    start_ns: the latest start of the node that is known at the last row; 0 without one.
    """

    whole: NDArray[np.bool_]
    begun: NDArray[np.bool_]
    syncing: NDArray[np.bool_]
    start_ns: int

    @property
    def speaks(self) -> NDArray[np.bool_]:
        """Whether a budgeted `anomalous` gives a verdict."""
        found: NDArray[np.bool_] = self.whole & ~self.begun & ~self.syncing
        return found


def seen_of(coverage: Coverage, ends_ns: Ints, over_ns: int, kinds: tuple[str, ...], *, guarded: bool) -> PaneGuards:
    """Return what is known of the windows with these ends. guarded: whether some detector has a budget."""
    whole = ~coverage.disturbed(over_ns, kinds).among(ends_ns)
    if not guarded:
        nothing = np.zeros(len(ends_ns), np.bool_)
        return PaneGuards(whole, nothing, nothing, 0)
    begun, syncing = coverage.guards()
    known = bisect_right(coverage.starts, int(ends_ns.max())) if len(ends_ns) else 0
    start_ns = coverage.starts[known - 1] if known else 0
    return PaneGuards(whole, begun.among(ends_ns), syncing.among(ends_ns), start_ns)


class EnoughKeys:
    """Whether enough keys have been there for one window since the node started; belongs to one comparison."""

    def __init__(self, least: int, over_ns: int) -> None:
        self._least, self._over_ns = least, over_ns
        self._start_ns = self._settled_ns = 0  # the latest start, and the latest after which enough keys were there
        self._since_ns = 0  # since when enough keys have been there in every pane; 0 without them

    def ready(self, end_ns: int, start_ns: int, peers: int) -> bool:
        """Take the number of keys of a pane; return whether they may be compared. start_ns: the latest start, or 0."""
        if start_ns > self._start_ns:
            self._start_ns, self._since_ns = start_ns, 0
        if self._start_ns == self._settled_ns:
            return True
        if peers < self._least:
            self._since_ns = 0
            return False
        self._since_ns = self._since_ns or end_ns
        if end_ns - self._since_ns >= self._over_ns:
            self._settled_ns = self._start_ns
        return self._start_ns == self._settled_ns

    @property
    def waits(self) -> str:
        """For what it waits, in words; empty for nothing."""
        if self._start_ns == self._settled_ns:
            return ""
        return until_text(self._since_ns + self._over_ns) if self._since_ns else f"for {self._least} keys"

    def state(self) -> State:
        """Return what is known of starts and keys."""
        return {"start": self._start_ns, "settled": self._settled_ns, "since": self._since_ns}

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._start_ns, self._settled_ns = int(state["start"]), int(state["settled"])
        self._since_ns = int(state["since"])


def until_text(time_ns: int) -> str:
    """Return until when a detector waits, in event time."""
    return f"until {datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%H:%M} UTC"
