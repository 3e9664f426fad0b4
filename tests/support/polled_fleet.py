"""Several nodes that are polled over real HTTP on one virtual clock, and the fleet that compares them and asks them.

All pollers pause together: what they gave is judged, the clock moves, and they continue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from alerts.incident import Incident
from rules.load import RuleSet
from tests.support.fake_node import FakeNode, NodeError, tip_hash, v30
from tests.support.virtual_node import START
from watchdog.core.source import SourceOptions
from watchdog.engine.engine import Engine
from watchdog.fleet.wanted import sources_give
from watchdog.offline.replay_fleet import FleetPipeline
from watchdog.pipeline.pipeline import Pipeline
from watchdog.sources.rpc.poller import Timing
from watchdog.sources.rpc.rpc_source import RpcSource

LIMIT_S = 60.0  # of real time, for one round of all pollers


class PolledNode(Protocol):
    """What can be polled: a fake node, or a real one."""

    @property
    def url(self) -> str:
        """Where its RPC answers."""
        ...

    @property
    def cookie(self) -> Path:
        """Its cookie file."""
        ...


class ChainNode(FakeNode):
    """A node with a chain: `height`, and from `fork` on blocks of another branch (0: the same as all)."""

    height, fork, branch = 900_000, 1 << 40, 1

    def follow(self, height: int, fork: int = 1 << 40) -> None:
        """Take a tip."""
        self.height, self.fork = height, fork
        shape = dict(v30(now_s=START)["getblockchaininfo"])
        tip = {"blocks": height, "headers": height, "bestblockhash": self.block(height)}
        self.answers["getblockchaininfo"] = {**shape, **tip}
        self.answers["getblockhash"] = self._at

    def block(self, height: int) -> str:
        return tip_hash(height, self.branch if height >= self.fork else 0)

    def _at(self, params: list[int]) -> str:
        (height,) = params
        if height > self.height:
            raise NodeError(-8, "Block height out of range")
        return self.block(height)


class PolledFleet:
    """Nodes by name, their pollers and engines, and the fleet's.

    stride_s: how far the clock moves at once. settings: of all sources.
    """

    def __init__(
        self, rules: RuleSet, nodes: Mapping[str, PolledNode], stride_s: float = 5.0, **settings: object
    ) -> None:
        self.now_s, self.stride_s = float(START), stride_s
        self.fleet = FleetPipeline(rules, list(nodes))
        self.asks = True
        self._ended = False
        self._pause = threading.Barrier(len(nodes) + 1)
        timing = Timing(self._wall_ns, lambda: self.now_s, self._wait, lambda: 0.5)
        self.sources: dict[str, RpcSource] = {}
        self._pipelines: dict[str, Pipeline] = {}
        for name, node in nodes.items():
            options = SourceOptions(
                name,
                sources_give(rules.plans),
                wall_ns=self._wall_ns,
                settings={"cookie": node.cookie, **settings},
                asked_heights=partial(self._heights, name),
            )
            source = self.sources[name] = RpcSource(node.url, options, timing)
            engine = Engine(rules.plans, {source.name: source.kinds}, node=name)
            self._pipelines[name] = self.fleet.tapped(Pipeline(engine))

    def run(self, seconds: float, each: Callable[[float], object] = lambda _: None) -> list[Incident]:
        """Let time pass; return the incidents over nodes so far. each: called with the seconds since the start."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self._pause.wait(LIMIT_S)
            self._judge()
            self.now_s += self.stride_s
            each(self.now_s - START)
            self._pause.wait(LIMIT_S)
        return self.fleet.pipeline.books.incidents()

    def _judge(self) -> None:
        for name, source in self.sources.items():
            while (slice_ := source.poll()) is not None:
                self._pipelines[name].process(slice_)

    def _heights(self, name: str) -> tuple[int, ...]:
        return self.fleet.stage.heights_to_ask().get(name, ()) if self.asks else ()

    def _wall_ns(self) -> int:
        return round(self.now_s * 1e9)

    def _wait(self, stopping: threading.Event, _seconds: float) -> None:
        if self._ended:
            stopping.set()
            return
        try:
            self._pause.wait(LIMIT_S)
            self._pause.wait(LIMIT_S)
        except threading.BrokenBarrierError:
            stopping.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended = True
        self._pause.abort()
        for source in self.sources.values():
            source.close()
