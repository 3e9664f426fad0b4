"""Replay of several nodes: each through its own engine, and all of them through the fleet's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alerts.case.feed import CaseFeed, NodeCases
from alerts.case.house import HOUSE, HouseFeed
from alerts.claims import words_of
from alerts.incident import Incident
from rules.load import RuleSet, load
from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError
from watchdog.core.finding import FLEET, Finding
from watchdog.core.moments import clock_reset_ns
from watchdog.core.source import Source, SourceOptions
from watchdog.engine.coverage import ALWAYS_WANTED
from watchdog.engine.engine import Engine
from watchdog.fleet.stage import FleetStage
from watchdog.fleet.tap import Tap
from watchdog.fleet.wanted import FLEET_SOURCES, fleet_reads, nodes_report, sources_give
from watchdog.offline.read_once import faults_of, replayed, shown, unread_of
from watchdog.offline.replay import Progress, ReplayOptions, ReplayResult
from watchdog.pipeline.clock import Clock, Pace, SystemClock
from watchdog.pipeline.pipeline import Pipeline
from watchdog.pipeline.scheduler import Scheduler
from watchdog.sources.registry import open_sources, unseen_parts

_START = -(1 << 63)


class FleetPipeline:
    """The fleet's engine and books over the reports of its nodes. `replay_fleet` feeds it, and scenario tests.

    nodes: their names. `tapped` returns the pipeline of a node whose steps are reported to the fleet.
    """

    def __init__(self, rules: RuleSet, nodes: Sequence[str]) -> None:
        self._rules = rules
        self.stage = FleetStage(nodes, fleet_reads(rules.plans))
        words = words_of(rules.plans)
        self._house = HouseFeed(words)
        self.cases = NodeCases(self._house, CaseFeed(HOUSE, words))
        self.pipeline = Pipeline(Engine(rules.plans, FLEET_SOURCES, node=FLEET), cases=self.cases)

    def tapped(self, pipeline: Pipeline) -> Pipeline:
        """Report each step of a node's pipeline to the fleet from now on."""
        if pipeline.cases is not None:
            self._house.adopt(pipeline.engine.node, pipeline.cases.events)
        tap = Tap(pipeline.engine.node, nodes_report(self._rules.plans))

        def after(slice_: Slice | None, findings: Sequence[Finding]) -> None:
            report = tap.report(pipeline.engine, slice_, findings, finished=slice_ is None)
            if report is not None:
                self.stage.take(report)
                self.drain()

        pipeline.after = after
        return pipeline

    def drain(self) -> None:
        """Judge as far as all nodes that take part have come."""
        slice_ = self.stage.next()
        if slice_ is not None:
            self.pipeline.process(slice_)


@dataclass(slots=True)
class _Node:
    """One node of a replay: its open sources, and how far each has come."""

    name: str
    sources: list[Source]
    pipeline: Pipeline
    finished: bool = False

    def finish(self) -> None:
        """Close the last panes, once all sources have ended."""
        if not self.finished and all(source.ended for source in self.sources):
            self.finished = True
            self.pipeline.finish()


def replay_fleet(
    nodes: Mapping[str, Sequence[str]],
    options: ReplayOptions,
    *,
    progress: Callable[[Progress], None] | None = None,
    clock: Clock | None = None,
) -> ReplayResult:
    """Run the rules over the sources of several nodes until all end: those of a node, and those over nodes.

    nodes: the sources of each node. A checkpoint and a database are not supported. Damaged input is read as far as
    possible, and the result lists the damage. RuleError for the rules; SourceError when a source cannot be opened, or
    when nothing of the input can be used.
    """
    rules = load(options.rules, packs=options.packs)
    fleet = FleetPipeline(rules, tuple(nodes))
    opened = _opened(nodes, options, rules, fleet)
    try:
        _run(opened, fleet, Pace(options.speed, clock or SystemClock()), progress)
    finally:
        for node in opened:
            for source in node.sources:
                source.close()
    fleet.pipeline.finish()
    inputs = [source for node in opened for source in node.sources]
    if not any(node.pipeline.events for node in opened) and (faults := shown(faults_of(inputs))):
        raise SourceError("; ".join(faults))
    return _result(opened, fleet, rules, inputs, nodes)


def _opened(
    nodes: Mapping[str, Sequence[str]], options: ReplayOptions, rules: RuleSet, fleet: FleetPipeline
) -> list[_Node]:
    opened: list[_Node] = []
    try:
        for name, texts in nodes.items():
            source_options = SourceOptions(
                node=name,
                wanted=sources_give(rules.plans),
                asmap_path=options.asmap,
                lists=rules.lists,
                at_once=options.speed is None,
            )
            sources = replayed(open_sources(texts, source_options, torn_later=True))
            engine = Engine(rules.plans, {source.name: source.kinds for source in sources}, node=name)
            cases = NodeCases.of(name, words_of(rules.plans))
            opened.append(_Node(name, list(sources), fleet.tapped(Pipeline(engine, cases=cases))))
    except BaseException:
        for node in opened:
            for source in node.sources:
                source.close()
        raise
    return opened


def _run(nodes: Sequence[_Node], fleet: FleetPipeline, pace: Pace, progress: Callable[[Progress], None] | None) -> None:
    """Poll the source that is furthest behind, whichever node it belongs to, until all have ended."""
    inputs = [(node, source) for node in nodes for source in node.sources]
    marks, scheduler = [_START] * len(inputs), Scheduler()
    while not all(source.ended for _, source in inputs):
        chosen = scheduler.choose(
            [None if source.ended else mark for (_, source), mark in zip(inputs, marks, strict=True)]
        )
        if chosen is None:
            continue
        node, source = inputs[chosen]
        slice_ = source.poll()
        scheduler.note(chosen, news=slice_ is not None, drained=slice_ is None or slice_.caught_up)
        if slice_ is not None:
            reset_ns = clock_reset_ns(slice_.batches)
            marks[chosen] = max(marks[chosen] if reset_ns is None else reset_ns, slice_.until_ns)
            pace.wait(slice_.until_ns, lambda: False)
            node.pipeline.process(slice_)
            if progress is not None:
                progress(_progress(nodes, fleet))
        node.finish()
    for node in nodes:
        node.finish()


def _progress(nodes: Sequence[_Node], fleet: FleetPipeline) -> Progress:
    sources = [source for node in nodes for source in node.sources]
    share = sum(source.progress for source in sources) / max(len(sources), 1)
    pipelines = [fleet.pipeline, *(node.pipeline for node in nodes)]
    latest = max((one.last_event_ns for one in pipelines if one.last_event_ns is not None), default=None)
    events = sum(node.pipeline.events for node in nodes)
    return Progress(share, latest, events, sum(one.opened for one in pipelines))


def _result(
    opened: Sequence[_Node],
    fleet: FleetPipeline,
    rules: RuleSet,
    inputs: Sequence[Source],
    nodes: Mapping[str, Sequence[str]],
) -> ReplayResult:
    pipelines = [node.pipeline for node in opened]
    incidents: list[Incident] = [one for part in (fleet.pipeline, *pipelines) for one in part.books.incidents()]
    late: dict[str, int] = {}
    cut: dict[str, int] = {}
    for one in pipelines:
        for kind, rows in one.engine.statistics.late.items():
            late[kind] = late.get(kind, 0) + rows
        for rule, keys in one.engine.usage.findings_cut().items():
            cut[rule] = cut.get(rule, 0) + keys
    wanted = sources_give(rules.plans) - ALWAYS_WANTED
    return ReplayResult(
        sorted(incidents, key=lambda incident: (incident.opened_ns, incident.id)),
        {plan.id: plan.title for plan in rules.plans},
        sum(one.events for one in pipelines),
        min((one.first_event_ns for one in pipelines if one.first_event_ns is not None), default=None),
        max((one.last_event_ns for one in pipelines if one.last_event_ns is not None), default=None),
        finished=True,
        late=late,
        faults=faults_of(inputs),
        unseen=[*(line for texts in nodes.values() for line in unseen_parts(texts, wanted)), *unread_of(inputs)],
        cut=cut,
        cases=sorted(
            (one for each in (fleet.pipeline, *pipelines) if each.cases is not None for one in each.cases.pictures()),
            key=lambda one: (one.life.opened_ns, one.life.id),
        ),
    )
