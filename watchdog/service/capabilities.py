"""Which rules can fire with the sources that there are, and what the others lack. Pure: facts in, answers out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from rules.reach import can_fire
from watchdog.core.kinds import KINDS
from watchdog.core.plan import RulePlan
from watchdog.core.text import counted
from watchdog.engine.source_groups import Kinds
from watchdog.sources.log.categories import category_of

LACKS: Final[Mapping[str, str]] = {
    "capture": "a capture (-capturemessages)",
    "log": "a log",
    "log:net": "a log with -debug=net",
    "log:addrman": "a log with -debug=addrman",
    "rpc": "rpc or snapshots",
    "asmap": "an asmap",
    "tracepoint": "tracepoints, which this version does not read",
}
"""All that a rule can lack, and the words for it."""
NAMED: Final = 60  # rules of one line
_PROVIDERS: Final = {"capture": "capture", "snapshots": "rpc", "tracepoint": "tracepoint"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known beyond the names of the sources.

    asmap: one is configured. seen: kinds of which there was an event. log_net, log_addrman: whether the log has lines
    of these categories; None while that is not known.
    """

    asmap: bool = False
    seen: frozenset[str] = frozenset()
    log_net: bool | None = None
    log_addrman: bool | None = None


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


def capabilities(
    plans: Iterable[RulePlan], sources: Mapping[str, Kinds], facts: Facts = Facts()
) -> dict[str, Capability]:
    """What each rule can do, by its id. sources: the kinds that each can give, by name; None for any."""
    world = _World(sources, facts)
    return {plan.id: world.judge(plan) for plan in plans}


def lines(found: Mapping[str, Capability]) -> list[str]:
    """A line for each lack: `12 rules wait for rpc or snapshots: eclipse-stale-tip, ...`; none when nothing lacks.

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

    def __init__(self, sources: Mapping[str, Kinds], facts: Facts) -> None:
        self._asmap = facts.asmap
        self._sure, self._perhaps = set(facts.seen), set(facts.seen)
        shown = {category_of(kind) for kind in facts.seen}
        known = {
            "net": "net" in shown or facts.log_net,
            "addrman": "addrman" in shown or facts.log_addrman,
            None: True,
        }
        for kinds in sources.values():
            for kind in KINDS if kinds is None else kinds:
                state = None if kinds is None else known[category_of(kind)]
                if state is not False:
                    self._perhaps.add(kind)
                if state:
                    self._sure.add(kind)
        self._missing = [lack for lack in LACKS if not self._has(lack)]

    def judge(self, plan: RulePlan) -> Capability:
        """Whether a rule can fire, and what it lacks."""
        if can_fire(plan, self._sure, self._without_asmap):
            return Capability(True, ())
        perhaps = can_fire(plan, self._perhaps, self._node_asmap)
        return Capability(None if perhaps else False, self._lacks(plan))

    def _has(self, lack: str) -> bool:
        if lack == "asmap":
            return self._asmap
        return _GIVEN[lack] <= self._sure

    def _lacks(self, plan: RulePlan) -> tuple[str, ...]:
        """What the rule cannot do without; else each thing that would be enough."""
        missing = [lack for lack in self._missing if lack != "tracepoint"]
        if not self._fires(plan, missing):
            missing = list(self._missing)
        needed = [lack for lack in missing if not self._fires(plan, [one for one in missing if one != lack])]
        return tuple(needed or [lack for lack in missing if self._fires(plan, [lack])])

    def _fires(self, plan: RulePlan, added: Collection[str]) -> bool:
        kinds = self._sure.union(*(_GIVEN.get(lack, frozenset()) for lack in added))
        return can_fire(plan, kinds, _never if self._asmap or "asmap" in added else self._without_asmap)

    def _without_asmap(self, _kind: str, field: str) -> bool:
        return not self._asmap and _is_asn(field)

    def _node_asmap(self, kind: str, field: str) -> bool:
        """A node that has an asmap says what it makes of peers and addresses, in answers of its RPCs only."""
        return self._without_asmap(kind, field) and "snapshots" not in KINDS[kind].sources


def _never(_kind: str, _field: str) -> bool:
    return False


def _is_asn(field: str) -> bool:
    return field == "asn" or field.endswith("_asn")


def _provided() -> dict[str, frozenset[str]]:
    """The kinds that each thing which a rule can lack would give."""
    found: dict[str, set[str]] = {}
    for kind in KINDS.values():
        for source in kind.sources:
            category = category_of(kind.name)
            log = f"log:{category}" if category else "log"
            found.setdefault(_PROVIDERS.get(source, log), set()).add(kind.name)
    return {lack: frozenset(kinds) for lack, kinds in found.items()}


_GIVEN: Final = _provided()
