"""Builds the engine of one node, resumed from its checkpoint; nothing runs yet."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alerts.notice import ChangeRecord
from alerts.store.actions import Actions
from alerts.store.case_acts import CaseActs
from alerts.store.recordings import Recordings
from rules.load import RuleSet
from watchdog.core.finding import FLEET
from watchdog.core.plan import RulePlan
from watchdog.core.source import SourceOptions
from watchdog.core.text import printable
from watchdog.fleet.wanted import sources_give
from watchdog.pipeline.checkpoint import Checkpoint, read_checkpoint
from watchdog.pipeline.clock import Clock
from watchdog.service.case_act_fetch import take_case_acts
from watchdog.service.config.settings import NodeSettings, RecorderSettings, ServiceConfig
from watchdog.service.engine_thread import Bundle, EngineLoop
from watchdog.service.feed import Feed
from watchdog.service.first_start import LEAD_NS, first_starts, start_before
from watchdog.service.fleet_start import FleetStart, fleet_path
from watchdog.service.live_pipeline import LivePipeline, check_fits
from watchdog.service.node_metrics import kinds_read
from watchdog.service.recorder import NodeRecorder
from watchdog.service.stored_positions import StoredPositions

CHECKPOINT_FILE = "watchdog.checkpoint"
"""The state of the only node, when it is not under `nodes`."""
SUFFIX = ".checkpoint"
_LOG = logging.getLogger("watchdog.service")


def checkpoint_path(config: ServiceConfig, node: str) -> Path:
    """Return the file for the state of a node: `NAME.checkpoint` under `nodes`, else `watchdog.checkpoint`."""
    if node == FLEET:
        return fleet_path(config)
    return config.checkpoint.folder / (f"{node}{SUFFIX}" if config.several else CHECKPOINT_FILE)


def take_over(config: ServiceConfig) -> None:
    """Rename the checkpoint of a node that the configuration now writes in the other form, with or without `nodes`.

    Called at the start, before any checkpoint is read. A file of another name is left alone; what the form in force
    has already wins. StateError: `watchdog.checkpoint` is damaged. OSError: it cannot be renamed.
    """
    folder, alone = config.checkpoint.folder, config.checkpoint.folder / CHECKPOINT_FILE
    if not config.several:
        named = folder / f"{config.nodes[0].name}{SUFFIX}"
        if not alone.exists() and named.exists():
            named.rename(alone)
        return
    if not alone.exists():
        return
    node = read_checkpoint(alone).node
    own = folder / f"{node}{SUFFIX}"
    if any(one.name == node for one in config.nodes):
        if not own.exists():
            alone.rename(own)
            _LOG.info("node %s resumes from '%s', now '%s'", node, alone.name, own.name)
    elif len(config.nodes) == 1:
        check_fits(read_checkpoint(alone), config.nodes[0].name, str(alone))
    else:
        _LOG.warning("'%s' is of node %s, which is not configured: it is not read", alone, printable(node))


def read_saved(config: ServiceConfig, node: str) -> Checkpoint | None:
    """Read the state of a node; None at its first start. StateError when it is damaged or of another node."""
    path = checkpoint_path(config, node)
    saved = read_checkpoint(path) if path.exists() else None
    if saved is not None:
        check_fits(saved, node, str(path))
    return saved


@dataclass(frozen=True, slots=True)
class NodeStart:
    """What every node of a service is built with. out: the queue of all engines to the writer.

    fleet: what joins the nodes under `nodes`; of a single node it hears nothing. on_disk: positions in checkpoints that
    are on disk, which a source that removes files asks for. links: where the recorder says which files belong to an
    incident.
    """

    fleet: FleetStart
    actions: Actions
    out: queue.Queue[Bundle]
    clock: Clock
    wall_ns: Callable[[], int]
    on_disk: StoredPositions
    links: Recordings
    case_acts: CaseActs

    def build(self, config: ServiceConfig, node: NodeSettings, rules: RuleSet) -> EngineLoop:
        """Return the engine thread of a node, not started; its `first` has what starting made.

        Called at the start of the service and by a reload, there in a thread: it reads files and the database.
        SourceError: a recorded source cannot be opened. StateError: the checkpoint cannot be used. StoreError.
        """
        saved = read_saved(config, node.name)
        feed = self._feed(config, node, rules)
        positions = {name: one for name, one in (saved.positions if saved else {}).items() if one}
        start_ns = start_before(config.start, self.wall_ns())
        starts = first_starts(node.sources, saved.starts if saved else {}, positions, start_ns)
        feed.open(positions, {name: max(1, from_ns - LEAD_NS) for name, from_ns in starts.items()})
        recorder: NodeRecorder | None = None
        try:
            watch = LivePipeline(rules, node.name, feed.kinds, alone=not config.several)
            first = watch.resume(saved) if saved else []
            fresh = any(name not in watch.quiet.starts for name in starts)
            if fresh:
                watch.begin({**starts, **feed.in_force.starts(starts)})
            first += self._caught_up(watch, feed, saved)
            recorder = self._recorder(node, feed, watch)
            engine = EngineLoop(
                watch,
                feed,
                self.out,
                self.clock,
                every_s=config.checkpoint.every_ns / 1e9,
                asmap=config.asmap or "",
                report=self.fleet.reports(node.name, rules, saved, self.wall_ns()) if config.several else None,
                wanted=partial(_wanted, config.several, node.recorder),
                recorder=recorder,
            )
        except BaseException:
            feed.close()
            if recorder is not None:
                recorder.stop(0.0)
            raise
        if first or fresh:  # a source is read for the first time: its start is saved before anything else
            rows = watch.case_rows
            saved_now = engine.checkpoint() if fresh else None
            engine.first = Bundle(first, saved_now, cases=rows.take(), notices=rows.take_changes())
        return engine

    def _feed(self, config: ServiceConfig, node: NodeSettings, rules: RuleSet) -> Feed:
        options = SourceOptions(
            node.name,
            _wanted(config.several, node.recorder, rules.plans),
            True,
            None,
            config.asmap,
            rules.lists,
            wall_ns=self.wall_ns,
            skew_ns=config.clock_skew,
            settings=node.source_settings,
            stored=self.on_disk.of(node.name),
            asked_heights=partial(self.fleet.heights, node.name),
            listed=True,
            payloads=node.recorder.payload if node.recorder else {},
        )
        path = checkpoint_path(config, node.name)
        return Feed(node.sources, options, self.clock, self.wall_ns, state_file=str(path), order=node.order)

    def _recorder(self, node: NodeSettings, feed: Feed, watch: LivePipeline) -> NodeRecorder | None:
        if node.recorder is None:
            return None
        one = NodeRecorder(node.name, node.recorder, feed.kinds, self.links, clock=self.clock, wall_ns=self.wall_ns)
        for incident in watch.books.incidents():  # a kill may have come before their files were kept
            one.keep_recent(incident)
        return one

    def _caught_up(self, watch: LivePipeline, feed: Feed, saved: Checkpoint | None) -> list[ChangeRecord]:
        """Bring the engine up to its promises and the operators' actions; return the changes that this makes."""
        feed.keep_promises(watch.engine.marks)
        feed.in_force.restore(saved.in_force if saved else {}, watch.engine.marks)
        watch.actions.forget_after(self.actions.last_id())
        records = [record for promise in feed.promises() for record in watch.process(promise)]
        for action in self.actions.after(watch.actions.last_id):  # made after the checkpoint, or with no service
            records += watch.act(action)
        take_case_acts(watch.case_rows, self.case_acts)
        return records


def _wanted(several: bool, recorder: RecorderSettings | None, plans: Sequence[RulePlan]) -> frozenset[str]:
    """Return the kinds that sources are read for: rules, metrics, the recorder, and of several nodes the fleet."""
    kinds = sources_give(plans) | kinds_read(()) if several else kinds_read(plans)
    return kinds | recorder.kinds if recorder is not None else kinds


def orphans(config: ServiceConfig) -> list[Path]:
    """Return the checkpoints of nodes that were removed from `nodes` while no service ran; empty without `nodes`."""
    if not config.several:
        return []
    names = {one.name for one in config.nodes}
    paths = sorted(config.checkpoint.folder.glob(f"*{SUFFIX}"))
    return [path for path in paths if path.name != CHECKPOINT_FILE and path.name.removesuffix(SUFFIX) not in names]


def retired(path: Path, rules: RuleSet) -> Bundle:
    """Return the changes that resolve the incidents of a removed node, whose checkpoint this is.

    StateError when it is no checkpoint, damaged, or of another node than its name says.
    """
    saved, node = read_checkpoint(path), path.name.removesuffix(SUFFIX)
    check_fits(saved, node, str(path))
    watch = LivePipeline(rules, node, {}, alone=False)
    first = watch.resume(saved)
    records = [*first, *watch.remove_node(node)]
    rows = watch.case_rows
    return Bundle(records, forget=node, cases=rows.take(), notices=rows.take_changes())
