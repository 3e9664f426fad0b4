"""The engines of all nodes that a service watches, and their common queue to the writer."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from watchdog.core.errors import ServiceError
from watchdog.service.engine_thread import Bundle, EngineLoop


class Nodes:
    """One engine for each node, by its name, in the order of the configuration.

    The event loop adds and removes nodes; any thread may read: the mapping is replaced, never changed. out: the queue
    of all engines to the writer. labelled: the configuration has `nodes`, so metrics and texts name the node. fleet:
    the engine of the rules over nodes, under `nodes` only; iteration leaves it out.
    """

    def __init__(self, out: queue.Queue[Bundle], *, labelled: bool) -> None:
        self.out: Final = out
        self.labelled: Final = labelled
        self.engines: Mapping[str, EngineLoop] = MappingProxyType({})
        self.fleet: EngineLoop | None = None

    def __iter__(self) -> Iterator[EngineLoop]:
        return iter(self.engines.values())

    def __len__(self) -> int:
        return len(self.engines)

    @property
    def only(self) -> EngineLoop:
        """The engine of a service for one node. ServiceError with several."""
        if len(self.engines) != 1:
            raise ServiceError(f"the service watches {len(self.engines)} nodes, not one")
        return next(iter(self.engines.values()))

    @property
    def loops(self) -> list[EngineLoop]:
        """The engines of all nodes, then that of the fleet."""
        return [*self, *([self.fleet] if self.fleet is not None else [])]

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        return all(engine.alive for engine in self.loops)

    def add(self, engine: EngineLoop) -> None:
        """Add a node; the caller starts its thread."""
        self.engines = MappingProxyType({**self.engines, engine.node: engine})

    def discard(self, node: str) -> None:
        """Forget a node whose thread has ended or is about to."""
        self.engines = MappingProxyType({name: one for name, one in self.engines.items() if name != node})

    def stop(self) -> None:
        """Make all threads end after their present slice, with a checkpoint."""
        for engine in self:
            engine.stop()

    def give_up(self) -> None:
        """Make all threads end even while the queue is full."""
        for engine in self.loops:
            engine.give_up()

    def join(self, timeout_s: float) -> bool:
        """Wait for all threads, together this long; return whether all have ended.

        That of the fleet ends after those of the nodes, and takes in all that they have reported.
        """
        until_s = time.monotonic() + timeout_s
        ended = []
        for engine in self.loops:
            if engine is self.fleet:
                engine.stop()
            ended.append(engine.join(max(0.0, until_s - time.monotonic())))
        return all(ended)


def label_of(nodes: Nodes, engine: EngineLoop) -> Mapping[str, str]:
    """Return the labels that name a node in metrics and in the status; none without `nodes` in the configuration."""
    return {"node": engine.node} if nodes.labelled else {}
