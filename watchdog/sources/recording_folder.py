"""`recording:DIR`: a labelled recording of a node, read as it lies.

A folder with capture.tar.xz, snapshots.jsonl.xz and debug.log.gz (or under another of PARTS' names: plain, .gz,
.xz), and labels.json and meta.json (which no source reads). Each part is a source of its own; only those are opened
whose events somebody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from watchdog.core.batch import Slice
from watchdog.core.errors import PositionError, SourceError
from watchdog.core.source import Source, SourceOptions
from watchdog.sources.faults import TornError

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "capture": ("capture.tar.xz", "capture.tar.gz", "capture.tar", "capture"),
    "snapshots": ("snapshots.jsonl.xz", "snapshots.jsonl.gz", "snapshots.jsonl"),
    "log": ("debug.log.gz", "debug.log.xz", "debug.log"),
}


class TornPart:
    """In the place of a part that cannot be unpacked: it has nothing but the error, and the other parts can be read."""

    ended, progress = False, 0.0

    def __init__(self, name: str, kinds: frozenset[str], error: SourceError) -> None:
        self.name, self._error = name, error
        self.kinds: frozenset[str] | None = kinds

    def poll(self) -> Slice | None:
        """Raises the error."""
        raise self._error

    def close(self) -> None:
        """Nothing is open."""


def open_recording(path: str, options: SourceOptions, *, torn_later: bool = False) -> list[Source]:
    """The sources of a recording that give wanted kinds, named `capture:PATH/FILE` and so on.

    options.position: of all parts, by the name of the source. Nothing is followed: a recording is finished.
    SourceError when the folder holds no part at all, or a part is torn at its start; torn_later: the latter is said at
    the first poll.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise SourceError(f"no such recording folder: {path!r}; it should hold capture.tar.xz, snapshots.jsonl.xz, ...")
    found = {part: name for part, names in PARTS.items() for name in reversed(names) if (folder / name).exists()}
    if not found:
        raise SourceError(
            f"no recording in {path!r}; expected capture.tar.xz, snapshots.jsonl.xz or debug.log.gz in it"
        )
    own = replace(options, follow=False, position=None)
    sources: list[Source] = []
    for part, file in found.items():
        make = _opener(part)
        kinds = kinds_of_part(part)
        if own.wanted is None or own.wanted & kinds:
            where = str(folder / file)
            name = f"{part}:{where}"
            try:
                sources.append(make(where, replace(own, position=position_of(options, name))))
            except TornError as error:
                if not torn_later:
                    raise
                sources.append(TornPart(name, kinds, error))
    return sources


def unseen(path: str, wanted: frozenset[str]) -> list[str]:
    """A line for each part that a recording lacks, and what of the wanted kinds nothing is seen of for that."""
    folder = Path(path)
    parts = {part for part, names in PARTS.items() if any((folder / name).exists() for name in names)}
    groups = {_group(kind) for part in parts for kind in kinds_of_part(part)}
    lines = []
    for part, names in PARTS.items():
        lacking = {_group(kind) for kind in wanted & kinds_of_part(part)} - groups if part not in parts else set()
        if lacking:
            lines.append(f"no {names[0]} in '{folder}': nothing of {', '.join(sorted(lacking))} is seen")
    return lines


def _group(kind: str) -> str:
    """`p2p:*` of `p2p:ping`."""
    return f"{kind.partition(':')[0]}:*"


def position_of(options: SourceOptions, name: str) -> Mapping[str, object] | None:
    """The position of one of several sources: options.position maps names of sources to theirs.

    A source that had given nothing has none; older checkpoints have an empty one for it.
    """
    position = options.position.get(name) if options.position is not None else None
    if position is not None and not isinstance(position, Mapping):
        raise PositionError(f"position of {name!r} is not a mapping; the checkpoint is damaged")
    return position or None


Opener = Callable[[str, SourceOptions], Source]


def kinds_of_part(part: str) -> frozenset[str]:
    """The kinds that capture, snapshots or log can give."""
    if part == "capture":
        from watchdog.sources.capture import source as capture  # noqa: PLC0415 - only what is asked for is loaded

        return capture.KINDS
    if part == "snapshots":
        from watchdog.sources.rpc import snapshots_source as snapshots  # noqa: PLC0415 - only what is asked for is loaded

        return snapshots.KINDS
    from watchdog.sources.log import source as debuglog  # noqa: PLC0415 - only what is asked for is loaded

    return debuglog.KINDS


def _opener(part: str) -> Opener:
    """The constructor of one part; imported only when the folder has it."""
    if part == "capture":
        from watchdog.sources.capture import source as capture  # noqa: PLC0415 - only what is asked for is loaded

        return capture.CaptureSource
    if part == "snapshots":
        from watchdog.sources.rpc import snapshots_source as snapshots  # noqa: PLC0415 - only what is asked for is loaded

        return snapshots.SnapshotsSource
    from watchdog.sources.log import source as debuglog  # noqa: PLC0415 - only what is asked for is loaded

    return debuglog.DebugLogSource
