"""Which rules can fire with the sources that there are, and what the others lack. Pure: facts in, answers out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from rules.reach import can_feed, can_fire, can_fire_over
from watchdog.core.kinds import ALL_KINDS, FINDING_KINDS, KINDS
from watchdog.core.plan import RulePlan
from watchdog.core.river_classes import EXTRA
from watchdog.core.text import counted
from watchdog.fleet.stage import FACT_KINDS, kinds_for
from watchdog.sources.log.categories import category_of

LACKS: Final[Mapping[str, str]] = {
    "capture": "messages: tracepoints (watchdog extract) or a capture (-capturemessages)",
    "log": "a log",
    "log:net": "a log with -debug=net",
    "log:addrman": "a log with -debug=addrman",
    "rpc": "rpc or snapshots",
    "zmq": "a zmq source",
    "ipc": "an ipc source with subscribe",
    "asmap": "an asmap",
    "tracepoint": "tracepoints (watchdog extract, or a nats source)",
    "rules": "rules whose findings they read",
    "nodes": "several nodes in the configuration",
    "river": f"the package river ({EXTRA})",
}
"""All that a rule can lack, and the words for it."""
NAMED: Final = 60  # rules of one line
_PROVIDERS: Final = {
    "capture": "capture",
    "snapshots": "rpc",
    "rpc": "rpc",
    "zmq": "zmq",
    "ipc": "ipc",
    "tracepoint": "tracepoint",
    "rules": "rules",
    "fleet": "nodes",
}
_OF_SOURCES: Final = tuple(lack for lack in LACKS if lack not in ("rules", "nodes", "river"))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beyond the names of the sources.

    asmap: one is configured. seen: kinds of which there was an event. log_net, log_addrman: whether the log has lines
    of these categories; None while that is not known. nodes: how many nodes the service watches. river: the
    package is installed.
    """

    asmap: bool = False
    seen: frozenset[str] = frozenset()
    log_net: bool | None = None
    log_addrman: bool | None = None
    nodes: int = 1
    river: bool = True


class Capability(NamedTuple):
    """can_fire: None where it depends on what the sources will hold. lacks: names of `LACKS`, in their order.

    lacks: what has to be added; where one of several would do, all of these. Empty when the rule can fire.
    """

    can_fire: bool | None
    lacks: tuple[str, ...]

    @property
    def word(self) -> bool | str:
        """`can_fire` for JSON: true, false or "unknown"."""
        return "unknown" if self.can_fire is None else self.can_fire


ALONE: Final = Capability(False, ("nodes",))
"""The capability of a rule over nodes where there is one node."""
WITHOUT_RIVER: Final = Capability(False, ("river",))
"""The capability of a rule with `changed` or a model where river is not installed."""


def capabilities(
    plans: Iterable[RulePlan], sources: Mapping[str, frozenset[str]], facts: Facts = Facts()
) -> dict[str, Capability]:
    """Return the capability of each rule, by id. sources: the kinds that each can give, by name.

    Rules over nodes are left out where there is one node: see `ALONE`.
    """
    world, plans = _World(sources, facts), tuple(plans)
    fleet = [plan for plan in plans if plan.scope == "fleet"] if facts.nodes > 1 else []
    over_nodes = {plan.id: _over_nodes(plan, world) for plan in fleet}
    if not facts.river:
        unable = {plan.id: WITHOUT_RIVER for plan in plans if plan.drifts or plan.model}
        plans = tuple(plan for plan in plans if plan.id not in unable)
        over_nodes |= unable
    plans = tuple(plan for plan in plans if plan.scope == "node")
    judged = {plan.id: world.judge(plan) for plan in plans if FINDING_KINDS.isdisjoint(plan.kinds)}
    feeders = [(plan, judged[plan.id]) for plan in plans if plan.id in judged]
    return {plan.id: judged.get(plan.id) or _over_findings(plan, feeders) for plan in plans} | over_nodes


def _over_nodes(plan: RulePlan, world: _World) -> Capability:
    """Return the capability of a rule over nodes: it waits for the kinds that it compares."""
    needed = kinds_for(plan.kinds) - {"node:started", "rpc:uptime"}  # nice to know
    if needed & FINDING_KINDS:
        return Capability(None, ())  # it depends on what the rules of the nodes find
    needed = needed - FACT_KINDS or needed
    if needed & world.sure:
        return Capability(True, ())
    given = _provided()
    lacks = tuple(lack for lack in _OF_SOURCES if given.get(lack, frozenset()) & needed)
    return Capability(None, ()) if needed & world.perhaps else Capability(False, lacks)


def _over_findings(plan: RulePlan, others: Sequence[tuple[RulePlan, Capability]]) -> Capability:
    """Return the capability of a rule over findings: it waits for what the rules lack whose findings it reads."""
    feeders = [(feeder, one) for feeder, one in others if can_feed(feeder, plan)]
    sure = [feeder for feeder, one in feeders if one.can_fire]
    if can_fire_over(plan, sure):
        return Capability(True, ())
    perhaps = can_fire_over(plan, [feeder for feeder, one in feeders if one.can_fire is not False])
    waiting = [(feeder, one) for feeder, one in feeders if not one.can_fire]
    enough = [one for feeder, one in waiting if can_fire_over(plan, [*sure, feeder])]
    together = [one for _, one in waiting] if can_fire_over(plan, [feeder for feeder, _ in feeders]) else []
    lacks = {lack for one in enough or together for lack in one.lacks} or {"rules"}
    return Capability(None if perhaps else False, tuple(lack for lack in LACKS if lack in lacks))


def lines(found: Mapping[str, Capability]) -> list[str]:
    """Return a line for each lack: `12 rules wait for rpc or snapshots: eclipse-stale-tip, ...`.

    Rules of which nothing is known are left out, but for an asmap: the node may have one, and says so nowhere.
    """
    told = []
    for lack, words in LACKS.items():
        names = [name for name, one in found.items() if one.can_fire is False and lack in one.lacks]
        if names:
            told.append(f"{counted(len(names), 'rule')} {_wait(names)} for {words}: {_named(names)}")
    names = [name for name, one in found.items() if one.can_fire is None and one.lacks == ("asmap",)]
    if names:
        told.append(f"{counted(len(names), 'rule')} {_wait(names)} for an asmap, here or in the node: {_named(names)}")
    return told


def _wait(names: Sequence[str]) -> str:
    return "waits" if len(names) == 1 else "wait"


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(sorted(names)[:NAMED]) + more


class _World:
    """What the sources give: surely, perhaps, and with something added."""

    def __init__(self, sources: Mapping[str, frozenset[str]], facts: Facts) -> None:
        self._asmap = facts.asmap
        self._recorded = any(kinds >= ALL_KINDS for kinds in sources.values())  # perhaps with an asmap
        self.sure, self.perhaps = set(facts.seen), set(facts.seen)
        shown = {category_of(kind) for kind in facts.seen}
        known = {
            "net": "net" in shown or facts.log_net,
            "addrman": "addrman" in shown or facts.log_addrman,
            None: True,
        }
        for kinds in sources.values():
            for kind in kinds:
                state = None if kinds >= ALL_KINDS else known[category_of(kind)]
                if state is not False:
                    self.perhaps.add(kind)
                if state:
                    self.sure.add(kind)
        self._given = _provided()
        self._missing = [lack for lack in _OF_SOURCES if not self._has(lack)]

    def judge(self, plan: RulePlan) -> Capability:
        """Return whether a rule can fire, and what it lacks."""
        if can_fire(plan, self.sure, self._without_asmap):
            return Capability(True, ())
        perhaps = can_fire(plan, self.perhaps, self._node_asmap)
        return Capability(None if perhaps else False, self._lacks(plan))

    def _has(self, lack: str) -> bool:
        if lack == "asmap":
            return self._asmap
        return self._given[lack] <= self.sure

    def _lacks(self, plan: RulePlan) -> tuple[str, ...]:
        """Return what the rule cannot do without; else each single thing that would be enough."""
        missing = [lack for lack in self._missing if lack != "tracepoint"]
        if not self._fires(plan, missing):
            missing = list(self._missing)
        needed = [lack for lack in missing if not self._fires(plan, [one for one in missing if one != lack])]
        return tuple(needed or [lack for lack in missing if self._fires(plan, [lack])])

    def _fires(self, plan: RulePlan, added: Collection[str]) -> bool:
        kinds = self.sure.union(*(self._given.get(lack, frozenset()) for lack in added))
        return can_fire(plan, kinds, _never if self._asmap or "asmap" in added else self._without_asmap)

    def _without_asmap(self, _kind: str, field: str) -> bool:
        return not self._asmap and _is_asn(field)

    def _node_asmap(self, kind: str, field: str) -> bool:
        """Return whether nothing could fill a field: RPC answers have the result of the node's own asmap."""
        given = self._recorded or "snapshots" in KINDS[kind].sources
        return self._without_asmap(kind, field) and not given


def _never(_kind: str, _field: str) -> bool:
    return False


def _is_asn(field: str) -> bool:
    return field == "asn" or field.endswith("_asn")


def _provided() -> dict[str, frozenset[str]]:
    """Return the kinds that each name of `LACKS` would give."""
    found: dict[str, set[str]] = {}
    for kind in KINDS.values():
        for source in kind.sources:
            if source == "ipc" and "rpc" in kind.sources:
                continue  # what calls answer, an rpc source gives as well: one lack is enough
            category = category_of(kind.name)
            log = f"log:{category}" if category else "log"
            found.setdefault(_PROVIDERS.get(source, log), set()).add(kind.name)
    return {lack: frozenset(kinds) for lack, kinds in found.items()}
