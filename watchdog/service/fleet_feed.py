"""The reports of all nodes as the feed of the fleet's engine, and which nodes take part.

A node that stays behind is left out (`watchdog.fleet.attendance`). The stage makes events of leaving and coming back,
so they are part of the stream.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from watchdog.core.batch import Slice
from watchdog.fleet.attendance import Attendance
from watchdog.fleet.report import SOURCE, NodeReport
from watchdog.fleet.stage import FleetStage
from watchdog.fleet.wanted import FLEET_SOURCES
from watchdog.pipeline.clock import Clock
from watchdog.service.channel import Channel

WAITING_MOST: Final = 2_000  # reports; engines wait while there are more
FULL_S: Final = 0.1


class FleetInbox:
    """Reports on their way from the engines of the nodes to the fleet's; any thread may put."""

    def __init__(self) -> None:
        self._reports: queue.Queue[NodeReport] = queue.Queue(WAITING_MOST)
        self.closed = False  # the service ends, and takes no more reports

    def put(self, report: NodeReport) -> None:
        """Hand over a report; wait while the inbox is full, so that a slow fleet slows its nodes."""
        while not self.closed:
            try:
                self._reports.put(report, timeout=FULL_S)
            except queue.Full:
                continue
            return

    def take(self) -> NodeReport | None:
        """Return the next report; None without any."""
        try:
            return self._reports.get_nowait()
        except queue.Empty:
            return None

    def __len__(self) -> int:
        return self._reports.qsize()


class _NoSources:
    """What others read of a feed's sources: the fleet has none of its own, and the nodes judge theirs."""

    @property
    def names(self) -> Sequence[str]:
        """The only source."""
        return (SOURCE,)

    @property
    def kinds(self) -> Mapping[str, frozenset[str]]:
        """All that a rule over nodes may read."""
        return FLEET_SOURCES

    @property
    def down(self) -> Sequence[str]:
        """None."""
        return ()

    @property
    def clock_faults(self) -> Mapping[str, str]:
        """None."""
        return {}


@dataclass
class FleetFeed(_NoSources):
    """A feed of the fleet's engine thread: takes reports, and gives the stage's slices.

    heights: where each node should be asked for a block hash; any thread may read it. changed: a node left or came back
    since `changed` was last set to False, so the state is to be saved.
    """

    stage: FleetStage
    inbox: FleetInbox
    clock: Clock
    wall_ns: Callable[[], int]
    texts: Sequence[str] = (SOURCE,)
    channels: list[Channel] = field(default_factory=list)
    heights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    changed: bool = False
    moved: int = 0
    _attendance: Attendance = field(init=False)

    def __post_init__(self) -> None:
        """Judge the members of this stage."""
        self._attendance = Attendance(self.stage.members, self.clock.monotonic, self.wall_ns)

    @property
    def revision(self) -> int:
        """Grows with every change of the stage."""
        return self.stage.members.revision

    @property
    def pending(self) -> bool:
        """Whether reports wait."""
        return len(self.inbox) > 0

    def next(self) -> Slice | None:
        """Take in what has come; return the stream as far as all nodes that take part have come, if it moved."""
        for _ in range(WAITING_MOST):
            report = self.inbox.take()
            if report is None:
                break
            self.stage.take(report)
        self.changed |= self._attendance.judge()
        slice_ = self.stage.next()
        self.heights = self.stage.heights_to_ask()
        return slice_

    def want(self, kinds: frozenset[str], _lists: Mapping[str, tuple[str, ...]]) -> None:
        """Compare for rules that read other kinds from now on."""
        self.stage.want(kinds)

    def promises(self) -> list[Slice]:
        """Return a slice that brings a new engine up to the watermark so far."""
        return [Slice(SOURCE, (), self.stage.members.until_ns)] if self.stage.members.until_ns else []

    def close(self) -> None:
        """Take no more reports."""
        self.inbox.closed = True

    @property
    def ended(self) -> bool:
        """Never: nodes may come."""
        return False

    @property
    def unsettled(self) -> bool:
        """Never: the feeds of the nodes judge their clocks."""
        return False
