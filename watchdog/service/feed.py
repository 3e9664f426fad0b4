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

No promise may be ahead of the wall clock by more than `skew_ns`, since events of the right time would be late until
that time has come. Where one is, or the times of a source do not fit otherwise (`timekeeping`), nothing that the source
gives is judged, and `clock_faults` says so. With the first event whose time fits the source starts anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from watchdog.core.batch import Batch, Slice
from watchdog.core.durations import rough_duration
from watchdog.core.errors import PositionError, SourceError, WatchdogError
from watchdog.core.moments import CLOCK, clock_reset_ns
from watchdog.core.source import END_OF_TIME_NS, Skipping, Source, SourceOptions, Waiting
from watchdog.core.text import printable
from watchdog.engine.coverage import GAP
from watchdog.pipeline.clock import Clock
from watchdog.pipeline.scheduler import Scheduler
from watchdog.service.channel import (
    START_NS,
    WRITE_DELAY_NS,
    Channel,
    gap_of,
    is_heard,
    least_promise,
    several,
    skipped_text,
    time_without,
    told_from,
)
from watchdog.service.timekeeping import earliest, fitting
from watchdog.sources.registry import SEVERAL, kinds_of, open_sources, split_source

NO_STARTS: Mapping[str, int] = MappingProxyType({})
STEP_NS = 200_000_000  # promises of silence are made in steps of at least this, so that an idle service is idle
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
DOWN_S = 30.0  # a source that fails for longer does not hold the others up, and the service is not well
REMIND_S = 600.0  # between two warnings of one failure
GAP_STEP_NS = 10_000_000_000  # of event time, between two gap events of a source that is down
COST = "every source is then read as at a first start, and every rule starts without a past"
DAMAGE, UNTRUE = "source-error", "clock-fault"  # reasons of gaps: it cannot be read, its times cannot be right
BACK_NS = 10_000_000_000  # before now, a source starts anew: it may have written since its clock was set right
_LOG = logging.getLogger("watchdog.sources")


@dataclass(slots=True)
class Feed:
    """Slices of all sources, from the one that is furthest behind in event time; belongs to the engine's thread.

    options.skew_ns: how far times may be ahead of the wall clock. state_file: where positions are kept, for messages.
    """

    texts: Sequence[str]
    options: SourceOptions
    clock: Clock
    wall_ns: Callable[[], int] = time.time_ns
    state_file: str = ""
    channels: list[Channel] = field(default_factory=list)
    moved: int = 0  # slices with a gap that is told later than its own time
    _scheduler: Scheduler = field(default_factory=Scheduler)

    def open(self, positions: Mapping[str, Mapping[str, object]], since_ns: Mapping[str, int] = NO_STARTS) -> None:
        """Open every source at its position. One that cannot be opened now is tried again later.

        since_ns: by source without a position, the time before which nothing is read.
        SourceError: a recording or an events file cannot be opened (its parts are not known then), or two sources
        have one name.
        """
        self.channels = []
        positions = {name: position for name, position in positions.items() if position}
        for text in self.texts:
            scheme, path = split_source(text)
            if scheme in SEVERAL:
                self.channels += several(text, scheme, path, replace(self.options, position=positions))
                continue
            position, begin_ns = positions.get(text) or None, since_ns.get(text, 0)
            channel = Channel(text, text, position=position, since_ns=begin_ns, kinds=kinds_of(text))
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

    @property
    def clock_faults(self) -> dict[str, str]:
        """Sources whose times are not believed, by name, and why; from any thread."""
        now_s = self.clock.monotonic()
        told = ((one.name, one.times.told(now_s)) for one in list(self.channels))
        return {name: text for name, text in told if text}

    @property
    def unsettled(self) -> bool:
        """Whether the engine was promised a time that is not believed: its state must not be kept."""
        return any(one.anew or self._ahead_ns(one) > self._skew_ns for one in self.channels)

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
        self._judge_times()
        while True:
            chosen = self._scheduler.choose([None if channel.ended else channel.mark_ns for channel in self.channels])
            if chosen is None:
                return None
            channel = self.channels[chosen]
            promised_ns = max(channel.mark_ns, channel.before_ns)
            slice_ = self._poll(channel)
            news = slice_ is not None and bool(slice_.batches)
            self._scheduler.note(chosen, news=news, drained=not news or (slice_ is not None and slice_.caught_up))
            if slice_ is not None:
                return self._told_in_time(slice_, promised_ns)

    def _poll(self, channel: Channel) -> Slice | None:
        """A slice, a promise, or None."""
        now_s = self.clock.monotonic()
        if channel.source is None and (now_s < channel.retry_s or not self._reopen(channel)):
            return self._start_anew(channel) if channel.anew else self._passed_over(channel, now_s, channel.down_s)
        source = channel.source
        assert source is not None
        try:
            found = source.poll()
        except (WatchdogError, OSError) as error:
            self._fail(channel, error, now_s)
            return self._start_anew(channel) if channel.anew else None
        self._note_work(channel)
        if found is not None and (reset_ns := clock_reset_ns(found.batches)) is not None:  # of a recording
            channel.mark_ns, channel.before_ns = reset_ns, START_NS
        if found is not None and is_heard(channel, found):
            channel.heard_s = now_s
        self._note_times(channel, source, found, now_s)
        if channel.anew or channel.times.fault:
            return self._doubted(channel, found, now_s)
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

    def _note_times(self, channel: Channel, source: Source, found: Slice | None, now_s: float) -> None:
        """What a poll says of the source's clock."""
        if channel.finite or self.options.skew_ns is None:
            return
        batches = () if found is None else found.batches
        channel.times.note(source, batches, channel.promised_ns, self._skew_ns, now_s)
        channel.times.live |= found is None or found.caught_up
        if found is not None:
            channel.believed_ns = END_OF_TIME_NS

    def _ahead_ns(self, channel: Channel) -> int:
        """By how much what was promised for a source is ahead of the wall clock, 0 or less when it is not."""
        if self.options.skew_ns is None or channel.finite or channel.ended or channel.promised_ns == START_NS:
            return 0
        return channel.promised_ns - self.wall_ns()

    @property
    def _skew_ns(self) -> int:
        return self.options.skew_ns or 0

    def _judge_times(self) -> None:
        """Find sources whose times cannot be right, or were promised by a clock that has been set back."""
        if self.options.skew_ns is None:
            return
        now_s = self.clock.monotonic()
        for channel in self.channels:
            ahead_ns = self._ahead_ns(channel)
            if ahead_ns > self._skew_ns:
                self._doubt(
                    channel, f"its time was {rough_duration(ahead_ns)} ahead of the clock of this machine", now_s
                )
                channel.anew, channel.told_ns, channel.quiet_s = True, None, None
                channel.mark_ns = channel.before_ns = START_NS
                channel.renew(self.wall_ns())
            elif not channel.times.fault and not channel.ended and (fault := channel.times.judge(now_s)):
                self._doubt(channel, fault, now_s)

    def _doubt(self, channel: Channel, fault: str, now_s: float) -> None:
        if not channel.times.fault:
            channel.doubted_ns = channel.promised_ns
            _LOG.error("source %s: %s; nothing of it is judged until its times fit", printable(channel.name), fault)
        channel.times.begin(fault, now_s)

    def _doubted(self, channel: Channel, found: Slice | None, now_s: float) -> Slice | None:
        """What becomes of the poll of a source whose times did not fit: an event whose time fits starts it anew."""
        batches = () if found is None else found.batches
        if found is not None:
            channel.position = found.position
            self._note_end(channel)
        if channel.anew:
            begin_ns = earliest(batches)
            return self._start_anew(channel, begin_ns, batches) if begin_ns or found is None else None
        begin_ns = fitting(batches, self.wall_ns(), self._skew_ns)
        if begin_ns is not None:
            channel.renew(begin_ns)
            return self._start_anew(channel, begin_ns, batches)
        passed = self._passed_over(channel, now_s, channel.times.begun_s, UNTRUE)
        if found is None:
            return passed
        told = () if passed is None else passed.batches
        return Slice(channel.name, (*batches, *told), channel.mark_ns, found.position, found.caught_up)

    def _start_anew(self, channel: Channel, begin_ns: int | None = None, batches: tuple[Batch, ...] = ()) -> Slice:
        """The source goes on from `begin_ns`, or from now; the gap that says so is what resets the engine."""
        to_ns = begin_ns or self.wall_ns() - BACK_NS
        span = min(channel.doubted_ns or to_ns, to_ns), to_ns
        gap = gap_of(self.options.node, channel.name, span, CLOCK, to_ns)
        channel.anew, channel.before_ns = False, START_NS
        channel.told_ns, channel.told_s, channel.quiet_s = to_ns, self.clock.monotonic(), None
        channel.times.end()
        _LOG.info("source %s: its times fit again; it starts anew", printable(channel.name))
        return self._promise(channel, to_ns, (gap, *batches))

    def _note_work(self, channel: Channel) -> None:
        """A poll has worked. To be open again is not enough: a broken disk may let a file be opened."""
        channel.error = ""
        if channel.fault.on and channel.fault.worked(self.clock.monotonic()):
            after = rough_duration(int((self.clock.monotonic() - channel.down_s) * 1e9))
            _LOG.info("source %s: works again, after %s", printable(channel.name), after)

    def _note_end(self, channel: Channel) -> None:
        if channel.source is not None and channel.source.ended and not channel.ended:
            channel.ended, channel.mark_ns = True, END_OF_TIME_NS
            _LOG.info("source %s: read to its end", printable(channel.name))

    def _silence(self, channel: Channel, now_s: float) -> Slice | None:
        """What two polls without news say of the time between."""
        if channel.quiet_s is None:
            return None
        if channel.told_ns is None:  # it has not spoken yet: whatever comes is newer than what the others have given
            promised = least_promise(channel, self.channels)
            channel.told_ns, channel.told_s = promised, now_s
        else:
            delay_ns = WRITE_DELAY_NS.get(split_source(channel.text)[0], 0)
            promised = channel.told_ns + int((channel.quiet_s - channel.told_s) * 1e9) - delay_ns
        return self._promise(channel, promised) if promised and promised - channel.mark_ns >= STEP_NS else None

    def _promise(self, channel: Channel, until_ns: int, batches: tuple[Batch, ...] = ()) -> Slice:
        channel.mark_ns = until_ns
        return Slice(channel.name, batches, until_ns, channel.position or {})

    def _passed_over(self, channel: Channel, now_s: float, down_s: float, reason: str = DAMAGE) -> Slice | None:
        """A source that has been down for long does not hold the others up: the time that they have is a gap of it."""
        if now_s - down_s < DOWN_S:
            return None
        until_ns = time_without(channel, self.channels, now_s, self.wall_ns)
        if until_ns - channel.mark_ns < GAP_STEP_NS:
            return None
        unseen_ns = until_ns - int((now_s - down_s) * 1e9)
        from_ns = channel.mark_ns if channel.mark_ns > START_NS else unseen_ns
        channel.told_ns, channel.told_s = until_ns, now_s
        gap = gap_of(self.options.node, channel.name, (from_ns, until_ns), reason, from_ns)
        return self._promise(channel, until_ns, (gap,))

    def _told_in_time(self, found: Slice, promised_ns: int) -> Slice:
        """The slice with none of its gaps told before the watermark that its source was given."""
        gaps = [batch for batch in found.batches if batch.kind == GAP and batch.rows]
        if clock_reset_ns(gaps) is not None:
            return found  # no promise from before it holds
        if all(int(batch.time_ns.min()) >= promised_ns for batch in gaps):
            return found
        self.moved += 1
        batches = (told_from(batch, promised_ns) if batch.kind == GAP else batch for batch in found.batches)
        return replace(found, batches=tuple(batches))

    def _fail(self, channel: Channel, error: Exception, now_s: float) -> None:
        """Close it and try again later, each time after a longer wait."""
        if channel.source is not None:
            channel.source.close()
            channel.source = None
        begins = not channel.fault.on
        if begins:
            channel.down_s = now_s
        text = printable(error.in_one_line() if isinstance(error, WatchdogError) else str(error))
        if isinstance(error, PositionError) and self.state_file:
            text += f". To read this source again, stop the service and remove '{self.state_file}': {COST}"
        if channel.fault.failed(text) or now_s - channel.warned_s >= REMIND_S:
            down = "" if begins else f" (down for {rough_duration(int((now_s - channel.down_s) * 1e9))})"
            _LOG.warning("source %s: %s; it will be tried again%s", printable(channel.name), text, down)
            channel.warned_s = now_s
        wait_s = min(FIRST_RETRY_S * 2.0**channel.failures, LAST_RETRY_S)
        channel.error, channel.retry_s = text, now_s + wait_s
        channel.failures = min(channel.failures + 1, 16)
        channel.errors += 1

    def _reopen(self, channel: Channel) -> bool:
        """Open it at its position; False when that failed."""
        positions = {channel.name: channel.position} if channel.position else None
        since_ns = 0 if positions else channel.since_ns
        options = replace(self.options, position=positions, believed_ns=channel.believed_ns, since_ns=since_ns)
        try:
            found = open_sources([channel.text], options)
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
        channel.times.opened()
        if options.since_ns and isinstance(channel.source, Skipping):
            channel.skipped = channel.source.skipped
            _LOG.info("source %s: %s", printable(channel.name), skipped_text(channel.skipped, options.since_ns))
        return True
