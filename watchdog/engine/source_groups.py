"""Which rules wait for which sources: rules that the same sources can feed form a source group, with its own watermark.

    sources     kinds          rules                          groups
    capture     p2p:*  ----->  addr-flood  (p2p:addr)         {capture}            waits for the capture alone
    log         log:*  ----->  churn       (p2p:*, log:*)     {capture, log}
    snapshots   rpc:*          no-blocks   (p2p:*, absence)   {capture; log, snapshots for node starts}
                               clock       (events:*)         no source feeds it: it never runs, and costs nothing

Rules over findings form a second stage. They wait for the groups of the rules that can feed them:

    groups                     findings                       groups of the second stage
    {capture}       ----+--->  addr-flood fires  --------->   {capture, snapshots}  addr-flood and slots-lost together
    {snapshots}     ----+--->  slots-lost fires

What a group decides depends on the events of its own sources only, in whatever order the others arrive.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from watchdog.core.kinds import FINDING_KINDS
from watchdog.core.plan import RulePlan
from watchdog.engine.coverage import STARTED
from watchdog.engine.layout import plan_text

Kinds = frozenset[str]
"""The kinds that a source can give; `watchdog.core.kinds.any_kinds()` when it does not list them."""

UNFED: Final = 0
"""The number of the group of rules that no source can feed; it always exists, and is mostly empty."""
_BY_RULE: Final[Mapping[str, str]] = {"rule": "id", "attack": "attack", "maturity": "maturity"}
"""Fields of a finding that are the same in all findings of a rule, and the plan's attribute."""


@dataclass(frozen=True, slots=True)
class SourceGroup:
    """Rules that wait for the same sources.

    feeding: names of the sources that can give an event that one of the rules reads. telling: further sources that can
    report node starts, which rules on absence and rules with baselines need. fed_by: of a group of the second stage,
    the rules whose findings it reads; its sources are those behind these findings. below: the groups of these rules.
    """

    feeding: tuple[str, ...]
    telling: tuple[str, ...]
    plans: tuple[RulePlan, ...]
    fed_by: tuple[str, ...] = ()
    below: tuple[SourceGroup, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources that it waits for."""
        return self.feeding + self.telling

    @property
    def rules(self) -> tuple[str, ...]:
        """Ids of its rules."""
        return tuple(plan.id for plan in self.plans)

    @property
    def name(self) -> str:
        """The name under which its state is saved; equal for equal sources, and rules whose findings it reads."""
        parts: list[object] = [self.feeding, self.telling]
        if self.fed_by:
            parts.append(hashlib.sha256("\n".join(self.fed_by).encode()).hexdigest()[:16])
        return json.dumps(parts, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of its sources and of all that its rules do and report; state fits only an equal one.

        In the second stage also of the groups below: when one of them restarts, its rules fire again.
        """
        texts = [self.name, *(_behaviour(plan) for plan in self.plans), *(group.digest for group in self.below)]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def reads_findings(plan: RulePlan) -> bool:
    """Return whether a rule reads findings; then it reads nothing else."""
    return not FINDING_KINDS.isdisjoint(plan.kinds)


def divide(plans: Sequence[RulePlan], sources: Mapping[str, Kinds]) -> tuple[SourceGroup, ...]:
    """Return the source groups of these rules: UNFED first, then in the order of their first rules.

    Groups of the second stage come last: rules over findings that no source gives.
    """
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[RulePlan]] = defaultdict(list, {((), ()): []})
    over_findings: list[RulePlan] = []
    for plan in plans:
        feeding, telling = _needs(plan, sources)
        if not feeding and reads_findings(plan):
            over_findings.append(plan)
        else:
            groups[feeding, telling].append(plan)
    first = [SourceGroup(feeding, telling, tuple(rules)) for (feeding, telling), rules in groups.items()]
    unfed, second = _second_stage(over_findings, first[UNFED + 1 :], sources)
    first[UNFED] = SourceGroup((), (), (*first[UNFED].plans, *unfed))
    return (*first, *second)


def hearers(groups: Sequence[SourceGroup]) -> list[tuple[int, ...]]:
    """Return, by group, the groups that learn and hear of its incidents: those that wait for all of its sources.

    So it has closed every pane that they close. UNFED and the second stage neither hear nor are heard.
    """
    heard = [set[str]() if group.fed_by else set(group.sources) for group in groups]
    hear = [
        number for number, group in enumerate(groups) if any(plan.budgeted or plan.baselines for plan in group.plans)
    ]
    return [
        tuple(other for other in hear if other != number and own and own <= heard[other])
        for number, own in enumerate(heard)
    ]


def _second_stage(
    plans: Iterable[RulePlan], first: Sequence[SourceGroup], sources: Mapping[str, Kinds]
) -> tuple[list[RulePlan], list[SourceGroup]]:
    """Return the rules over findings that no rule of the first stage feeds, and the groups of the others."""
    unfed: list[RulePlan] = []
    groups: dict[str, SourceGroup] = {}
    for plan in plans:
        group = _over(plan, first, sources)
        if group.fed_by:
            known = groups.get(group.name, group)
            groups[group.name] = replace(known, plans=(*known.plans, plan))
        else:
            unfed.append(plan)
    return unfed, list(groups.values())


def _needs(plan: RulePlan, sources: Mapping[str, Kinds]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sources that can feed a rule, and those that can only report node starts to it."""
    feeding = tuple(name for name, kinds in sources.items() if not kinds.isdisjoint(plan.kinds))
    return feeding, _starts(feeding, sources) if feeding and _needs_starts(plan) else ()


def _needs_starts(plan: RulePlan) -> bool:
    return plan.absence or plan.sampled or plan.budgeted


def _starts(feeding: Sequence[str], sources: Mapping[str, Kinds]) -> tuple[str, ...]:
    """Return the sources beside `feeding` that can report node starts."""
    return tuple(name for name, kinds in sources.items() if STARTED in kinds and name not in feeding)


def _feeds(feeder: RulePlan, plan: RulePlan) -> bool:
    """Return whether the rule `plan` may read findings of `feeder`, by the constants that its `where` asks for."""
    for name, wanted in plan.where.equals if plan.where else ():
        if name in _BY_RULE and getattr(feeder, _BY_RULE[name]) != wanted:
            return False
        if name == "severity" and wanted not in (feeder.severity, *(severity for severity, _ in feeder.escalate)):
            return False
    return True


def _over(plan: RulePlan, first: Sequence[SourceGroup], sources: Mapping[str, Kinds]) -> SourceGroup:
    """Return the group, still without rules, of a rule over findings; sources are in the order of `sources`."""
    feeders = [other for group in first for other in group.plans if not reads_findings(other) and _feeds(other, plan)]
    fed_by = tuple(sorted(other.id for other in feeders))
    below = tuple(group for group in first if not set(fed_by).isdisjoint(group.rules))
    feeding = tuple(name for name in sources if any(name in group.feeding for group in below))
    starts = {name for group in below for name in group.telling}
    if _needs_starts(plan):
        starts.update(_starts(feeding, sources))
    telling = tuple(name for name in sources if name in starts and name not in feeding)
    return SourceGroup(feeding, telling, (), fed_by, below)


def _behaviour(plan: RulePlan) -> str:
    """Return the text that determines, with its events, a rule's state and findings."""
    reported = [plan.attack, plan.severity, plan.incident, plan.entities, plan.summary, plan.evidence]
    learnt = [(baseline.warmup_ns, baseline.step_ns) for baseline in plan.baselines]
    return plan_text(plan) + json.dumps([*reported, plan.resolve_after_ns, plan.absence, learnt])
