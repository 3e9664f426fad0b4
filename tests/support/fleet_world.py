"""A simulated network with four nodes that are polled, and the fleet that compares them."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from alerts.incident import Incident
from rules.load import RuleSet
from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.kinds import ALL_KINDS, KINDS, dtype_of
from watchdog.core.source import END_OF_TIME_NS
from watchdog.engine.engine import Engine
from watchdog.offline.replay_fleet import FleetPipeline
from watchdog.pipeline.pipeline import Pipeline

SECOND = 1_000_000_000
START_S = 1_768_212_000  # 2026-01-12
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
MEAN_S, RACE = 600.0, 1 / 500  # between blocks; heights with two blocks


def batch(kind: str, node: str, rows: Sequence[Mapping[str, object]], source: str = "sim", boot_ns: int = 0) -> Batch:
    """Rows as a batch: `at` is seconds since the start; fields that are not given are 0 or empty."""
    columns: dict[str, Column] = {}
    for name, known in KINDS[kind].fields.items():
        if name == "time_ns":
            columns[name] = np.array([int((START_S + float(str(row["at"]))) * SECOND) for row in rows], np.int64)
            continue
        dtype = dtype_of(known.type)
        values = [row.get(name, "" if dtype is None else 0) for row in rows]
        columns[name] = Strings.of([str(value) for value in values]) if dtype is None else np.array(values, dtype)
    return Batch(kind, node, source, columns, boot_ns)


@dataclass
class Chain:
    """The blocks that one node accepts as its tip: when, height and hash; times rise."""

    times: list[float] = field(default_factory=list)
    tips: list[tuple[int, str]] = field(default_factory=list)
    hashes: dict[int, list[tuple[float, str]]] = field(default_factory=dict)

    def accept(self, at: float, height: int, hash_: str) -> None:
        """Take a block as the tip, or as another block at its height."""
        self.times.append(at)
        self.tips.append((height, hash_))
        self.hashes.setdefault(height, []).append((at, hash_))

    def tip(self, at: float) -> tuple[int, str]:
        """Height and hash of the tip at a time."""
        found = bisect_right(self.times, at)
        return self.tips[found - 1] if found else (800_000, "0" * 64)

    def hash_at(self, height: int, at: float) -> str:
        """The hash at a height, as getblockhash gives it at a time."""
        given = [hash_ for since, hash_ in self.hashes.get(height, []) if since <= at]
        return given[-1] if given else f"{height:064x}"


@dataclass
class SimNode:
    """A node of the simulation. stops: when it stops answering; ibd: it never leaves initial download.

    poll_s: between two polls, 0 for that of the world.
    """

    name: str
    chain: Chain
    stops: float = float("inf")
    ibd: bool = False
    started: float = -DAY
    network: str = "main"
    poll_s: float = 0.0
    extra: list[Batch] = field(default_factory=list)


def blocks(seed: int, length_s: float) -> list[tuple[float, int, str, str]]:
    """Times, heights and hashes of the network's blocks, with the loser of a race ("" without one)."""
    chance = random.Random(seed)
    made, at, height = [], chance.expovariate(1 / MEAN_S), 800_001
    while at < length_s:
        race = f"{height:032x}{2:032x}" if chance.random() < RACE else ""
        made.append((at, height, f"{height:032x}{1:032x}", race))
        at, height = at + chance.expovariate(1 / MEAN_S), height + 1
    return made


def honest(seed: int, network: Sequence[tuple[float, int, str, str]], delay_s: float = 0.0) -> Chain:
    """The chain of a node that gets every block after 0.2 to 30 s, and in a race maybe the loser first."""
    chance, chain = random.Random(seed), Chain()
    arrivals: list[tuple[float, int, str]] = []
    reach = 0.0
    for at, height, winner, loser in network:
        reach = max(reach + 0.01, at + delay_s + chance.uniform(0.2, 30.0))  # a block waits for its parent
        if loser and chance.random() < 0.5:
            arrivals.append((reach, height, loser))
        else:
            arrivals.append((reach, height, winner))
    replaced = {height: winner for _, height, winner, loser in network if loser}
    for reach, height, hash_ in sorted(arrivals):
        before = height - 1
        if before in replaced and chain.hash_at(before, reach) != replaced[before]:
            chain.hashes.setdefault(before, []).append((reach, replaced[before]))  # the race is lost with this block
        if height > chain.tip(reach)[0]:
            chain.accept(reach, height, hash_)
    return chain


class World:
    """Nodes, polled in portions of ten minutes, each through an engine of its own into the fleet."""

    def __init__(self, rules: RuleSet, nodes: Sequence[SimNode], *, poll_s: float = 60.0) -> None:
        self.nodes, self.poll_s = list(nodes), poll_s
        self.fleet = FleetPipeline(rules, [node.name for node in nodes])
        self.pipelines = {
            node.name: self.fleet.tapped(Pipeline(Engine(rules.plans, {"sim": ALL_KINDS}, node=node.name)))
            for node in nodes
        }

    def run(self, length_s: float, portion_s: float = 600.0) -> list[Incident]:
        """Let time pass; return the incidents of the fleet."""
        for begin in np.arange(0.0, length_s, portion_s):
            for node in self.nodes:
                self.pipelines[node.name].process(self.portion(node, float(begin), float(begin) + portion_s))
        return self.fleet.pipeline.books.incidents()

    def finish(self) -> list[Incident]:
        """End the input of all nodes."""
        for pipeline in self.pipelines.values():
            pipeline.process(Slice("sim", (), END_OF_TIME_NS))
            pipeline.finish()
        return self.fleet.pipeline.books.incidents()

    def portion(self, node: SimNode, begin: float, end: float) -> Slice:
        """What a node's source gives for a stretch of time."""
        first = self._offset(node)
        poll_s = node.poll_s or self.poll_s
        first += max(0.0, np.ceil((begin - first) / poll_s)) * poll_s
        polls = [at for at in np.arange(first, end, poll_s).tolist() if at < node.stops]
        found = list(self._batches(node, polls))
        begin_ns, end_ns = int((START_S + begin) * SECOND), int((START_S + end) * SECOND)
        for more in node.extra:
            rows = np.flatnonzero((more.time_ns >= begin_ns) & (more.time_ns < end_ns))
            found += [more.take(rows)] if len(rows) else []
        return Slice("sim", tuple(found), end_ns)

    def _offset(self, node: SimNode) -> float:
        return 1.0 + 7.0 * self.nodes.index(node)

    def _batches(self, node: SimNode, polls: Sequence[float]) -> Iterator[Batch]:
        if not polls:
            return
        boot_ns = int((START_S + node.started) * SECOND)
        heights = [(at, node.chain.tip(at)[0]) for at in polls]
        rows = [
            {"at": at, "blocks": height, "headers": height, "ibd": node.ibd, "chain": node.network}
            for at, height in heights
        ]
        yield batch("rpc:chain", node.name, rows, boot_ns=boot_ns)
        answers: list[dict[str, object]] = []
        for at in polls:
            lowest = min((one.chain.tip(at)[0] for one in self.nodes if not one.ibd and at < one.stops), default=0)
            asked = () if node.ibd else (lowest, lowest - 6)
            answers += [{"at": at + 0.5, "height": one, "hash": node.chain.hash_at(one, at)} for one in asked]
        if answers:
            yield batch("rpc:block_hash", node.name, answers, boot_ns=boot_ns)
