"""All rules over all sources of one node: an engine for each part, and what they have in common.

slice of a source --> late rows counted, once --> parts that read this kind from this source --> findings
                                                  each with its own watermark
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from detectors.state import State
from watchdog.core.batch import Slice
from watchdog.core.errors import StateError
from watchdog.core.finding import Finding
from watchdog.core.moments import clock_reset_ns
from watchdog.core.plan import RulePlan
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.checkpoint import pack, unpack
from watchdog.engine.coverage import GAP, STARTED
from watchdog.engine.engine import Engine
from watchdog.engine.parts import UNFED, Kinds, SourceGroup, divide
from watchdog.engine.statistics import Statistics
from watchdog.engine.surplus import REPLAY_SECRET, Lots

VERSION: Final = 2  # of the checkpoint; 2: with the secret of the lots
TAKEN_OVER: Final = (1, VERSION)


class PartedEngine:
    """Runs compiled rules over one node's events; `process`, `finish`, `snapshot` and `restore` are as an engine's.

    sources: the kinds that each source can give, by its name; panes wait for the sources of their part only. Parts
    have numbers, those of `parts`. secret: draws lots among too many findings; that of a
    checkpoint wins.
    """

    def __init__(
        self,
        plans: Sequence[RulePlan],
        sources: Mapping[str, Kinds],
        *,
        node: str = "node",
        secret: bytes = REPLAY_SECRET,
    ) -> None:
        self.parts: Final[tuple[SourceGroup, ...]] = divide(plans, sources)
        self.node, self.statistics = node, Statistics()
        self._lots = Lots(secret)
        self.lost = 0  # events that sources know to be missing
        self._marks: dict[str, int] = dict.fromkeys(sources, 0)
        self._latest_ns = 0
        self.begun_anew: list[tuple[int, int]] = []  # parts without a past since a clock was set right, and from when
        self._engines = [self._fresh(part) for part in self.parts]
        self._connect_all()

    def _fresh(self, part: SourceGroup) -> Engine:
        """An engine without a past, which knows what the sources have promised."""
        engine = Engine(part.plans, node=self.node, sources=part.sources, feeding=part.feeding, lots=self._lots)
        for name in part.sources:
            engine.promise(name, self._marks[name])
        return engine

    def _connect_all(self) -> None:
        self._fed: dict[str, list[Engine]] = {name: [] for name in self._marks}
        self._waiting: dict[str, list[Engine]] = {name: [] for name in self._marks}
        self._readers: dict[str, dict[str, list[Engine]]] = {name: defaultdict(list) for name in self._marks}
        for part, engine in zip(self.parts, self._engines, strict=True):
            self._connect(part, engine)

    def _connect(self, part: SourceGroup, engine: Engine) -> None:
        """Note what the engine of a part is to get of each source."""
        for name in part.feeding:
            self._fed[name].append(engine)
            for kind in engine.kinds:
                self._readers[name][kind].append(engine)
        for name in part.telling:
            self._readers[name][STARTED].append(engine)
        for name in part.sources:
            self._waiting[name].append(engine)

    @property
    def marks(self) -> Mapping[str, int]:
        """Until when each source, by name, has been promised: its earlier events are late."""
        return dict(self._marks)

    @property
    def watermark_ns(self) -> int:
        """No event before this time is expected from any source."""
        return min(self._marks.values(), default=0)

    def process(self, events: Slice) -> list[Finding]:
        """Take a slice; the findings of all panes that it closed, by (time, rule, key).

        Rows before the source's earlier watermark are late: counted, and left out. A gap with the reason `CLOCK` takes
        the source back to its end: the parts that wait for the source drop their state, see `begun_anew`. ValueError
        for a source that was not named at the beginning.
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
        return self._told(engine.promise(events.source, until_ns) for engine in self._waiting[events.source])

    def _begin_anew(self, source: str, from_ns: int) -> None:
        """A clock was set right: what was promised for the source, and what was made of it, is of no use."""
        self._marks[source] = from_ns
        self._latest_ns = min(self._latest_ns, from_ns)
        for number, part in enumerate(self.parts):
            if source in part.sources:
                self._engines[number] = self._fresh(part)
            if source in part.sources or number == UNFED:
                self.begun_anew.append((number, from_ns))
        self._connect_all()

    def finish(self) -> list[Finding]:
        """The input is at its end: close every pane that has events, but let nothing expire after them."""
        return self._told(engine.finish() for engine in self._engines)

    def _told(self, findings: Iterable[list[Finding]]) -> list[Finding]:
        found = [finding for part in findings for finding in part]
        found.sort(key=lambda finding: (finding.time_ns, finding.rule))
        self.statistics.findings += len(found)
        return found

    def moment_ns(self, part: int) -> int:
        """Until when a part knows what happened: its watermark, or its last event once all its sources have ended.

        Nobody waits for an event of the part without sources: it goes with the slowest source of all.
        """
        if part == UNFED:
            mark_ns, latest_ns = self.watermark_ns, self._latest_ns
        else:
            mark_ns, latest_ns = self._engines[part].watermark_ns, self._engines[part].latest_ns
        return latest_ns if mark_ns == END_OF_TIME_NS else mark_ns

    def ended(self, part: int) -> bool:
        """Whether all sources of a part have ended."""
        mark_ns = self.watermark_ns if part == UNFED else self._engines[part].watermark_ns
        return mark_ns == END_OF_TIME_NS

    def key_counts(self) -> dict[str, dict[str, int]]:
        """Live, refused and evicted keys by the fields of the key, over all parts."""
        total: dict[str, Counter[str]] = defaultdict(Counter)
        for engine in self._engines:
            for key, counts in engine.key_counts().items():
                total[key].update(counts)
        return {key: dict(counts) for key, counts in total.items()}

    def rule_key_counts(self) -> dict[str, tuple[str, dict[str, int]]]:
        """By rule, the fields of its key and the counts of what its part follows by it."""
        return {rule: found for engine in self._engines for rule, found in engine.rule_key_counts().items()}

    def rule_seconds(self) -> dict[str, float]:
        """Time spent on deciding, by rule; what rules share (selection, windows) is not in it."""
        return {rule: spent for engine in self._engines for rule, spent in engine.rule_seconds().items()}

    def findings_cut(self) -> dict[str, int]:
        """Findings that were left out because too many keys of a rule fired at once, by rule."""
        return {rule: cut for engine in self._engines for rule, cut in engine.findings_cut().items()}

    def snapshot(self) -> bytes:
        """Everything that is needed to go on exactly, without the plans."""
        parts = [
            {
                "name": part.name,
                "digest": part.digest,
                "rules": list(part.rules),
                "engine": np.frombuffer(engine.snapshot(), np.uint8),
            }
            for part, engine in zip(self.parts, self._engines, strict=True)
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
                "parts": parts,
            }
        )

    def restore(self, blob: bytes) -> frozenset[str]:
        """Go on from a snapshot: a part goes on exactly when neither its rules nor its sources have changed.

        The ids of the rules that start without a past; none when nothing has changed. StateError when the snapshot is
        damaged, or of another version.
        """
        state: State = unpack(blob)
        if state.get("version") not in TAKEN_OVER:
            raise StateError(f"checkpoint has version {state.get('version')!r}, this program reads {VERSION}")
        try:
            return self._restore(state)
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

    def _restore(self, state: State) -> frozenset[str]:
        self._marks |= {name: int(mark) for name, mark in state["marks"].items() if name in self._marks}
        self._latest_ns, self.lost = int(state["latest_ns"]), int(state["lost"])
        self.statistics.restore(state["statistics"])
        if "secret" in state:
            self._lots.secret = bytes.fromhex(state["secret"])
        known = {saved["name"]: saved for saved in state["parts"]}
        anew: set[str] = set()
        for part, engine in zip(self.parts, self._engines, strict=True):
            saved = known.get(part.name)
            if saved is not None and saved["digest"] == part.digest:
                engine.restore(saved["engine"].tobytes())
                continue
            for name in part.sources:
                engine.promise(name, self._marks[name])
            without = saved["rules"] if saved is not None and not part.sources else ()
            anew |= {rule for rule in part.rules if rule not in without}
        return frozenset(anew)
