"""Incidents of fixed rules that freeze baselines: what a fixed threshold has found must not teach the same measure.

A rule without a detector freezes a baseline of another rule where both read the same stream (kinds, filter and key
fields), and the rule's condition and the baseline's value use the same measure (aggregate, field and filter), over
windows of any length. The baseline of a key is frozen from the pane in which the rule fires for this key until
`resolve_after` behind the pane in which it clears. Findings of other source groups do not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.state import State
from detectors.windows import Ints
from watchdog.core.plan import RulePlan
from watchdog.engine.panes import NEVER, PaneCells

OPEN: Final = int(NEVER)
SPANS_MOST: Final = 64  # of one key; the oldest are forgotten


class FiredRow(Protocol):
    """What a rule reports of a key: see `verdict.Emission`."""

    @property
    def slot(self) -> int:
        """Of the key."""

    @property
    def pane(self) -> int:
        """At whose end it is reported."""

    @property
    def change(self) -> str:
        """What is reported."""


class Spells:
    """Spans of event time in which one fixed rule has incidents, by slot."""

    def __init__(self, resolve_after_ns: int) -> None:
        self._after_ns = resolve_after_ns
        self._spans: dict[int, list[tuple[int, int]]] = {}

    def take(self, emissions: Iterable[FiredRow], pane_ns: int) -> None:
        """Note where keys begin and end to fire."""
        for one in emissions:
            end_ns = (one.pane + 1) * pane_ns
            spans = self._spans.setdefault(one.slot, [])
            running = bool(spans) and spans[-1][1] == OPEN
            if one.change == "clear" and running:
                spans[-1] = (spans[-1][0], end_ns + self._after_ns)
            elif one.change == "fire" and not running:
                spans.append((end_ns, OPEN))
                del spans[:-SPANS_MOST]

    def frozen(self, slots: Ints, ends_ns: Ints) -> NDArray[np.bool_]:
        """Return by row whether its slot has an incident at this time."""
        found = np.zeros(len(slots), np.bool_)
        for slot in np.intersect1d(slots, np.fromiter(self._spans, np.int64)).tolist() if self._spans else ():
            rows = np.flatnonzero(slots == slot)
            for begin, end in self._spans[slot]:
                found[rows] |= (begin <= ends_ns[rows]) & (ends_ns[rows] < end)
        return found

    def next_change(self, end_ns: int) -> int:
        """Return the first time after this one at which some slot begins or ends to be frozen."""
        edges = (edge for spans in self._spans.values() for span in spans for edge in span if edge > end_ns)
        return min(edges, default=OPEN)

    def forget(self, before_ns: int) -> None:
        """Forget what ended before this time."""
        kept = {slot: [span for span in spans if span[1] > before_ns] for slot, spans in self._spans.items()}
        self._spans = {slot: spans for slot, spans in kept.items() if spans}

    def purge(self, slots: Iterable[int]) -> None:
        """Forget these slots."""
        for slot in slots:
            self._spans.pop(slot, None)

    def state(self) -> State:
        """Return slot, begin and end of each span."""
        rows = [(slot, *span) for slot, spans in self._spans.items() for span in spans]
        return {"spans": np.array(rows, np.int64).reshape(-1, 3)}

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        self._spans = {}
        for slot, begin, end in state["spans"].astype(np.int64).reshape(-1, 3).tolist():
            self._spans.setdefault(slot, []).append((begin, end))


def frozen_rows(freezing: Iterable[Spells], cells: PaneCells, pane_ns: int) -> NDArray[np.bool_]:
    """Return by row whether a fixed rule has an incident of the key on the same measure."""
    found, ends_ns = np.zeros(len(cells.slots), np.bool_), (cells.panes + 1) * pane_ns
    for spells in freezing:
        found |= spells.frozen(cells.slots, ends_ns)
    return found


def next_thaw(freezing: Iterable[Spells], pane: int, pane_ns: int) -> int:
    """Return the first pane after `pane` at which a fixed rule begins or ceases to freeze a key."""
    end_ns = min((one.next_change((pane + 1) * pane_ns) for one in freezing), default=OPEN)
    return end_ns if end_ns == OPEN else max(-(-end_ns // pane_ns) - 1, pane + 1)


class FixedRules:
    """The spells of all rules of a source group that freeze a baseline.

    of: by rule that freezes, its own; freezing: by rule with baselines, those that freeze it.
    """

    def __init__(self, plans: Sequence[RulePlan]) -> None:
        self.of: dict[str, Spells] = {}
        self.freezing: Mapping[str, list[Spells]] = defaultdict(list)
        fixed = [plan for plan in plans if not (plan.baselines or plan.comparisons)]
        for learner in (plan for plan in plans if plan.baselines):
            watched = _texts(learner, {name for one in learner.baselines for name in one.value.names})
            for plan in fixed:
                if plan.stream_text == learner.stream_text and watched & _texts(plan, set(plan.fire.names)):
                    self.freezing[learner.id].append(self.of.setdefault(plan.id, Spells(plan.resolve_after_ns)))

    def forget(self, before_ns: int) -> None:
        """Forget what ended before this time."""
        for spells in self.of.values():
            spells.forget(before_ns)

    def state(self) -> State:
        """Return the spans of each rule."""
        return {rule: spells.state() for rule, spells in self.of.items()}

    def restore(self, state: State) -> None:
        """Continue from `state`."""
        for rule, spells in self.of.items():
            if rule in state:
                spells.restore(state[rule])


def _texts(plan: RulePlan, names: set[str]) -> set[str]:
    """Return the measures, in canonical form, that these names rest on."""
    values, measures = dict(plan.values), {measure.name: measure.text for measure in plan.measures}
    found, left = set[str](), list(names)
    while left:
        name = left.pop()
        if name in measures:
            found.add(measures[name])
        elif (value := values.pop(name, None)) is not None:
            left += value.names
    return found
