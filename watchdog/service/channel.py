"""One source as the feed sees it, and the gap events for times of which the feed knows nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import cast

import numpy as np

from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.durations import rough_duration
from watchdog.core.episode import Episode
from watchdog.core.source import END_OF_TIME_NS, Skipped, Source, SourceOptions
from watchdog.core.text import printable
from watchdog.engine.coverage import GAP
from watchdog.service.timekeeping import Timekeeping
from watchdog.sources.registry import one_source_text, open_sources

_LOG = logging.getLogger("watchdog.sources")
START_NS = 0  # the engine's watermark of a source before its first slice
WRITE_DELAY_NS: Mapping[str, int] = {
    "capture": 250_000_000,  # Bitcoin Core src/net.cpp CaptureMessageToFile opens, writes and closes for each message
    "log": 250_000_000,  # debug.log is written line by line
    "snapshots": 5_000_000_000,  # a round takes up to 2 s and is held back for QUIET_S; a slow node takes longer
    "events": 2_000_000_000,  # `watchdog record` writes what a poll gave
}
"""How long after its event time something may still be on its way into the file, or be held back by the source.

Only rules that a source can feed wait for it, so these are generous. Two seconds less would report no attack sooner
(rules on snapshots have panes of 10 s and more), and would lose the answers of a busy node.
"""


@dataclass(slots=True)
class Channel:
    """One source as the feed sees it.

    watermark_ns: promised to the engine. restored_watermark_ns: promised by the run that wrote the checkpoint.
    source_watermark_ns, source_watermark_at_s: the source's own latest watermark, and when it came (monotonic).
    idle_since_s: start of the latest poll without news, or the time up to which the source answers for it (`Waiting`).
    error: why it is down; empty while it works. down_s: time of the first failed poll. warned_s: time of the latest
    warning about that. heard_s: time of its latest event. net_lines, net_s: lines of the category `net` since it was
    opened, and the time of the latest. times: whether its times fit the wall clock. distrusted: its watermark is not
    trusted, and the engine does not know yet. doubted_ns: the watermark when its times were first not trusted.
    believed_ns: later times in `position` are not trusted. since_ns: without a position, skip what was written before.
    skipped: what was skipped; None when nothing was to be.
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
    distrusted: bool = False
    doubted_ns: int = START_NS
    believed_ns: int = END_OF_TIME_NS
    since_ns: int = 0
    skipped: Skipped | None = None

    @property
    def promised_ns(self) -> int:
        """The latest promise, of this run or the run before; START_NS without any and at the end of time."""
        return max(self.watermark_ns if self.watermark_ns < END_OF_TIME_NS else START_NS, self.restored_watermark_ns)

    def renew(self, believed_ns: int) -> None:
        """Reopen the source at its position, without trusting times after this one."""
        self.believed_ns = believed_ns
        if self.source is not None:
            self.source.close()
            self.source, self.retry_s = None, 0.0

    @property
    def finite(self) -> bool:
        """A part of a recording: its times are of the past."""
        return self.text.startswith("recording:")


def gap_of(node: str, source: str, span: tuple[int, int], reason: str, event_ns: int) -> Batch:
    """Return the gap event at `event_ns` for a span (from, to; ns) in which nothing is known of a source."""
    columns: dict[str, Column] = {
        "time_ns": np.array([event_ns], np.int64),
        "from_ns": np.array([span[0]], np.int64),
        "to_ns": np.array([span[1]], np.int64),
        "lost": np.zeros(1, np.uint64),
        "reason": Strings.of([reason]),
        "kinds": Strings.of([""]),
    }
    return Batch(GAP, node, source, columns)


def not_before(gaps: Batch, promised_ns: int) -> Batch:
    """Return the gaps with earlier event times moved up to this one."""
    return replace(gaps, columns={**gaps.columns, "time_ns": np.maximum(gaps.time_ns, promised_ns)})


def is_heard(channel: Channel, found: Slice) -> bool:
    """Return whether a slice shows that its source lives: an event, or input of kinds that no rule reads.

    A log gives slices for lines of any text, so only events count there.
    """
    if any(batch.rows and batch.kind != GAP for batch in found.batches):
        return True
    return not found.batches and not channel.name.startswith("log:")


def skipped_text(skipped: Skipped, since_ns: int) -> str:
    """Return what a source skipped, for people."""
    moment = datetime.fromtimestamp(since_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if skipped.note and not skipped.size:
        return skipped.note
    span = rough_duration(since_ns - skipped.from_ns) if skipped.size and skipped.from_ns is not None else "0s"
    more = f"; {skipped.note}" if skipped.note else ""
    return f"begins at {moment}, {skipped.size} bytes ({span}) before that are passed over{more}"


def several(text: str, scheme: str, path: str, options: SourceOptions) -> list[Channel]:
    """Open what one text names several sources by: a recording, or an events file. SourceError: it cannot be opened.

    options.position: by the name of the source.
    """
    follow = scheme != "recording"
    skew_ns = options.skew_ns if follow else None
    opened = open_sources([text], replace(options, follow=follow, skew_ns=skew_ns))
    if scheme == "events" and [source.name for source in opened] == [text]:
        _LOG.warning("%s", printable(one_source_text(path)))
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
