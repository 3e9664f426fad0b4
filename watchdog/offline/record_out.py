"""Where a recording goes: one events file, or a folder of rotated ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from rules.row_filter import RowFilter
from watchdog.archive.resumed import Resumed
from watchdog.archive.ring import Ring
from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Slice
from watchdog.core.errors import WatchdogError
from watchdog.engine.coverage import ALWAYS_WANTED

UNBOUNDED: Final = 1 << 60  # bytes of a folder without `keep`


class Wanted(Protocol):
    """How a recording is written."""

    @property
    def append(self) -> bool:
        """Extend an existing file."""
        ...

    @property
    def keep(self) -> int | None:
        """Bytes of all files of a folder together."""
        ...

    @property
    def rotate(self) -> int | None:
        """Bytes of one file of a folder."""
        ...


class Recording:
    """Writes slices to a file or a ring, without the rows that do not pass. rows: events written."""

    def __init__(self, out: EventsWriter | Ring, passing: RowFilter | None) -> None:
        self._out, self._passing = out, passing
        self._resumed = Resumed(out.marks() if isinstance(out, Ring) else {})
        self.rows = 0

    @property
    def size(self) -> int:
        """Bytes of all that is there."""
        return self._out.size

    def write(self, piece: Slice) -> None:
        """Append a slice. StateError when that fails."""
        rest = self._resumed.rest(piece)
        if rest is None:
            return
        piece = rest
        if self._passing is not None:
            given = (
                batch if batch.kind in ALWAYS_WANTED else self._passing(batch) for batch in piece.batches if batch.rows
            )
            piece = replace(piece, batches=tuple(batch for batch in given if batch is not None))
        self._out.write(piece)
        self.rows += sum(batch.rows for batch in piece.batches)


@contextmanager
def recording_of(
    out: Path, kinds: Mapping[str, frozenset[str]], options: Wanted, passing: RowFilter | None
) -> Iterator[Recording]:
    """Open what `out` names, and close it at the end. kinds: those of each source. StateError: it cannot be written."""
    if options.keep is None and options.rotate is None:
        with EventsWriter(out, tuple(kinds), kinds=kinds, append=options.append) as file:
            yield Recording(file, passing)
        return
    if options.append:
        raise WatchdogError("a folder of rotated files is continued anyway; leave --append out")
    ring = Ring(out, kinds, keep=options.keep or UNBOUNDED, rotate=options.rotate)
    try:
        yield Recording(ring, passing)
    finally:
        ring.close()
