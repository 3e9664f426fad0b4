"""The nodes of a reload: added and removed ones; the others run on untouched."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rules.load import RuleSet
from watchdog.core.errors import ServiceError, WatchdogError
from watchdog.service.assembly import ServiceParts
from watchdog.service.chores import Chores
from watchdog.service.commands import EngineCommand
from watchdog.service.config.settings import NodeSettings, ServiceConfig
from watchdog.service.engine_thread import EngineLoop, discard
from watchdog.service.fleet_feed import FleetFeed

REMOVED_S = 10.0  # for the engine of a removed node to take its present slice and end
_LOG = logging.getLogger("watchdog.service")


@dataclass(frozen=True, slots=True)
class NodeChanges:
    """What a reload does to the nodes. waits: changes that only a restart brings into force, by key.

    kept: settings of the nodes that run on. built: engines of new nodes, not started. removed: names.
    """

    kept: tuple[NodeSettings, ...]
    added: tuple[NodeSettings, ...] = ()
    removed: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    built: Sequence[EngineLoop] = ()

    @property
    def text(self) -> str:
        """What changes, for people; empty when nothing does."""
        parts = [("new", [one.name for one in self.added]), ("removed", list(self.removed))]
        return "; ".join(f"nodes {change}: {', '.join(sorted(names))}" for change, names in parts if names)


def changes_of(running: ServiceConfig, read: ServiceConfig) -> NodeChanges:
    """Compare the nodes in force with those of the file.

    Without `nodes` the node and its sources are fixed at the start. Under `nodes`, a node whose sources differ keeps
    those that it has until a restart.
    """
    if not (running.several and read.several):
        if running.several != read.several:
            return NodeChanges(running.nodes, waits=("nodes",))
        before, after = running.nodes[0], read.nodes[0]
        differs = {
            "node": before.name != after.name,
            "sources": (before.sources, before.source_settings) != (after.sources, after.source_settings),
            "order": before.order != after.order,
            "recorder": before.recorder != after.recorder,
        }
        return NodeChanges(running.nodes, waits=tuple(key for key, true in differs.items() if true))
    now, new = {one.name: one for one in running.nodes}, {one.name: one for one in read.nodes}
    return NodeChanges(
        kept=tuple(one for name, one in now.items() if name in new),
        added=tuple(one for name, one in new.items() if name not in now),
        removed=tuple(name for name in now if name not in new),
        waits=tuple(f"nodes.{name}" for name in now if name in new and now[name] != new[name]),
    )


class NodeReloader:
    """Adds and removes nodes while the service runs. Belongs to the event loop; `Reloader` calls it."""

    def __init__(self, parts: ServiceParts, chores: Chores) -> None:
        self._parts, self._chores = parts, chores

    async def built(self, config: ServiceConfig, nodes: Sequence[NodeSettings], rules: RuleSet) -> list[EngineLoop]:
        """Build the engines of new nodes. WatchdogError when one cannot be built: then none is left open."""
        engines: list[EngineLoop] = []
        try:
            for node in nodes:
                call = lambda node=node: self._parts.start.build(config, node, rules)  # noqa: E731
                engines.append(await self._chores.housekeeping.ask(call))
        except (WatchdogError, OSError):
            for engine in engines:
                discard(engine)
            raise
        return engines

    def start(self, engines: Sequence[EngineLoop]) -> None:
        """Start the engines of new nodes."""
        for engine in engines:
            self._to_fleet(partial(_add, engine.node))
            self._parts.nodes.add(engine)
            engine.start()
            _LOG.info("watching node %s from now on", engine.node)

    async def remove(self, names: Sequence[str]) -> None:
        """Resolve the incidents of removed nodes, end their engines and remove their checkpoints."""
        nodes = self._parts.nodes
        for name in names:
            engine = nodes.engines[name]
            nodes.discard(name)
            _order(engine, partial(engine.remove, name))
            if not await asyncio.to_thread(engine.join, REMOVED_S):
                engine.give_up()
                _LOG.error("the engine of node %s did not end within %g s", name, REMOVED_S)
            self._to_fleet(partial(_forget, name))
            _LOG.info("node %s is no longer watched", name)

    def _to_fleet(self, command: Callable[[EngineLoop, FleetFeed], None]) -> None:
        """Run a command in the fleet's thread, between two steps."""
        fleet, feed = self._parts.nodes.fleet, self._parts.start.fleet.feed
        if fleet is not None and feed is not None:
            _order(fleet, partial(command, fleet, feed))


def _order(engine: EngineLoop, command: EngineCommand) -> None:
    """Run a command in an engine's thread. ServiceError: too many wait."""
    if not engine.orders.put(command):
        raise ServiceError(f"the engine of {engine.node} is far behind and takes no more commands")


def _add(node: str, _fleet: EngineLoop, feed: FleetFeed) -> None:
    feed.stage.members.add(node)


def _forget(node: str, fleet: EngineLoop, feed: FleetFeed) -> None:
    feed.stage.forget(node)
    fleet.remove(node)
