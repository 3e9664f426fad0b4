"""Replay: sources in, incidents out, as fast as possible or paced by event time; can stop and resume exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from alerts.case.document import stored_cases
from alerts.case.feed import NodeCases
from alerts.case.render import case_line, case_table
from alerts.cases import CasePicture
from alerts.claims import words_of
from alerts.incident import Incident
from alerts.render import as_line, as_object, table
from alerts.rule_texts import rule_texts
from rules.load import RuleSet, load
from watchdog.core.errors import SourceError, StateError
from watchdog.core.source import Source, SourceOptions
from watchdog.engine.coverage import ALWAYS_WANTED, wanted_kinds
from watchdog.engine.engine import Engine
from watchdog.offline.history import History, opened_history
from watchdog.offline.read_once import faults_of, replayed, shown, unread_of
from watchdog.pipeline.atomic_file import check_place
from watchdog.pipeline.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from watchdog.pipeline.clock import Clock, Pace, SystemClock
from watchdog.pipeline.pipeline import Pipeline
from watchdog.pipeline.scheduler import merged
from watchdog.sources.registry import open_sources, unseen_parts

CHECKPOINT_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """Options of a replay.

    rules: files and folders, after the shipped packs unless `packs` is False. asmap: a file of Core's format. node: the
    name that events carry. speed: seconds of event time in a real second, None for as fast as possible.
    checkpoint: a file for the state; if it exists, the replay resumes from it. database: the URL of a history that
    stores the incidents too; a replay that is repeated, or resumes after a kill, stores nothing twice.
    """

    rules: Sequence[Path] = ()
    packs: bool = True
    asmap: str | None = None
    node: str = "node"
    speed: float | None = None
    checkpoint: Path | None = None
    database: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a replay. share: of the input, 0 to 1; time_ns: latest event time, None before the first event."""

    share: float
    time_ns: int | None
    events: int
    incidents: int


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The result of a replay. finished: False when it was stopped before the end of the input.

    cut: keys, by rule, that got no finding of their own because too many fired in one pane.
    late: events by kind that came behind their source's watermark, and were not judged. faults: a line for each damaged
    file of the input, with the place; everything that could be read was used. unseen: a line for each part that a
    recording lacks. cases: by opening time. held: the checkpoint is from before the first damage, and a repaired input
    resumes there.
    """

    incidents: Sequence[Incident]
    titles: Mapping[str, str]
    events: int
    first_event_ns: int | None
    last_event_ns: int | None
    finished: bool
    late: Mapping[str, int] = field(default_factory=dict)
    faults: Sequence[str] = ()
    unseen: Sequence[str] = ()
    held: bool = False
    cut: Mapping[str, int] = field(default_factory=dict)
    cases: Sequence[CasePicture] = ()

    def lines(self) -> str:
        """Return one JSON object a line, by opening time."""
        return "".join(f"{as_line(one, self.titles.get(one.rule, ''))}\n" for one in self.incidents)

    def objects(self) -> list[dict[str, object]]:
        """Return the incidents as JSON-able data, by opening time."""
        return [as_object(one, self.titles.get(one.rule, "")) for one in self.incidents]

    def table(self, width: int, *, colour: bool = False) -> str:
        """Return a table for people, at most `width` columns wide."""
        return table(self.incidents, width, colour=colour, until_ns=self.last_event_ns)

    def case_lines(self) -> str:
        """Return one JSON object a line for each case, by opening time."""
        return "".join(f"{case_line(one, self.cases)}\n" for one in self.cases)

    def cases_table(self, width: int, *, colour: bool = False) -> str:
        """Return a table of the cases for people, at most `width` columns wide."""
        return case_table(self.cases, width, colour=colour, until_ns=self.last_event_ns)


def replay(
    sources: Sequence[str],
    options: ReplayOptions,
    *,
    progress: Callable[[Progress], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
) -> ReplayResult:
    """Run the rules over the sources until they end or `stopped()` says so.

    An existing checkpoint file makes the replay resume where that one stopped; the file is removed once the input has
    ended. Damaged input is read as far as possible, and the result lists the damage. Checkpoint and database then keep
    the state before the first damage, so that the same command resumes there once the input is repaired. SourceError
    when nothing of the input can be used, RuleError for the rules, StateError for the checkpoint or the database.
    """
    clock = clock or SystemClock()
    rules = load(options.rules, packs=options.packs)
    with opened_history(options.database, {plan.id: plan.title for plan in rules.plans}) as history:
        return _replayed(sources, options, rules, history, _Call(progress, stopped, clock))


@dataclass(frozen=True, slots=True)
class _Call:
    """The caller's callbacks and clock."""

    progress: Callable[[Progress], None] | None
    stopped: Callable[[], bool]
    clock: Clock


def _replayed(
    sources: Sequence[str], options: ReplayOptions, rules: RuleSet, history: History | None, call: _Call
) -> ReplayResult:
    progress, stopped, clock = call.progress, call.stopped, call.clock
    keeper = _Keeper(tuple(sources), options, rules.hash, clock, history)
    saved = keeper.saved()
    inputs = replayed(_opened(sources, options, rules, saved.positions if saved else {}))
    pipeline, pace = _pipeline(rules, options.node, inputs, saved, history), Pace(options.speed, clock)
    try:
        for slice_ in merged(inputs):
            pace.wait(slice_.until_ns, stopped)
            if not keeper.held and faults_of(inputs):
                keeper.hold(pipeline)
            pipeline.process(slice_)
            if progress is not None:
                progress(_progress(pipeline, inputs))
            keeper.keep(pipeline, now=stopped())
            if stopped() and not all(source.ended for source in inputs):
                keeper.store(pipeline)
                return _result(pipeline, rules, inputs, finished=False)
    finally:
        for source in inputs:
            source.close()
    if not pipeline.events and (faults := shown(faults_of(inputs))):  # nothing to resume from, nothing to show
        keeper.remove()
        raise SourceError("; ".join(faults))
    pipeline.finish()
    keeper.store(pipeline)
    if not keeper.held:
        keeper.remove()
    unseen = [*unseen_parts(sources, wanted_kinds(rules.plans) - ALWAYS_WANTED), *unread_of(inputs)]
    return replace(_result(pipeline, rules, inputs, finished=True), unseen=unseen, held=keeper.keeps and keeper.held)


def _opened(
    sources: Sequence[str], options: ReplayOptions, rules: RuleSet, positions: Mapping[str, Mapping[str, object]]
) -> list[Source]:
    source_options = SourceOptions(
        node=options.node,
        wanted=wanted_kinds(rules.plans),
        position=positions or None,
        asmap_path=options.asmap,
        lists=rules.lists,
        at_once=options.speed is None,
    )
    return open_sources(sources, source_options, torn_later=True)


def _pipeline(
    rules: RuleSet, node: str, inputs: Sequence[Source], saved: Checkpoint | None, history: History | None
) -> Pipeline:
    engine = Engine(rules.plans, {source.name: source.kinds for source in inputs}, node=node)
    cases = NodeCases.of(node, words_of(rules.plans))
    cases.advise(rule_texts(rules.plans))
    pipeline = Pipeline(
        engine, None if history is None else lambda changes: history.take(changes, pipeline.books), cases=cases
    )
    if saved is not None and pipeline.resume(saved):
        raise StateError("checkpoint was made with other rules")
    return pipeline


def _progress(pipeline: Pipeline, inputs: Sequence[Source]) -> Progress:
    share = sum(source.progress for source in inputs) / max(len(inputs), 1)
    return Progress(share, pipeline.last_event_ns, pipeline.events, pipeline.opened)


def _result(pipeline: Pipeline, rules: RuleSet, inputs: Sequence[Source], *, finished: bool) -> ReplayResult:
    titles = {plan.id: plan.title for plan in rules.plans}
    return ReplayResult(
        pipeline.books.incidents(),
        titles,
        pipeline.events,
        pipeline.first_event_ns,
        pipeline.last_event_ns,
        finished,
        late=dict(pipeline.engine.statistics.late),
        faults=faults_of(inputs),
        cut=pipeline.engine.usage.findings_cut(),
        cases=() if pipeline.cases is None else pipeline.cases.pictures(),
    )


class _Keeper:
    """Saves the checkpoint file of one replay, after the history: a checkpoint is never ahead of the database."""

    def __init__(
        self, sources: tuple[str, ...], options: ReplayOptions, rules: str, clock: Clock, history: History | None
    ) -> None:
        self._history = history
        self._path, self._sources, self._rules, self._clock = options.checkpoint, sources, rules, clock
        self._node, self._asmap = options.node, options.asmap or ""
        self._last_s = clock.monotonic()
        self.held = False  # whether the state of before the first damage is kept

    @property
    def keeps(self) -> bool:
        """Whether there is a checkpoint file."""
        return self._path is not None

    def saved(self) -> Checkpoint | None:
        """Read the state to resume from; None without one. StateError when it belongs to another replay.

        OSError when no state can be saved there: raised before the work, not at the interrupt that would lose it.
        """
        if self._path is None:
            return None
        check_place(self._path)
        if not self._path.exists():
            return None
        saved = read_checkpoint(self._path)
        checks = (
            ("rules", saved.rules, self._rules),
            ("sources", " ".join(saved.sources), " ".join(self._sources)),
            ("node", saved.node, self._node),
            ("asmap", saved.asmap, self._asmap),
        )
        for what, then, now in checks:
            if then != now:
                raise StateError(
                    f"checkpoint '{self._path}': was made with {what} {then!r}, now {now!r}; remove it to start over"
                )
        return saved

    def keep(self, pipeline: Pipeline, *, now: bool) -> None:
        """Write the state when it is due, or now; never once it is held."""
        if self._path is None or self.held or not (now or self._clock.monotonic() - self._last_s >= CHECKPOINT_EVERY_S):
            return
        self.store(pipeline)
        write_checkpoint(self._path, pipeline.checkpoint(self._rules, self._sources, self._asmap))
        self._last_s = self._clock.monotonic()

    def hold(self, pipeline: Pipeline) -> None:
        """Write the state now, then freeze file and history: what follows comes from damaged input."""
        self.keep(pipeline, now=True)
        self.held = True
        if self._history is not None and self._path is not None:
            self._history.held = True

    def store(self, pipeline: Pipeline) -> None:
        """Write to the history the changes it lacks, and the present state of every changed incident."""
        if self._history is not None:
            cases = [] if pipeline.cases is None else stored_cases(pipeline.cases.events.book)
            self._history.settle(pipeline.books, cases)

    def remove(self) -> None:
        """Remove the checkpoint file: the replay is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
