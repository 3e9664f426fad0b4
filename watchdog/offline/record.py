"""Record: sources in, an events file out; appends to an existing file on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.core.errors import SourceError
from watchdog.core.kinds import KINDS
from watchdog.core.source import Source, SourceOptions
from watchdog.engine.coverage import ALWAYS_WANTED
from watchdog.offline.read_once import faults_of, finite, unread_of
from watchdog.pipeline.scheduler import merged
from watchdog.sources.registry import open_sources, split_source, unseen_parts

# A poll of the address tables has tens of thousands of rows: recorded only when named.
LEFT_OUT = frozenset({"rpc:addrman_entry"})


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What a recording is made with.

    kinds: what to record, None for all but `LEFT_OUT`; gaps, heartbeats and starts of the node (`ALWAYS_WANTED`) are
    recorded with them, since a replay must know what is missing. asmap: a file of Core's format. node: the name that
    events carry. follow: record until interrupted. append: extend an existing file, each source from
    where the file ends for it.
    """

    kinds: frozenset[str] | None = None
    asmap: str | None = None
    node: str = "node"
    follow: bool = False
    append: bool = False


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

    SourceError and StateError for what cannot be read or written. Without `follow`, damaged input is read as far as
    possible, and the result lists the damage. On an interrupt the file is closed whole.
    """
    for text in sources:
        scheme, path = split_source(text)
        if scheme == "events" and Path(path).exists() and out.exists() and Path(path).samefile(out):
            raise SourceError(f"'{out}' cannot be recorded into itself")
    positions, torn = _recorded(out) if options.append and out.exists() else ({}, ())
    wanted = frozenset(KINDS) - LEFT_OUT if options.kinds is None else options.kinds | ALWAYS_WANTED
    opened = open_sources(
        sources,
        SourceOptions(options.node, wanted, options.follow, positions or None, options.asmap),
        torn_later=not options.follow,
    )
    inputs: Sequence[Source] = opened if options.follow else finite(opened, last_word=False)
    try:
        names, kinds = (
            tuple(source.name for source in inputs),
            {source.name: _recorded_kinds(source, wanted) for source in inputs},
        )
        with EventsWriter(out, names, kinds=kinds, append=options.append) as file:
            done = _pump(inputs, file, progress)
            return replace(done, warnings=(*torn, *unseen_parts(sources, options.kinds or wanted), *done.warnings))
    finally:
        for source in inputs:
            source.close()


def _recorded_kinds(source: Source, wanted: frozenset[str]) -> frozenset[str]:
    """Return the kinds that a recording has of a source: kinds that are not recorded can feed no rule."""
    return wanted if source.kinds is None else source.kinds & wanted


def _recorded(path: Path) -> tuple[dict[str, Mapping[str, object]], tuple[str, ...]]:
    """Return the positions in an events file, and a warning when it was torn."""
    with EventsFile(path, ()) as file:
        positions = {}
        while (found := file.next_slice()) is not None:
            positions[found.source] = found.position
        at = file.torn_at
    warning = f"'{path}' was torn at byte {at.offset if at else 0}; recording continues after its last whole slice"
    return positions, (warning,) if at else ()


def _pump(inputs: Sequence[Source], file: EventsWriter, progress: Callable[[RecordProgress], None]) -> RecordProgress:
    step = RecordProgress(0.0, None, 0, file.size)
    for piece in merged(inputs):
        file.write(piece)
        times = [int(batch.time_ns.max()) for batch in piece.batches if batch.rows]
        latest = max([*times, *([] if step.time_ns is None else [step.time_ns])], default=None)
        share = sum(source.progress for source in inputs) / max(1, len(inputs))
        step = RecordProgress(share, latest, file.rows, file.size, faults_of(inputs), unread_of(inputs))
        progress(step)
    return replace(step, faults=faults_of(inputs), warnings=unread_of(inputs))
