"""Incidents of fixed rules that freeze baselines: what a fixed threshold has found must not teach the same measure.

A rule without a detector freezes a baseline of another rule where both read the same stream (kinds, filter and key
fields), and the rule's condition and the baseline's value use the same measure (aggregate, field and filter), over
windows of any length. The baseline of a key is frozen from the pane in which the rule fires for this key until
`resolve_after` behind the pane in which it clears.

The rule may be in another source group, as it does not wait for starts of the node. Such a group has closed every pane
that the learning one closes, and perhaps later ones: spans say of each time what was known then. Keys go by their
words, since each group has slots of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.mixing import Words
from detectors.state import State, checked
from detectors.windows import Ints
from watchdog.core.plan import RulePlan
from watchdog.engine.grouping import Grouping
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
    """Spans of event time in which one fixed rule has incidents, by the word of the key."""

    def __init__(self, resolve_after_ns: int) -> None:
        self._after_ns = resolve_after_ns
        self._spans: dict[int, list[tuple[int, int]]] = {}

    def take(self, emissions: Iterable[FiredRow], words: Words, pane_ns: int) -> None:
        """Note where keys begin and end to fire. words: of the keys, by slot."""
        for one in emissions:
            end_ns = (one.pane + 1) * pane_ns
            spans = self._spans.setdefault(int(words[one.slot]), [])
            running = bool(spans) and spans[-1][1] == OPEN
            if one.change == "clear" and running:
                spans[-1] = (spans[-1][0], end_ns + self._after_ns)
            elif one.change != "clear" and not running:  # also one that fired before it was listened to
                begin_ns = spans.pop()[0] if spans and spans[-1][1] >= end_ns else end_ns
                spans.append((begin_ns, OPEN))
                del spans[:-SPANS_MOST]

    def frozen(self, words: Words, ends_ns: Ints) -> NDArray[np.bool_]:
        """Return by row whether its key has an incident at this time."""
        found = np.zeros(len(words), np.bool_)
        for word in np.intersect1d(words, np.fromiter(self._spans, np.uint64)).tolist() if self._spans else ():
            rows = np.flatnonzero(words == np.uint64(word))
            for begin, end in self._spans[word]:
                found[rows] |= (begin <= ends_ns[rows]) & (ends_ns[rows] < end)
        return found

    def next_change(self, end_ns: int) -> int:
        """Return the first time after this one at which some key begins or ends to be frozen."""
        edges = (edge for spans in self._spans.values() for span in spans for edge in span if edge > end_ns)
        return min(edges, default=OPEN)

    def forget(self, before_ns: int) -> None:
        """Forget what ended before this time."""
        kept = {word: [span for span in spans if span[1] > before_ns] for word, spans in self._spans.items()}
        self._spans = {word: spans for word, spans in kept.items() if spans}

    def purge(self, words: Iterable[int]) -> None:
        """Forget these keys."""
        for word in words:
            self._spans.pop(word, None)

    def clear(self) -> None:
        """Forget all keys."""
        self._spans.clear()

    def state(self) -> State:
        """Return word, begin and end of each span."""
        rows = [(word, span) for word, spans in self._spans.items() for span in spans]
        return {
            "words": np.array([word for word, _ in rows], np.uint64),
            "stretches": np.array([span for _, span in rows], np.int64).reshape(-1, 2),
        }

    def restore(self, state: State) -> None:
        """Continue from `state`; one of an older version went by slots, and is dropped."""
        self._spans = {}
        if "words" in state:
            words = checked(state, "words", np.uint64)
            stretches = state["stretches"].astype(np.int64).reshape(len(words), 2)
            for word, (begin, end) in zip(words.tolist(), stretches.tolist(), strict=True):
                self._spans.setdefault(word, []).append((begin, end))


class Freezing:
    """What freezes the baselines of one rule, whose keys are those of a grouping."""

    def __init__(self, spells: Sequence[Spells], grouping: Grouping, pane_ns: int) -> None:
        self._spells, self._grouping, self._pane_ns = spells, grouping, pane_ns

    def rows(self, cells: PaneCells) -> NDArray[np.bool_]:
        """Return by row whether a fixed rule has an incident of the key on the same measure."""
        found = np.zeros(len(cells.slots), np.bool_)
        for spells in self._spells:
            words = self._grouping.table.keys[cells.slots]
            found |= spells.frozen(words, (cells.panes + 1) * self._pane_ns)
        return found

    def next_thaw(self, pane: int) -> int:
        """Return the first pane after `pane` at which a fixed rule begins or ceases to freeze a key."""
        end_ns = min((one.next_change((pane + 1) * self._pane_ns) for one in self._spells), default=OPEN)
        return end_ns if end_ns == OPEN else max(-(-end_ns // self._pane_ns) - 1, pane + 1)


class FixedRules:
    """The spells of all rules that freeze a baseline of a source group.

    beside: plans of the other groups that this one hears. of: by rule that freezes, its spells; freezing: by rule with
    baselines, those that freeze it. told: by rule of this group, the spells that take what it reports; other groups
    add theirs.
    """

    def __init__(self, plans: Sequence[RulePlan], beside: Sequence[RulePlan] = ()) -> None:
        self.of: dict[str, Spells] = {}
        self.freezing: Mapping[str, list[Spells]] = defaultdict(list)
        fixed = [plan for plan in (*plans, *beside) if not (plan.baselines or plan.comparisons)]
        for learner in (plan for plan in plans if plan.baselines):
            watched = _texts(learner, {name for one in learner.baselines for name in one.value.names})
            for plan in fixed:
                if plan.stream_text == learner.stream_text and watched & _texts(plan, set(plan.fire.names)):
                    self.freezing[learner.id].append(self.of.setdefault(plan.id, Spells(plan.resolve_after_ns)))
        self._own = {plan.id for plan in plans}
        self.told: dict[str, list[Spells]] = {}
        self.tell(())

    def tell(self, others: Iterable[FixedRules]) -> None:
        """Let the spells of this group and of others take what its rules report."""
        heard = [(rule, spells) for fixed in (self, *others) for rule, spells in fixed.of.items() if rule in self._own]
        self.told = {rule: [spells for other, spells in heard if other == rule] for rule, _ in heard}

    def keep(self, rules: Container[str]) -> None:
        """Forget the incidents of other rules: they begin without state, and will not report an end."""
        for rule, spells in self.of.items():
            if rule not in rules:
                spells.clear()

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
