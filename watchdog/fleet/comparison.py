"""The interface of a comparison over nodes, and what all comparisons know of the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from watchdog.core.batch import Batch, Strings
from watchdog.core.durations import SECOND_NS
from watchdog.fleet.report import FleetRow

STEP_NS: Final = 10 * SECOND_NS
"""Event time is compared in steps: within one, the order in which nodes report makes no difference."""
STALE_NS: Final = 300 * SECOND_NS
"""RPC's budget stretches the interval between two answers to two minutes at most; a longer one is configured."""
UNKNOWN_NS: Final = -1


@dataclass(slots=True)
class NodeFacts:
    """What is known of a node.

    chain: such as `main`; only nodes of one chain are compared. polled_ns: when it last answered with its chain.
    interval_ns, usual_ns: between its last two answers, and the less of the last two such intervals: an outage is no
    interval. started_ns: -1 when unknown.
    """

    chain: str = ""
    height: int = 0
    hash: str = ""
    ibd: bool = True
    polled_ns: int = UNKNOWN_NS
    started_ns: int = UNKNOWN_NS
    interval_ns: int = 0
    usual_ns: int = 0

    def polled(self, time_ns: int) -> None:
        """Note an answer."""
        if self.polled_ns != UNKNOWN_NS:
            interval_ns = max(0, time_ns - self.polled_ns)
            self.usual_ns = min(self.interval_ns or interval_ns, interval_ns)
            self.interval_ns = interval_ns
        self.polled_ns = time_ns

    @property
    def stale_ns(self) -> int:
        """After how long without an answer the node is silent."""
        return max(STALE_NS, 3 * self.usual_ns)

    def fresh(self, now_ns: int) -> bool:
        """Return whether it has answered lately."""
        return self.polled_ns != UNKNOWN_NS and now_ns - self.polled_ns <= self.stale_ns

    def in_sync(self, now_ns: int) -> bool:
        """Return whether its chain can be compared."""
        return not self.ibd and self.fresh(now_ns)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one kind, node and source within a step, in the source's order."""

    node: str
    batch: Batch


@dataclass(frozen=True, slots=True)
class Step:
    """One step of event time: up to `end_ns`, exclusive. nodes: those that take part, sorted. facts: by node.

    apart: nodes with another chain than most nodes; the comparison of chains fills it before the others look.
    """

    end_ns: int
    nodes: Sequence[str]
    facts: Mapping[str, NodeFacts]
    parts: Mapping[str, Sequence[Part]]
    apart: set[str] = field(default_factory=set)

    def of(self, kind: str) -> Sequence[Part]:
        """Return the rows of a kind."""
        return self.parts.get(kind, ())

    def in_sync(self) -> dict[str, list[str]]:
        """Return the nodes whose tips can be compared, by chain."""
        return by_chain(self.nodes, self.facts, self.end_ns)


def by_chain(nodes: Iterable[str], facts: Mapping[str, NodeFacts], now_ns: int) -> dict[str, list[str]]:
    """Return the nodes whose tips can be compared, by chain."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        if node in facts and facts[node].in_sync(now_ns):
            found.setdefault(facts[node].chain, []).append(node)
    return found


class Comparison(Protocol):
    """Compares nodes step by step; its state is plain data, so that a run that resumes decides the same.

    reads: the kinds of node events that it needs. gives: the kinds `fleet:*` that it makes.
    """

    reads: ClassVar[frozenset[str]]
    gives: ClassVar[frozenset[str]]
    state: dict[str, object]

    def step(self, step: Step) -> Iterator[FleetRow]:
        """Yield what this step shows; called once for each step, in their order."""
        ...

    def forget(self, node: str) -> None:
        """Forget a node that was removed."""
        ...


def text(batch: Batch, name: str, row: int) -> str:
    """Return a text of one row; empty where the kind lacks the field."""
    column = batch.columns.get(name)
    return column.values[int(column.codes[row])] if isinstance(column, Strings) else ""


def whole(batch: Batch, name: str, row: int) -> int:
    """Return a whole number of one row."""
    return int(batch.numbers(name)[row])
