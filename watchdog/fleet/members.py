"""The nodes of the fleet: how far each has come, what was taken in of it, and whether it takes part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from watchdog.core.batch import Batch
from watchdog.core.durations import SECOND_NS
from watchdog.engine.coverage import GAP
from watchdog.fleet.report import FleetRow, NodeReport


@dataclass(slots=True)
class FleetMember:
    """What is known of one node.

    taken: rows of each stream so far, of the run of the node's engine that began at `origin`. away_ns: since when it is
    left out; -1 while it takes part.
    """

    mark_ns: int = 0
    away_ns: int = -1
    taken: dict[str, int] = field(default_factory=dict)
    origin: int = 0


class Members:
    """The nodes of a stage. The feed of the stage decides which nodes leave and return.

    until_ns: how far the stream of the fleet is. dropped: rows that came behind it, or of nodes that were left out.
    revision: grows with every change, so that a checkpoint knows whether there is anything new. rows: events of leaving
    and coming back, for the next slice.
    """

    def __init__(self, nodes: Iterable[str]) -> None:
        self.nodes = {node: FleetMember() for node in sorted(nodes)}
        self.until_ns = self.dropped = self.revision = 0
        self.rows: list[FleetRow] = []

    @property
    def marks(self) -> Mapping[str, int]:
        """By node that takes part, its watermark."""
        return {node: one.mark_ns for node, one in self.nodes.items() if one.away_ns < 0}

    @property
    def away(self) -> Mapping[str, int]:
        """By node that is left out, its watermark."""
        return {node: one.mark_ns for node, one in self.nodes.items() if one.away_ns >= 0}

    @property
    def taken(self) -> dict[str, dict[str, int]]:
        """By node and stream, the number of rows that were taken in."""
        return {node: dict(one.taken) for node, one in self.nodes.items()}

    def add(self, node: str) -> None:
        """Take reports of a further node from now on."""
        self.nodes = dict(sorted({**self.nodes, node: FleetMember()}.items()))
        self.revision += 1

    def remove(self, node: str) -> None:
        """Take no more reports of a node."""
        self.nodes.pop(node, None)
        self.revision += 1

    def taken_in(self, report: NodeReport) -> Iterator[Batch]:
        """Yield the rows of a report that an earlier run has not taken in, and note how far the node is."""
        own = self.nodes.get(report.node)
        if own is None:
            return
        self.revision += 1
        if own.origin != report.origin:  # the node has no state of its earlier run, so its streams count from 0
            own.origin, own.taken = report.origin, {}
        given = dict(report.counts)
        for stream, batch in report.batches:
            if batch.kind == GAP:  # a span that is reported twice is the same gap
                yield batch
                continue
            first, known = given.get(stream, 0), own.taken.get(stream, 0)
            given[stream] = first + batch.rows
            own.taken[stream] = max(known, first + batch.rows)
            yield batch.slice(min(known - first, batch.rows), batch.rows) if known > first else batch
        own.mark_ns = report.mark_ns

    def leave(self, node: str, behind_ns: int) -> None:
        """Leave a node out: the others no longer wait for it."""
        self.nodes[node].away_ns = self.until_ns
        self._note("fleet:node_left", node, {"behind_s": behind_ns // SECOND_NS})

    def come_back(self, node: str) -> None:
        """Let a node that was left out take part again."""
        own = self.nodes[node]
        away_s, own.away_ns = (self.until_ns - own.away_ns) // SECOND_NS, -1
        self._note("fleet:node_back", node, {"away_s": away_s})

    def _note(self, kind: str, node: str, fields: Mapping[str, int]) -> None:
        self.rows.append(FleetRow(kind, node, self.until_ns, fields))
        self.revision += 1


def state_of(members: Members) -> dict[str, object]:
    """Return what `restore_members` needs, as plain data."""
    return {
        "until_ns": members.until_ns,
        "dropped": members.dropped,
        "nodes": {name: [one.mark_ns, one.away_ns, one.taken, one.origin] for name, one in members.nodes.items()},
        "rows": [[row.kind, row.node, row.time_ns, dict(row.fields)] for row in members.rows],
    }


def restore_members(members: Members, state: Any) -> None:  # Any: nested dictionaries and lists
    """Continue from a state; nodes that are not watched any longer are left out."""
    members.until_ns, members.dropped = int(state["until_ns"]), int(state["dropped"])
    for node, (mark_ns, away_ns, taken, origin) in state["nodes"].items():
        if node in members.nodes:
            counts = {name: int(count) for name, count in taken.items()}
            members.nodes[node] = FleetMember(int(mark_ns), int(away_ns), counts, int(origin))
    members.rows = [FleetRow(*row) for row in state["rows"]]
