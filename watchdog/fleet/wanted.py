"""What rules over nodes read, of the fleet and of each node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from watchdog.core.kinds import ALL_KINDS, FINDING_KINDS, FLEET_KINDS
from watchdog.core.plan import RulePlan
from watchdog.engine.coverage import wanted_kinds
from watchdog.fleet.report import SOURCE
from watchdog.fleet.stage import kinds_for

FLEET_SOURCES: Final[Mapping[str, frozenset[str]]] = {SOURCE: ALL_KINDS | FINDING_KINDS | FLEET_KINDS}
"""The only source of the fleet's engine, with all that a rule over nodes may read."""


def fleet_reads(plans: Iterable[RulePlan]) -> frozenset[str]:
    """Return the kinds that the rules over nodes read."""
    return frozenset(kind for plan in plans if plan.scope == "fleet" for kind in plan.kinds)


def nodes_report(plans: Iterable[RulePlan]) -> frozenset[str]:
    """Return the kinds of events and findings that each node reports to the fleet."""
    return kinds_for(fleet_reads(plans))


def sources_give(plans: Iterable[RulePlan]) -> frozenset[str]:
    """Return the kinds that the sources of a node of several are read for: its own rules, and the fleet."""
    plans = tuple(plans)
    return wanted_kinds(plans) | (nodes_report(plans) - FINDING_KINDS)
