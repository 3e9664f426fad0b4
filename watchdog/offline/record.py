"""Record: sources in, an events file out; appends to an existing file on request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from rules.row_filter import row_filter
from watchdog.archive.reader import EventsFile
from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError
from watchdog.core.kinds import FINDING_KINDS, any_kinds
from watchdog.core.moments import clock_reset_ns
from watchdog.core.recorded import LEFT_OUT
from watchdog.core.source import Source, SourceOptions
from watchdog.engine.coverage import ALWAYS_WANTED, GAP
from watchdog.offline.fleet_heights import FleetHeights
from watchdog.offline.read_once import faults_of, finite, unread_of
from watchdog.offline.record_clock import SKEW_NS, ClockGuard
from watchdog.offline.record_out import Recording, recording_of
from watchdog.pipeline.clock_reset import BEHIND_NS
from watchdog.pipeline.scheduler import merged
from watchdog.sources.registry import open_sources, reads_file, scheme_of, unseen_parts

EVENTS = ".events"  # the file of a node, by its name, in the folder of a fleet's recording


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What a recording is made with.

    kinds: what to record, None for all but `LEFT_OUT`; gaps, heartbeats and starts of the node (`ALWAYS_WANTED`) are
    recorded with them, since a replay must know what is missing. where: an expression of `where`; only events for
    which it holds are recorded, and those of `ALWAYS_WANTED`. payloads: see `SourceOptions`. keep, rotate: `out` is a
    folder of rotated files (`watchdog.archive.ring`), whose bytes together, and in each file, are bounded. asmap: a
    file of Core's format. node: the name that events carry. follow: record until interrupted. append: extend an
    existing file, each source from where the file ends for it. wall_ns: the wall clock; with `follow` a source
    restarts where a clock that was ahead was set back. asked_heights: see `SourceOptions`.
    """

    kinds: frozenset[str] | None = None
    asmap: str | None = None
    node: str = "node"
    follow: bool = False
    append: bool = False
    where: str = ""
    payloads: Mapping[str, int] = field(default_factory=dict)
    keep: int | None = None
    rotate: int | None = None
    wall_ns: Callable[[], int] = time.time_ns
    asked_heights: Callable[[], tuple[int, ...]] = tuple


@dataclass(frozen=True, slots=True)
class RecordProgress:
    """Where a recording stands. share: of the input, 0 to 1; time_ns: latest event time, None before any event.

    events: added by this call. faults: a line for each damaged file of a finite input, so far. warnings: what else the
    caller should know: parts that a recording lacks, an events file that was torn, lines of a log that were not
    understood.
    """

    share: float
    time_ns: int | None
    events: int
    size: int
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def record(
    sources: Sequence[str],
    out: Path,
    options: RecordOptions,
    progress: Callable[[RecordProgress], None] = lambda _: None,
) -> RecordProgress:
    """Write the events of the sources to `out` until they end; return how much was written.

    SourceError and StateError for what cannot be read or written, RuleError for `where`. Without `follow`, damaged
    input is read as far as possible, and the result lists the damage. On an interrupt the file is closed whole.
    """
    with _opened(sources, out, options) as opened:
        return _pump([opened], progress)


def record_fleet(
    nodes: Mapping[str, Sequence[str]],
    folder: Path,
    options: RecordOptions,
    progress: Callable[[RecordProgress], None] = lambda _: None,
) -> RecordProgress:
    """Write the events of several nodes, each to `NAME.events` in a folder; see `record`.

    nodes: the sources of each node; no two nodes have the same. `replay --fleet NAME=events:FOLDER/NAME.events ...`
    reads them. Nodes that are polled are also asked for the block hashes that the replay compares. With `keep` or
    `rotate` each node has a folder `NAME` of rotated files.
    """
    ending = EVENTS if options.keep is None and options.rotate is None else ""
    folder.mkdir(parents=True, exist_ok=True)
    heights = FleetHeights(nodes, time.monotonic, options.wall_ns)
    with ExitStack() as stack:
        opened: list[_NodeRecording] = []
        for name, sources in nodes.items():
            own = replace(options, node=name, asked_heights=heights.asking(name))
            opened.append(stack.enter_context(_opened(sources, folder / f"{name}{ending}", own)))
            heights.expect(name, (source.name for source in opened[-1].inputs))
        return _pump(opened, progress, heights.note if options.follow else None)


@dataclass(frozen=True, slots=True)
class _NodeRecording:
    """One node's open sources and file. warnings: what is known before the first event."""

    node: str
    inputs: Sequence[Source]
    file: Recording
    warnings: tuple[str, ...]


@contextmanager
def _opened(sources: Sequence[str], out: Path, options: RecordOptions) -> Iterator[_NodeRecording]:
    """Open sources and file; close both at the end. SourceError and StateError as `record`."""
    if any(reads_file(text, out) for text in sources):
        raise SourceError(f"'{out}' cannot be recorded into itself")
    recorded = _recorded(out) if options.append and out.is_file() else _Recorded()
    if options.kinds is not None and not FINDING_KINDS.isdisjoint(options.kinds):
        raise SourceError("findings are not recorded: a replay of the recording reports them again")
    wanted = any_kinds() - LEFT_OUT if options.kinds is None else options.kinds | ALWAYS_WANTED
    opening = SourceOptions(
        options.node,
        wanted,
        options.follow,
        recorded.positions or None,
        options.asmap,
        wall_ns=options.wall_ns,
        asked_heights=options.asked_heights,
        payloads=options.payloads,
    )
    passing = row_filter(options.where, wanted - ALWAYS_WANTED, others=False) if options.where else None
    opened = open_sources(sources, opening, torn_later=not options.follow)
    inputs: Sequence[Source] = (
        [_guarded(source, sources, opening, recorded) for source in opened]
        if options.follow
        else finite(opened, last_word=False)
    )
    try:
        kinds = {source.name: source.kinds & wanted for source in inputs}  # kinds not recorded can feed no rule
        with recording_of(out, kinds, options, passing) as file:
            warnings = (*recorded.torn, *unseen_parts(sources, options.kinds or wanted))
            yield _NodeRecording(options.node, inputs, file, warnings)
    finally:
        for source in inputs:
            source.close()


@dataclass(slots=True)
class _Recorded:
    """What an events file has of its sources, by name. torn: what to say of a file that was torn.

    marks: until when each is promised. resets: of those whose last slice is a reset, when; the position beside it still
    has times of the clock that was wrong.
    """

    positions: dict[str, Mapping[str, object]] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    resets: dict[str, int] = field(default_factory=dict)
    torn: tuple[str, ...] = ()

    def note(self, found: Slice) -> None:
        """Take the next slice of the file."""
        self.positions[found.source] = found.position
        reset_ns = clock_reset_ns(found.batches)
        earlier_ns = self.marks.get(found.source, 0) if reset_ns is None else reset_ns
        self.marks[found.source] = max(earlier_ns, found.until_ns)
        self.resets.pop(found.source, None)
        if reset_ns is not None:
            self.resets[found.source] = reset_ns


def _guarded(source: Source, texts: Sequence[str], options: SourceOptions, recorded: _Recorded) -> Source:
    """Guard a source that grows against clocks that are set back; an events file has its resets."""
    name = source.name
    if name not in texts or scheme_of(name).mode == "recorded":
        return source
    reopen = partial(_reopened, name, options)
    if name in recorded.resets:
        source.close()
        source = reopen(recorded.positions[name], recorded.resets[name] + BEHIND_NS + 2 * SKEW_NS)
    return ClockGuard(source, reopen, options.node, options.wall_ns, recorded.marks.get(name, 0))


def _reopened(name: str, options: SourceOptions, position: Mapping[str, object], believed_ns: int) -> Source:
    (source,) = open_sources([name], replace(options, position={name: position}, believed_ns=believed_ns))
    return source


def _recorded(path: Path) -> _Recorded:
    recorded = _Recorded()
    with EventsFile(path, (GAP,)) as file:
        while (found := file.next_slice()) is not None:
            recorded.note(found)
        at = file.torn_at
    if at:
        text = f"'{path}' was torn at byte {at.offset}; recording continues after its last whole slice"
        recorded.torn = (text,)
    return recorded


def _pump(
    nodes: Sequence[_NodeRecording],
    progress: Callable[[RecordProgress], None],
    note: Callable[[str, Slice], None] | None = None,
) -> RecordProgress:
    """Write the slices of all nodes, each to its node's file, until all sources have ended; `note` hears of each."""
    inputs = [source for node in nodes for source in node.inputs]
    owners = {source.name: node for node in nodes for source in node.inputs}
    step = RecordProgress(0.0, None, 0, sum(node.file.size for node in nodes))
    for piece in merged(inputs):
        owner = owners[piece.source]
        owner.file.write(piece)
        if note is not None:
            note(owner.node, piece)
        times = [int(batch.time_ns.max()) for batch in piece.batches if batch.rows]
        latest = max([*times, *([] if step.time_ns is None else [step.time_ns])], default=None)
        share = sum(source.progress for source in inputs) / max(1, len(inputs))
        rows, size = sum(node.file.rows for node in nodes), sum(node.file.size for node in nodes)
        step = RecordProgress(share, latest, rows, size, faults_of(inputs), _unread(inputs))
        progress(step)
    warnings = (*(line for node in nodes for line in node.warnings), *_unread(inputs))
    return replace(step, faults=faults_of(inputs), warnings=warnings)


def _unread(inputs: Sequence[Source]) -> tuple[str, ...]:
    return unread_of(one.source if isinstance(one, ClockGuard) else one for one in inputs)
