"""Which rules wait for which sources: rules that the same sources can feed form a source group, with its own watermark.

    sources     kinds          rules                          groups
    capture     p2p:*  ----->  addr-flood  (p2p:addr)         {capture}            waits for the capture alone
    log         log:*  ----->  churn       (p2p:*, log:*)     {capture, log}
    snapshots   rpc:*          no-blocks   (p2p:*, absence)   {capture; log, snapshots for node starts}
                               clock       (events:*)         no source feeds it: it never runs, and costs nothing

What a group decides depends on the events of its own sources only, in whatever order the others arrive.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from watchdog.core.plan import RulePlan
from watchdog.engine.coverage import STARTED
from watchdog.engine.layout import plan_text

Kinds = frozenset[str] | None
"""The kinds that a source can give; None when unknown: any."""

UNFED: Final = 0
"""The number of the group of rules that no source can feed; it always exists, and is mostly empty."""


@dataclass(frozen=True, slots=True)
class SourceGroup:
    """Rules that wait for the same sources.

    feeding: names of the sources that can give an event that one of the rules reads. telling: further sources that can
    report node starts, which rules on absence and rules with baselines need.
    """

    feeding: tuple[str, ...]
    telling: tuple[str, ...]
    plans: tuple[RulePlan, ...]

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
        """The name under which its state is saved; equal for equal sources."""
        return json.dumps([self.feeding, self.telling], separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of its sources and of all that its rules do and report; state fits only an equal one."""
        texts = [self.name, *(_behaviour(plan) for plan in self.plans)]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def divide(plans: Sequence[RulePlan], sources: Mapping[str, Kinds]) -> tuple[SourceGroup, ...]:
    """Return the source groups of these rules: UNFED first, then in the order of their first rules."""
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[RulePlan]] = defaultdict(list, {((), ()): []})
    for plan in plans:
        groups[_needs(plan, sources)].append(plan)
    return tuple(SourceGroup(feeding, telling, tuple(rules)) for (feeding, telling), rules in groups.items())


def _needs(plan: RulePlan, sources: Mapping[str, Kinds]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sources that can feed a rule, and those that can only report node starts to it."""
    feeding = tuple(name for name, kinds in sources.items() if kinds is None or not kinds.isdisjoint(plan.kinds))
    if not feeding or not (plan.absence or plan.baselines):
        return feeding, ()
    starts = (name for name, kinds in sources.items() if kinds is None or STARTED in kinds)
    return feeding, tuple(name for name in starts if name not in feeding)


def _behaviour(plan: RulePlan) -> str:
    """Return the text that determines, with its events, a rule's state and findings."""
    reported = [plan.attack, plan.severity, plan.incident, plan.entities, plan.summary, plan.evidence]
    learnt = [(baseline.warmup_ns, baseline.step_ns) for baseline in plan.baselines]
    return plan_text(plan) + json.dumps([*reported, plan.resolve_after_ns, plan.absence, learnt])
