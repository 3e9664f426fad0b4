"""What one node's engine gives to the fleet, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from watchdog.core.batch import Batch, Slice
from watchdog.core.finding import Finding
from watchdog.core.finding_events import finding_batches
from watchdog.core.kinds import FINDING_KINDS
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.coverage import GAP
from watchdog.engine.engine import Engine
from watchdog.engine.source_groups import UNFED
from watchdog.fleet.report import NodeReport

LEAST_NS = 1_000_000_000  # of event time, between two reports without rows


class Tap:
    """Picks what the fleet reads from the slices and findings of one node.

    kinds: those that are wanted, of events and findings. counts: rows given so far by stream, part of the node's
    checkpoint: a source gives its events in one order however they are cut into slices, and a rule its findings.
    origin: when the counts began, ns of the wall clock; part of the checkpoint too.
    """

    def __init__(self, node: str, kinds: Iterable[str], origin: int = 0) -> None:
        self.node, self.origin = node, origin
        self.want(kinds)
        self.counts: dict[str, int] = {}
        self._mark_ns = -1

    def want(self, kinds: Iterable[str]) -> None:
        """Give these kinds from now on."""
        self._kinds = frozenset(kinds) - FINDING_KINDS
        self._finding_kinds = frozenset(kinds) & FINDING_KINDS

    def report(
        self, engine: Engine, slice_: Slice | None, findings: Sequence[Finding], *, finished: bool = False
    ) -> NodeReport | None:
        """Return what the step of an engine gives; None when there is nothing new. Called after each step.

        finished: the engine has closed its last panes, so that no finding will follow.
        """
        batches = (
            [(slice_.source, self._named(batch)) for batch in slice_.batches if self._reads(batch)] if slice_ else []
        )
        if self._finding_kinds and findings:
            found = finding_batches(findings)
            batches += [(batch.source, batch) for batch in found if batch.kind in self._finding_kinds]
        mark_ns = self._reached_ns(engine)
        if mark_ns == END_OF_TIME_NS and not finished:
            mark_ns = max(self._mark_ns, 0)  # its last panes are still open
        if not batches and abs(mark_ns - self._mark_ns) < LEAST_NS:
            return None
        before: Mapping[str, int] = dict(self.counts)
        for stream, batch in batches:
            if batch.kind != GAP:
                self.counts[stream] = self.counts.get(stream, 0) + batch.rows
        self._mark_ns = mark_ns
        return NodeReport(self.node, mark_ns, batches, before, self.origin)

    def _named(self, batch: Batch) -> Batch:
        """Return a batch under the name of this node: a recording has the name that it was made with."""
        return batch if batch.node == self.node else replace(batch, node=self.node)

    def _reads(self, batch: Batch) -> bool:
        return bool(batch.rows) and (batch.kind in self._kinds or batch.kind == GAP)

    def _reached_ns(self, engine: Engine) -> int:
        """Return the time before which the node will give no more events and findings."""
        mark_ns = engine.watermark_ns
        if self._finding_kinds:
            fed = [n for n in range(len(engine.groups)) if n != UNFED and not engine.ended(n)]
            mark_ns = min([mark_ns, *(engine.moment_ns(number) for number in fed)])
        return mark_ns
