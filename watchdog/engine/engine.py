"""The engine: slices of events in, findings out, in event time, for one node.

process(slice)                        rows wait in open panes until every source's
  feed: select, key, measure          watermark has passed them; then the panes close,
  promise: close panes, decide        many at a time, and rules are decided

An engine has one time for all its rules. `parted` runs an engine for each set of sources, so that rules wait only
for those that can feed them.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from detectors.windows import Ints
from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding
from watchdog.core.plan import RowExpression, RulePlan
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.checkpoint import batch_from, batch_state, pack, unpack
from watchdog.engine.coverage import Coverage, wanted_kinds
from watchdog.engine.lane_window import BankInput, Fed
from watchdog.engine.lanes import RuleBank
from watchdog.engine.layout import Stream, lay_out, make_groupings, plan_text
from watchdog.engine.lookback import Lookback
from watchdog.engine.measures import WindowMeasures
from watchdog.engine.selection import Selector
from watchdog.engine.statistics import Statistics
from watchdog.engine.stream import StreamWindow
from watchdog.engine.surplus import Lots

VERSION = 3  # of the checkpoint; 2: gaps with the time of their event; 3: sources' first events, keys without findings
TAKEN_OVER = (2, VERSION)
SWEEP_NS = 600_000_000_000  # free idle keys each ten minutes of event time
CROWDED, EVICTED_SHARE = 0.95, 0.1  # a table this full loses a tenth of its keys, the longest idle first
VALUES = "values"  # in `key_counts`, beside the groupings


class Engine:
    """Runs compiled rules over one node's events.

    sources: names of all sources that panes wait for. feeding: those of them that give what the rules read; None: all.
    lots: decide which findings are kept when there are too many at once.
    Nothing here does I/O, or reads a clock but to measure what rules cost.
    """

    def __init__(
        self,
        plans: Sequence[RulePlan],
        *,
        node: str = "node",
        sources: Iterable[str] = (),
        feeding: Iterable[str] | None = None,
        lots: Lots | None = None,
    ) -> None:
        self.plans, self.node = tuple(plans), node
        sources = tuple(sources)
        self.statistics = Statistics()
        self._marks: dict[str, int] = dict.fromkeys(sources, 0)
        self._coverage = Coverage(sources if feeding is None else feeding)
        self._groupings = make_groupings(self.plans)
        layout = lay_out(self.plans, self._groupings, node, self._coverage, lots or Lots())
        self._windows, self._lanes, self._streams = layout.windows, layout.lanes, layout.streams
        self._readers = self._make_readers()
        self._lookback = Lookback(self._horizons())
        self._longest_ns = max((plan.over_ns for plan in self.plans), default=0)
        self._latest_ns = 0
        self._swept_ns = 0

    @property
    def watermark_ns(self) -> int:
        """No event before this time is expected from any source."""
        return min(self._marks.values(), default=0)

    @property
    def latest_ns(self) -> int:
        """Time of the latest event, 0 before the first."""
        return self._latest_ns

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that the engine reads."""
        return wanted_kinds(self.plans)

    def process(self, events: Slice) -> list[Finding]:
        """Take a slice; the findings of all panes that it closed, by (time, rule, key).

        Rows before the source's earlier watermark are late: counted, and left out.
        """
        promised = self._marks.get(events.source, 0)
        for batch in events.batches:
            admitted = self.statistics.admit(batch, promised)
            if admitted is not None:
                self.witness(*admitted[1:], events.source)
                self.feed(admitted[0])
        return self.promise(events.source, events.until_ns)

    def witness(self, first_ns: int, last_ns: int, source: str) -> None:
        """A source had events in this span, whether or not a rule reads them: so long it has been watched."""
        self._coverage.begin(first_ns, source)
        self._latest_ns = max(self._latest_ns, last_ns)

    def finish(self) -> list[Finding]:
        """The input is at its end: close every pane that has events, but let nothing expire after them."""
        return self._advance(END_OF_TIME_NS)

    def promise(self, source: str, until_ns: int) -> list[Finding]:
        """A source has no event before this time any more; the findings of the panes that close."""
        self._marks[source] = max(self._marks.get(source, 0), until_ns)
        return self._advance(self.watermark_ns)

    def feed(self, batch: Batch) -> None:
        """Take rows, none of them late."""
        self._coverage.see(batch)
        if batch.kind not in self._readers:
            return
        selector, streams = self._readers[batch.kind]
        selected = selector.select(batch)
        slots = self._slots(batch, [(s.group, found.rows) for s, found in zip(streams, selected, strict=True) if found])
        kept: dict[int, NDArray[np.intp]] = {}
        side_by_side: dict[BankInput, list[Fed]] = defaultdict(list)
        for stream, found in zip(streams, selected, strict=True):
            if found is None:
                continue
            for index in stream.windows:
                window = self._windows[index].window
                if isinstance(window, StreamWindow):
                    window.feed(found, slots[stream.group][found.rows])
                else:
                    side_by_side[window.lane].append(Fed(window, found.rows, stream.group))
            if stream.plan.evidence or stream.plan.entities:
                kept[stream.index] = found.rows
        for lane, fed in side_by_side.items():
            lane.feed(batch, fed, slots)
        self._lookback.add(batch, kept, slots)

    def _slots(self, batch: Batch, asked: list[tuple[int, NDArray[np.intp]]]) -> dict[int, NDArray[np.int32]]:
        """For each grouping that streams use, the slots of the rows they read (-1 for others)."""
        marks: dict[int, NDArray[np.bool_]] = {}
        for group, rows in asked:
            marks.setdefault(group, np.zeros(batch.rows, np.bool_))[rows] = True
        found = {}
        for group, mark in marks.items():
            grouping = self._groupings[group]
            if len(grouping.table) > CROWDED * grouping.table.max_slots:
                self._evict(group)
            rows = np.flatnonzero(mark)
            slots = np.full(batch.rows, -1, np.int32)
            slots[rows] = grouping.slots(batch, rows)
            found[group] = slots
        return found

    def _advance(self, watermark_ns: int) -> list[Finding]:
        first_ns = self._coverage.first_ns
        if first_ns is None or first_ns >= watermark_ns:
            return []  # an earlier event may still come: nothing can be closed, and no watching has begun
        findings: list[Finding] = []
        for lane in self._lanes:
            findings += lane.close(self._panes_until(watermark_ns, lane.pane_ns), self._lookback)
        for rules in self._windows:
            if isinstance(rules.window, StreamWindow):
                if rules.absence_of_node and rules.window.closed is None:
                    rules.watch_node(rules.window, first_ns)
                until = self._panes_until(watermark_ns, rules.window.pane_ns)
                findings += rules.close(rules.window, until, self._lookback)
        findings.sort(key=lambda finding: (finding.time_ns, finding.rule))
        self.statistics.findings += len(findings)
        if watermark_ns != END_OF_TIME_NS:
            self._lookback.trim(watermark_ns)
            if watermark_ns - self._swept_ns >= SWEEP_NS:
                self._sweep()
                self._coverage.forget(watermark_ns - self._longest_ns)
                self._swept_ns = watermark_ns
        return findings

    def _panes_until(self, watermark_ns: int, pane_ns: int) -> int:
        """Panes before this one can be closed; at the end of the input, those with events."""
        if watermark_ns == END_OF_TIME_NS:
            return self._latest_ns // pane_ns + 1
        return watermark_ns // pane_ns

    def _sweep(self) -> None:
        for group, grouping in enumerate(self._groupings):
            grouping.release(self._busy(group))

    def _busy(self, group: int) -> NDArray[np.bool_]:
        """By slot: rows wait in an open pane, or a rule's condition holds."""
        busy = np.zeros(self._groupings[group].capacity, np.bool_)
        for rules in self._windows:
            if rules.group == group:
                busy |= rules.busy()
        return busy

    def _evict(self, group: int) -> None:
        grouping = self._groupings[group]
        grouping.release(self._busy(group))
        excess = len(grouping.table) - int((1 - EVICTED_SHARE) * grouping.table.max_slots)
        if excess <= 0:
            return
        firing = np.zeros(grouping.capacity, np.bool_)
        for rules in self._windows:
            if rules.group == group:
                firing |= rules.firing()
        victims: Ints = grouping.longest_idle(excess, firing).astype(np.int64)
        for rules in self._windows:
            if rules.group == group:
                rules.purge(victims)
        self._lookback.forget(group, victims)
        grouping.evicted += len(victims)
        grouping.release(self._busy(group))

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
        """Of everything in the plans that state depends on."""
        return hashlib.sha256("\n".join(plan_text(plan) for plan in self.plans).encode()).hexdigest()

    def key_counts(self) -> dict[str, dict[str, int]]:
        """Live, refused and evicted keys of each grouping, by its fields; and the values that are counted apart.

        VALUES: what distinct counts, shares and entropies tell apart. Refused ones are missing from these measures.
        """
        counts = {grouping.name: grouping.counts() for grouping in self._groupings}
        measured: list[RuleBank | WindowMeasures] = [*self._lanes]
        measured += [rules.window.measures for rules in self._windows if isinstance(rules.window, StreamWindow)]
        live, refused = sum(one.pairs for one in measured), sum(one.refused for one in measured)
        values = {"live": live, "refused": refused, "evicted": 0}
        return {**counts, VALUES: values}

    def rule_key_counts(self) -> dict[str, tuple[str, dict[str, int]]]:
        """By rule, the fields of its key and the counts of that grouping. Rules with the same key share one."""
        return {
            rule: (grouping.name, grouping.counts())
            for rules in self._windows
            for grouping in (self._groupings[rules.group],)
            for rule in rules.seconds
        }

    def rule_seconds(self) -> dict[str, float]:
        """Time spent on deciding, by rule; what rules share (selection, windows) is not in it."""
        return {rule: spent for rules in self._windows for rule, spent in rules.seconds.items()}

    def findings_cut(self) -> dict[str, int]:
        """Findings that were left out because too many keys of a rule fired at once, by rule."""
        return {rule: cut for rules in self._windows for rule, cut in rules.findings_cut().items()}

    @property
    def lost(self) -> int:
        """Events that sources know to be missing."""
        return self._coverage.lost

    def snapshot(self) -> bytes:
        """Everything that is needed to go on exactly, without the plans."""
        return pack(
            {
                "version": VERSION,
                "rules": self.rules_hash,
                "node": self.node,
                "marks": self._marks,
                "latest_ns": self._latest_ns,
                "swept_ns": self._swept_ns,
                "coverage": self._coverage.state(),
                "statistics": self.statistics.state(),
                "groupings": [grouping.state() for grouping in self._groupings],
                "lanes": [lane.state() for lane in self._lanes],
                "windows": [rules.state() for rules in self._windows],
                "lookback": [batch_state(batch) for batch in self._lookback.batches()],
            }
        )

    def restore(self, blob: bytes) -> None:
        """Go on from a snapshot of an engine with the same plans. Raises StateError if it does not fit."""
        state: State = unpack(blob)
        if state.get("version") not in TAKEN_OVER:
            raise StateError(f"checkpoint has version {state.get('version')!r}, this program reads {VERSION}")
        if state.get("rules") != self.rules_hash:
            raise StateError("checkpoint was made with other rules")
        try:
            self._restore(state)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            MemoryError,
            StopIteration,
            TypeError,
            ValueError,
        ) as error:
            raise StateError(f"checkpoint does not fit: {type(error).__name__}: {error}") from None

    def _restore(self, state: State) -> None:
        """Take over a state whose version and rules are right; its shapes may still be wrong."""
        self.node, self._marks = state["node"], {str(name): int(mark) for name, mark in state["marks"].items()}
        self._latest_ns, self._swept_ns = int(state["latest_ns"]), int(state["swept_ns"])
        self._coverage.restore(state["coverage"])
        self.statistics.restore(state["statistics"])
        for grouping, saved in zip(self._groupings, state["groupings"], strict=True):
            grouping.restore(saved)
        for lane, saved in zip(self._lanes, state["lanes"], strict=True):
            lane.restore(saved)
        for rules, saved in zip(self._windows, state["windows"], strict=True):
            rules.restore(saved)
        for saved in state["lookback"]:
            self._remember(batch_from(saved))

    def _remember(self, batch: Batch) -> None:
        """Put a batch of a checkpoint back into the lookback, by the keys that are known."""
        selector, streams = self._readers[batch.kind]
        kept, slots = {}, {}
        every = np.arange(batch.rows)
        for stream, found in zip(streams, selector.select(batch), strict=True):
            if found is None or not (stream.plan.evidence or stream.plan.entities):
                continue
            kept[stream.index] = found.rows
            if stream.group not in slots:
                slots[stream.group] = self._groupings[stream.group].find(batch, every)
        self._lookback.add(batch, kept, slots)
