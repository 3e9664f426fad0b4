"""The seam between sources and the rest: anything that can be polled for slices."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from watchdog.core.batch import Slice
from watchdog.core.moments import latest_plausible

END_OF_TIME_NS = (1 << 63) - 1  # the watermark of a source that has ended


class Enricher(Protocol):
    """Looks addresses up; `watchdog.core.enrich` has the real one."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What every source is built with.

    node: the name that events carry. wanted: kinds that somebody reads, None for all
    (a source skips the work for others). follow: wait for more at the end of the input.
    position: where to resume, as the last slice said, or None for the start. wall_ns: the
    wall clock, nanoseconds since the epoch; it only tells which event times can be true.
    skew_ns: how far an event may be ahead of the wall clock, None for what old input may
    (a day). believed_ns: times in `position` after this one are of a clock that was wrong;
    the source forgets them and keeps its place in the input. since_ns: without a position,
    pass over what was written before this time, unread; 0 reads all. at_once: no reader
    waits for a single slice, so a source that is not followed may join several.
    """

    node: str = "node"
    wanted: frozenset[str] | None = None
    follow: bool = False
    position: Mapping[str, object] | None = None
    asmap_path: str | None = None
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wall_ns: Callable[[], int] = time.time_ns
    skew_ns: int | None = None
    believed_ns: int = END_OF_TIME_NS
    since_ns: int = 0
    at_once: bool = False

    def latest_ns(self) -> int:
        """The latest time that an event may have now."""
        now_ns = self.wall_ns()
        return latest_plausible(now_ns) if self.skew_ns is None else now_ns + self.skew_ns

    def wants(self, kind: str) -> bool:
        """Whether somebody reads this kind."""
        return self.wanted is None or kind in self.wanted


class Source(Protocol):
    """A place where events come from.

    `poll` returns the next slice, or None when there is nothing new: for good if
    `ended`, for now otherwise. It never blocks for long and never raises on what a
    peer sent; `SourceError` means that the input itself cannot be read.
    `progress` is the share of a finite input that was read, 0.0 to 1.0.
    """

    @property
    def name(self) -> str:
        """The source as the user wrote it, for messages."""
        ...

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds that it can give, whatever is wanted; None when that is not known: any."""
        ...

    @property
    def ended(self) -> bool:
        """Whether nothing will ever come any more."""
        ...

    @property
    def progress(self) -> float:
        """The share of a finite input that was read, 0.0 to 1.0."""
        ...

    def poll(self) -> Slice | None:
        """The next slice, or None when there is nothing new."""
        ...

    def close(self) -> None:
        """Give back files and memory; a second call does nothing."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A source that counts what it read and what it left out, for the service's metrics."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Numbers by name, since it was opened."""
        ...


@dataclass(frozen=True, slots=True)
class Skipped:
    """What a source passed over at its start. size: bytes. from_ns: time of the first of it, None when not known.

    note: why something was read that should have been passed over, or the other way; empty without a reason.
    """

    size: int = 0
    from_ns: int | None = None
    note: str = ""


@runtime_checkable
class Skipping(Protocol):
    """A source that can pass over what was written before a time (`SourceOptions.since_ns`)."""

    @property
    def skipped(self) -> Skipped:
        """What was passed over when it was opened."""
        ...


@runtime_checkable
class Waiting(Protocol):
    """A source of which a poll without news says less than that nothing was written before it."""

    @property
    def given_ago_s(self) -> float | None:
        """Seconds since the time up to which all was given that had been written; 0.0: since the last poll.

        None when something was found that is not given yet.
        """
        ...


@runtime_checkable
class Dated(Protocol):
    """A source that counts the events that it leaves out because their time cannot be true."""

    @property
    def untrue_times(self) -> int:
        """How many, since it was opened."""
        ...


@runtime_checkable
class FormCounting(Protocol):
    """A source of lines in known forms, which counts those that it cannot read."""

    @property
    def line_forms(self) -> Mapping[str, tuple[int, int]]:
        """For each form of line, by name: lines read, lines unread; both since the source was opened.

        Lines without a time count under "untimed", as (0, n).
        """
        ...

    @property
    def net_lines(self) -> int:
        """Lines of the category `net`, since the source was opened."""
        ...
