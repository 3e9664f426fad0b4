"""Turns emissions of verdicts into findings, and remembers what is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from watchdog.core.durations import exact_duration
from watchdog.core.finding import OVERFLOW, PARTY, SEVERITIES, Change, Evidence, Finding, Severity
from watchdog.core.plan import RulePlan
from watchdog.core.text import printable
from watchdog.engine.budgets import Budgeted
from watchdog.engine.coverage import Coverage
from watchdog.engine.emission import Emission
from watchdog.engine.finding_words import carried_fields, group_fields, integer_names, names_of, strengths_of, turn_text
from watchdog.engine.grouping import Grouping
from watchdog.engine.learning import Turn
from watchdog.engine.lookback import FoundRows, Lookback, Query
from watchdog.engine.rarity import Rarity
from watchdog.engine.report import Template, as_text, evidence_of, involved, number_text, plain
from watchdog.engine.river_detectors import ModelFault
from watchdog.engine.surplus import PER_PANE, Lots, Surplus

PEER_KEYS = frozenset({"conn", "peer", "peer_addr"})
TURNS: Final[Mapping[bool, tuple[Change, ...]]] = {True: ("fire",), False: ("update", "clear")}
"""What is reported of a key that begins to learn afresh, and of one that has learned: the update says what."""


@dataclass(slots=True)  # not frozen, for the same reason as `Emission`
class Open:
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

    def __init__(
        self,
        plan: RulePlan,
        place: StreamId,
        grouping: Grouping,
        coverage: Coverage,
        budgeted: Mapping[str, Budgeted] | None = None,
    ) -> None:
        self._rarity = Rarity(budgeted or {})
        self.plan, self._place, self._grouping, self._coverage = plan, place, grouping, coverage
        self._lots = place.lots
        self._open: dict[int, Open] = {}
        self._turning: set[tuple[int, str]] = set()  # slots and baselines that were reported to learn afresh
        self.surplus = Surplus()
        self._strengths = strengths_of(plan)
        self._severities: tuple[Severity, ...] = (plan.severity, *(severity for severity, _ in plan.escalate))
        self._names_people = [name for name in names_of(plan) if not name.startswith("__")]
        self._integers = integer_names(plan)
        self._asks = bool(plan.evidence or plan.entities)
        self._incident = plan.incident
        self._by_peer = not PEER_KEYS.isdisjoint(plan.by)
        self._groups = group_fields(plan)
        named = (*plan.by, *carried_fields(plan))
        self._party = [name for name in PARTY if name in named]
        self._constants = {"node": place.node, "over": exact_duration(plan.over_ns)}
        self._template = Template(plan.summary)
        self._compared = {
            f"{one.name}_measure": [value.replace("_", " ") for value, _, _ in one.values] for one in plan.comparisons
        }

    def write(self, emissions: list[Emission], named: dict[str, NDArray[Any]], lookback: Lookback) -> list[Finding]:
        """One finding an emission, by pane and key; beyond PER_PANE a pane, one for all that are left out."""
        order = sorted(emissions, key=lambda emission: (emission.pane, self._key_text(emission.slot), emission.row))
        reported: list[Emission] = []
        others: list[Finding] = []
        for pane, group in groupby(order, key=attrgetter("pane")):
            here = list(group)
            cut = self._cut(here, named)
            # an update of a key with a finding of its own is left out
            unlisted = [emission for emission in cut if emission.slot not in self._open]
            joined = self.surplus.add(unlisted, here, pane) if unlisted else 0
            reported += self._reported(here, {emission.slot for emission in cut})
            others += self._of_surplus(pane, joined)
        rows = self._rows(reported, lookback)
        parts = zip(reported, rows, evidence_of(rows, self.plan.evidence), self._measures(reported, named), strict=True)
        findings = [self._finding(*own) for own in parts]
        return sorted([*findings, *others], key=attrgetter("time_ns")) if others else findings

    def write_turns(self, turns: list[Turn]) -> list[Finding]:
        """One finding, of severity info, where a key begins to learn its normal afresh, and one that clears it.

        Beyond PER_PANE a pane none begins; what was reported to begin is reported to end.
        """
        findings: list[Finding] = []
        for _, group in groupby(turns, key=attrgetter("pane")):
            here = sorted(group, key=lambda turn: (self._key_text(turn.slot), turn.name))
            begun = [(turn.slot, turn.name) for turn in here if turn.begins][:PER_PANE]
            told = {*begun, *((turn.slot, turn.name) for turn in here if not turn.begins)} & {*begun, *self._turning}
            self._turning = (self._turning - told) | {*begun}
            self.surplus.cut += len(here) - len(told)
            for turn in here:
                if (turn.slot, turn.name) in told:
                    findings += [self._of_turn(turn, change) for change in TURNS[turn.begins]]
        return findings

    def take_turning(self, turning: set[tuple[int, str]]) -> None:
        """Take over which baselines learn afresh from a state that did not say which of them were reported."""
        self._turning = turning

    def _of_turn(self, turn: Turn, change: Change) -> Finding:
        spec = next(one for one in self.plan.baselines if one.name == turn.name)
        name = "anomalous" if turn.name.startswith("__") else turn.name
        aside = self._aside(turn.slot, turn.pane, change, {"normal": name})
        return replace(
            aside,
            since_ns=aside.time_ns - (spec.freeze_ns if turn.begins else spec.warmup_ns),
            measures={f"{name}_old": turn.old} | ({} if turn.begins else {f"{name}_new": turn.new}),
            summary=turn_text(turn, spec),
        )

    def write_faults(self, faults: list[ModelFault]) -> list[Finding]:
        """One finding where a model of another library begins to fail, and one that clears it where it scores again."""
        self.surplus.cut += len(faults[PER_PANE:])
        findings = []
        for fault in faults[:PER_PANE]:
            aside = self._aside(fault.slot, fault.pane, "fire" if fault.fails else "clear", {"model": fault.name})
            told = replace(aside, severity="warning", summary=fault.summary, measures={"faults": fault.times})
            findings.append(told)
        return findings

    def _aside(self, slot: int, pane: int, change: Change, incident: dict[str, str]) -> Finding:
        """Return a finding about a detector of a key, in an incident of its own: without summary and measures."""
        plan, end_ns = self.plan, (pane + 1) * self.plan.pane_ns
        known = self._grouping.known(slot)
        whole, watched = self._coverage.seen(end_ns - plan.over_ns, end_ns, plan.kinds)
        opened = self._opened(slot, [], None)
        return Finding(
            rule=plan.id,
            attack=plan.attack,
            severity="info",
            node=opened.key.get("node", self._place.node),
            change=change,
            time_ns=end_ns,
            since_ns=end_ns,
            key=opened.key,
            incident={**opened.incident, **incident},
            entities=opened.entities,
            measures={},
            summary="",
            completeness=whole,
            watched=watched,
            resolve_after_ns=plan.resolve_after_ns,
            maturity=plan.maturity,
            party={field: known[field] for field in self._party if field in known},
        )

    def _cut(self, emissions: list[Emission], named: dict[str, NDArray[Any]]) -> list[Emission]:
        """Those of a pane that get no finding, because there are too many."""
        news = [emission for emission in emissions if emission.change != "clear"]
        if len(news) <= PER_PANE:
            return []
        rows = np.array([emission.row for emission in news])
        strength = np.zeros(len(news))
        for expression in self._strengths:
            strength = np.fmax(strength, expression(named)[rows])
        ranked = sorted(
            zip(news, strength.tolist(), strict=True),
            key=lambda pair: (
                -SEVERITIES.index(self._severities[pair[0].level]),
                -pair[1],
                self._lots.draw(self.plan.id, pair[0].pane, self._key_text(pair[0].slot)),
            ),
        )
        return [emission for emission, _ in ranked[PER_PANE:]]

    def _reported(self, emissions: list[Emission], cut: set[int]) -> list[Emission]:
        """Return those that get a finding.

        A key that was left out until now fires; when it ends, nothing of it was reported.
        """
        reported = []
        for emission in emissions:
            if emission.slot in cut:
                continue
            if emission.change == "clear":
                if not self.surplus.drop(emission.slot):
                    reported.append(emission)
                continue
            fresh, counted = self.surplus.drop(emission.slot), self.surplus.has_counted(emission.slot)
            change: Change = "fire" if fresh else emission.change
            reported.append(replace(emission, change=change, counted=counted) if fresh or counted else emission)
        return reported

    def _of_surplus(self, pane: int, joined: int) -> list[Finding]:
        """Return a finding when the number of keys that are left out rises, or falls to none."""
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

    def _rows(self, emissions: list[Emission], lookback: Lookback) -> list[list[FoundRows]]:
        """For each, the rows that it rests on; none for a clear."""
        rows: list[list[FoundRows]] = [[] for _ in emissions]
        asking = [index for index, emission in enumerate(emissions) if emission.change != "clear"] if self._asks else []
        if asking:
            ends = [(emissions[index].pane + 1) * self.plan.pane_ns for index in asking]
            asked = Query([emissions[index].slot for index in asking], [end - self.plan.over_ns for end in ends], ends)
            kept = lookback.find(self.plan.kinds, (self._place.stream, self._place.group), asked)
            for index, own in zip(asking, kept, strict=True):
                rows[index] = own
        return rows

    def _measures(self, emissions: list[Emission], named: dict[str, NDArray[Any]]) -> list[dict[str, int | float]]:
        """Return the numbers of each, by name."""
        rows = np.array([emission.row for emission in emissions], np.intp)
        names, columns = [], []
        for name in self._names_people:
            if name in named:
                numbers = plain(named[name][rows])
                names.append(name)
                columns.append([int(number) for number in numbers] if name in self._integers else numbers)
        for name, numbers in self._rarity.columns(named, rows):
            names.append(name)
            columns.append(numbers)
        if not names:
            return [{} for _ in emissions]
        return [dict(zip(names, own, strict=True)) for own in zip(*columns, strict=True)]

    def _finding(
        self,
        emission: Emission,
        rows: list[FoundRows],
        evidence: tuple[Evidence, ...],
        measures: dict[str, int | float],
    ) -> Finding:
        plan = self.plan
        end_ns = (emission.pane + 1) * plan.pane_ns
        opened = self._open.get(emission.slot)
        if opened is None or emission.change != "clear":
            peers = [text for field in plan.entities for text in involved(rows, field)]
            opened = self._opened(emission.slot, peers, opened)
            self._open[emission.slot] = opened
        if emission.change == "clear":
            self._open.pop(emission.slot, None)
        whole, watched = self._coverage.seen(end_ns - plan.over_ns, end_ns, plan.kinds)
        return Finding(
            rule=plan.id,
            attack=plan.attack,
            severity=self._severities[emission.level],
            node=opened.key.get("node", self._place.node),
            change=emission.change,
            time_ns=end_ns,
            since_ns=(emission.since + 1) * plan.pane_ns,
            key=opened.key,
            incident=opened.incident,
            entities=opened.entities,
            measures=measures,
            summary=self._summary(emission.change, opened.known, measures),
            evidence=evidence,
            completeness=whole,
            watched=watched,
            resolve_after_ns=plan.resolve_after_ns,
            evidence_limit=plan.evidence,
            counted=emission.counted,
            maturity=plan.maturity,
            party={name: opened.known[name] for name in self._party if name in opened.known},
        )

    def _summary(self, change: Change, known: dict[str, str], measures: dict[str, int | float]) -> str:
        """Return the summary; where a budget judged, with how rare such a value is."""
        text = self._template.filled([self._word(name, known, measures) for name in self._template.names])
        return text if change == "clear" else text + self._rarity.text(measures)

    def _word(self, name: str, known: dict[str, str], measures: dict[str, int | float]) -> str:
        """Return the value of a name in the summary, safe to show; `?` for one that is missing."""
        if name in self._compared and name in measures:
            return self._compared[name][int(measures[name])]
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
        purged = set(slots.tolist())
        for slot in purged:
            self._open.pop(slot, None)
        self._turning = {one for one in self._turning if one[0] not in purged}

    def state(self) -> State:
        """Return the open conditions."""
        rows = [[slot, open_.known, open_.incident, list(open_.entities)] for slot, open_ in self._open.items()]
        return {"open": rows, "surplus": self.surplus.state(), "turning": [list(one) for one in sorted(self._turning)]}

    def _reopened(self, known: dict[str, str], incident: dict[str, str], entities: list[str]) -> Open:
        key = {field: printable(known[field]) for field in self._grouping.by if field in known}
        return Open(key, known, incident, tuple(entities))

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._open = {slot: self._reopened(*saved) for slot, *saved in state["open"]}
        self._turning = {(int(slot), str(name)) for slot, name in state.get("turning", ())}
        if "surplus" in state:
            self.surplus.restore(state["surplus"])
        else:  # version 2 only counted them
            self.surplus.cut = int(state["untold"])
