"""Which rules wait for which sources: rules that the same sources can feed form a part, with a time of its own.

    sources     kinds          rules                          parts
    capture     p2p:*  ----->  addr-flood  (p2p:addr)         {capture}            waits for the capture alone
    log         log:*  ----->  churn       (p2p:*, log:*)     {capture, log}
    snapshots   rpc:*          no-blocks   (p2p:*, absence)   {capture; log, snapshots for node starts}
                               clock       (events:*)         nobody feeds it: it never runs, and costs nothing

What a part decides depends on the events of its own sources only, so it is the same however the others come.
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
"""The kinds that a source can give; None when that is not known: any."""

UNFED: Final = 0
"""The number of the part of rules that no source can feed; it is always there, and mostly empty."""


@dataclass(frozen=True, slots=True)
class SourceGroup:
    """Rules that wait for the same sources.

    feeding: names of the sources that can give an event that one of the rules reads. telling: further ones, which can
    tell of starts of the node: rules that speak of silence or of what is usual must know of these.
    """

    feeding: tuple[str, ...]
    telling: tuple[str, ...]
    plans: tuple[RulePlan, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """All that it waits for."""
        return self.feeding + self.telling

    @property
    def rules(self) -> tuple[str, ...]:
        """Ids of its rules."""
        return tuple(plan.id for plan in self.plans)

    @property
    def name(self) -> str:
        """The same for the same sources: what its state is kept under."""
        return json.dumps([self.feeding, self.telling], separators=(",", ":"))

    @property
    def digest(self) -> str:
        """Of all that its rules do and say, and of their sources: state fits only what has the same."""
        texts = [self.name, *(_behaviour(plan) for plan in self.plans)]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def divide(plans: Sequence[RulePlan], sources: Mapping[str, Kinds]) -> tuple[SourceGroup, ...]:
    """The parts of these rules, UNFED first, then in the order of their first rules. At most one a rule, and one."""
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], list[RulePlan]] = defaultdict(list, {((), ()): []})
    for plan in plans:
        found[_needs(plan, sources)].append(plan)
    return tuple(SourceGroup(feeding, telling, tuple(rules)) for (feeding, telling), rules in found.items())


def _needs(plan: RulePlan, sources: Mapping[str, Kinds]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sources that can feed a rule, and those that can only tell it of node starts."""
    feeding = tuple(name for name, kinds in sources.items() if kinds is None or not kinds.isdisjoint(plan.kinds))
    if not feeding or not (plan.absence or plan.baselines):
        return feeding, ()
    starts = (name for name, kinds in sources.items() if kinds is None or STARTED in kinds)
    return feeding, tuple(name for name in starts if name not in feeding)


def _behaviour(plan: RulePlan) -> str:
    """A rule's state and findings follow from this and its events."""
    said = [plan.attack, plan.severity, plan.incident, plan.entities, plan.summary, plan.evidence]
    learnt = [(baseline.warmup_ns, baseline.step_ns) for baseline in plan.baselines]
    return plan_text(plan) + json.dumps([*said, plan.resolve_after_ns, plan.absence, learnt])
