"""The engine of one source group: its rules, keys and windows, closed at the group's own watermark."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from watchdog.core.batch import Batch
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding
from watchdog.core.kinds import FINDING_KINDS
from watchdog.core.plan import RowExpression, RulePlan
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.budgets import HOLD_NS, Budgets
from watchdog.engine.checkpoint import batch_from, batch_state, pack, restoring, unpack
from watchdog.engine.coverage import ALWAYS_WANTED, CHAIN, START_NS, Coverage
from watchdog.engine.held_batches import HeldBatches
from watchdog.engine.in_step import ClosedPanes
from watchdog.engine.key_tables import KeyTables
from watchdog.engine.layout import Stream, lay_out, make_groupings, plan_text
from watchdog.engine.lookback import Lookback
from watchdog.engine.panes import WindowRows
from watchdog.engine.selection import Selector
from watchdog.engine.surplus import Lots

VERSION: Final = 4  # of the state; 2: gaps with their event's time; 3: sources' first events, surplus keys; 4: budgets
TAKEN_OVER: Final = (2, 3, VERSION)
STARTS_NS: Final = 2 * HOLD_NS + START_NS  # how long starts of the node are remembered for budgets
SWEEP_NS: Final = 600_000_000_000  # idle keys are freed every ten minutes of event time


class GroupEngine:
    """Runs the rules of one source group over admitted batches; `Engine` drives it.

    sources: names of all sources that panes wait for. feeding: those of them that give what the rules read; None: all.
    behind: the kinds of events behind the findings that the rules read, in the second stage.
    lots: decide which findings are kept when too many keys fire at once. beside: plans of groups of which it hears.
    Does no I/O, and reads a clock only to measure what rules cost.
    """

    def __init__(
        self,
        plans: Sequence[RulePlan],
        *,
        node: str,
        sources: Iterable[str],
        feeding: Iterable[str] | None = None,
        lots: Lots | None = None,
        behind: Iterable[str] = (),
        beside: Sequence[RulePlan] = (),
    ) -> None:
        self.plans, self.node = tuple(plans), node
        sources = tuple(sources)
        self._marks: dict[str, int] = dict.fromkeys(sources, 0)
        self._coverage = Coverage(sources if feeding is None else feeding, behind)
        groupings = make_groupings(self.plans)
        self.budgets: Final = Budgets(self.plans, beside)
        layout = lay_out(self.plans, groupings, node, self._coverage, lots or Lots(), budgets=self.budgets)
        self.windows, self._banks, self._streams = layout.windows, layout.banks, layout.streams
        self._closers, self._seats = layout.closers, layout.seats
        self._readers = self._make_readers()
        self._lookback = Lookback(self._horizons())
        self.keys: Final = KeyTables(groupings, self.windows, self._lookback)
        self._held, self._fed_ns = HeldBatches(), 0
        self._step_ns = math.gcd(*(closer.pane_ns for closer in self._closers)) or 1  # no pane ends between
        self._longest_ns = max((plan.over_ns for plan in self.plans), default=0)
        if self.budgets.of_rule:
            self._longest_ns = max(self._longest_ns, STARTS_NS)
        self._hour_ns = 0  # the last hour at which budgets have learnt
        self._latest_ns = 0
        self._swept_ns = 0

    @property
    def watermark_ns(self) -> int:
        """No event before this time is expected from any source of the group."""
        return min(self._marks.values(), default=0)

    @property
    def latest_ns(self) -> int:
        """Time of the latest event, 0 before the first."""
        return self._latest_ns

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that the engine reads."""
        guarded = {CHAIN} if any(plan.guarded for plan in self.plans) else set()
        return ALWAYS_WANTED.union(guarded, *(plan.kinds for plan in self.plans))

    def witness(self, first_ns: int, last_ns: int, source: str) -> None:
        """Record that a source had events in this span, read by a rule or not: coverage begins with the first."""
        self._coverage.begin(first_ns, source)
        self._latest_ns = max(self._latest_ns, last_ns)

    def feed(self, batch: Batch) -> None:
        """Take the rows of an admitted batch: none is behind the watermark that its source has promised.

        Findings of the first stage are no sign that a source is watched, so `witness` does not get them.
        """
        if batch.kind in FINDING_KINDS:
            self._latest_ns = max(self._latest_ns, int(batch.time_ns.max()))
        self._coverage.see(batch)
        if batch.kind in self._readers:
            for due in self._held.add(batch):
                self._feed(due)

    def _feed_held(self) -> None:
        """Feed what waits: a pane may close, or the state is saved."""
        for batch in self._held.take():
            self._feed(batch)

    def _feed(self, batch: Batch) -> None:
        """Let the rules that read this kind measure the rows."""
        selector, streams = self._readers[batch.kind]
        selected = selector.select(batch)
        slots = self.keys.slots(
            batch, [(stream.group, rows.rows) for stream, rows in zip(streams, selected, strict=True) if rows]
        )
        evidence: dict[int, NDArray[np.intp]] = {}
        inputs: dict[int, list[WindowRows]] = defaultdict(list)
        for stream, rows in zip(streams, selected, strict=True):
            if rows is None:
                continue
            for window in stream.windows:
                closer, member = self._seats[window]
                inputs[closer].append(WindowRows(member, rows, stream.group))
            if stream.plan.evidence or stream.plan.entities:
                evidence[stream.index] = rows.rows
        for closer, window_rows in inputs.items():
            self._closers[closer].feed(batch, window_rows, slots)
        self._lookback.add(batch, evidence, slots)

    def promise(self, source: str, until_ns: int) -> list[Finding]:
        """Advance a source's watermark and close the panes before the group's; return their findings."""
        return [finding for closed in self.advance(source, until_ns) for finding in closed.findings]

    def finish(self) -> list[Finding]:
        """Close every pane that has events, without expiring anything after them; called once, at the end of input."""
        return [finding for closed in self.advance() for finding in closed.findings]

    def advance(self, source: str = "", until_ns: int = END_OF_TIME_NS) -> Iterator[ClosedPanes]:
        """Do what `promise` does, or without a source `finish`, hour by hour: the caller must walk to the end.

        The watermark advances at once. The group learns of an hour when the next one is asked for.
        """
        if not source:
            return self._advance(END_OF_TIME_NS)
        self._marks[source] = max(self._marks.get(source, 0), until_ns)
        return self._advance(self.watermark_ns)

    def _advance(self, watermark_ns: int) -> Iterator[ClosedPanes]:
        first_ns = self._coverage.first_ns
        if first_ns is None or first_ns >= watermark_ns:
            return  # an earlier event may still come: nothing can be closed, and coverage has not begun
        if watermark_ns // self._step_ns > self._fed_ns // self._step_ns:
            self._feed_held()
            self._fed_ns = watermark_ns
        until_ns = self._latest_ns if watermark_ns == END_OF_TIME_NS else watermark_ns
        for hour_ns in self.budgets.stops(max(self._hour_ns, first_ns), until_ns, self._latest_ns):
            yield ClosedPanes(hour_ns, self._close(hour_ns, first_ns))
            self.budgets.renew(hour_ns, self._coverage)
            self._hour_ns = hour_ns
        yield ClosedPanes(watermark_ns, self._close(watermark_ns, first_ns))
        if watermark_ns != END_OF_TIME_NS:
            self._lookback.trim(watermark_ns)
            if watermark_ns - self._swept_ns >= SWEEP_NS:
                self.keys.sweep()
                self._coverage.forget(watermark_ns - self._longest_ns)
                self.budgets.fixed.forget(watermark_ns - self._longest_ns)
                self._swept_ns = watermark_ns

    def _close(self, watermark_ns: int, first_ns: int) -> list[Finding]:
        findings: list[Finding] = []
        for closer in self._closers:
            findings += closer.close(self._panes_until(watermark_ns, closer.pane_ns), first_ns, self._lookback)
        self.budgets.incidents.hear(findings)
        return findings

    def _panes_until(self, watermark_ns: int, pane_ns: int) -> int:
        """Return the pane before which panes can be closed; at the end of the input, those with events."""
        if watermark_ns == END_OF_TIME_NS:
            return self._latest_ns // pane_ns + 1
        return watermark_ns // pane_ns

    def _make_readers(self) -> dict[str, tuple[Selector, list[Stream]]]:
        filters: dict[str, list[RowExpression | None]] = defaultdict(list)
        streams: dict[str, list[Stream]] = defaultdict(list)
        for stream in self._streams:
            for kind in stream.plan.kinds:
                filters[kind].append(stream.plan.where)
                streams[kind].append(stream)
        return {kind: (Selector(filters[kind]), streams[kind]) for kind in filters}

    def _horizons(self) -> dict[str, int]:
        horizons: Counter[str] = Counter()
        for plan in self.plans:
            for kind in plan.kinds if plan.evidence or plan.entities else ():
                horizons[kind] = max(horizons[kind], plan.over_ns)
        return dict(horizons)

    @property
    def rules_hash(self) -> str:
        """SHA-256 of every plan property that the saved state depends on."""
        return hashlib.sha256("\n".join(plan_text(plan) for plan in self.plans).encode()).hexdigest()

    def value_counts(self) -> dict[str, int]:
        """Return how many values the measures remember and have refused."""
        costs = [closer.cost() for closer in self._closers]
        return {
            "live": sum(cost.values for cost in costs),
            "refused": sum(cost.refused for cost in costs) + sum(rules.refused for rules in self.windows),
            "evicted": 0,
        }

    def snapshot(self) -> bytes:
        """Return the state that `restore` needs to continue exactly, without the plans."""
        self._feed_held()
        return pack(
            {
                "version": VERSION,
                "rules": self.rules_hash,
                "node": self.node,
                "marks": self._marks,
                "latest_ns": self._latest_ns,
                "swept_ns": self._swept_ns,
                "coverage": self._coverage.state(),
                "groupings": [grouping.state() for grouping in self.keys.groupings],
                "lanes": [bank.state() for bank in self._banks],
                "windows": [rules.state() for rules in self.windows],
                "lookback": [batch_state(batch) for batch in self._lookback.batches()],
                "budgets": self.budgets.state(),
                "spells": self.budgets.fixed.state(),
                "hour_ns": self._hour_ns,
            }
        )

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot of an engine with the same plans. Raises StateError when it does not fit."""
        state: State = unpack(blob)
        with restoring(state, TAKEN_OVER):
            if state.get("rules") != self.rules_hash:
                raise StateError("checkpoint was made with other rules")
            self._restore(state)

    def _restore(self, state: State) -> None:
        """Take over a state whose version and rules are right; its shapes may still be wrong."""
        self.node, self._marks = state["node"], {str(name): int(mark) for name, mark in state["marks"].items()}
        self._latest_ns, self._swept_ns = int(state["latest_ns"]), int(state["swept_ns"])
        self._coverage.restore(state["coverage"])
        for grouping, saved in zip(self.keys.groupings, state["groupings"], strict=True):
            grouping.restore(saved)
        for bank, saved in zip(self._banks, state["lanes"], strict=True):
            bank.restore(saved)
        for rules, saved in zip(self.windows, state["windows"], strict=True):
            rules.restore(saved)
        for saved in state["lookback"]:
            self._remember(batch_from(saved))
        if "budgets" in state:  # version 3 learnt none
            self.budgets.restore(state["budgets"])
            self._hour_ns = int(state["hour_ns"])
            self.budgets.fixed.restore(state["spells"])

    def _remember(self, batch: Batch) -> None:
        """Put a batch of a checkpoint back into the lookback, with the slots of its known keys."""
        selector, streams = self._readers[batch.kind]
        evidence, slots = {}, {}
        every = np.arange(batch.rows)
        for stream, rows in zip(streams, selector.select(batch), strict=True):
            if rows is None or not (stream.plan.evidence or stream.plan.entities):
                continue
            evidence[stream.index] = rows.rows
            if stream.group not in slots:
                slots[stream.group] = self.keys.groupings[stream.group].find(batch, every)
        self._lookback.add(batch, evidence, slots)
