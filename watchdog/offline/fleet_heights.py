"""Where the nodes of a recording are asked for block hashes, so that a replay can compare their chains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from watchdog.core.batch import Slice
from watchdog.fleet.attendance import Attendance
from watchdog.fleet.chains import ChainSplit
from watchdog.fleet.report import NodeReport
from watchdog.fleet.stage import FleetStage, kinds_for


class FleetHeights:
    """Follows how far the chains of several nodes are, from the slices that are recorded.

    nodes: by node, the names of its sources. `record_fleet` calls `note`; sources call what `asking` returns, from any
    thread.
    """

    def __init__(
        self, nodes: Mapping[str, Iterable[str]], monotonic: Callable[[], float], wall_ns: Callable[[], int]
    ) -> None:
        self._marks = {node: dict.fromkeys(sources, 0) for node, sources in nodes.items()}
        self._kinds = kinds_for(ChainSplit.gives)
        self._stage = FleetStage(nodes, ChainSplit.gives)
        self._attendance = Attendance(self._stage.members, monotonic, wall_ns)
        self._given: dict[str, int] = {}
        self._heights: Mapping[str, tuple[int, ...]] = {}

    def asking(self, node: str) -> Callable[[], tuple[int, ...]]:
        """Return a function that gives the heights to ask of a node now."""
        return lambda: self._heights.get(node, ())

    def expect(self, node: str, sources: Iterable[str]) -> None:
        """Wait for these sources of a node, which are open now."""
        self._marks[node] = dict.fromkeys(sources, 0)

    def note(self, node: str, piece: Slice) -> None:
        """Take in a slice of a node's source."""
        marks = self._marks[node]
        marks[piece.source] = max(marks[piece.source], piece.until_ns)
        batches = [(piece.source, batch) for batch in piece.batches if batch.rows and batch.kind in self._kinds]
        counts = {source: self._given.get(source, 0) for source, _ in batches}
        for source, batch in batches:
            self._given[source] = self._given.get(source, 0) + batch.rows
        self._stage.take(NodeReport(node, min(marks.values()), batches, counts))
        self._attendance.judge()
        self._stage.next()
        self._heights = self._stage.heights_to_ask()
