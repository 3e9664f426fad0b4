"""All rules over all sources of one node: an engine for each source group, and what the groups share.

slice of a source --> late rows counted, once --> groups that read this kind from this source --> findings
                                                  each with its own watermark
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from detectors.state import State
from watchdog.core.batch import Slice
from watchdog.core.finding import Finding
from watchdog.core.moments import clock_reset_ns
from watchdog.core.plan import RulePlan
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.checkpoint import pack, restoring, unpack
from watchdog.engine.coverage import GAP, STARTED
from watchdog.engine.group_engine import GroupEngine
from watchdog.engine.source_groups import UNFED, Kinds, SourceGroup, divide
from watchdog.engine.statistics import Statistics
from watchdog.engine.surplus import REPLAY_SECRET, Lots
from watchdog.engine.usage import Usage

VERSION: Final = 2  # of the checkpoint; 2: with the secret of the lots
TAKEN_OVER: Final = (1, VERSION)


class Engine:
    """Runs compiled rules over one node's events.

    sources: by name, the kinds that each source can give; None: any. Panes wait only for the sources of their group.
    Groups have numbers, those of `groups`; with one source there is one group beside UNFED. secret: draws lots among
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
        self.groups: Final[tuple[SourceGroup, ...]] = divide(plans, sources)
        self.node, self.statistics = node, Statistics()
        self._lots = Lots(secret)
        self.lost = 0  # events that sources know to be missing
        self._marks: dict[str, int] = dict.fromkeys(sources, 0)
        self._latest_ns = 0
        self.begun_anew: list[tuple[int, int]] = []  # groups that dropped their state when a clock was reset, from when
        self._engines = [self._fresh(group) for group in self.groups]
        self.usage: Final = Usage(self._engines)
        self._connect_all()

    def _fresh(self, group: SourceGroup) -> GroupEngine:
        """Return an engine without state, at the watermarks that the sources have promised."""
        engine = GroupEngine(group.plans, node=self.node, sources=group.sources, feeding=group.feeding, lots=self._lots)
        for name in group.sources:
            engine.promise(name, self._marks[name])
        return engine

    def _connect_all(self) -> None:
        self._fed: dict[str, list[GroupEngine]] = {name: [] for name in self._marks}
        self._waiting: dict[str, list[GroupEngine]] = {name: [] for name in self._marks}
        self._readers: dict[str, dict[str, list[GroupEngine]]] = {name: defaultdict(list) for name in self._marks}
        for group, engine in zip(self.groups, self._engines, strict=True):
            self._connect(group, engine)

    def _connect(self, group: SourceGroup, engine: GroupEngine) -> None:
        """Note what the engine of a group gets of each source."""
        for name in group.feeding:
            self._fed[name].append(engine)
            for kind in engine.kinds:
                self._readers[name][kind].append(engine)
        for name in group.telling:
            self._readers[name][STARTED].append(engine)
        for name in group.sources:
            self._waiting[name].append(engine)

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
        resets the source to its end: groups that wait for the source drop their state, see `begun_anew`. Raises
        ValueError for a source that was not named at construction.
        """
        promised = self._marks.get(events.source)
        if promised is None:
            raise ValueError(f"source {events.source!r} is not one of this engine")
        if (reset_ns := clock_reset_ns(events.batches)) is not None:
            promised = reset_ns
            self._begin_anew(events.source, reset_ns)
        readers = self._readers[events.source]
        for batch in events.batches:
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
        return self._merged(engine.promise(events.source, until_ns) for engine in self._waiting[events.source])

    def _begin_anew(self, source: str, from_ns: int) -> None:
        """Reset a source whose clock was set right: its promises and the state made of its events are void."""
        self._marks[source] = from_ns
        self._latest_ns = min(self._latest_ns, from_ns)
        for number, group in enumerate(self.groups):
            if source in group.sources:
                self._engines[number] = self._fresh(group)
            if source in group.sources or number == UNFED:
                self.begun_anew.append((number, from_ns))
        self._connect_all()

    def finish(self) -> list[Finding]:
        """Close every pane that has events, without expiring anything after them; called once, at the end of input."""
        return self._merged(engine.finish() for engine in self._engines)

    def _merged(self, findings_of: Iterable[list[Finding]]) -> list[Finding]:
        findings = [finding for group in findings_of for finding in group]
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
        if "secret" in state:
            self._lots.secret = bytes.fromhex(state["secret"])
        known = {saved["name"]: saved for saved in state["parts"]}
        without_state: set[str] = set()
        for group, engine in zip(self.groups, self._engines, strict=True):
            saved = known.get(group.name)
            if saved is not None and saved["digest"] == group.digest:
                engine.restore(saved["engine"].tobytes())
                continue
            for name in group.sources:
                engine.promise(name, self._marks[name])
            unchanged = saved["rules"] if saved is not None and not group.sources else ()
            without_state |= {rule for rule in group.rules if rule not in unchanged}
        return frozenset(without_state)
