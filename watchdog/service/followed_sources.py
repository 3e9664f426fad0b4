"""The sources of a running service as others see them: names, kinds, faults, ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from watchdog.core.source import SourceOptions
from watchdog.pipeline.clock import Clock
from watchdog.service.channel import START_NS, Channel
from watchdog.service.in_force import Shares

DOWN_S = 30.0  # a source that fails for longer does not hold up the others, and the service is unhealthy


@dataclass(slots=True)
class FollowedSources:
    """What can be read of a feed, from any thread; `Feed` follows the sources and changes it.

    options.skew_ns: how far times may be ahead of the wall clock. state_file: where positions are kept, for messages.
    order: schemes whose sources are asked first. in_force: which source gives the kinds that several have; made by
    `open`.
    """

    texts: Sequence[str]
    options: SourceOptions
    clock: Clock
    wall_ns: Callable[[], int] = time.time_ns
    state_file: str = ""
    order: Sequence[str] = ()
    channels: list[Channel] = field(default_factory=list)
    moved: int = 0  # slices with gap events that were moved up to the watermark
    changed: bool = False
    revision: int = 0
    pending: bool = False
    in_force: Shares = field(default_factory=lambda: Shares("", {}))

    @property
    def names(self) -> list[str]:
        """Names of all sources."""
        return [channel.name for channel in self.channels]

    @property
    def kinds(self) -> dict[str, frozenset[str]]:
        """The kinds that each source gives for itself, and those of each share, by the names that the engine knows."""
        return dict(self.in_force.kinds)

    @property
    def ended(self) -> bool:
        """Whether all sources have ended."""
        return all(channel.ended for channel in self.channels)

    @property
    def down(self) -> list[str]:
        """Names of sources that have failed for longer than `DOWN_S`, so that kinds are missing; from any thread."""
        now_s = self.clock.monotonic()
        failed = [one.name for one in list(self.channels) if one.error and now_s - one.down_s > DOWN_S]
        return [name for name in failed if not self.in_force.covered(name)]

    @property
    def clock_faults(self) -> dict[str, str]:
        """Why the times of a source are not trusted, by name; from any thread."""
        now_s = self.clock.monotonic()
        told = ((one.name, one.times.told(now_s)) for one in list(self.channels))
        return {name: text for name, text in told if text}

    @property
    def unsettled(self) -> bool:
        """Whether the engine got a watermark that is not trusted: its state must not be saved."""
        return any(one.distrusted or self._ahead_ns(one) > self._skew_ns for one in self.channels)

    def _ahead_ns(self, channel: Channel) -> int:
        """Return by how much a source's watermark is ahead of the wall clock; 0 or less when it is not."""
        if self.options.skew_ns is None or channel.finite or channel.ended or channel.promised_ns == START_NS:
            return 0
        return channel.promised_ns - self.wall_ns()

    @property
    def _skew_ns(self) -> int:
        return self.options.skew_ns or 0
