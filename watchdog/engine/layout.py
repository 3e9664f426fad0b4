"""How rules are laid out: which of them share keys, streams, windows and lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from watchdog.core.plan import MeasurePlan, RulePlan
from watchdog.engine.coverage import Coverage
from watchdog.engine.findings import StreamId
from watchdog.engine.grouping import Grouping
from watchdog.engine.lane_window import BankedWindow, BankInput
from watchdog.engine.lanes import RuleBank
from watchdog.engine.measures import MANY_PANES
from watchdog.engine.stream import StreamWindow
from watchdog.engine.surplus import Lots
from watchdog.engine.window_rules import WindowRules, carried_fields


@dataclass(frozen=True, slots=True)
class Stream:
    """A filter over kinds with a key: what one or more windows read."""

    index: int
    plan: RulePlan  # any of its rules; evidence and entities are the union
    group: int
    windows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All windows with their rules, the lanes among them, and what each stream feeds."""

    windows: list[WindowRules]
    lanes: list[RuleBank]
    streams: list[Stream]


@dataclass(frozen=True, slots=True)
class _Shared:
    """Rules that share one window."""

    text: str
    over_ns: int
    pane_ns: int
    sampled: bool
    lasting: bool


def make_groupings(plans: Sequence[RulePlan]) -> list[Grouping]:
    """One grouping for each distinct key, carrying what any of its rules names."""
    carried: dict[tuple[str, ...], dict[str, None]] = defaultdict(dict)
    keys: dict[tuple[str, ...], int] = defaultdict(int)
    for plan in plans:
        carried[plan.by].update(dict.fromkeys(carried_fields(plan)))
        keys[plan.by] = max(keys[plan.by], plan.max_keys)
    return [Grouping(by, tuple(fields), keys[by]) for by, fields in carried.items()]


def lay_out(plans: Sequence[RulePlan], groupings: list[Grouping], node: str, coverage: Coverage, lots: Lots) -> Layout:
    """Windows for all rules; those of plain sums and distinct counts side by side in lanes."""
    shared: dict[_Shared, list[RulePlan]] = defaultdict(list)
    for plan in plans:
        sampled = plan.absence or bool(plan.baselines)
        shared[_Shared(plan.stream_text, plan.over_ns, plan.pane_ns, sampled, plan.for_ns > 0)].append(plan)
    by = [grouping.by for grouping in groupings]
    order = {text: index for index, text in enumerate(dict.fromkeys(plan.stream_text for plan in plans))}
    lanes: dict[tuple[int, int], list[int]] = defaultdict(list)
    unions = [_union(group) for group in shared.values()]
    for index, (key, measures) in enumerate(zip(shared, unions, strict=True)):
        if not key.sampled and not key.lasting and all(m.op in MANY_PANES for m in measures.values()):
            lanes[(key.pane_ns, len(measures))].append(index)
    members: dict[int, tuple[BankInput, int]] = {}
    rule_lanes = []
    for (pane_ns, columns), indexes in lanes.items():
        lane = _lane(pane_ns, columns, [(list(shared.values())[i][0], unions[i]) for i in indexes])
        members.update({index: (lane, member) for member, index in enumerate(indexes)})
        rule_lanes.append((lane, indexes))
    windows: list[WindowRules] = []
    for index, (key, group) in enumerate(shared.items()):
        grouping = groupings[by.index(group[0].by)]
        ordered = list(unions[index].values())
        window: BankedWindow | StreamWindow
        if index in members:
            window = BankedWindow(*members[index], grouping, ordered)
            _demand(window, group, unions[index])
        else:
            window = StreamWindow(group[0], grouping, ordered, sampled=key.sampled)
        place = StreamId(node, order[key.text], by.index(group[0].by), lots)
        windows.append(WindowRules(window, group, unions[index], place, coverage))
    side_by_side = [RuleBank(lane, [windows[i] for i in indexes]) for lane, indexes in rule_lanes]
    return Layout(windows, side_by_side, _streams(shared, windows, order))


def _lane(pane_ns: int, columns: int, members: list[tuple[RulePlan, dict[str, MeasurePlan]]]) -> BankInput:
    widths = [plan.over_ns // plan.pane_ns for plan, _ in members]
    distinct = {
        column
        for _, measures in members
        for column, measure in enumerate(measures.values())
        if measure.op == "distinct"
    }
    return BankInput(pane_ns, columns, widths, frozenset(distinct))


def _demand(window: BankedWindow, plans: Sequence[RulePlan], measures: dict[str, MeasurePlan]) -> None:
    """Let the window know the least value that any of its rules can fire at, if they share such a column."""
    for column, text in enumerate(measures):
        floors = [
            plan.fire.floors.get(measure.name) for plan in plans for measure in plan.measures if measure.text == text
        ]
        found = [floor for floor in floors if floor is not None]
        if len(found) == len(plans) == len(floors):
            window.demand(column, min(found))
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
    """The measures of several rules, each once, under names of the window's own."""
    found = {measure.text: measure for plan in plans for measure in plan.measures}
    return {text: replace(measure, name=f"m{index}") for index, (text, measure) in enumerate(found.items())}


def plan_text(plan: RulePlan) -> str:
    """Everything in a plan that the engine's state depends on."""
    parts = [plan.id, plan.stream_text, str(plan.over_ns), str(plan.pane_ns), str(plan.for_ns), str(plan.max_keys)]
    parts += [f"{measure.name}={measure.text}" for measure in plan.measures]
    parts += [f"{name}={expression.text}" for name, expression in plan.values]
    parts += [f"{b.name}={b.value.text}/{b.direction}/{b.threshold}/{b.floor}/{b.half_life_ns}" for b in plan.baselines]
    parts += [plan.fire.text, plan.clear.text if plan.clear else ""]
    parts += [f"{severity}:{expression.text}" for severity, expression in plan.escalate]
    return "|".join(parts)
