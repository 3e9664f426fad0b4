"""Turns emissions of verdicts into findings, and remembers what is open."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from detectors.state import State
from watchdog.core.durations import exact_duration
from watchdog.core.finding import OVERFLOW, SEVERITIES, Change, Evidence, Finding, Severity
from watchdog.core.kinds import KINDS
from watchdog.core.plan import CellExpression, RulePlan
from watchdog.core.text import printable
from watchdog.engine.coverage import Coverage
from watchdog.engine.grouping import Grouping
from watchdog.engine.lookback import FoundRows, Lookback, Query
from watchdog.engine.measures.registry import kind_of
from watchdog.engine.report import Template, as_text, evidence_of, involved, number_text, plain
from watchdog.engine.surplus import PER_PANE, Lots, Surplus
from watchdog.engine.verdict import Emission

PEER_KEYS = frozenset({"conn", "peer", "peer_addr"})


class Open(msgspec.Struct, frozen=True, gc=False):
    """What stays true of a firing key until it clears. known: its fields as they came, also those of the key."""

    key: dict[str, str]
    known: dict[str, str]
    incident: dict[str, str]
    entities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamId:
    """Where a rule stands: its node, and the numbers of its stream and grouping in the engine."""

    node: str
    stream: int
    group: int
    lots: Lots


class Findings:
    """Writes the findings of one rule."""

    def __init__(self, plan: RulePlan, place: StreamId, grouping: Grouping, coverage: Coverage) -> None:
        self.plan, self._place, self._grouping, self._coverage = plan, place, grouping, coverage
        self._lots = place.lots
        self._open: dict[int, Open] = {}
        self.surplus = Surplus()
        self._strengths = _strengths(plan)
        self._severities: tuple[Severity, ...] = (plan.severity, *(severity for severity, _ in plan.escalate))
        self._names_people = [name for name in _names(plan) if not name.startswith("__")]
        self._integers = _integer_names(plan)
        self._asks = bool(plan.evidence or plan.entities)
        self._incident = plan.incident
        self._by_peer = not PEER_KEYS.isdisjoint(plan.by)
        self._groups = _group_fields(plan)
        self._constants = {"node": place.node, "over": exact_duration(plan.over_ns)}
        self._template = Template(plan.summary)

    def write(self, emissions: list[Emission], named: dict[str, NDArray[Any]], lookback: Lookback) -> list[Finding]:
        """One finding an emission, by pane and key; beyond PER_PANE a pane, one for all that are left out."""
        order = sorted(emissions, key=lambda said: (said.pane, self._key_text(said.slot), said.row))
        told: list[Emission] = []
        others: list[Finding] = []
        for pane, group in groupby(order, key=attrgetter("pane")):
            here = list(group)
            cut = self._cut(here, named)
            unlisted = [said for said in cut if said.slot not in self._open]  # of the others an update is left out
            joined = self.surplus.add(unlisted, here, pane) if unlisted else 0
            told += self._told(here, {said.slot for said in cut})
            others += self._of_surplus(pane, joined)
        rows = self._rows(told, lookback)
        parts = zip(told, rows, evidence_of(rows, self.plan.evidence), self._measures(told, named), strict=True)
        found = [self._finding(*own) for own in parts]
        return sorted([*found, *others], key=attrgetter("time_ns")) if others else found

    def _cut(self, said: list[Emission], named: dict[str, NDArray[Any]]) -> list[Emission]:
        """Those of a pane that get no finding, because there are too many."""
        news = [one for one in said if one.change != "clear"]
        if len(news) <= PER_PANE:
            return []
        at = np.array([one.row for one in news])
        strength = np.zeros(len(news))
        for expression in self._strengths:
            strength = np.fmax(strength, expression(named)[at])
        ranked = sorted(
            zip(news, strength.tolist(), strict=True),
            key=lambda one: (
                -SEVERITIES.index(self._severities[one[0].level]),
                -one[1],
                self._lots.draw(self.plan.id, one[0].pane, self._key_text(one[0].slot)),
            ),
        )
        return [one for one, _ in ranked[PER_PANE:]]

    def _told(self, said: list[Emission], cut: set[int]) -> list[Emission]:
        """Those that get a finding. A key that was left out until now fires; when it ends, nothing was said of it."""
        told = []
        for one in said:
            if one.slot in cut:
                continue
            if one.change == "clear":
                if not self.surplus.drop(one.slot):
                    told.append(one)
                continue
            fresh, counted = self.surplus.drop(one.slot), self.surplus.has_counted(one.slot)
            change: Change = "fire" if fresh else one.change
            told.append(replace(one, change=change, counted=counted) if fresh or counted else one)
        return told

    def _of_surplus(self, pane: int, joined: int) -> list[Finding]:
        """What is to be said of the keys that are left out: that there are more of them, or none."""
        surplus, plan = self.surplus, self.plan
        if surplus.since is None or not (joined or not len(surplus)):
            return []
        end_ns = (pane + 1) * plan.pane_ns
        whole, watched = self._coverage.seen(end_ns - plan.over_ns, end_ns, plan.kinds)
        keys = surplus.counted
        change: Change = "fire" if surplus.since == pane else "update" if len(surplus) else "clear"
        finding = Finding(
            rule=plan.id,
            attack=plan.attack,
            severity=self._severities[surplus.level],
            node=self._place.node,
            change=change,
            time_ns=end_ns,
            since_ns=(surplus.since + 1) * plan.pane_ns,
            key=OVERFLOW,
            incident=OVERFLOW,
            entities=(),
            measures={"unlisted": keys},
            summary=f"too many at once for an incident each: {keys} more, {surplus.fired} in all",
            completeness=whole,
            watched=watched,
            resolve_after_ns=plan.resolve_after_ns,
            evidence_limit=plan.evidence,
            stands_for=joined,
            maturity=plan.maturity,
        )
        if change == "clear":
            surplus.end()
        return [finding]

    def _key_text(self, slot: int) -> tuple[str, ...]:
        return self._grouping.texts[slot] or ()

    def _rows(self, told: list[Emission], lookback: Lookback) -> list[list[FoundRows]]:
        """For each, the rows that it rests on; none for a clear."""
        rows: list[list[FoundRows]] = [[] for _ in told]
        asking = [at for at, said in enumerate(told) if said.change != "clear"] if self._asks else []
        if asking:
            ends = [(told[at].pane + 1) * self.plan.pane_ns for at in asking]
            asked = Query([told[at].slot for at in asking], [end - self.plan.over_ns for end in ends], ends)
            found = lookback.find(self.plan.kinds, (self._place.stream, self._place.group), asked)
            for at, own in zip(asking, found, strict=True):
                rows[at] = own
        return rows

    def _measures(self, told: list[Emission], named: dict[str, NDArray[Any]]) -> list[dict[str, int | float]]:
        """The numbers of each, by name."""
        at = np.array([said.row for said in told], np.intp)
        names, columns = [], []
        for name in self._names_people:
            if name in named:
                numbers = plain(named[name][at])
                names.append(name)
                columns.append([int(number) for number in numbers] if name in self._integers else numbers)
        return (
            [dict(zip(names, own, strict=True)) for own in zip(*columns, strict=True)] if names else [{} for _ in told]
        )

    def _finding(
        self, said: Emission, rows: list[FoundRows], evidence: tuple[Evidence, ...], measures: dict[str, int | float]
    ) -> Finding:
        plan = self.plan
        end_ns = (said.pane + 1) * plan.pane_ns
        opened = self._open.get(said.slot)
        if opened is None or said.change != "clear":
            peers = [text for field in plan.entities for text in involved(rows, field)]
            opened = self._opened(said.slot, peers, opened)
            self._open[said.slot] = opened
        if said.change == "clear":
            self._open.pop(said.slot, None)
        whole, watched = self._coverage.seen(end_ns - plan.over_ns, end_ns, plan.kinds)
        return Finding(
            rule=plan.id,
            attack=plan.attack,
            severity=self._severities[said.level],
            node=self._place.node,
            change=said.change,
            time_ns=end_ns,
            since_ns=(said.since + 1) * plan.pane_ns,
            key=opened.key,
            incident=opened.incident,
            entities=opened.entities,
            measures=measures,
            summary=self._template.filled([self._word(name, opened.known, measures) for name in self._template.names]),
            evidence=evidence,
            completeness=whole,
            watched=watched,
            resolve_after_ns=plan.resolve_after_ns,
            evidence_limit=plan.evidence,
            counted=said.counted,
            maturity=plan.maturity,
        )

    def _word(self, name: str, known: dict[str, str], measures: dict[str, int | float]) -> str:
        """What a name in the summary means, safe to show; `?` for one that is missing."""
        text = known.get(name) or self._constants.get(name)
        if text is not None or name in known:
            return printable(text or "")
        return number_text(measures[name]) if name in measures else "?"

    def _opened(self, slot: int, peers: list[str], before: Open | None) -> Open:
        """Who is involved: the peers seen in the window; a group key stands first, its peers after it."""
        known = self._grouping.known(slot)
        key = {field: printable(known[field]) for field in self._grouping.by if field in known}
        incident = {field: key[field] if field in key else printable(known.get(field, "?")) for field in self._incident}
        groups = self._group_texts({**known, **incident})
        earlier = before.entities if before else ()
        ranked = [*peers, *earlier, *groups] if self._by_peer else [*groups, *peers]
        return Open(key, known, incident, tuple(dict.fromkeys(ranked))[:40])

    def _group_texts(self, known: dict[str, str]) -> list[str]:
        """Addresses, prefixes and AS numbers of the key, as entities."""
        texts = [
            as_text(text) if field.endswith("asn") else printable(text)
            for field, text in known.items()
            if field in self._groups
        ]
        return [text for text in texts if text]

    def firing(self) -> list[int]:
        """Slots with an open finding."""
        return list(self._open)

    def purge(self, slots: NDArray[np.int64]) -> None:
        """Forget these slots."""
        self.surplus.purge(slots.tolist())
        for slot in slots.tolist():
            self._open.pop(slot, None)

    def state(self) -> State:
        """What is open."""
        rows = [[slot, open_.known, open_.incident, list(open_.entities)] for slot, open_ in self._open.items()]
        return {"open": rows, "surplus": self.surplus.state()}

    def _reopened(self, known: dict[str, str], incident: dict[str, str], entities: list[str]) -> Open:
        key = {field: printable(known[field]) for field in self._grouping.by if field in known}
        return Open(key, known, incident, tuple(entities))

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._open = {slot: self._reopened(*saved) for slot, *saved in state["open"]}
        if "surplus" in state:
            self.surplus.restore(state["surplus"])
        else:  # version 2 only counted them
            self.surplus.cut = int(state["untold"])


def _strengths(plan: RulePlan) -> list[CellExpression]:
    """How far measures are beyond constants in `fire`, also in values that it names."""
    values, names = dict(plan.values), list(plan.fire.names)
    found = list(plan.fire.strengths)
    for name in names:  # grows while it is walked
        expression = values.pop(name, None)
        if expression is not None:
            found += expression.strengths
            names += expression.names
    return found


def _names(plan: RulePlan) -> list[str]:
    expected = (f"{baseline.name}_expected" for baseline in plan.baselines)
    return [*dict.fromkeys([*(m.name for m in plan.measures), *(name for name, _ in plan.values), *expected])]


def _integer_names(plan: RulePlan) -> frozenset[str]:
    return frozenset(m.name for m in plan.measures if not kind_of(m).fraction)


def _group_fields(plan: RulePlan) -> frozenset[str]:
    """Fields of the plan's kinds whose values identify a peer or network: addresses, prefixes, AS numbers."""
    fields = [field for kind in plan.kinds for field in KINDS[kind].fields.values()]
    return frozenset(field.name for field in fields if field.type == "prefix" or field.name.endswith(("asn", "_addr")))
