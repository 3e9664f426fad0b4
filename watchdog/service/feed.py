"""The sources of a running service as one stream of slices: followed, kept open, opened again after an error.

A live source that has nothing to say holds the others up, since panes wait for every source. So silence is turned
into a promise: what is written to a followed file before a poll is given out at the next poll at the latest, hence an
event that comes later than two polls without news happened after the first of them. Promises are counted from the
source's own last watermark by monotonic time, so a step of the machine's clock moves nothing. A source that is down for
long is passed over: its time is a gap, told as an event. When no other source knows the time, it is counted from the
last that was known, and where none ever was, our own clock begins it: nobody must stay blind without an incident.

Only what comes later shows that a silence was a loss, and then its time has been promised already. So a gap is told
at the watermark that its source was given, if that is later: no news of a loss may be late. What it says of the time
that is missing stays as it is, and so do all other events.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from watchdog.core.batch import Batch, Column, Slice, Strings
from watchdog.core.durations import rough_duration
from watchdog.core.errors import SourceError, WatchdogError
from watchdog.core.source import END_OF_TIME_NS, Source, SourceOptions, Waiting
from watchdog.core.text import printable
from watchdog.engine.coverage import GAP
from watchdog.service.pace import Clock
from watchdog.sources.syntax import SEVERAL, kinds_of, one_source_text, open_sources, split_source

START_NS = 0  # the engine's own watermark of a source that has said nothing
STEP_NS = 200_000_000  # promises of silence are made in steps of at least this, so that an idle service is idle
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
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
DOWN_S = 30.0  # a source that fails for longer does not hold the others up, and the service is not well
REMIND_S = 600.0  # between two warnings of one failure
GAP_STEP_NS = 10_000_000_000  # of event time, between two gap events of a source that is down
_LOG = logging.getLogger("watchdog.sources")


@dataclass(slots=True)
class Channel:
    """One source as the feed sees it.

    mark_ns: the watermark promised to the engine; before_ns: by the run that a checkpoint is of. told_ns, told_s: the
    source's own last watermark and when, by monotonic time, it came. quiet_s: start of the last poll without news, or
    as far as it speaks (`Waiting`). error: why it is down, empty when it works. down_s: since when no poll has worked.
    warned_s: the last warning of that.
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
    retry_s: float = 0.0
    errors: int = 0  # since the start of the service


@dataclass(slots=True)
class Feed:
    """Slices of all sources, from the one that is furthest behind in event time; belongs to the engine's thread."""

    texts: Sequence[str]
    options: SourceOptions
    clock: Clock
    wall_ns: Callable[[], int] = time.time_ns
    channels: list[Channel] = field(default_factory=list)
    moved: int = 0  # slices with a gap that is told later than its own time
    _idle: set[int] = field(default_factory=set)

    def open(self, positions: Mapping[str, Mapping[str, object]]) -> None:
        """Open every source at its position. One that cannot be opened now is tried again later.

        SourceError: a recording or an events file cannot be opened (its parts are not known then), or two sources
        have one name.
        """
        self.channels = []
        for text in self.texts:
            scheme, path = split_source(text)
            if scheme in SEVERAL:
                follow = scheme != "recording"
                found = open_sources([text], replace(self.options, follow=follow, position=positions))
                self.channels += [
                    Channel(one.name, text, one, position=positions.get(one.name), kinds=one.kinds) for one in found
                ]
                if scheme == "events" and [one.name for one in found] == [text]:
                    _LOG.warning("%s", printable(one_source_text(path)))
                continue
            channel = Channel(text, text, position=positions.get(text), kinds=kinds_of(text))
            self.channels.append(channel)
            self._reopen(channel)
        names = [channel.name for channel in self.channels]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            self.close()
            raise SourceError(f"source {twice!r} is given twice")
        for channel in self.channels:
            self._note_end(channel)

    def close(self) -> None:
        """Close all sources."""
        for channel in self.channels:
            if channel.source is not None:
                channel.source.close()

    @property
    def names(self) -> list[str]:
        """Names of all sources."""
        return [channel.name for channel in self.channels]

    @property
    def kinds(self) -> dict[str, frozenset[str] | None]:
        """The kinds that each source can give, by name, whether it is open or not; None for any."""
        return {channel.name: channel.kinds for channel in self.channels}

    @property
    def ended(self) -> bool:
        """Whether nothing will ever come any more."""
        return all(channel.ended for channel in self.channels)

    @property
    def down(self) -> list[str]:
        """Names of sources that have failed for longer than `DOWN_S`; from any thread."""
        now_s = self.clock.monotonic()
        return [one.name for one in list(self.channels) if one.error and now_s - one.down_s > DOWN_S]

    def promises(self) -> list[Slice]:
        """What was promised so far, for an engine that was not told: a slice without events for each source."""
        return [
            Slice(channel.name, (), channel.mark_ns, channel.position or {})
            for channel in self.channels
            if channel.mark_ns > START_NS
        ]

    def keep_promises(self, marks: Mapping[str, int]) -> None:
        """The engine goes on where a run before this one left it: until when each source was promised there, by name.

        A source that had ended is left out: no time comes after its promise.
        """
        for channel in self.channels:
            mark_ns = marks.get(channel.name, START_NS)
            channel.before_ns = mark_ns if mark_ns < END_OF_TIME_NS else START_NS

    def want(self, kinds: frozenset[str], lists: Mapping[str, tuple[str, ...]]) -> None:
        """Read other kinds from here on: every live source is opened again at its position."""
        self.options = replace(self.options, wanted=kinds, lists=lists)
        for channel in self.channels:
            if channel.source is not None and not channel.ended:
                channel.source.close()
                channel.source = None
                channel.retry_s = 0.0

    def next(self) -> Slice | None:
        """The next slice; None when no source has anything now. Never waits."""
        while True:
            ready = [at for at, channel in enumerate(self.channels) if not channel.ended and at not in self._idle]
            if not ready:
                self._idle.clear()
                return None
            chosen = min(ready, key=lambda at: (self.channels[at].mark_ns, at))
            channel = self.channels[chosen]
            promised_ns = max(channel.mark_ns, channel.before_ns)
            slice_ = self._poll(channel)
            if slice_ is not None and slice_.batches:
                self._idle.clear()
            if slice_ is None or not slice_.batches or slice_.caught_up:
                self._idle.add(chosen)
            if slice_ is not None:
                return self._told_in_time(slice_, promised_ns)

    def _poll(self, channel: Channel) -> Slice | None:
        """A slice, a promise, or None."""
        now_s = self.clock.monotonic()
        if channel.source is None and (now_s < channel.retry_s or not self._reopen(channel)):
            return self._passed_over(channel, now_s)
        source = channel.source
        assert source is not None
        try:
            found = source.poll()
        except (WatchdogError, OSError) as error:
            self._fail(channel, error, now_s)
            return None
        self._note_work(channel)
        if found is None:
            self._note_end(channel)
            promise = None if channel.ended else self._silence(channel, now_s)
            ago_s = source.given_ago_s if isinstance(source, Waiting) else 0.0
            channel.quiet_s = None if ago_s is None else now_s - ago_s
            return promise
        channel.failures = 0
        channel.told_ns, channel.told_s, channel.quiet_s = found.until_ns, now_s, None
        channel.mark_ns = max(channel.mark_ns, found.until_ns)
        channel.position = found.position
        self._note_end(channel)
        return found

    def _note_work(self, channel: Channel) -> None:
        """A poll has worked. To be open again is not enough: a broken disk may let a file be opened."""
        if channel.error:
            after = rough_duration(int((self.clock.monotonic() - channel.down_s) * 1e9))
            _LOG.info("source %s: works again, after %s", printable(channel.name), after)
            channel.error = ""

    def _note_end(self, channel: Channel) -> None:
        if channel.source is not None and channel.source.ended and not channel.ended:
            channel.ended, channel.mark_ns = True, END_OF_TIME_NS
            _LOG.info("source %s: read to its end", printable(channel.name))

    def _silence(self, channel: Channel, now_s: float) -> Slice | None:
        """What two polls without news say of the time between."""
        if channel.quiet_s is None:
            return None
        if channel.told_ns is None:  # it has not spoken yet: whatever comes is newer than what the others have given
            promised = self._others(channel)
            channel.told_ns, channel.told_s = promised, now_s
        else:
            delay_ns = WRITE_DELAY_NS.get(split_source(channel.text)[0], 0)
            promised = channel.told_ns + int((channel.quiet_s - channel.told_s) * 1e9) - delay_ns
        return self._promise(channel, promised) if promised and promised - channel.mark_ns >= STEP_NS else None

    def _others(self, channel: Channel) -> int | None:
        """The least that sources which do speak have promised; None without any."""
        marks = [
            one.mark_ns for one in self.channels if one is not channel and one.mark_ns > START_NS and not one.ended
        ]
        return min(marks, default=None)

    def _promise(self, channel: Channel, until_ns: int, batches: tuple[Batch, ...] = ()) -> Slice:
        channel.mark_ns = until_ns
        return Slice(channel.name, batches, until_ns, channel.position or {})

    def _passed_over(self, channel: Channel, now_s: float) -> Slice | None:
        """A source that has been down for long does not hold the others up: the time that they have is a gap of it."""
        if now_s - channel.down_s < DOWN_S:
            return None
        until_ns = self._time_without(channel, now_s)
        if until_ns - channel.mark_ns < GAP_STEP_NS:
            return None
        unseen_ns = until_ns - int((now_s - channel.down_s) * 1e9)
        from_ns = channel.mark_ns if channel.mark_ns > START_NS else unseen_ns
        channel.told_ns, channel.told_s = until_ns, now_s
        return self._promise(channel, until_ns, (self._gap(channel, from_ns, until_ns),))

    def _time_without(self, channel: Channel, now_s: float) -> int:
        """Event time as the sources have it that work, else counted from the last that this one had."""
        marks = [one.mark_ns for one in self.channels if not (one.error or one.ended) and one.mark_ns > START_NS]
        if marks:
            return min(marks)
        if channel.told_ns is None:
            return self.wall_ns()
        return channel.told_ns + int((now_s - channel.told_s) * 1e9)

    def _told_in_time(self, found: Slice, promised_ns: int) -> Slice:
        """The slice with none of its gaps told before the watermark that its source was given."""
        gaps = [batch for batch in found.batches if batch.kind == GAP and batch.rows]
        if all(int(batch.time_ns.min()) >= promised_ns for batch in gaps):
            return found
        self.moved += 1
        batches = (_told_from(batch, promised_ns) if batch.kind == GAP else batch for batch in found.batches)
        return replace(found, batches=tuple(batches))

    def _gap(self, channel: Channel, from_ns: int, to_ns: int) -> Batch:
        columns: dict[str, Column] = {
            "time_ns": np.array([from_ns], np.int64),
            "from_ns": np.array([from_ns], np.int64),
            "to_ns": np.array([to_ns], np.int64),
            "lost": np.zeros(1, np.uint64),
            "reason": Strings.of(["source-error"]),
        }
        return Batch(GAP, self.options.node, channel.name, columns)

    def _fail(self, channel: Channel, error: Exception, now_s: float) -> None:
        """Close it and try again later, each time after a longer wait."""
        if channel.source is not None:
            channel.source.close()
            channel.source = None
        if not channel.error:
            channel.down_s = now_s
        text = printable(error.in_one_line() if isinstance(error, WatchdogError) else str(error))
        if text != channel.error or now_s - channel.warned_s >= REMIND_S:
            down = f" (down for {rough_duration(int((now_s - channel.down_s) * 1e9))})" if channel.error else ""
            _LOG.warning("source %s: %s; it will be tried again%s", printable(channel.name), text, down)
            channel.warned_s = now_s
        wait_s = min(FIRST_RETRY_S * 2.0**channel.failures, LAST_RETRY_S)
        channel.error, channel.retry_s = text, now_s + wait_s
        channel.failures = min(channel.failures + 1, 16)
        channel.errors += 1

    def _reopen(self, channel: Channel) -> bool:
        """Open it at its position; False when that failed."""
        positions = {channel.name: channel.position} if channel.position is not None else None
        try:
            found = open_sources([channel.text], replace(self.options, position=positions))
        except (WatchdogError, OSError) as error:
            self._fail(channel, error, self.clock.monotonic())
            return False
        further = sorted({source.name for source in found} - set(self.names))
        if further:  # rules were divided among the sources that were known at the start
            for source in found:
                source.close()
            self._fail(channel, SourceError(f"{further[0]!r} is new; a restart reads it"), self.clock.monotonic())
            return False
        for source in found:  # a recording or an events file is several
            if source.name == channel.name:
                channel.source = source
            else:
                source.close()
        if channel.source is None:
            self._fail(channel, SourceError("it is not there any more"), self.clock.monotonic())
            return False
        channel.quiet_s = None
        return True


def _told_from(gaps: Batch, promised_ns: int) -> Batch:
    return replace(gaps, columns={**gaps.columns, "time_ns": np.maximum(gaps.time_ns, promised_ns)})
