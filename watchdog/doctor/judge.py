"""Which rules can fire through the open doors, and what each closed door would add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from watchdog.core.plan import RulePlan
from watchdog.core.text import counted
from watchdog.doctor.report import DoctorNode, DoorName, NodeDoor, RuleReport
from watchdog.service.capabilities import ALONE, Capability, Facts, capabilities
from watchdog.service.source_paths import facts_of, source_kinds

ADDS: Final[Mapping[DoorName, frozenset[str]]] = {
    "rpc": frozenset({"rpc"}),
    "log": frozenset({"log", "log:net", "log:addrman"}),
    "capture": frozenset({"capture"}),
    "tracepoints": frozenset({"capture", "tracepoint"}),  # both show every message
    "asmap": frozenset({"asmap"}),
}
"""What a door gives, in the words of `watchdog.service.capabilities.LACKS`."""
DEBUGGING: Final = frozenset({"capture", "tracepoint"})
"""What a node in production rarely gives."""
EXCUSED: Final = DEBUGGING | {"nodes"}
"""A rule that lacks nothing else is no problem, however severe: most houses have one node."""
SEVERE: Final = frozenset({"high", "critical"})


def judged(plans: Sequence[RulePlan], nodes: Sequence[DoctorNode]) -> tuple[list[RuleReport], list[DoctorNode]]:
    """Return every rule by id, and the nodes with what their closed doors would add.

    With several nodes a rule counts as able to fire when it is at each of them. Rules over nodes need two.
    """
    worlds = [_world(node) for node in nodes] or [({}, Facts())]
    each = [capabilities(plans, kinds, replace(facts, nodes=len(nodes))) for kinds, facts in worlds]
    ordered = sorted(plans, key=lambda plan: plan.id)
    rules = [_rule(plan, [known.get(plan.id, ALONE) for known in each]) for plan in ordered]
    shown = [_with_gains(node, known) for node, known in zip(nodes, each, strict=False)]
    return rules, shown


def _world(node: DoctorNode) -> tuple[dict[str, frozenset[str]], Facts]:
    """Return what the open doors of a node give."""
    sources = [door.source for door in node.doors if door.door != "asmap" and door.source]
    asmap = next((door.source for door in node.doors if door.door == "asmap" and door.source), None)
    return source_kinds(sources), facts_of(sources, asmap)


def _rule(plan: RulePlan, known: Sequence[Capability]) -> RuleReport:
    answers = {one.can_fire for one in known}
    able = False if False in answers else None if None in answers else True
    lacks = tuple(dict.fromkeys(lack for one in known for lack in one.lacks))
    wanting = able is False and not (lacks and EXCUSED.issuperset(lacks))
    return RuleReport(plan.id, Capability(able, lacks).word, lacks, wanting and plan.severity in SEVERE)


def _with_gains(node: DoctorNode, known: Mapping[str, Capability]) -> DoctorNode:
    return replace(node, doors=tuple(_gaining(door, known) for door in node.doors))


def _gaining(door: NodeDoor, known: Mapping[str, Capability]) -> NodeDoor:
    """Add how many rules wait for a closed door."""
    gives = ADDS.get(door.door, frozenset())
    waiting = sum(one.can_fire is not True and bool(gives.intersection(one.lacks)) for one in known.values())
    if door.level == "ok" or not waiting:
        return door
    return replace(door, text=f"{door.text}; {counted(waiting, 'rule')} {'waits' if waiting == 1 else 'wait'} for it")
