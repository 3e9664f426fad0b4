"""How rules are laid out: which of them share keys, streams, windows and banks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from watchdog.core.plan import MeasurePlan, RulePlan
from watchdog.engine.banked_window import BankedWindow, BankInput
from watchdog.engine.banks import Closer, RuleBank, SteppedRules
from watchdog.engine.budgets import Budgets
from watchdog.engine.coverage import Coverage
from watchdog.engine.finding_words import carried_fields
from watchdog.engine.findings import StreamId
from watchdog.engine.grouping import Grouping
from watchdog.engine.measures.registry import kind_of
from watchdog.engine.stream import Decides, StreamWindow
from watchdog.engine.surplus import Lots
from watchdog.engine.window_rules import WindowRules


@dataclass(frozen=True, slots=True)
class Stream:
    """A filter over kinds with a key: what one or more windows read."""

    index: int
    plan: RulePlan  # any of its rules; evidence and entities are the union
    group: int
    windows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All windows with their rules, what closes them, and what each stream feeds.

    closers: the banks, then a closer for each window that is in no bank. seats: by window, its closer's number and its
    own number there.
    """

    windows: list[WindowRules]
    banks: list[RuleBank]
    closers: list[Closer]
    seats: list[tuple[int, int]]
    streams: list[Stream]


@dataclass(frozen=True, slots=True)
class _Shared:
    """Rules that share one window."""

    text: str
    over_ns: int
    pane_ns: int
    sampled: bool
    lasting: bool
    among: bool


def make_groupings(plans: Sequence[RulePlan]) -> list[Grouping]:
    """Return one grouping for each distinct key, carrying what any of its rules names."""
    carried: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    keys: dict[tuple[str, ...], int] = defaultdict(int)
    for plan in plans:
        carried[plan.by].update(dict.fromkeys(carried_fields(plan)))
        keys[plan.by] = max(keys[plan.by], plan.max_keys)
    return [Grouping(by, tuple(fields), keys[by]) for by, fields in carried.items()]


def lay_out(
    plans: Sequence[RulePlan],
    groupings: list[Grouping],
    node: str,
    coverage: Coverage,
    lots: Lots,
    *,
    budgets: Budgets,
) -> Layout:
    """Return windows for all rules; those that a bank can follow share one with others of the same pane and columns."""
    shared: dict[_Shared, list[RulePlan]] = defaultdict(list)
    for plan in plans:
        sampled, among = plan.absence or plan.sampled, bool(plan.comparisons)
        key = _Shared(plan.stream_text, plan.over_ns, plan.pane_ns, sampled, plan.for_ns > 0, among)
        shared[key].append(plan)
    by = [grouping.by for grouping in groupings]
    order = {text: index for index, text in enumerate(dict.fromkeys(plan.stream_text for plan in plans))}
    unions = [_union(group) for group in shared.values()]
    banks, seats = _make_banks(shared, unions)
    closers: list[Closer] = [*banks]
    windows: list[WindowRules] = []
    stepping: list[tuple[int, SteppedRules]] = []  # by window; those that learn are closed last: see `spells`
    for index, (key, group) in enumerate(shared.items()):
        stream = StreamId(node, order[key.text], by.index(group[0].by), lots)
        grouping, measures = groupings[stream.group], list(unions[index].values())
        if index in seats:
            bank, member = seats[index]
            banked = BankedWindow(banks[bank].bank, member, grouping, measures)
            _demand(banked, group, unions[index])
            windows.append(WindowRules(banked, group, unions[index], stream, coverage, budgets=budgets))
            banks[bank].join(banked, windows[-1])
        else:
            decided: Decides = "seen" if key.sampled else "live" if key.among else "changed"
            stepped = StreamWindow(group[0], grouping, measures, decides=decided)
            windows.append(WindowRules(stepped, group, unions[index], stream, coverage, budgets=budgets))
            stepping.append((index, SteppedRules(stepped, windows[-1])))
    for index, closer in sorted(stepping, key=lambda one: windows[one[0]].learns):
        seats[index] = (len(closers), 0)
        closers.append(closer)
    in_order = [seats[index] for index in range(len(windows))]
    return Layout(windows, banks, closers, in_order, _streams(shared, windows, order))


def _make_banks(
    shared: dict[_Shared, list[RulePlan]], unions: Sequence[dict[str, MeasurePlan]]
) -> tuple[list[RuleBank], dict[int, tuple[int, int]]]:
    """Return banks for the windows whose measures a bank can follow, and by window its bank and its number there."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (key, measures) in enumerate(zip(shared, unions, strict=True)):
        if not (key.sampled or key.lasting or key.among) and all(
            kind_of(measure).bank for measure in measures.values()
        ):
            alike[(key.pane_ns, len(measures))].append(index)
    keys = list(shared)
    banks: list[RuleBank] = []
    seats: dict[int, tuple[int, int]] = {}
    for (pane_ns, columns), indexes in alike.items():
        distinct = frozenset(
            column
            for index in indexes
            for column, measure in enumerate(unions[index].values())
            if kind_of(measure).bank == "distinct"
        )
        seats.update({index: (len(banks), member) for member, index in enumerate(indexes)})
        widths = [keys[index].over_ns // pane_ns for index in indexes]
        banks.append(RuleBank(BankInput(pane_ns, columns, widths, distinct)))
    return banks, seats


def _demand(window: BankedWindow, plans: Sequence[RulePlan], measures: dict[str, MeasurePlan]) -> None:
    """Let the window know the least value that any of its rules can fire at, if they share such a column."""
    for column, text in enumerate(measures):
        floors = [
            plan.fire.floors.get(measure.name) for plan in plans for measure in plan.measures if measure.text == text
        ]
        known = [floor for floor in floors if floor is not None]
        if len(known) == len(plans) == len(floors):
            window.demand(column, min(known))
            return


def _streams(shared: dict[_Shared, list[RulePlan]], windows: list[WindowRules], order: dict[str, int]) -> list[Stream]:
    fed: dict[str, list[int]] = defaultdict(list)
    rules: dict[str, list[RulePlan]] = defaultdict(list)
    for index, (key, group) in enumerate(shared.items()):
        fed[key.text].append(index)
        rules[key.text] += group
    streams = []
    for text, indexes in fed.items():
        evidence = max(plan.evidence for plan in rules[text])
        entities = tuple(dict.fromkeys(field for plan in rules[text] for field in plan.entities))
        lead = replace(rules[text][0], evidence=evidence, entities=entities)
        streams.append(Stream(order[text], lead, windows[indexes[0]].group, tuple(indexes)))
    return streams


def _union(plans: Sequence[RulePlan]) -> dict[str, MeasurePlan]:
    """Return the measures of several rules, each once, under names of the window's own."""
    distinct = {measure.text: measure for plan in plans for measure in plan.measures}
    return {text: replace(measure, name=f"m{index}") for index, (text, measure) in enumerate(distinct.items())}


def plan_text(plan: RulePlan) -> str:
    """Return everything in a plan that the engine's state depends on."""
    parts = [plan.id, plan.stream_text, str(plan.over_ns), str(plan.pane_ns), str(plan.for_ns), str(plan.max_keys)]
    parts += [f"{measure.name}={measure.text}" for measure in plan.measures]
    parts += [f"{name}={expression.text}" for name, expression in plan.values]
    parts += [baseline.text for baseline in plan.baselines]
    parts += [comparison.text for comparison in plan.comparisons]
    parts += [drift.text for drift in plan.drifts]
    parts += [plan.model.text] if plan.model else []
    parts += [plan.fire.text, plan.clear.text if plan.clear else ""]
    parts += [f"{severity}:{expression.text}" for severity, expression in plan.escalate]
    return "|".join(parts)
