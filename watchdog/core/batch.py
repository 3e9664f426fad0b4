"""Column batches: the only form in which events travel.

A batch holds events of one kind, one node, one node process and one source, as
columns of equal length. Nothing in it is a Python object for each event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from watchdog.core.arrays import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Strings:
    """Dictionary-coded text: `codes` (int32, one a row) index `values` (distinct strings)."""

    codes: NDArray[np.int32]
    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.intp]) -> Strings:
        """Return the chosen rows, over the same dictionary."""
        return Strings(self.codes[rows], self.values)

    def tolist(self) -> list[str]:
        """Return a Python string for each row; for people and exports, never for the hot path."""
        values = self.values
        return [values[code] for code in self.codes.tolist()]

    @classmethod
    def constant(cls, value: str, rows: int) -> Strings:
        """Return a column that says `value` in every row."""
        return cls(np.zeros(rows, np.int32), (value,))

    @classmethod
    def of(cls, values: Sequence[str]) -> Strings:
        """Encode one string a row; the dictionary is in order of first appearance."""
        codes: dict[str, int] = {}
        coded = [codes.setdefault(value, len(codes)) for value in values]
        return cls(np.array(coded, np.int32), tuple(codes))


@dataclass(frozen=True, slots=True, eq=False)
class Blobs:
    """Byte strings of any length: row i is `data[offsets[i]:offsets[i + 1]]`."""

    offsets: NDArray[np.int64]  # rows + 1 entries, non-decreasing, in bytes
    data: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: NDArray[np.intp]) -> Blobs:
        """Return the chosen rows, copied together."""
        starts = self.offsets[rows]
        sizes = self.offsets[rows + 1] - starts
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        # hashes and addresses are pairs of words: a sixteenth of the places to compute
        wide = not int(np.bitwise_or.reduce(starts | sizes)) & 15
        data = self.data[: len(self.data) & ~15].view(np.complex128) if wide else self.data
        if wide:
            starts, sizes = starts >> 4, sizes >> 4
        stops = np.cumsum(sizes)
        chosen = np.arange(int(sizes.sum())) + np.repeat(starts - stops + sizes, sizes)
        return Blobs(offsets, data[chosen].view(np.uint8))

    def tolist(self) -> list[bytes]:
        """Return `bytes` for each row; for people and exports."""
        raw, marks = self.data.tobytes(), self.offsets.tolist()
        return [raw[a:b] for a, b in pairwise(marks)]

    @classmethod
    def of(cls, values: Sequence[bytes]) -> Blobs:
        """Join one byte string a row."""
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum([len(value) for value in values], out=offsets[1:])
        return cls(offsets, np.frombuffer(b"".join(values), np.uint8))


Column = NDArray[np.generic] | Strings | Blobs


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Events of one kind as columns; `time_ns` (event time, UTC, int64) is always there.

    `boot_ns`: start of the node process that these events come from, 0 if unknown.
    `source`: the name of the source, as given on the command line.
    Rows keep the source's own order; times may step back within the source's lateness.
    """

    kind: str
    node: str
    source: str
    columns: Mapping[str, Column]
    boot_ns: int = 0
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", len(self.columns["time_ns"]))

    @property
    def time_ns(self) -> Ints:
        """Event times in nanoseconds since the epoch."""
        column = self.columns["time_ns"]
        assert isinstance(column, np.ndarray)
        return column.astype(np.int64, copy=False)

    def numbers(self, name: str) -> NDArray[np.generic]:
        """Return a numeric or boolean column."""
        column = self.columns[name]
        if not isinstance(column, np.ndarray):
            raise TypeError(f"column {name!r} of {self.kind} is not numeric")
        return column

    def strings(self, name: str) -> Strings:
        """Return a text column."""
        column = self.columns[name]
        if not isinstance(column, Strings):
            raise TypeError(f"column {name!r} of {self.kind} is not text")
        return column

    def take(self, rows: NDArray[np.intp]) -> Batch:
        """Return the chosen rows as a batch of their own."""
        chosen: dict[str, Column] = {
            name: column[rows] if isinstance(column, np.ndarray) else column.take(rows)
            for name, column in self.columns.items()
        }
        return Batch(self.kind, self.node, self.source, chosen, self.boot_ns)

    def slice(self, start: int, stop: int) -> Batch:
        """Return rows start to stop (exclusive)."""
        return self.take(np.arange(start, min(stop, self.rows)))


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """The result of one poll of a source.

    until_ns: the source's watermark, no earlier event follows. position: JSON-able; resumes the source just after this
    slice. caught_up: a followed source has nothing more for now; a polling loop may rest, so that a node that never
    pauses is read in few large slices instead of many tiny ones. shared: events of the same poll that the engine takes
    as those of other sources, together with this slice; see `watchdog.sources.shares`.
    """

    source: str
    batches: tuple[Batch, ...]
    until_ns: int
    position: Mapping[str, object] = field(default_factory=dict)
    caught_up: bool = False
    shared: tuple[Slice, ...] = ()

    @property
    def parts(self) -> tuple[Slice, ...]:
        """All that the engine takes of it, its own part last: after it, everything before the position was taken."""
        return (*self.shared, self)
