"""Reports of all nodes in, one stream in the order of event time out: their events, and what comparisons make of them.

    alice  mark 12:00:30  rpc:chain, findings  --+
    bob    mark 12:00:41  rpc:chain            --+-->  steps up to 12:00:30  -->  fleet:chain, fleet:split, ...
    carol  mark 11:57:02  left out               |     and the events that fleet rules read themselves

Rows wait until every node that takes part has passed their step. So nothing depends on the order of the reports, and a
run that resumes, with nodes that report again what they had reported, makes the same stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from typing import Any, Final

import numpy as np

from watchdog.core.batch import Batch, Slice
from watchdog.core.durations import MINUTE_NS
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.checkpoint import batch_from, batch_state, pack, restoring, unpack
from watchdog.engine.coverage import GAP
from watchdog.fleet.chains import DEEP, BehindBest, ChainSplit, Silence
from watchdog.fleet.comparison import STEP_NS, Comparison, NodeFacts, Part, Step, by_chain, text, whole
from watchdog.fleet.members import Members, restore_members, state_of
from watchdog.fleet.peers import Inserts, OutboundLost, Parties
from watchdog.fleet.report import SOURCE, FleetRow, NodeReport, batches_of

VERSION: Final = 1
STEPS_A_MINUTE: Final = MINUTE_NS // STEP_NS
COMPARISONS: Final[tuple[type[Comparison], ...]] = (ChainSplit, BehindBest, Silence, OutboundLost, Inserts, Parties)
FACT_KINDS: Final = frozenset({"rpc:chain", "rpc:uptime", "node:started"})
"""What every comparison knows of the nodes (`NodeFacts`)."""
MEMBER_KINDS: Final = frozenset({"fleet:node_left", "fleet:node_back"})
GIVEN: Final = MEMBER_KINDS.union(*(one.gives for one in COMPARISONS))
"""The kinds that the fleet makes itself."""


def kinds_for(wanted: Iterable[str]) -> frozenset[str]:
    """Return the kinds of node events and findings that are needed for fleet rules that read `wanted`."""
    kinds = frozenset(wanted)
    needed = [one.reads | FACT_KINDS for one in COMPARISONS if one.gives & kinds]
    return (kinds - GIVEN).union(*needed)


class FleetStage:
    """Merges the reports of all nodes; the thread or the replay that feeds it owns it.

    wanted: the kinds that fleet rules read. members: the nodes, which of them take part, and how far the stream is.
    """

    def __init__(self, nodes: Iterable[str], wanted: Iterable[str]) -> None:
        self._wanted: frozenset[str] = frozenset()
        self._comparisons: list[Comparison] = []
        self.members = Members(nodes)
        self._facts: dict[str, NodeFacts] = {}
        self._held: list[tuple[str, Batch]] = []
        self._rows: list[FleetRow] = []  # of the fleet's own kinds, for the next slice
        self.want(wanted)

    def want(self, wanted: Iterable[str]) -> None:
        """Replace the kinds that fleet rules read; comparisons that continue keep their state."""
        self._wanted = frozenset(wanted)
        known = {type(one): one for one in self._comparisons}
        self._comparisons = [known.get(one) or one() for one in COMPARISONS if one.gives & self._wanted]

    def forget(self, node: str) -> None:
        """Forget a node: it takes no part in any comparison."""
        self.members.remove(node)
        self._facts.pop(node, None)
        self._held = [(owner, batch) for owner, batch in self._held if owner != node]
        for one in self._comparisons:
            one.forget(node)

    def take(self, report: NodeReport) -> None:
        """Take in a report. Rows that an earlier run has taken in are skipped; so are those behind the watermark."""
        for batch in self.members.taken_in(report):
            self._hold(report.node, batch)

    def _hold(self, node: str, batch: Batch) -> None:
        late = batch.time_ns < self.members.until_ns
        if node in self.members.away or np.any(late):
            kept = np.flatnonzero(~late) if node not in self.members.away else np.zeros(0, np.intp)
            self.members.dropped += batch.rows - len(kept)
            batch = batch.take(kept)
        if batch.rows:
            self._held.append((node, batch))

    def next(self) -> Slice | None:
        """Return the stream up to the watermark of the nodes that take part; None when it has not moved by a step."""
        marks, away = self.members.marks.values(), self.members.away
        self._held = [(owner, batch) for owner, batch in self._held if owner not in away]
        reached_ns = min(marks, default=self.members.until_ns)
        ended = bool(marks) and reached_ns == END_OF_TIME_NS
        if ended:
            latest = max((int(batch.time_ns.max()) for _, batch in self._held), default=self.members.until_ns)
            until_ns = max(self.members.until_ns, (latest // STEP_NS + 1) * STEP_NS)
        else:
            until_ns = reached_ns // STEP_NS * STEP_NS
        if until_ns <= self.members.until_ns and not ended and not self.members.rows:
            return None
        batches = self._stepped(max(until_ns, self.members.until_ns))
        rows, self.members.rows, self._rows = [*self.members.rows, *self._rows], [], []
        self.members.revision += 1
        self.members.until_ns = max(until_ns, self.members.until_ns)
        made = [batch for batch in batches_of(rows) if batch.kind in self._wanted]
        return Slice(SOURCE, (*batches, *made), END_OF_TIME_NS if ended else self.members.until_ns)

    def _stepped(self, until_ns: int) -> list[Batch]:
        """Compare step by step, and return the released rows of kinds that fleet rules read themselves."""
        ready, self._held = self._split(until_ns)
        by_step: dict[int, list[tuple[str, Batch]]] = {}
        for node, batch in ready:
            steps = batch.time_ns // STEP_NS
            for number in np.unique(steps).tolist():
                chosen = batch if steps[0] == number == steps[-1] else batch.take(np.flatnonzero(steps == number))
                by_step.setdefault(number, []).append((node, chosen))
        for number in self._numbers(sorted(by_step), until_ns):
            self._compare((number + 1) * STEP_NS, by_step.get(number, []))
        read = self._wanted - GIVEN
        return [batch for _, batch in ready if batch.kind in read or batch.kind == GAP]

    def _split(self, until_ns: int) -> tuple[list[tuple[str, Batch]], list[tuple[str, Batch]]]:
        """Return the held rows before a time in one fixed order, and the others."""
        ready, later = [], []
        for node, batch in self._held:
            early = batch.time_ns < until_ns
            if early.all():
                ready.append((node, batch))
                continue
            later.append((node, batch.take(np.flatnonzero(~early))))
            if early.any():
                ready.append((node, batch.take(np.flatnonzero(early))))
        ready.sort(key=lambda one: (one[0], one[1].kind, one[1].source))  # stable: a source keeps its own order
        return ready, later

    def _numbers(self, filled: Sequence[int], until_ns: int) -> Iterator[int]:
        """Yield the steps to compare: those with rows, and while a node answers those that end with a minute."""
        last, given = until_ns // STEP_NS, list(filled)
        number = self.members.until_ns // STEP_NS if self.members.until_ns else (given[0] if given else last)
        while number < last:
            if given and given[0] <= number:
                given.pop(0)
                yield number
            elif (number + 1) % STEPS_A_MINUTE == 0 and self._any_fresh(number * STEP_NS):
                yield number
            number += 1

    def _any_fresh(self, now_ns: int) -> bool:
        return any(facts.fresh(now_ns) for facts in self._facts.values())

    def _compare(self, end_ns: int, rows: Sequence[tuple[str, Batch]]) -> None:
        parts: dict[str, list[Part]] = {}
        for node, batch in rows:
            parts.setdefault(batch.kind, []).append(Part(node, batch))
        for kind in FACT_KINDS & parts.keys():
            for part in parts[kind]:
                self._learn(part)
        step = Step(end_ns, sorted(self.members.marks), self._facts, parts)
        for one in self._comparisons:
            self._rows += one.step(step)

    def _learn(self, part: Part) -> None:
        """Note what the rows of a node say of its chain and its start."""
        facts, batch = self._facts.setdefault(part.node, NodeFacts()), part.batch
        last = batch.rows - 1
        time_ns = int(batch.time_ns[last])
        if batch.kind == "rpc:chain":
            facts.height, facts.hash = whole(batch, "blocks", last), text(batch, "hash", last)
            facts.chain, facts.ibd = text(batch, "chain", last), bool(batch.numbers("ibd")[last])
            for at_ns in batch.time_ns.tolist():
                facts.polled(at_ns)
            facts.started_ns = max(facts.started_ns, batch.boot_ns or -1)
        elif batch.kind == "rpc:uptime":
            facts.started_ns = time_ns - whole(batch, "uptime_s", last) * 1_000_000_000
        else:
            facts.started_ns = time_ns

    def heights_to_ask(self) -> dict[str, tuple[int, ...]]:
        """Return where each node is compared next: the lowest tip of those in sync on its chain, and 6 below it."""
        if not any(isinstance(one, ChainSplit) for one in self._comparisons):
            return {}
        found: dict[str, tuple[int, ...]] = {}
        for nodes in by_chain(self.members.marks, self._facts, self.members.until_ns).values():
            lowest = min(self._facts[node].height for node in nodes)
            heights = (lowest, lowest - DEEP) if lowest > DEEP else (lowest,)
            found |= dict.fromkeys(nodes, heights) if len(nodes) > 1 else {}
        return found

    def snapshot(self) -> bytes:
        """Return the state that `restore` needs to continue exactly."""
        names = [type(one).__name__ for one in self._comparisons]
        return pack(
            {
                "version": VERSION,
                "members": state_of(self.members),
                "facts": {node: list(astuple(one)) for node, one in self._facts.items()},
                "held": [[node, batch_state(batch)] for node, batch in self._held],
                "rows": [[row.kind, row.node, row.time_ns, dict(row.fields)] for row in self._rows],
                "comparisons": {name: one.state for name, one in zip(names, self._comparisons, strict=True)},
            }
        )

    def restore(self, blob: bytes) -> None:
        """Continue from a snapshot; nodes that are not watched any longer are left out. StateError: it is damaged."""
        state: Any = unpack(blob)  # Any: nested dictionaries and lists
        with restoring(state, (VERSION,)):
            restore_members(self.members, state["members"])
            known = self.members.taken
            self._facts = {node: NodeFacts(*facts) for node, facts in state["facts"].items() if node in known}
            self._held = [(node, batch_from(held)) for node, held in state["held"] if node in known]
            self._rows = [FleetRow(*row) for row in state["rows"]]
            for one in self._comparisons:
                one.state = state["comparisons"].get(type(one).__name__, one.state)
            for node in state["facts"].keys() - known.keys():
                for one in self._comparisons:
                    one.forget(node)
