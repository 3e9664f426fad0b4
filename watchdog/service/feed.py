"""The sources of a running service as one stream of slices: followed, kept open, reopened after an error.

Panes wait for every source, so a silent live source would hold up the others. Its silence becomes a watermark: whatever
is written to a followed file before a poll is read by the next poll at the latest, so an event that comes after two
polls without news happened after the first of them. Such watermarks are extrapolated from the source's own latest by
monotonic time; a step of the wall clock moves nothing. A source that is down for `DOWN_S` no longer holds up the
others: a gap event reports the time without it. If no other source knows the time, it is extrapolated from the latest
known, and if there was none, the wall clock starts it: a blind service must open an incident.

A loss can be noticed only afterwards, when the watermark has passed it. Gap events are then moved up to the watermark,
so that none is late; the span that they report stays the same, and so do all other events.

No watermark may be ahead of the wall clock by more than `skew_ns`: correct events would be late until then. While a
source breaks this, or its times do not fit for another reason (`timekeeping`), its events are not judged, and
`clock_faults` names it. The first event whose time fits restarts the source.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from watchdog.core.batch import Batch, Slice
from watchdog.core.durations import rough_duration
from watchdog.core.errors import PositionError, SourceError, WatchdogError
from watchdog.core.moments import CLOCK, clock_reset_ns
from watchdog.core.source import END_OF_TIME_NS, Skipping, Source, Waiting
from watchdog.core.text import printable
from watchdog.engine.coverage import GAP
from watchdog.pipeline.clock_reset import fitting, gap_of
from watchdog.pipeline.scheduler import Scheduler
from watchdog.service.channel import (
    START_NS,
    Channel,
    cure_of,
    is_heard,
    lacks_of,
    least_promise,
    not_before,
    several,
    skipped_text,
    time_without,
)
from watchdog.service.followed_sources import DOWN_S, FollowedSources
from watchdog.service.in_force import Shares
from watchdog.service.timekeeping import earliest
from watchdog.sources.registry import kinds_of, open_sources, scheme_of

NO_STARTS: Mapping[str, int] = MappingProxyType({})
STEP_NS = 200_000_000  # promises of silence are made in steps of at least this, so that an idle service is idle
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
REMIND_S = 600.0  # between two warnings of one failure
GAP_STEP_NS = 10_000_000_000  # of event time, between two gap events of a source that is down
DAMAGE, UNTRUE = "source-error", "clock-fault"  # reasons of gap events: it cannot be read, its times cannot be right
BACK_NS = 10_000_000_000  # before now, a source restarts: it may have written since its clock was set right
_LOG = logging.getLogger("watchdog.sources")


@dataclass(slots=True)
class Feed(FollowedSources):
    """Slices of all sources, the one furthest behind in event time first. Belongs to the engine's thread."""

    _scheduler: Scheduler = field(default_factory=Scheduler)

    def open(self, positions: Mapping[str, Mapping[str, object]], since_ns: Mapping[str, int] = NO_STARTS) -> None:
        """Open every source at its position; retry later what cannot be opened now.

        since_ns: by source without a position, the time before which nothing is read.
        SourceError: a recording or an events file cannot be opened (its parts are not known then), or two sources
        have one name.
        """
        self.channels = []
        positions = {name: position for name, position in positions.items() if position}
        for text in self.texts:
            if scheme_of(text).mode == "recorded":
                self.channels += several(text, replace(self.options, position=positions), cure_of(self.state_file))
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
        kinds = {one.name: one.kinds for one in self.channels}
        recorded = {one.name for one in self.channels if one.scheme.mode == "recorded"}
        self.in_force = Shares(self.options.node, kinds, self.order, apart=recorded)
        for channel in self.channels:
            self._note_end(channel)
            self.in_force.note(channel.name, self.clock.monotonic(), gave=False, failed=False, ended=channel.ended)

    def close(self) -> None:
        """Close all sources."""
        for channel in self.channels:
            if channel.source is not None:
                channel.source.close()

    def promises(self) -> list[Slice]:
        """Return a slice without events for each source, to bring a new engine up to the watermarks so far."""
        return [
            Slice(channel.name, (), channel.watermark_ns, channel.position or {})
            for channel in self.channels
            if channel.watermark_ns > START_NS
        ] + self.in_force.promises()

    def keep_promises(self, marks: Mapping[str, int]) -> None:
        """Keep the watermarks that a restored engine has, by source name.

        A source that had ended is left out: no time comes after its watermark.
        """
        for channel in self.channels:
            watermark_ns = marks.get(channel.name, START_NS)
            channel.restored_watermark_ns = watermark_ns if watermark_ns < END_OF_TIME_NS else START_NS

    def want(self, kinds: frozenset[str], lists: Mapping[str, tuple[str, ...]]) -> None:
        """Read other kinds from here on: reopen every live source at its position."""
        self.options = replace(self.options, wanted=kinds, lists=lists)
        for channel in self.channels:
            if channel.source is not None and not channel.ended:
                channel.close()
                channel.retry_s = 0.0

    def next(self) -> Slice | None:
        """Return the next slice; None when no source has anything now. Never waits."""
        self._judge_times()
        while True:
            chosen = self._scheduler.choose([None if one.ended else one.watermark_ns for one in self.channels])
            if chosen is None:
                return None
            channel = self.channels[chosen]
            promised_ns = max(channel.watermark_ns, channel.restored_watermark_ns)
            channel.gave = False
            found = self._poll(channel)
            news = found is not None and bool(found.batches)
            self._scheduler.note(chosen, news=news, drained=not news or (found is not None and found.caught_up))
            slice_ = self._in_force(channel, found)
            if slice_ is not None:
                return self._in_time(slice_, promised_ns)

    def _in_force(self, channel: Channel, found: Slice | None) -> Slice | None:
        """Return what the engine takes of a poll. A decision is a slice of its own: it is saved before its effect."""
        now_s, moved = self.clock.monotonic(), self.in_force.moved
        failed = bool(channel.error or channel.distrusted or channel.times.fault)
        lacks = lacks_of(channel)
        self.in_force.note(channel.name, now_s, gave=channel.gave, failed=failed, ended=channel.ended, lacks=lacks)
        slice_ = None if found is None else self.in_force.divide(found)
        self.moved += self.in_force.moved - moved
        if self.in_force.judge(channel.name, now_s, self._proven_ns):
            self.changed, self.revision = True, self.revision + 1
            slice_ = slice_ or Slice(channel.name, (), channel.promised_ns, channel.position or {})
        return slice_

    def _proven_ns(self, name: str) -> int | None:
        return next(one.source_watermark_ns for one in self.channels if one.name == name)

    def _poll(self, channel: Channel) -> Slice | None:
        """Return a slice of events, a slice with only a watermark, or None."""
        now_s = self.clock.monotonic()
        channel.count_abandoned()
        if channel.source is None and (now_s < channel.retry_s or not self._reopen(channel)):
            return self._restart(channel) if channel.distrusted else self._passed_over(channel, now_s, channel.down_s)
        source = channel.source
        assert source is not None
        try:
            found = source.poll()
        except (WatchdogError, OSError) as error:
            self._fail(channel, error, now_s)
            return self._restart(channel) if channel.distrusted else None
        self._note_work(channel)
        if found is not None and (reset_ns := clock_reset_ns(found.batches)) is not None:  # of a recording
            channel.watermark_ns, channel.restored_watermark_ns = reset_ns, START_NS
        if found is not None and is_heard(channel, found):
            channel.heard_s = now_s
            channel.gave = True
        channel.gave |= found is not None and channel.live and not channel.error
        self._note_times(channel, source, found, now_s)
        if channel.distrusted or channel.times.fault:
            return self._doubted(channel, found, now_s)
        if found is None:
            self._note_end(channel)
            promise = None if channel.ended else self._silence(channel, now_s)
            ago_s = source.given_ago_s if isinstance(source, Waiting) else 0.0
            channel.idle_since_s = None if ago_s is None else now_s - ago_s
            return promise
        channel.failures = 0
        channel.source_watermark_ns, channel.source_watermark_at_s, channel.idle_since_s = found.until_ns, now_s, None
        channel.watermark_ns = max(channel.watermark_ns, found.until_ns)
        channel.position = found.position
        self._note_end(channel)
        return found

    def _note_times(self, channel: Channel, source: Source, found: Slice | None, now_s: float) -> None:
        """Record what a poll shows about the source's clock."""
        if channel.finite or self.options.skew_ns is None:
            return
        batches = () if found is None else found.batches
        channel.times.note(source, batches, channel.promised_ns, self._skew_ns, now_s)
        channel.times.live |= found is None or found.caught_up
        if found is not None:
            channel.believed_ns = END_OF_TIME_NS

    def _judge_times(self) -> None:
        """Find sources whose times cannot be right, or whose watermark a clock gave that was then set back."""
        if self.options.skew_ns is None:
            return
        now_s = self.clock.monotonic()
        for channel in self.channels:
            ahead_ns = self._ahead_ns(channel)
            if ahead_ns > self._skew_ns:
                self._doubt(
                    channel, f"its time was {rough_duration(ahead_ns)} ahead of the clock of this machine", now_s
                )
                channel.distrusted, channel.source_watermark_ns, channel.idle_since_s = True, None, None
                channel.watermark_ns = channel.restored_watermark_ns = START_NS
                channel.renew(self.wall_ns())
            elif not channel.times.fault and not channel.ended and (fault := channel.times.judge(now_s)):
                self._doubt(channel, fault, now_s)

    def _doubt(self, channel: Channel, fault: str, now_s: float) -> None:
        if not channel.times.fault:
            channel.doubted_ns = channel.promised_ns
            _LOG.error("source %s: %s; its events are not judged until its times fit", printable(channel.name), fault)
        channel.times.begin(fault, now_s)

    def _doubted(self, channel: Channel, found: Slice | None, now_s: float) -> Slice | None:
        """Handle a poll of a source whose times did not fit; an event whose time fits restarts it."""
        batches = () if found is None else found.batches
        if found is not None:
            channel.position = found.position
            self._note_end(channel)
        if channel.distrusted:
            begin_ns = earliest(batches)
            return self._restart(channel, begin_ns, batches) if begin_ns or found is None else None
        begin_ns = fitting(batches, self.wall_ns(), self._skew_ns)
        if begin_ns is not None:
            channel.renew(begin_ns)
            return self._restart(channel, begin_ns, batches)
        passed = self._passed_over(channel, now_s, channel.times.begun_s, UNTRUE)
        if found is None:
            return passed
        told = () if passed is None else passed.batches
        return Slice(channel.name, (*batches, *told), channel.watermark_ns, found.position, found.caught_up)

    def _restart(self, channel: Channel, begin_ns: int | None = None, batches: tuple[Batch, ...] = ()) -> Slice:
        """Restart the source at `begin_ns`, or now; the gap event about it resets the engine."""
        to_ns = begin_ns or self.wall_ns() - BACK_NS
        span = min(channel.doubted_ns or to_ns, to_ns), to_ns
        gap = gap_of(self.options.node, channel.name, span, CLOCK, to_ns)
        channel.distrusted, channel.restored_watermark_ns = False, START_NS
        channel.source_watermark_ns, channel.source_watermark_at_s, channel.idle_since_s = (
            to_ns,
            self.clock.monotonic(),
            None,
        )
        channel.times.end()
        _LOG.info("source %s: its times fit again; restarted", printable(channel.name))
        return self._promise(channel, to_ns, (gap, *batches))

    def _note_work(self, channel: Channel) -> None:
        """Record a poll that worked. Opening alone does not count: a broken disk may allow it."""
        if channel.note_trouble(self.clock.monotonic()):
            return
        channel.error = ""
        if channel.fault.on and channel.fault.worked(self.clock.monotonic()):
            after = rough_duration(int((self.clock.monotonic() - channel.down_s) * 1e9))
            _LOG.info("source %s: working again after %s", printable(channel.name), after)

    def _note_end(self, channel: Channel) -> None:
        if channel.source is not None and channel.source.ended and not channel.ended:
            channel.ended, channel.watermark_ns = True, END_OF_TIME_NS
            _LOG.info("source %s: read to its end", printable(channel.name))

    def _silence(self, channel: Channel, now_s: float) -> Slice | None:
        """Return the watermark that two polls without news prove; none for a live source, which sends heartbeats."""
        if channel.idle_since_s is None or channel.live:
            return None
        if channel.source_watermark_ns is None:  # no slice yet: its events are newer than what the others have given
            promised = least_promise(channel, self.channels)
            channel.source_watermark_ns, channel.source_watermark_at_s = promised, now_s
        else:
            idle_ns = int((channel.idle_since_s - channel.source_watermark_at_s) * 1e9)
            promised = channel.source_watermark_ns + idle_ns - channel.scheme.write_delay_ns
        return self._promise(channel, promised) if promised and promised - channel.watermark_ns >= STEP_NS else None

    def _promise(self, channel: Channel, until_ns: int, batches: tuple[Batch, ...] = ()) -> Slice:
        channel.watermark_ns = until_ns
        return Slice(channel.name, batches, until_ns, channel.position or {})

    def _passed_over(self, channel: Channel, now_s: float, down_s: float, reason: str = DAMAGE) -> Slice | None:
        """Report the time that the other sources have as a gap of a source that is down for `DOWN_S`."""
        if now_s - down_s < DOWN_S:
            return None
        until_ns = time_without(channel, self.channels, now_s, self.wall_ns)
        if until_ns - channel.watermark_ns < GAP_STEP_NS:
            return None
        unseen_ns = until_ns - int((now_s - down_s) * 1e9)
        from_ns = channel.watermark_ns if channel.watermark_ns > START_NS else unseen_ns
        channel.source_watermark_ns, channel.source_watermark_at_s = until_ns, now_s
        gap = gap_of(self.options.node, channel.name, (from_ns, until_ns), reason, from_ns)
        return self._promise(channel, until_ns, (gap,))

    def _in_time(self, found: Slice, promised_ns: int) -> Slice:
        """Return the slice with gap events moved up to the watermark already promised, so that no gap is late."""
        gaps = [batch for batch in found.batches if batch.kind == GAP and batch.rows]
        if clock_reset_ns(gaps) is not None:
            return found  # no promise from before it holds
        if all(int(batch.time_ns.min()) >= promised_ns for batch in gaps):
            return found
        self.moved += 1
        batches = (not_before(batch, promised_ns) if batch.kind == GAP else batch for batch in found.batches)
        return replace(found, batches=tuple(batches))

    def _fail(self, channel: Channel, error: Exception, now_s: float) -> None:
        """Close the source and retry later, each time after a longer wait."""
        channel.close()
        begins = not channel.fault.on
        if begins:
            channel.down_s = now_s
        text = printable(error.in_one_line() if isinstance(error, WatchdogError) else str(error))
        if isinstance(error, PositionError):
            text += cure_of(self.state_file)
        if channel.fault.failed(text) or now_s - channel.warned_s >= REMIND_S:
            down = "" if begins else f" (down for {rough_duration(int((now_s - channel.down_s) * 1e9))})"
            _LOG.warning("source %s: %s; retrying%s", printable(channel.name), text, down)
            channel.warned_s = now_s
        wait_s = min(FIRST_RETRY_S * 2.0**channel.failures, LAST_RETRY_S)
        channel.error, channel.last_error, channel.retry_s = text, text, now_s + wait_s
        channel.failures = min(channel.failures + 1, 16)
        channel.errors += 1

    def _reopen(self, channel: Channel) -> bool:
        """Open the source at its position; return whether that worked."""
        positions = {channel.name: channel.position} if channel.position else None
        since_ns = 0 if positions else channel.since_ns
        options = replace(self.options, position=positions, believed_ns=channel.believed_ns, since_ns=since_ns)
        try:
            found = open_sources([channel.text], options)
        except (WatchdogError, OSError) as error:
            self._fail(channel, error, self.clock.monotonic())
            return False
        further = sorted({source.name for source in found} - set(self.names))
        if further:  # rules were divided among the sources known at the start
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
            self._fail(channel, SourceError("it no longer exists"), self.clock.monotonic())
            return False
        channel.idle_since_s = None
        channel.restarts += bool(channel.live and channel.error)
        channel.times.opened()
        if options.since_ns and isinstance(channel.source, Skipping):
            channel.skipped = channel.source.skipped
            _LOG.info("source %s: %s", printable(channel.name), skipped_text(channel.skipped, options.since_ns))
        return True
