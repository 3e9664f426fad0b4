"""One source as the feed sees it, and the gap events for times of which the feed knows nothing."""

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
from watchdog.core.kinds import any_kinds
from watchdog.core.source import END_OF_TIME_NS, Ending, Lacking, Refused, Skipped, Source, SourceOptions, Troubled
from watchdog.core.text import printable
from watchdog.engine.coverage import GAP
from watchdog.service.timekeeping import Timekeeping
from watchdog.sources.registry import one_source_text, open_sources, scheme_of, split_source
from watchdog.sources.scheme import Scheme

_LOG = logging.getLogger("watchdog.sources")
START_NS = 0  # the engine's watermark of a source before its first slice


@dataclass(slots=True)
class Channel:
    """One source as the feed sees it.

    watermark_ns: promised to the engine. restored_watermark_ns: promised by the run that wrote the checkpoint.
    source_watermark_ns, source_watermark_at_s: the source's own latest watermark, and when it came (monotonic).
    idle_since_s: start of the latest poll without news, or the time up to which the source answers for it (`Waiting`).
    error: why it is down; empty while it works. down_s: time of the first failed poll. warned_s: time of the latest
    warning about that. heard_s: time of its latest event. gave: the latest poll had an event or a heartbeat.
    net_lines, net_s: lines of the category `net` since it was opened, and the time of the latest. times: whether its
    times fit the wall clock. distrusted: its watermark is not trusted, and the engine does not know yet. doubted_ns:
    the watermark when its times were first not trusted. believed_ns: later times in `position` are not trusted.
    since_ns: without a position, skip what was written before. skipped: what was skipped; None when nothing was to
    be. restarts: of a live source, after failures. last_error: of the latest failure, also once it works again.
    abandoned: producers of a live source that did not end in time.
    """

    name: str
    text: str
    source: Source | None = None
    watermark_ns: int = START_NS
    restored_watermark_ns: int = START_NS
    source_watermark_ns: int | None = None
    source_watermark_at_s: float = 0.0
    idle_since_s: float | None = None
    position: Mapping[str, object] | None = None
    kinds: frozenset[str] = field(default_factory=any_kinds)
    ended: bool = False
    error: str = ""
    failures: int = 0
    down_s: float = 0.0
    warned_s: float = 0.0
    fault: Episode = field(default_factory=Episode)
    retry_s: float = 0.0
    errors: int = 0  # since the start of the service
    heard_s: float | None = None
    gave: bool = False
    net_lines: int = 0
    net_s: float | None = None
    times: Timekeeping = field(default_factory=Timekeeping)
    distrusted: bool = False
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
        """The latest promise, of this run or the run before; START_NS without any and at the end of time."""
        return max(self.watermark_ns if self.watermark_ns < END_OF_TIME_NS else START_NS, self.restored_watermark_ns)

    def renew(self, believed_ns: int) -> None:
        """Reopen the source at its position, without trusting times after this one."""
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

    def note_trouble(self, now_s: float) -> bool:
        """Take over what a source that keeps trying says of its input; return whether it gives nothing now.

        The source logs it, and reports the time as gaps.
        """
        source: object = self.source
        text = source.trouble if isinstance(source, Troubled) else ""
        if text and not self.error:
            self.down_s = now_s
            self.errors += 1
        if text:
            self.error = self.last_error = text
        return bool(text)

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


def lacks_of(channel: Channel) -> frozenset[str]:
    """Return the kinds that its input cannot give now: by its own word, or because the node refuses the calls."""
    source: object = channel.source
    own = source.lacking if isinstance(source, Lacking) else frozenset()
    return own.union(*source.forbidden.values()) if isinstance(source, Refused) else own


def cure_of(state_file: str) -> str:
    """Return the cure of a damaged position, to be added to its error; empty without a file that holds it."""
    cost = "every source is then read as at a first start, and every rule restarts with empty state"
    return f". To read this source again, stop the service and remove '{state_file}': {cost}" if state_file else ""


def not_before(gaps: Batch, promised_ns: int) -> Batch:
    """Return the gaps with earlier event times moved up to this one."""
    return replace(gaps, columns={**gaps.columns, "time_ns": np.maximum(gaps.time_ns, promised_ns)})


def is_heard(channel: Channel, found: Slice) -> bool:
    """Return whether a slice shows that its source gives input: an event, or growth of kinds that no rule reads.

    Schemes without `idle_slices` give slices for lines of any text or for heartbeats, so only their events count.
    """
    if any(batch.rows and batch.kind != GAP for batch in found.batches):
        return True
    return not found.batches and scheme_of(channel.name).idle_slices


def skipped_text(skipped: Skipped, since_ns: int) -> str:
    """Return what a source skipped, for people."""
    moment = datetime.fromtimestamp(since_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if skipped.note and not skipped.size:
        return skipped.note
    if not skipped.size:
        return f"begins at {moment}; nothing older to skip"
    span = f" ({rough_duration(since_ns - skipped.from_ns)})" if skipped.from_ns is not None else ""
    more = f"; {skipped.note}" if skipped.note else ""
    return f"begins at {moment}, {skipped.size} bytes{span} before that are skipped unread{more}"


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
    """Return the least watermark of the other sources; None before the first."""
    marks = [
        one.watermark_ns for one in channels if one is not channel and one.watermark_ns > START_NS and not one.ended
    ]
    return min(marks, default=None)


def time_without(channel: Channel, channels: Iterable[Channel], now_s: float, wall_ns: Callable[[], int]) -> int:
    """Return event time by the working sources, else extrapolated from this source's own latest watermark."""
    marks = [one.watermark_ns for one in channels if not (one.error or one.ended) and one.watermark_ns > START_NS]
    if marks:
        return min(marks)
    if channel.source_watermark_ns is None:
        return wall_ns()
    return channel.source_watermark_ns + int((now_s - channel.source_watermark_at_s) * 1e9)
