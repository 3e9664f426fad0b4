"""What an engine's thread asks of its feed: the sources of a node, or the reports of all nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from watchdog.core.batch import Slice
from watchdog.service.channel import Channel


class FeedState(Protocol):
    """What others read of a feed, from any thread.

    texts: the sources as they are configured.
    """

    texts: Sequence[str]
    channels: list[Channel]

    @property
    def wall_ns(self) -> Callable[[], int]:
        """The wall clock."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Names of all sources."""
        ...

    @property
    def kinds(self) -> Mapping[str, frozenset[str]]:
        """The kinds of events that each source can give, by name."""
        ...

    @property
    def down(self) -> Sequence[str]:
        """Names of sources that have failed for too long."""
        ...

    @property
    def clock_faults(self) -> Mapping[str, str]:
        """Why the times of a source are not trusted, by name."""
        ...


class LoopFeed(FeedState, Protocol):
    """A feed as its engine's thread uses it.

    moved: slices with gap events that were moved up to the watermark. changed: a decision was made that a checkpoint
    must have; the thread sets it back. revision: grows with state that is not in the positions. pending: input waits
    that must not be lost at the end.
    """

    moved: int
    changed: bool

    @property
    def revision(self) -> int:
        """Grows with state that is not in the positions."""
        ...

    @property
    def pending(self) -> bool:
        """Whether input waits that must not be lost at the end."""
        ...

    @property
    def ended(self) -> bool:
        """Whether all sources have ended."""
        ...

    @property
    def unsettled(self) -> bool:
        """Whether the engine got a watermark that is not trusted: its state must not be saved."""
        ...

    def next(self) -> Slice | None:
        """Return the next slice; None when there is nothing now. Never waits."""
        ...

    def promises(self) -> list[Slice]:
        """Return slices without events that bring a new engine up to the watermarks so far."""
        ...

    def want(self, kinds: frozenset[str], lists: Mapping[str, tuple[str, ...]], /) -> None:
        """Read other kinds from here on."""
        ...

    def close(self) -> None:
        """Release all input."""
        ...
