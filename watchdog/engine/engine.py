"""All rules over all sources of one node: an engine for each source group, and what the groups share.

slice of a source --> late rows counted, once --> groups that read this kind from this source --> findings
                                                  each with its own watermark                        |
                                                  groups of the second stage                     <---+--> findings
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from detectors.state import State
from watchdog.core.batch import Slice
from watchdog.core.finding import FLEET, Finding
from watchdog.core.moments import clock_reset_ns
from watchdog.core.plan import RulePlan
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.checkpoint import pack, restoring, unpack
from watchdog.engine.connection_facts import ConnectionFacts
from watchdog.engine.coverage import ALWAYS_WANTED, CHAIN, GAP, STARTED
from watchdog.engine.group_engine import GroupEngine
from watchdog.engine.in_step import in_step
from watchdog.engine.node_budgets import NodeBudgets
from watchdog.engine.second_stage import SecondStage, engine_over
from watchdog.engine.source_groups import UNFED, Kinds, SourceGroup, divide, hearers
from watchdog.engine.statistics import Statistics
from watchdog.engine.surplus import REPLAY_SECRET, Lots
from watchdog.engine.usage import Usage

VERSION: Final = 2  # of the checkpoint; 2: with the secret of the lots
TAKEN_OVER: Final = (1, VERSION)
NOTHING_LEARNT: Final[State] = {"tails": {}, "waiting": [], "day": -1}  # in the state of an older version


class Engine:
    """Runs compiled rules over one node's events.

    sources: by name, the kinds that each source can give. Panes wait only for the sources of their group. Groups have
    numbers, those of `groups`, the second stage last; with one source there is one group of the first stage beside
    UNFED. Of the plans it runs those of one node, or under the name `FLEET` those over nodes. secret: draws lots among
    keys when too many fire at once; that of a checkpoint wins. Does no I/O.
    """

    def __init__(
        self,
        plans: Sequence[RulePlan],
        sources: Mapping[str, Kinds],
        *,
        node: str = "node",
        secret: bytes = REPLAY_SECRET,
    ) -> None:
        scope = "fleet" if node == FLEET else "node"
        self.groups: Final[tuple[SourceGroup, ...]] = divide([plan for plan in plans if plan.scope == scope], sources)
        self.node, self.statistics = node, Statistics()
        self._lots = Lots(secret)
        self._facts = ConnectionFacts({name for plan in plans for name in plan.resolved})
        self.lost = 0  # events that sources know to be missing
        self._marks: dict[str, int] = dict.fromkeys(sources, 0)
        self._latest_ns = 0
        self.restarted: list[tuple[int, int]] = []  # groups that dropped their state when a clock was reset, from when
        self._hearers: Final = hearers(self.groups)
        self._engines = [self._fresh(number) for number in range(len(self.groups))]
        self._second = SecondStage(self.groups, self._engines)
        self.usage: Final = Usage(self._engines)
        self.budgets: Final = NodeBudgets(self._engines)
        self._connect_all()

    def _fresh(self, number: int) -> GroupEngine:
        """Return an engine without state for a group, at the watermarks that the sources have promised."""
        group = self.groups[number]
        if group.fed_by:
            engine = engine_over(group, self.node, self._lots)
        else:
            heard = (other for other, hearing in zip(self.groups, self._hearers, strict=True) if number in hearing)
            engine = GroupEngine(
                group.plans,
                node=self.node,
                sources=group.sources,
                feeding=group.feeding,
                lots=self._lots,
                beside=[plan for other in heard for plan in other.plans],
            )
        self._promise_again(group, engine)
        return engine

    def _promise_again(self, group: SourceGroup, engine: GroupEngine) -> None:
        """Bring an engine without state up to the watermarks of the sources that its group waits for itself."""
        for name in _awaited(group):
            engine.promise(name, self._marks[name])

    def _connect_all(self) -> None:
        self._fed: dict[str, list[GroupEngine]] = {name: [] for name in self._marks}
        self._waiting: dict[str, list[int]] = {name: [] for name in self._marks}
        self._readers: dict[str, dict[str, list[GroupEngine]]] = {name: defaultdict(list) for name in self._marks}
        for number, (group, engine) in enumerate(zip(self.groups, self._engines, strict=True)):
            self._connect(group, engine)
            engine.budgets.fixed.tell(self._engines[other].budgets.fixed for other in self._hearers[number])
        for number in self._in_order:
            for name in _awaited(self.groups[number]):
                self._waiting[name].append(number)

    def _connect(self, group: SourceGroup, engine: GroupEngine) -> None:
        """Note what the engine of a group gets of each source."""
        for name in group.feeding:
            self._fed[name].append(engine)
            for kind in ALWAYS_WANTED if group.fed_by else engine.kinds:  # no source forges findings
                self._readers[name][kind].append(engine)
        for name in group.telling:
            for kind in (STARTED, CHAIN) if engine.budgets.of_rule else (STARTED,):
                self._readers[name][kind].append(engine)

    @property
    def _in_order(self) -> list[int]:
        """The numbers of all groups, those last that hear of others: what these have found freezes their baselines."""
        hearing = {number for numbers in self._hearers for number in numbers}
        return sorted(range(len(self.groups)), key=lambda number: number in hearing)

    def _tell(self, number: int, findings: list[Finding]) -> None:
        """Let the budgets of other groups hear what a group has found."""
        for other in self._hearers[number] if findings else ():
            self._engines[other].budgets.beside.hear(findings)

    @property
    def marks(self) -> Mapping[str, int]:
        """By source, the watermark that it has promised: earlier events of it are late."""
        return dict(self._marks)

    @property
    def watermark_ns(self) -> int:
        """No event before this time is expected from any source."""
        return min(self._marks.values(), default=0)

    def process(self, events: Slice) -> list[Finding]:
        """Take a slice and return the findings of all panes that it closed, by (time, rule, key).

        Rows before the source's earlier watermark are late: they are counted and dropped. A gap with the reason `CLOCK`
        resets the source to its end: groups that wait for the source drop their state, see `restarted`. Raises
        ValueError for a source that was not named at construction.
        """
        promised = self._marks.get(events.source)
        if promised is None:
            raise ValueError(f"source {events.source!r} is not one of this engine")
        if (reset_ns := clock_reset_ns(events.batches)) is not None:
            promised = reset_ns
            self._restart_parts(events.source, reset_ns)
        readers = self._readers[events.source]
        for batch in self._facts.resolved(events.batches):
            admitted = self.statistics.admit(batch, promised)
            if admitted is None:
                continue
            kept, first_ns, last_ns = admitted
            self._latest_ns = max(self._latest_ns, last_ns)
            if kept.kind == GAP:
                self.lost += int(kept.numbers("lost").astype(np.int64).sum())
            for engine in self._fed[events.source]:
                engine.witness(first_ns, last_ns, events.source)
            for engine in readers.get(kept.kind, ()):
                engine.feed(kept)
        self._marks[events.source] = until_ns = max(promised, events.until_ns)
        waiting = self._waiting[events.source]
        courses = ((number, self._engines[number].advance(events.source, until_ns)) for number in waiting)
        findings = in_step(courses, self._tell)
        return self._counted([*findings, *self._second.process(findings)])

    def _restart_parts(self, source: str, from_ns: int) -> None:
        """Reset a source whose clock was set right: its promises and the state made of its events are void."""
        self._marks[source] = from_ns
        self._latest_ns = min(self._latest_ns, from_ns)
        for number, group in enumerate(self.groups):
            if source in group.sources:
                learnt = self._engines[number].budgets.state()
                self._engines[number] = self._fresh(number)
                self._engines[number].budgets.adopt(learnt)
                self._second.catch_up(number)
            if source in group.sources or number == UNFED:
                self.restarted.append((number, from_ns))
        self._connect_all()

    def finish(self) -> list[Finding]:
        """Close every pane that has events, without expiring anything after them; called once, at the end of input."""
        first = (number for number in self._in_order if not self.groups[number].fed_by)
        findings = in_step(((number, self._engines[number].advance()) for number in first), self._tell)
        return self._counted([*findings, *self._second.finish(findings)])

    def _counted(self, findings: list[Finding]) -> list[Finding]:
        findings.sort(key=lambda finding: (finding.time_ns, finding.rule))
        self.statistics.findings += len(findings)
        return findings

    def moment_ns(self, group: int) -> int:
        """Return the time up to which a group is judged: its watermark, or its last event when its sources have ended.

        UNFED has no source: it follows the slowest source of all.
        """
        if group == UNFED:
            mark_ns, latest_ns = self.watermark_ns, self._latest_ns
        else:
            mark_ns, latest_ns = self._engines[group].watermark_ns, self._engines[group].latest_ns
        return latest_ns if mark_ns == END_OF_TIME_NS else mark_ns

    def ended(self, group: int) -> bool:
        """Return whether all sources of a group have ended."""
        mark_ns = self.watermark_ns if group == UNFED else self._engines[group].watermark_ns
        return mark_ns == END_OF_TIME_NS

    def snapshot(self) -> bytes:
        """Return the state that `restore` needs to continue exactly, without the plans."""
        groups = [
            {
                "name": group.name,
                "digest": group.digest,
                "rules": list(group.rules),
                "engine": np.frombuffer(engine.snapshot(), np.uint8),
            }
            for group, engine in zip(self.groups, self._engines, strict=True)
        ]
        return pack(
            {
                "version": VERSION,
                "node": self.node,
                "marks": self._marks,
                "latest_ns": self._latest_ns,
                "lost": self.lost,
                "secret": self._lots.secret.hex(),
                "statistics": self.statistics.state(),
                "facts": self._facts.state(),
                "parts": groups,
            }
        )

    def restore(self, blob: bytes) -> frozenset[str]:
        """Continue from a snapshot; called on an engine that has processed nothing yet.

        A group resumes exactly when neither its rules nor its sources have changed. Returns the ids of the rules that
        start without state; empty when nothing has changed. Raises StateError when the snapshot is damaged, or of
        another version.
        """
        state: State = unpack(blob)
        with restoring(state, TAKEN_OVER):
            return self._restore(state)

    def _restore(self, state: State) -> frozenset[str]:
        self._marks |= {name: int(mark) for name, mark in state["marks"].items() if name in self._marks}
        self._latest_ns, self.lost = int(state["latest_ns"]), int(state["lost"])
        self.statistics.restore(state["statistics"])
        self._facts.restore(state.get("facts", {}))
        if "secret" in state:
            self._lots.secret = bytes.fromhex(state["secret"])
        known = {saved["name"]: saved for saved in state["parts"]}
        without_state: set[str] = set()
        resumed: set[str] = set()
        for number, (group, engine) in enumerate(zip(self.groups, self._engines, strict=True)):
            saved = known.get(group.name)
            if saved is not None and saved["digest"] == group.digest:
                engine.restore(saved["engine"].tobytes())
                resumed.update(group.rules)
                continue
            for other in state["parts"] if engine.budgets.of_rule else ():
                engine.budgets.adopt(unpack(other["engine"].tobytes()).get("budgets", NOTHING_LEARNT))
            self._promise_again(group, engine)
            self._second.catch_up(number)
            unchanged = saved["rules"] if saved is not None and not group.sources else ()
            without_state |= {rule for rule in group.rules if rule not in unchanged}
        for engine in self._engines:
            engine.budgets.keep(resumed)
        return frozenset(without_state)


def _awaited(group: SourceGroup) -> tuple[str, ...]:
    """Return the sources that a group waits for itself; in the second stage the groups below wait for the others."""
    return group.telling if group.fed_by else group.sources
