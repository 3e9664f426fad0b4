"""The seam between sources and the rest: anything that can be polled for slices."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from watchdog.core.batch import Slice
from watchdog.core.moments import latest_plausible
from watchdog.core.tip_signal import TipSignal
from watchdog.core.where_tree import WhereTree

END_OF_TIME_NS = (1 << 63) - 1  # the watermark of a source that has ended


def _nothing_stored(_source: str) -> None:
    """Stand for a reader without checkpoints."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Everything that a source is built with.

    node: the name that events carry. wanted: the kinds that are read, None for all (a source skips the work for
    others). follow: wait for more at the end of the input. position: where to resume, from the last slice, or None for
    the start. wall_ns: the wall clock, nanoseconds since the epoch; it only bounds event times. skew_ns: how far an
    event may be ahead of the wall clock, None for the bound of old input (a day). believed_ns: later times in
    `position` came from a wrong clock; the source drops them and keeps its place in the input. since_ns: without a
    position, skip all input written before this time; 0 reads all. at_once: no reader waits for a single slice, so a
    source that is not followed may join several. settings: further keys of the source from the configuration. stored:
    returns the position of a source (by name) in the latest checkpoint that is on disk, None without one; any thread.
    asked_heights: the heights whose block hash should be asked of the node now and reported as `rpc:block_hash`, at
    most two calls a minute: the fleet compares nodes there. Called from any thread; empty for none.
    tips: shared by the sources of a node. payloads: message type, or "*" for all without an entry -> most bytes of the
    payload that `net:inbound_message` and `net:outbound_message` carry; empty: none. listed: the reader goes by
    `registry.kinds_of`, so that the source gives no other kinds, whatever its input offers. where: by kind, a condition
    without which an event is not read; a source may leave such events out, and need not.

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
    stored: Callable[[str], Mapping[str, object] | None] = _nothing_stored
    asked_heights: Callable[[], tuple[int, ...]] = tuple
    tips: TipSignal = field(default_factory=TipSignal)
    payloads: Mapping[str, int] = field(default_factory=dict)
    listed: bool = False
    where: Mapping[str, WhereTree] = field(default_factory=dict)

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
        """The kinds that it can give, whatever is wanted; all kinds (`any_kinds`) when its input does not list them."""
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
class Troubled(Protocol):
    """A live source that keeps trying while its input fails, and reports that time as gaps by itself."""

    @property
    def trouble(self) -> str:
        """Why its input gives nothing now; empty while it does. From any thread."""
        ...


@runtime_checkable
class Stretching(Protocol):
    """A source that makes calls at intervals, and makes them less often when they take too long."""

    @property
    def slow_call(self) -> tuple[str, float]:
        """The call that takes most of the time, and the largest stretch of an interval; "" while none is large."""
        ...


class CallCost(Protocol):
    """What one call has cost. buckets: requests by duration, see `watchdog.sources.rpc.link.BUCKETS_S`."""

    seconds: float
    errors: Counter[str]
    buckets: list[int]


@runtime_checkable
class Calling(Protocol):
    """A source that asks its node by calls of several methods. From any thread."""

    @property
    def calls(self) -> Mapping[str, CallCost]:
        """Requests, seconds and errors by method, since it was opened."""
        ...

    @property
    def intervals_s(self) -> Mapping[str, float]:
        """The present interval of each call, in seconds."""
        ...


@runtime_checkable
class Tallying(Protocol):
    """A source that counts all that its node reports, also what nothing reads. From any thread."""

    @property
    def tallies(self) -> Mapping[str, tuple[int, int]]:
        """Events by kind since the source was opened, and the sum of their values in satoshi."""
        ...


@runtime_checkable
class Lacking(Protocol):
    """A source whose input may give fewer kinds than the source could."""

    @property
    def lacking(self) -> frozenset[str]:
        """The kinds that it cannot give now, of those in `kinds`: another source must give them. From any thread."""
        ...


@runtime_checkable
class ClockStepping(Protocol):
    """A source that sees when the clock of its input is set."""

    @property
    def clock_step(self) -> str:
        """By how much it was set a moment ago, in words; empty when it was not."""
        ...


@runtime_checkable
class Refused(Protocol):
    """A source with calls that its input may refuse one by one."""

    @property
    def forbidden(self) -> Mapping[str, frozenset[str]]:
        """The refused calls, and the kinds that each would feed."""
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


@runtime_checkable
class HealthReporting(Protocol):
    """A source whose events come from a server that says how it is."""

    @property
    def server_health(self) -> Mapping[str, float]:
        """Numbers of the last heartbeat by name, which the server chose; empty before one. From any thread."""
        ...


@runtime_checkable
class MessageCounting(Protocol):
    """A source of messages in known forms that counts those that fit none."""

    @property
    def message_counts(self) -> Mapping[str, tuple[int, int]]:
        """Messages read and unread by the subject on which they came, since the source was opened. From any thread."""
        ...
