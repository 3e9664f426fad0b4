"""One source as the feed sees it, and what the feed says of the time for which it knows nothing of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

import numpy as np

from watchdog.core.batch import Batch, Slice
from watchdog.core.durations import rough_duration
from watchdog.core.episode import Episode
from watchdog.core.errors import PositionError
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import END_OF_TIME_NS, Ending, Skipped, Source, SourceOptions
from watchdog.core.text import printable
from watchdog.engine.coverage import GAP
from watchdog.service.timekeeping import Timekeeping
from watchdog.sources.registry import one_source_text, open_sources, scheme_of, split_source
from watchdog.sources.scheme import Scheme

_LOG = logging.getLogger("watchdog.sources")
START_NS = 0  # the engine's own watermark of a source that has said nothing


@dataclass(slots=True)
class Channel:
    """One source as the feed sees it.

    mark_ns: the watermark promised to the engine; before_ns: by the run of the checkpoint. told_ns, told_s: the
    source's own last watermark, and when it arrived by monotonic time. quiet_s: start of the last poll without news, or
    the time up to which the source has given everything (`Waiting`). error: why it is down, empty when it works.
    down_s: since when no poll has worked. warned_s: the last warning about that. heard_s: its last event. net_lines,
    net_s: lines of the category `net` since it was opened, and the time of the last new one. times: whether its times
    fit the wall clock. anew: the promise is not believed, and the engine does not know that yet. doubted_ns: the
    promise when its times were first doubted. believed_ns: later times in `position` are not believed. since_ns:
    without a position, input written before is skipped. skipped: the input that was; None without `since_ns`.
    restarts: of a live source, after failures. last_error: of the last failure, also once it works again.
    abandoned: producers of a live source that did not end in time.
    """

    name: str
    text: str
    source: Source | None = None
    mark_ns: int = START_NS
    before_ns: int = START_NS
    told_ns: int | None = None
    told_s: float = 0.0
    quiet_s: float | None = None
    position: Mapping[str, object] | None = None
    kinds: frozenset[str] = ALL_KINDS
    ended: bool = False
    error: str = ""
    failures: int = 0
    down_s: float = 0.0
    warned_s: float = 0.0
    fault: Episode = field(default_factory=Episode)
    retry_s: float = 0.0
    errors: int = 0  # since the start of the service
    heard_s: float | None = None
    net_lines: int = 0
    net_s: float | None = None
    times: Timekeeping = field(default_factory=Timekeeping)
    anew: bool = False
    doubted_ns: int = START_NS
    believed_ns: int = END_OF_TIME_NS
    since_ns: int = 0
    skipped: Skipped | None = None
    restarts: int = 0
    last_error: str = ""
    abandoned: int = 0
    _ending: list[Ending] = field(default_factory=list)

    @property
    def promised_ns(self) -> int:
        """The latest promise, of this run or of the one before it; START_NS without any and at the end of time."""
        return max(self.mark_ns if self.mark_ns < END_OF_TIME_NS else START_NS, self.before_ns)

    def renew(self, believed_ns: int) -> None:
        """Have the source opened again at its place, without times after this one."""
        self.believed_ns = believed_ns
        if self.source is not None:
            self.close()
            self.retry_s = 0.0

    def close(self) -> None:
        """Close the source, if it is open; never waits for a live one's producer."""
        if self.source is None:
            return
        self.source.close()
        if isinstance(self.source, Ending):
            self._ending.append(self.source)
        self.source = None

    def count_abandoned(self) -> None:
        """Note which producers have ended or were abandoned since they were closed."""
        if self._ending:
            self.abandoned += sum(one.abandoned is True for one in self._ending)
            self._ending = [one for one in self._ending if one.abandoned is None]

    @property
    def live(self) -> bool:
        """Whether it runs beside the engine, so that its watermark comes from its heartbeats alone."""
        return self.scheme.mode == "live"

    @property
    def scheme(self) -> Scheme:
        """Its row in the registry."""
        return scheme_of(self.text)

    @property
    def finite(self) -> bool:
        """Whether it is a part of a recording: its times are of the past."""
        return self.scheme.finished


def cure_of(state_file: str) -> str:
    """What to do about a damaged position, to be added to its error; empty without a file that holds it."""
    cost = "every source is then read as at a first start, and every rule starts without a past"
    return f". To read this source again, stop the service and remove '{state_file}': {cost}" if state_file else ""


def told_from(gaps: Batch, promised_ns: int) -> Batch:
    """The same gaps, none told before this time."""
    return replace(gaps, columns={**gaps.columns, "time_ns": np.maximum(gaps.time_ns, promised_ns)})


def is_heard(channel: Channel, found: Slice) -> bool:
    """Return whether a slice shows that its source gives input: an event, or growth of kinds that no rule reads.

    Schemes without `idle_slices` give slices for lines of any text or for heartbeats, so only their events count.
    """
    if any(batch.rows and batch.kind != GAP for batch in found.batches):
        return True
    return not found.batches and scheme_of(channel.name).idle_slices


def skipped_text(skipped: Skipped, since_ns: int) -> str:
    """What a source passed over, for people."""
    moment = datetime.fromtimestamp(since_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if skipped.note and not skipped.size:
        return skipped.note
    span = rough_duration(since_ns - skipped.from_ns) if skipped.size and skipped.from_ns is not None else "0s"
    more = f"; {skipped.note}" if skipped.note else ""
    return f"begins at {moment}, {skipped.size} bytes ({span}) before that are passed over{more}"


def several(text: str, options: SourceOptions, cure: str) -> list[Channel]:
    """Open the recorded sources behind one text; SourceError when it cannot be opened.

    `options.position` maps names of sources to positions. cure: added to the error of a position that is damaged.
    """
    follow = not scheme_of(text).finished
    skew_ns = options.skew_ns if follow else None
    try:
        opened = open_sources([text], replace(options, follow=follow, skew_ns=skew_ns))
    except PositionError as error:
        raise PositionError(f"{error}{cure}") from None
    if [source.name for source in opened] == [text]:
        _LOG.warning("%s", printable(one_source_text(split_source(text)[1])))
    positions = cast("Mapping[str, Mapping[str, object]]", options.position or {})
    return [Channel(one.name, text, one, position=positions.get(one.name), kinds=one.kinds) for one in opened]


def least_promise(channel: Channel, channels: Iterable[Channel]) -> int | None:
    """The least that the other sources have promised; None where none has yet."""
    marks = [one.mark_ns for one in channels if one is not channel and one.mark_ns > START_NS and not one.ended]
    return min(marks, default=None)


def time_without(channel: Channel, channels: Iterable[Channel], now_s: float, wall_ns: Callable[[], int]) -> int:
    """Event time as the working sources have it, else counted from the last that this source gave."""
    marks = [one.mark_ns for one in channels if not (one.error or one.ended) and one.mark_ns > START_NS]
    if marks:
        return min(marks)
    if channel.told_ns is None:
        return wall_ns()
    return channel.told_ns + int((now_s - channel.told_s) * 1e9)
