"""Findings of rules over nodes on their way to the cases of the node that they accuse.

The fleet's thread hands them to the node's, which takes them at once: the node does not wait for the fleet, so that a
slow node delays no other, and what comes behind its time counts as now. When the node takes no more commands, or is
not watched, the finding stays with the house. What a kill finds between both threads is lost to the node's case; the
incident is stored all the same.
"""

from __future__ import annotations

from alerts.case.house import HouseFeed
from watchdog.core.finding import Finding
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.nodes import Nodes


def join_house(nodes: Nodes) -> None:
    """Let the cases of the nodes take what rules over nodes say of one of them."""
    cases = None if nodes.fleet is None else nodes.fleet.watch.pipeline.cases
    if cases is None or not isinstance(cases.events, HouseFeed):
        return

    def pass_on(node: str, time_ns: int, incident: str, finding: Finding | None) -> bool:
        engine = nodes.engines.get(node)
        return engine is not None and engine.orders.put(lambda: _take(engine, time_ns, incident, finding))

    cases.events.pass_on = pass_on


def _take(engine: EngineLoop, time_ns: int, incident: str, finding: Finding | None) -> None:
    """Take it in the node's own thread."""
    cases = engine.watch.pipeline.cases
    if cases is not None:
        cases.events.take(time_ns, incident, finding)
