"""The seam between sources and the rest: anything that can be polled for slices."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from watchdog.core.batch import Slice
from watchdog.core.moments import latest_plausible

END_OF_TIME_NS = (1 << 63) - 1  # the watermark of a source that has ended


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Everything that a source is built with.

    node: the name that events carry. wanted: the kinds that are read, None for all (a source skips the work for
    others). follow: wait for more at the end of the input. position: where to resume, from the last slice, or None for
    the start. wall_ns: the wall clock, nanoseconds since the epoch; it only bounds event times. skew_ns: how far an
    event may be ahead of the wall clock, None for the bound of old input (a day). believed_ns: later times in
    `position` came from a wrong clock; the source drops them and keeps its place in the input. since_ns: without a
    position, skip all input written before this time; 0 reads all. at_once: no reader waits for a single slice, so a
    source that is not followed may join several. settings: further keys of the source from the configuration.

    `registry.open_sources` takes `position` and `settings` by the name of the source, and passes each source its own.
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
    settings: Mapping[str, object] = field(default_factory=dict)

    def latest_ns(self) -> int:
        """Return the latest time that an event may have now."""
        now_ns = self.wall_ns()
        return latest_plausible(now_ns) if self.skew_ns is None else now_ns + self.skew_ns

    def wants(self, kind: str) -> bool:
        """Return whether this kind is read."""
        return self.wanted is None or kind in self.wanted


class Source(Protocol):
    """An input of events; belongs to the thread that polls it."""

    @property
    def name(self) -> str:
        """The source as the user wrote it, for messages."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that it can give, whatever is wanted; `ALL_KINDS` when its input does not list them."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the last slice was taken and none will follow."""
        ...

    @property
    def progress(self) -> float:
        """The share of a finite input that was read, 0.0 to 1.0."""
        ...

    def poll(self) -> Slice | None:
        """Return the next slice, or None when nothing is new: for good if `ended`, else for now.

        Never blocks for long, and never raises on bytes that a peer sent. Raises SourceError when the input itself
        cannot be read; the caller then closes the source and may open another one at its last position.
        """
        ...

    def close(self) -> None:
        """Release files and memory; a second call does nothing."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A source that counts its input and what it left out, for the service's metrics."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Counts by name, since it was opened."""
        ...


@dataclass(frozen=True, slots=True)
class Skipped:
    """The input that a source skipped at its start.

    size: bytes. from_ns: time of the first skipped event, None when not known. note: why more or less was skipped than
    `since_ns` asks for; empty when nothing differs.
    """

    size: int = 0
    from_ns: int | None = None
    note: str = ""


@runtime_checkable
class Skipping(Protocol):
    """A source that can skip input written before a time (`SourceOptions.since_ns`)."""

    @property
    def skipped(self) -> Skipped:
        """The input skipped when it was opened."""
        ...


@runtime_checkable
class Ending(Protocol):
    """A source with a producer that may outlive `close`."""

    @property
    def abandoned(self) -> bool | None:
        """Whether the producer did not end in time; None before that is known. From any thread."""
        ...


@runtime_checkable
class Waiting(Protocol):
    """A source that may hold back input: a poll without news does not prove that nothing was written before it."""

    @property
    def given_ago_s(self) -> float | None:
        """Seconds since the time up to which it has given all that had been written; 0.0: up to the last poll.

        None while it holds input that it has not given yet.
        """
        ...


@runtime_checkable
class Dated(Protocol):
    """A source that counts events left out because their time cannot be true."""

    @property
    def untrue_times(self) -> int:
        """Their number, since it was opened."""
        ...


@runtime_checkable
class FormCounting(Protocol):
    """A source of lines in known forms that counts unread lines."""

    @property
    def line_forms(self) -> Mapping[str, tuple[int, int]]:
        """Lines read and lines unread by form, since the source was opened.

        Lines without a time count under "untimed", as (0, n).
        """
        ...

    @property
    def net_lines(self) -> int:
        """Lines of the category `net`, since the source was opened."""
        ...
