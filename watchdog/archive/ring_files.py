"""The files of a ring, by their names, which have number and times; see `watchdog.archive.ring`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from watchdog.archive.reader import EventsFile
from watchdog.core.durations import SECOND_NS
from watchdog.core.errors import SourceError

WINDOW: Final = "window"
NAME: Final = re.compile(r"([0-9]{8,12})_([0-9]{8}T[0-9]{6}Z)(?:_([0-9]{8}T[0-9]{6}Z))?\.events")
_STAMP: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class RingFile:
    """A closed file. number: counts up over all runs. from_ns, to_ns: its events, to whole seconds outwards."""

    path: Path
    number: int
    size: int
    from_ns: int
    to_ns: int

    def meets(self, from_ns: int, to_ns: int) -> bool:
        """Return whether it may have events of this span."""
        return self.from_ns <= to_ns and from_ns <= self.to_ns


@dataclass(slots=True)
class KeptFiles:
    """What is kept for one incident. since_ns: when this was asked for, by the wall clock."""

    from_ns: int
    to_ns: int
    since_ns: int
    files: dict[str, RingFile] = field(default_factory=dict)


def events_files(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    """Yield the files of a ring in a folder; others are left alone."""
    with os.scandir(folder) as entries:
        for entry in entries:
            found = NAME.fullmatch(entry.name)
            if found is not None and entry.is_file(follow_symlinks=False):
                yield folder / entry.name, found


def file_of(path: Path, found: re.Match[str]) -> RingFile:
    """Return a closed file. found: the match of its name."""
    return RingFile(path, int(found[1]), path.stat().st_size, time_of(found[2]), time_of(found[3]))


def kept_in(place: Path, files: dict[str, RingFile]) -> KeptFiles:
    """Return what is kept in a folder; where its times cannot be read, they are those of its files."""
    try:
        from_ns, to_ns, since_ns = map(int, (place / WINDOW).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        from_ns = min((one.from_ns for one in files.values()), default=0)
        to_ns = max((one.to_ns for one in files.values()), default=0)
        since_ns = place.stat().st_mtime_ns
    return KeptFiles(from_ns, to_ns, since_ns, files)


def marks_of(path: Path) -> dict[str, int]:
    """Return the watermark of each source in a file, up to its last whole slice; empty for a damaged file."""
    try:
        with EventsFile(path, kinds=()) as file:
            while file.next_slice() is not None:
                pass
            return dict(file.until_ns)
    except SourceError:
        return {}


def stamp(time_ns: int) -> str:
    """Return a time as names have it, in whole seconds."""
    return datetime.fromtimestamp(time_ns // SECOND_NS, UTC).strftime(_STAMP)


def time_of(stamp: str) -> int:
    """Return the time of a name; that of a name which no ring writes is 0."""
    try:
        moment = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return 0
    return int(moment.timestamp()) * SECOND_NS
