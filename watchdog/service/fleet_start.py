"""Builds the fleet's engine, resumed from its checkpoint; nothing runs yet."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from alerts.store.actions import Actions
from alerts.store.case_acts import CaseActs
from rules.load import RuleSet
from watchdog.core.errors import StateError
from watchdog.core.finding import FLEET
from watchdog.fleet.report import SOURCE
from watchdog.fleet.stage import FleetStage
from watchdog.fleet.tap import Tap
from watchdog.fleet.wanted import FLEET_SOURCES, fleet_reads, nodes_report
from watchdog.pipeline.checkpoint import Checkpoint, read_checkpoint
from watchdog.pipeline.clock import Clock
from watchdog.service.case_act_fetch import take_case_acts
from watchdog.service.config.settings import ServiceConfig
from watchdog.service.engine_thread import Bundle, EngineLoop, NodeReports
from watchdog.service.first_start import start_before
from watchdog.service.fleet_feed import FleetFeed, FleetInbox
from watchdog.service.live_pipeline import LivePipeline, check_fits

FLEET_FILE = "watchdog.fleet"
"""The state of the fleet, beside the checkpoints of the nodes; no node's file can have this name."""
_LOG = logging.getLogger("watchdog.service")


def fleet_path(config: ServiceConfig) -> Path:
    """Return the file for the state of the fleet."""
    return config.checkpoint.folder / FLEET_FILE


@dataclass(slots=True)
class FleetStart:
    """What joins the nodes of a service: the inbox of the fleet, and its feed once it is built."""

    inbox: FleetInbox = field(default_factory=FleetInbox)
    feed: FleetFeed | None = None

    def reports(self, node: str, rules: RuleSet, saved: Checkpoint | None, now_ns: int) -> NodeReports:
        """Return what tells the fleet of a node. saved: the node's checkpoint; without it its counts start here."""
        counts = dict(saved.streams.get(node, {})) if saved is not None and saved.origin else {}
        tap = Tap(node, nodes_report(rules.plans), saved.origin if saved is not None and saved.origin else now_ns)
        tap.counts = counts
        return NodeReports(tap, self.inbox)

    def heights(self, node: str) -> tuple[int, ...]:
        """Return the heights at which a node should be asked for a block hash; from any thread."""
        return () if self.feed is None else self.feed.heights.get(node, ())

    def build(
        self,
        config: ServiceConfig,
        rules: RuleSet,
        actions: Actions,
        case_acts: CaseActs,
        out: queue.Queue[Bundle],
        *,
        clock: Clock,
        wall_ns: Callable[[], int],
    ) -> EngineLoop:
        """Return the engine thread of the fleet, not started. StateError: its checkpoint cannot be used. StoreError."""
        path = fleet_path(config)
        saved = read_checkpoint(path) if path.exists() else None
        if saved is not None:
            check_fits(saved, FLEET, str(path))
        stage = FleetStage([node.name for node in config.nodes], fleet_reads(rules.plans))
        self.feed = feed = FleetFeed(stage, self.inbox, clock, wall_ns)
        watch = LivePipeline(rules, FLEET, FLEET_SOURCES, alone=False)
        first = []
        if saved is not None:
            self._restore(stage, saved, path)
            first = watch.resume(saved)
        else:
            watch.begin({SOURCE: start_before(config.start, wall_ns())})
        watch.actions.forget_after(actions.last_id())
        for action in actions.after(watch.actions.last_id):
            first += watch.act(action)
        take_case_acts(watch.case_rows, case_acts)
        for gone in sorted({one.node for one in watch.books.incidents()} - {FLEET, *(n.name for n in config.nodes)}):
            first += watch.remove_node(gone)  # it was removed from the configuration while no service ran
        engine = EngineLoop(watch, feed, out, clock, every_s=config.checkpoint.every_ns / 1e9, wanted=fleet_reads)
        rows = watch.case_rows
        engine.first = Bundle(first, cases=rows.take(), notices=rows.take_changes()) if first else None
        return engine

    def _restore(self, stage: FleetStage, saved: Checkpoint, path: Path) -> None:
        try:
            stage.restore(saved.stage)
        except StateError as error:
            raise StateError(
                f"'{path}': {error}; remove it, and the rules over nodes restart with empty state"
            ) from None
