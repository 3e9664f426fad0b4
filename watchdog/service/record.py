"""Record: sources in, an events file out; an existing file can be gone on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from watchdog.archive.reader import EventsFile
from watchdog.archive.writer import EventsWriter
from watchdog.core.errors import SourceError
from watchdog.core.kinds import KINDS
from watchdog.core.source import Source, SourceOptions
from watchdog.service.merge import merged
from watchdog.sources.syntax import open_sources, split_source

# A poll of the address tables has tens of thousands of rows: recorded only when named.
LEFT_OUT = frozenset({"rpc:addrman_entry"})


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What a recording is made with.

    kinds: what to record, None for all but `LEFT_OUT`. asmap: a file of Core's format. node: the name that events
    carry. follow: go on until interrupted. append: go on with an existing file, each source behind what the file has
    of it.
    """

    kinds: frozenset[str] | None = None
    asmap: str | None = None
    node: str = "node"
    follow: bool = False
    append: bool = False


@dataclass(frozen=True, slots=True)
class RecordProgress:
    """Where a recording stands. share: of the input, 0 to 1; time_ns: latest event time, None before any event."""

    share: float
    time_ns: int | None
    events: int
    size: int


def record(
    sources: Sequence[str],
    out: Path,
    options: RecordOptions,
    progress: Callable[[RecordProgress], None] = lambda _: None,
) -> RecordProgress:
    """Write what the sources give to `out` until they end; how much that was.

    SourceError and StateError say what cannot be read or written. On an interrupt the file is closed whole.
    """
    for text in sources:
        scheme, path = split_source(text)
        if scheme == "events" and Path(path).exists() and out.exists() and Path(path).samefile(out):
            raise SourceError(f"'{out}' cannot be recorded into itself")
    positions = recorded_positions(out) if options.append and out.exists() else {}
    wanted = frozenset(KINDS) - LEFT_OUT if options.kinds is None else options.kinds
    inputs = open_sources(
        sources,
        SourceOptions(options.node, wanted, options.follow, positions or None, options.asmap),
    )
    try:
        with EventsWriter(out, tuple(source.name for source in inputs), append=options.append) as file:
            return _pump(inputs, file, progress)
    finally:
        for source in inputs:
            source.close()


def recorded_positions(path: Path) -> Mapping[str, Mapping[str, object]]:
    """The last position of each source in an events file."""
    with EventsFile(path, ()) as file:
        positions = {}
        while (found := file.next_slice()) is not None:
            positions[found.source] = found.position
        return positions


def _pump(inputs: Sequence[Source], file: EventsWriter, progress: Callable[[RecordProgress], None]) -> RecordProgress:
    step = RecordProgress(0.0, None, 0, file.size)
    for piece in merged(inputs):
        file.write(piece)
        times = [int(batch.time_ns.max()) for batch in piece.batches if batch.rows]
        latest = max([*times, *([] if step.time_ns is None else [step.time_ns])], default=None)
        share = sum(source.progress for source in inputs) / max(1, len(inputs))
        step = RecordProgress(share, latest, file.rows, file.size)
        progress(step)
    return step
