"""Turns emissions of verdicts into findings, and remembers what is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from watchdog.core.durations import exact_duration
from watchdog.core.finding import Finding, Severity
from watchdog.core.kinds import KINDS
from watchdog.core.plan import RulePlan
from watchdog.core.text import printable
from watchdog.engine.coverage import Coverage
from watchdog.engine.grouping import Grouping
from watchdog.engine.lookback import Lookback
from watchdog.engine.report import as_text, evidence_of, involved, number_text, plain, summary_text
from watchdog.engine.verdict import Emission

PER_PANE = 500  # findings of one rule at one pane; more are counted, not told
PEER_KEYS = frozenset({"conn", "peer", "peer_addr"})


@dataclass(frozen=True, slots=True)
class Open:
    """What stays true of a firing key until it clears."""

    known: dict[str, str]
    incident: dict[str, str]
    entities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule stands: its node, and the numbers of its stream and grouping in the engine."""

    node: str
    stream: int
    group: int


class Findings:
    """Writes the findings of one rule."""

    def __init__(self, plan: RulePlan, place: Place, grouping: Grouping, coverage: Coverage) -> None:
        self.plan, self._place, self._grouping, self._coverage = plan, place, grouping, coverage
        self._open: dict[int, Open] = {}
        self.untold = 0
        self._names_people = [name for name in _names(plan) if not name.startswith("__")]
        self._integers = _integer_names(plan)
        self._asks = bool(plan.evidence or plan.entities)
        self._by_peer = not PEER_KEYS.isdisjoint(plan.by)
        self._groups = _group_fields(plan)
        self._over = exact_duration(plan.over_ns)

    def write(self, emissions: list[Emission], named: dict[str, NDArray[Any]], lookback: Lookback) -> list[Finding]:
        """One finding an emission, by pane and key; beyond PER_PANE a pane they are only counted."""
        order = sorted(emissions, key=lambda said: (said.pane, self._key_text(said.slot), said.row))
        told: dict[int, int] = {}
        findings = []
        for emission in order:
            told[emission.pane] = told.get(emission.pane, 0) + 1
            if told[emission.pane] > PER_PANE and emission.change != "clear":
                self.untold += 1
                continue
            findings.append(self._finding(emission, named, lookback))
        return findings

    def _key_text(self, slot: int) -> tuple[str, ...]:
        return self._grouping.texts[slot] or ()

    def _finding(self, said: Emission, named: dict[str, NDArray[Any]], lookback: Lookback) -> Finding:
        plan = self.plan
        end_ns = (said.pane + 1) * plan.pane_ns
        since_ns = (said.since + 1) * plan.pane_ns
        begin_ns = end_ns - plan.over_ns
        rows = []
        if said.change != "clear" and self._asks:
            key = (self._place.stream, self._place.group, said.slot)
            rows = lookback.find(plan.kinds, key, begin_ns, end_ns)
        opened = self._open.get(said.slot)
        if opened is None or said.change != "clear":
            peers = [text for field in plan.entities for text in involved(rows, field)]
            opened = self._opened(said.slot, peers, opened)
            self._open[said.slot] = opened
        if said.change == "clear":
            self._open.pop(said.slot, None)
        measures = {name: self._number(name, named[name][said.row]) for name in self._names_people if name in named}
        words = {name: number_text(value) for name, value in measures.items()}
        words |= {"node": self._place.node, "over": self._over, **opened.known}
        severity: Severity = plan.severity if said.level == 0 else plan.escalate[said.level - 1][0]
        return Finding(
            rule=plan.id,
            attack=plan.attack,
            severity=severity,
            node=self._place.node,
            change=said.change,
            time_ns=end_ns,
            since_ns=since_ns,
            key={field: printable(text) for field, text in self._grouping.key(said.slot).items()},
            incident=opened.incident,
            entities=opened.entities,
            measures=measures,
            summary=summary_text(plan.summary, words),
            evidence=evidence_of(rows, plan.evidence),
            completeness=self._coverage.completeness(begin_ns, end_ns, plan.kinds),
            resolve_after_ns=plan.resolve_after_ns,
            evidence_limit=plan.evidence,
        )

    def _opened(self, slot: int, peers: list[str], before: Open | None) -> Open:
        """Who is involved: the peers seen in the window; a group key stands first, its peers after it."""
        known = self._grouping.known(slot)
        incident = {field: printable(known.get(field, "?")) for field in self.plan.incident}
        groups = self._group_texts({**known, **incident})
        earlier = before.entities if before else ()
        ranked = [*peers, *earlier, *groups] if self._by_peer else [*groups, *peers]
        return Open(known, incident, tuple(dict.fromkeys(ranked))[:40])

    def _group_texts(self, known: dict[str, str]) -> list[str]:
        """Addresses, prefixes and AS numbers of the key, as entities."""
        texts = [
            as_text(text) if field.endswith("asn") else printable(text)
            for field, text in known.items()
            if field in self._groups
        ]
        return [text for text in texts if text]

    def _number(self, name: str, value: Any) -> int | float:  # a NumPy number
        number = plain(value)
        return int(number) if name in self._integers else number

    def firing(self) -> list[int]:
        """Slots with an open finding."""
        return list(self._open)

    def purge(self, slots: NDArray[np.int64]) -> None:
        """Forget these slots."""
        for slot in slots.tolist():
            self._open.pop(slot, None)

    def state(self) -> State:
        """What is open."""
        rows = [[slot, open_.known, open_.incident, list(open_.entities)] for slot, open_ in self._open.items()]
        return {"open": rows, "untold": self.untold}

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._open = {slot: Open(known, incident, tuple(names)) for slot, known, incident, names in state["open"]}
        self.untold = state["untold"]


def _names(plan: RulePlan) -> list[str]:
    expected = (f"{baseline.name}_expected" for baseline in plan.baselines)
    return [*dict.fromkeys([*(m.name for m in plan.measures), *(name for name, _ in plan.values), *expected])]


def _integer_names(plan: RulePlan) -> frozenset[str]:
    return frozenset(m.name for m in plan.measures if m.op not in ("top_share", "entropy"))


def _group_fields(plan: RulePlan) -> frozenset[str]:
    """Fields of the plan's kinds whose values name somebody: addresses, prefixes, AS numbers."""
    fields = [field for kind in plan.kinds for field in KINDS[kind].fields.values()]
    return frozenset(field.name for field in fields if field.type == "prefix" or field.name.endswith(("asn", "_addr")))
