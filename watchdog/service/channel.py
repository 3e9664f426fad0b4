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
from watchdog.core.source import END_OF_TIME_NS, Skipped, Source, SourceOptions
from watchdog.core.text import printable
from watchdog.engine.coverage import GAP
from watchdog.service.timekeeping import Timekeeping
from watchdog.sources.registry import one_source_text, open_sources

_LOG = logging.getLogger("watchdog.sources")
START_NS = 0  # the engine's own watermark of a source that has said nothing
WRITE_DELAY_NS: Mapping[str, int] = {
    "capture": 250_000_000,  # Bitcoin Core src/net.cpp CaptureMessageToFile opens, writes and closes for each message
    "log": 250_000_000,  # debug.log is written line by line
    "snapshots": 5_000_000_000,  # a round takes up to 2 s and is held back for QUIET_S; a slow node takes longer
    "events": 2_000_000_000,  # `watchdog record` writes what a poll gave
}
"""How long after its event time something may still be on its way into the file, or be held back by the source.

Only rules that a source can feed wait for it, so these are generous: two seconds less would tell nobody of an attack
sooner (rules on snapshots have panes of 10 s and more), and cost the answers of a node that is busy.
"""


@dataclass(slots=True)
class Channel:
    """One source as the feed sees it.

    mark_ns: the watermark promised to the engine; before_ns: by the run that a checkpoint is of. told_ns, told_s: the
    source's own last watermark and when, by monotonic time, it came. quiet_s: start of the last poll without news, or
    as far as it speaks (`Waiting`). error: why it is down, empty when it works. down_s: since when no poll has worked.
    warned_s: the last warning of that. heard_s: when it gave an event last. net_lines, net_s: lines of the category
    `net` since it was opened, and when there was a new one last. times: whether its times fit the wall clock. anew:
    what was promised is not believed, and the engine has not heard of it yet. doubted_ns: the promise when its times
    were first not believed. believed_ns: later times in `position` are not believed. since_ns: without a position, what
    was written before is passed over. skipped: what was; None when not asked for.
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
    kinds: frozenset[str] | None = None
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

    @property
    def promised_ns(self) -> int:
        """The latest promise, of this run or of the one before it; START_NS without any and at the end of time."""
        return max(self.mark_ns if self.mark_ns < END_OF_TIME_NS else START_NS, self.before_ns)

    def renew(self, believed_ns: int) -> None:
        """Have the source opened again at its place, without times after this one."""
        self.believed_ns = believed_ns
        if self.source is not None:
            self.source.close()
            self.source, self.retry_s = None, 0.0

    @property
    def finite(self) -> bool:
        """A part of a recording: its times are of the past."""
        return self.text.startswith("recording:")


def cure_of(state_file: str) -> str:
    """What to do about a damaged position, to be added to its error; empty without a file that holds it."""
    cost = "every source is then read as at a first start, and every rule starts without a past"
    return f". To read this source again, stop the service and remove '{state_file}': {cost}" if state_file else ""


def told_from(gaps: Batch, promised_ns: int) -> Batch:
    """The same gaps, none told before this time."""
    return replace(gaps, columns={**gaps.columns, "time_ns": np.maximum(gaps.time_ns, promised_ns)})


def is_heard(channel: Channel, found: Slice) -> bool:
    """Whether a slice shows that its source lives: an event, or input of which nobody reads the kinds.

    A log gives slices for lines of any text, so only events count there.
    """
    if any(batch.rows and batch.kind != GAP for batch in found.batches):
        return True
    return not found.batches and not channel.name.startswith("log:")


def skipped_text(skipped: Skipped, since_ns: int) -> str:
    """What a source passed over, for people."""
    moment = datetime.fromtimestamp(since_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if skipped.note and not skipped.size:
        return skipped.note
    span = rough_duration(since_ns - skipped.from_ns) if skipped.size and skipped.from_ns is not None else "0s"
    more = f"; {skipped.note}" if skipped.note else ""
    return f"begins at {moment}, {skipped.size} bytes ({span}) before that are passed over{more}"


def several(text: str, scheme: str, path: str, options: SourceOptions, cure: str) -> list[Channel]:
    """Open what one text names several sources by: a recording, or an events file. SourceError: it cannot be opened.

    options.position: by the name of the source. cure: added to the error of a position that is damaged.
    """
    follow = scheme != "recording"
    skew_ns = options.skew_ns if follow else None
    try:
        opened = open_sources([text], replace(options, follow=follow, skew_ns=skew_ns))
    except PositionError as error:
        raise PositionError(f"{error}{cure}") from None
    if scheme == "events" and [source.name for source in opened] == [text]:
        _LOG.warning("%s", printable(one_source_text(path)))
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
