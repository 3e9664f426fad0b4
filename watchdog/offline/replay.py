"""Replay: sources in, incidents out, as fast as it goes or paced by event time; can stop and go on exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from alerts.incident import Incident
from alerts.render import as_line, as_object, table
from rules.load import RuleSet, load
from watchdog.core.errors import SourceError, StateError
from watchdog.core.source import Source, SourceOptions
from watchdog.engine.coverage import ALWAYS_WANTED, wanted_kinds
from watchdog.engine.engine import Engine
from watchdog.offline.history import History, opened_history
from watchdog.offline.read_once import faults_of, finite, shown, unread_of
from watchdog.pipeline.atomic_file import check_place
from watchdog.pipeline.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from watchdog.pipeline.clock import Clock, Pace, SystemClock
from watchdog.pipeline.pipeline import Pipeline
from watchdog.pipeline.scheduler import merged
from watchdog.sources.registry import open_sources, unseen_parts

CHECKPOINT_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What a replay is run with.

    rules: files and folders, after the shipped packs unless `packs` is False. asmap: a file of Core's format. node: the
    name that events carry. speed: seconds of event time in a real second, None for as fast as it goes. checkpoint:
    a file to keep the state in; if it exists, the replay goes on from there. database: the URL of a history that keeps
    the incidents too; a replay that is repeated, or goes on after a kill, stores nothing twice.
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
    """Where a replay stands. share: of the input, 0 to 1; time_ns: latest event time, None before the first event."""

    share: float
    time_ns: int | None
    events: int
    incidents: int


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What came of it. finished: False when it was stopped before the end of the input.

    cut: keys, by rule, that got no finding of their own because too many fired in one pane.
    late: events by kind that came behind their source's own word, and were not judged. faults: a line for each damaged
    file of the input, with the place; everything that could be read was used. unseen: a line for each part that a
    recording lacks. held: the checkpoint stands before the first damage, and a repaired input goes on from there.
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

    def lines(self) -> str:
        """One JSON object a line, by opening time."""
        return "".join(f"{as_line(one, self.titles.get(one.rule, ''))}\n" for one in self.incidents)

    def objects(self) -> list[dict[str, object]]:
        """The same as data."""
        return [as_object(one, self.titles.get(one.rule, "")) for one in self.incidents]

    def table(self, width: int, *, colour: bool = False) -> str:
        """For people: at most `width` columns."""
        return table(self.incidents, width, colour=colour, until_ns=self.last_event_ns)


def replay(
    sources: Sequence[str],
    options: ReplayOptions,
    *,
    progress: Callable[[Progress], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
) -> ReplayResult:
    """Run the rules over the sources until they end or `stopped()` says so.

    With a checkpoint file that exists the replay goes on where that one stopped; the file is removed once the input has
    ended. Damaged input is read as far as possible, and told in the result; the checkpoint then stays at the state
    before the first damage, also the database's, so that the same command goes on from it once the input is repaired.
    SourceError, RuleError and StateError say what is wrong with the input (so that nothing of it can be used), the
    rules, the checkpoint or the database.
    """
    clock = clock or SystemClock()
    rules = load(options.rules, packs=options.packs)
    with opened_history(options.database, {plan.id: plan.title for plan in rules.plans}) as history:
        return _replayed(sources, options, rules, history, _Call(progress, stopped, clock))


@dataclass(frozen=True, slots=True)
class _Call:
    """How the caller wants to hear of a replay and to stop it."""

    progress: Callable[[Progress], None] | None
    stopped: Callable[[], bool]
    clock: Clock


def _replayed(
    sources: Sequence[str], options: ReplayOptions, rules: RuleSet, history: History | None, call: _Call
) -> ReplayResult:
    progress, stopped, clock = call.progress, call.stopped, call.clock
    keeper = _Keeper(tuple(sources), options, rules.hash, clock, history)
    saved = keeper.saved()
    inputs = finite(_opened(sources, options, rules, saved.positions if saved else {}))
    course, pace = _course(rules, options.node, inputs, saved, history), Pace(options.speed, clock)
    try:
        for slice_ in merged(inputs):
            pace.wait(slice_.until_ns, stopped)
            if not keeper.held and faults_of(inputs):
                keeper.hold(course)
            course.take(slice_)
            if progress is not None:
                progress(_progress(course, inputs))
            keeper.keep(course, now=stopped())
            if stopped() and not all(source.ended for source in inputs):
                keeper.store(course)
                return _result(course, rules, inputs, finished=False)
    finally:
        for source in inputs:
            source.close()
    if not course.events and (faults := shown(faults_of(inputs))):  # nothing to go on from, nothing to show
        keeper.remove()
        raise SourceError("; ".join(faults))
    course.finish()
    keeper.store(course)
    if not keeper.held:
        keeper.remove()
    unseen = [*unseen_parts(sources, wanted_kinds(rules.plans) - ALWAYS_WANTED), *unread_of(inputs)]
    return replace(_result(course, rules, inputs, finished=True), unseen=unseen, held=keeper.keeps and keeper.held)


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


def _course(
    rules: RuleSet, node: str, inputs: Sequence[Source], saved: Checkpoint | None, history: History | None
) -> Pipeline:
    engine = Engine(rules.plans, {source.name: source.kinds for source in inputs}, node=node)
    course = Pipeline(engine, None if history is None else lambda changes: history.take(changes, course.books))
    if saved is not None and course.resume(saved):
        raise StateError("checkpoint was made with other rules")
    return course


def _progress(course: Pipeline, inputs: Sequence[Source]) -> Progress:
    share = sum(source.progress for source in inputs) / max(len(inputs), 1)
    return Progress(share, course.last_event_ns, course.events, course.opened)


def _result(course: Pipeline, rules: RuleSet, inputs: Sequence[Source], *, finished: bool) -> ReplayResult:
    titles = {plan.id: plan.title for plan in rules.plans}
    return ReplayResult(
        course.books.incidents(),
        titles,
        course.events,
        course.first_event_ns,
        course.last_event_ns,
        finished,
        late=dict(course.engine.statistics.late),
        faults=faults_of(inputs),
        cut=course.engine.usage.findings_cut(),
    )


class _Keeper:
    """Keeps the checkpoint file of one replay, and before it the history: a checkpoint never runs ahead of that."""

    def __init__(
        self, sources: tuple[str, ...], options: ReplayOptions, rules: str, clock: Clock, history: History | None
    ) -> None:
        self._history = history
        self._path, self._sources, self._rules, self._clock = options.checkpoint, sources, rules, clock
        self._node, self._asmap = options.node, options.asmap or ""
        self._last_s = clock.monotonic()
        self.held = False  # whether the state stays as it was before the first damage

    @property
    def keeps(self) -> bool:
        """Whether there is a file to keep it in."""
        return self._path is not None

    def saved(self) -> Checkpoint | None:
        """The state to go on from; None without one. StateError when it belongs to another replay.

        OSError when no state can be kept there: said before the work, not at the interrupt that would lose it.
        """
        if self._path is None:
            return None
        check_place(self._path)
        if not self._path.exists():
            return None
        found = read_checkpoint(self._path)
        checks = (
            ("rules", found.rules, self._rules),
            ("sources", " ".join(found.sources), " ".join(self._sources)),
            ("node", found.node, self._node),
            ("asmap", found.asmap, self._asmap),
        )
        for what, then, now in checks:
            if then != now:
                raise StateError(
                    f"checkpoint '{self._path}': was made with {what} {then!r}, now {now!r}; remove it to start anew"
                )
        return found

    def keep(self, course: Pipeline, *, now: bool) -> None:
        """Write the state when it is time, or at once; not any more once it is held."""
        if self._path is None or self.held or not (now or self._clock.monotonic() - self._last_s >= CHECKPOINT_EVERY_S):
            return
        self.store(course)
        write_checkpoint(self._path, course.checkpoint(self._rules, self._sources, self._asmap))
        self._last_s = self._clock.monotonic()

    def hold(self, course: Pipeline) -> None:
        """Write the state now, and leave file and history as they are then: what comes is made of damaged input."""
        self.keep(course, now=True)
        self.held = True
        if self._history is not None and self._path is not None:
            self._history.held = True

    def store(self, course: Pipeline) -> None:
        """Write to the history what it does not have yet, and every changed incident as it stands now."""
        if self._history is not None:
            self._history.settle(course.books)

    def remove(self) -> None:
        """The replay is complete: nothing is left to go on with."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
