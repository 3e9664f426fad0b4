"""`recording:DIR`: a labelled recording of a node.

A folder with capture.tar.xz, snapshots.jsonl.xz and debug.log.gz (or another of the names in `Scheme.recorded_as`:
plain, .gz, .xz), and labels.json and meta.json, which no source reads. Each part is a source of its own; only parts
with wanted kinds are opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from watchdog.core.batch import Slice
from watchdog.core.errors import SourceError
from watchdog.core.source import Source, SourceOptions
from watchdog.sources.faults import TornError
from watchdog.sources.scheme import Scheme


class TornPart:
    """Stands in for a part that cannot be unpacked; its first poll raises the error, so the others can be read."""

    ended, progress = False, 0.0

    def __init__(self, name: str, kinds: frozenset[str], error: SourceError) -> None:
        self.name, self._error = name, error
        self.kinds = kinds

    def poll(self) -> Slice | None:
        """Raise the error."""
        raise self._error

    def close(self) -> None:
        """Do nothing: no file is open."""


def open_recording(
    path: str, options: SourceOptions, schemes: Mapping[str, Scheme], *, torn_later: bool = False
) -> list[Source]:
    """Open the sources of a recording that give wanted kinds, named `capture:PATH/FILE` and so on.

    schemes: the rows of sources that recordings contain. `options.position` maps names of sources to positions. Nothing
    is followed: a recording is finished. Raises SourceError when the folder contains no part, or a part is torn at its
    start; with torn_later such a part raises at its first poll instead.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise SourceError(f"no such recording folder: {path!r}; it should hold capture.tar.xz, snapshots.jsonl.xz, ...")
    files = {part: file for part, row in schemes.items() if (file := _file_of(folder, row)) is not None}
    if not files:
        raise SourceError(
            f"no recording in {path!r}; expected capture.tar.xz, snapshots.jsonl.xz or debug.log.gz in it"
        )
    own = replace(options, follow=False)
    sources: list[Source] = []
    for part, file in files.items():
        kinds = _kinds(schemes[part])
        if own.wanted is None or own.wanted & kinds:
            place = str(folder / file)
            try:
                sources += schemes[part].open(place, own, torn_later)
            except TornError as error:
                if not torn_later:
                    raise
                sources.append(TornPart(f"{part}:{place}", kinds, error))
    return sources


def _file_of(folder: Path, row: Scheme) -> str | None:
    """Return the name of a part's file, the usual name first; None when the folder has none."""
    return next((name for name in row.recorded_as if (folder / name).exists()), None)


def _kinds(row: Scheme) -> frozenset[str]:
    return frozenset() if row.kinds is None else row.kinds()


def unseen(path: str, schemes: Mapping[str, Scheme], wanted: frozenset[str]) -> list[str]:
    """Return a line for each part that a recording lacks, with the wanted kinds that no other part gives."""
    folder = Path(path)
    parts = {part for part, row in schemes.items() if _file_of(folder, row) is not None}
    groups = {_group(kind) for part in parts for kind in _kinds(schemes[part])}
    lines = []
    for part, row in schemes.items():
        lacking = {_group(kind) for kind in wanted & _kinds(row)} - groups if part not in parts else set()
        if lacking:
            lines.append(f"no {row.recorded_as[0]} in '{folder}': nothing of {', '.join(sorted(lacking))} is seen")
    return lines


def _group(kind: str) -> str:
    """Return `p2p:*` for `p2p:ping`."""
    return f"{kind.partition(':')[0]}:*"
