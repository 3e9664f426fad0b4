"""The tap itself: polls sources, filters, and hands on lines and tables until something ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from watchdog.archive.writer import EventsWriter
from watchdog.core.batch import Batch, Slice
from watchdog.core.errors import SourceError, StateError
from watchdog.core.kinds import any_kinds, chosen_kinds
from watchdog.core.plan import as_bool
from watchdog.core.source import END_OF_TIME_NS, Source, SourceOptions, Troubled
from watchdog.engine.coverage import ALWAYS_WANTED
from watchdog.offline.read_once import faults_of, finite, unread_of
from watchdog.pipeline.scheduler import merged
from watchdog.sources.registry import kinds_of, open_sources, reads_file, scheme_of, unseen_parts
from watchdog.tap.events import FORMATS, GAP
from watchdog.tap.query import Asked, QueryError, TablePlan, TapQuery, query_of
from watchdog.tap.table import Intervals, MeasureTable
from watchdog.tap.tables import json_tables, text_table, warnings_of

HEARTBEAT: Final = "source:heartbeat"
SHOWN_KINDS: Final = 4  # in a warning
_LONG_AGO: Final = -(1 << 63)


@dataclass(frozen=True, slots=True)
class TapOptions:
    """What is tapped, and how it is shown.

    kinds: names of kinds or how they begin, none for all that is offered. form: "line", "json" or "hex". count: events
    until the end, 0 for any number. span_ns: until the end, 0 without: of the clock where a source is followed, else of
    event time since the first event. record: write what passes to this events file too. payloads: see
    `SourceOptions.payloads`. follow: show what is written into files from now on.
    """

    kinds: tuple[str, ...] = ()
    asked: Asked = field(default_factory=Asked)
    form: str = "line"
    count: int = 0
    span_ns: int = 0
    record: Path | None = None
    payloads: Mapping[str, int] = field(default_factory=dict)
    node: str = "node"
    asmap: str | None = None
    follow: bool = False


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a tap writes. show: whole lines of its output. warn: a sentence for people. stopped: whether to end."""

    show: Callable[[str], None]
    warn: Callable[[str], None]
    stopped: Callable[[], bool]
    clock_s: Callable[[], float] = time.monotonic
    wait: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Tapped:
    """What a tap has shown. faults: a line for each damaged file. size: bytes of the recording, 0 without one."""

    events: int
    faults: tuple[str, ...]
    size: int


class _Over(Exception):
    """The tap ends here: interrupted, or its time has passed."""


def tap(texts: Sequence[str], options: TapOptions, screen: Screen) -> Tapped:
    """Show what the sources give until they end, or until `options` or `screen` end it.

    QueryError, SourceError and StateError: the query, a source or the recording cannot be used.
    """
    live = any(scheme_of(text).mode == "live" for text in texts)
    follow = options.follow or live
    query = query_of(options.asked, _offered(texts, options.kinds, screen.warn))
    if query.left_out:
        named, more = sorted(query.left_out)[:SHOWN_KINDS], len(query.left_out) - SHOWN_KINDS
        rest = f" and {more} more" if more > 0 else ""
        screen.warn(f"left out, without a field of the expressions: {', '.join(named)}{rest}")
    if options.record is not None and any(reads_file(text, options.record) for text in texts):
        raise SourceError(f"'{options.record}' cannot be recorded into itself")
    if options.record is not None and options.record.exists():
        raise StateError(f"'{options.record}' exists already; choose another name")
    wanted = query.kinds | ALWAYS_WANTED
    for line in unseen_parts(texts, query.kinds):
        screen.warn(line)
    since_ns = time.time_ns() if follow else 0
    opening = SourceOptions(
        options.node, wanted, follow, None, options.asmap, since_ns=since_ns, payloads=options.payloads
    )
    opened = open_sources(texts, opening, torn_later=not follow)
    inputs: Sequence[Source] = opened if follow else finite(opened)
    try:
        return _tapped(inputs, query, options, screen, follow)
    finally:
        for source in inputs:
            source.close()


def _offered(texts: Sequence[str], words: Sequence[str], warn: Callable[[str], None]) -> frozenset[str]:
    """Return the kinds to read; warn of words that no source has a kind for. QueryError when no word has one."""
    offered: set[str] = set()
    for text in texts:
        offered |= any_kinds() if scheme_of(text).mode == "recorded" else kinds_of(text)
    if not words:
        return frozenset(offered) - {HEARTBEAT}
    chosen = {word: (chosen_kinds([word]) or frozenset()) & offered for word in words}
    lacking = ", ".join(word for word, kinds in chosen.items() if not kinds)
    if not any(chosen.values()):
        raise QueryError(f"--kinds: no source gives {lacking}")
    if lacking:
        warn(f"no source gives {lacking}")
    return frozenset().union(*chosen.values())


def _tapped(inputs: Sequence[Source], query: TapQuery, options: TapOptions, screen: Screen, follow: bool) -> Tapped:
    names = tuple(source.name for source in inputs)
    kinds = {source.name: source.kinds & (query.kinds | ALWAYS_WANTED) for source in inputs}
    file = EventsWriter(options.record, names, kinds=kinds) if options.record is not None else None
    work = _Tap(query, options, screen, file)
    clock = _Clock(options.span_ns, screen, inputs, follow)
    try:
        try:
            for piece in merged(inputs, clock.wait):
                work.take(piece, clock.until(piece))
                clock.check()
                if work.done or clock.over:
                    break
        except _Over:
            pass
        work.finish()
    finally:
        if file is not None:
            file.close()
    for line in unread_of(inputs):
        screen.warn(line)
    return Tapped(work.events, faults_of(inputs), 0 if file is None else file.size)


class _Clock:
    """When a tap ends, and how far all of its sources have come."""

    def __init__(self, span_ns: int, screen: Screen, inputs: Sequence[Source], follow: bool) -> None:
        self._screen, self._inputs = screen, inputs
        self._marks = {source.name: _LONG_AGO for source in inputs}
        self._span_ns = span_ns
        self._deadline_s = screen.clock_s() + span_ns / 1e9 if span_ns and follow else None
        self._end_ns: int | None = None
        self._follow = follow
        self._trouble: dict[str, str] = {}

    @property
    def over(self) -> bool:
        """Whether all sources have passed the end of the span in event time."""
        return self._end_ns is not None and min(self._marks.values()) >= self._end_ns

    def until(self, piece: Slice) -> tuple[int, int]:
        """Take a slice; return the least watermark of all sources, and the event time at which the tap ends."""
        times = [int(batch.time_ns.min()) for batch in piece.batches if batch.rows]
        if self._span_ns and not self._follow and self._end_ns is None and times:
            self._end_ns = min(times) + self._span_ns
        self._marks[piece.source] = piece.until_ns  # a source that restarts is as far behind as its reset
        for source in self._inputs:
            if source.ended:
                self._marks[source.name] = END_OF_TIME_NS
        return min(self._marks.values()), END_OF_TIME_NS if self._end_ns is None else self._end_ns

    def check(self) -> None:
        """Raise _Over when it is time; report a live source whose input fails."""
        if self._screen.stopped() or (self._deadline_s is not None and self._screen.clock_s() >= self._deadline_s):
            raise _Over
        for source in self._inputs:
            trouble = source.trouble if isinstance(source, Troubled) else ""
            if trouble and self._trouble.get(source.name) != trouble:
                self._screen.warn(f"{source.name}: {trouble}; still trying")
            self._trouble[source.name] = trouble

    def wait(self, seconds: float) -> None:
        """Wait between two rounds of polls."""
        self.check()
        self._screen.wait(seconds)


class _Tap:
    """Filters slices, and writes lines, tables and the recording."""

    def __init__(self, query: TapQuery, options: TapOptions, screen: Screen, file: EventsWriter | None) -> None:
        self._query, self._screen, self._file = query, screen, file
        self._form, self._most = options.form, options.count
        self._written = FORMATS["line" if query.table is not None and options.form == "hex" else options.form]
        self._intervals = Intervals(query.table) if query.table is not None else None
        self.events = 0

    @property
    def done(self) -> bool:
        """Whether as many events were shown as were asked for."""
        return bool(self._most) and self.events >= self._most

    def take(self, piece: Slice, until: tuple[int, int]) -> None:
        """Show a slice. until: the least watermark, and the time at which the tap ends, in ns."""
        mark_ns, end_ns = until
        passing = [batch for each in piece.batches if each.rows and (batch := self._passing(each, end_ns)).rows]
        if self._most:
            passing = first_rows(passing, self._most - self.events)
        self.events += sum(batch.rows for batch in passing)
        lost = [batch for batch in piece.batches if batch.kind == GAP and batch.rows]
        if self._file is not None:
            kept = [batch for batch in piece.batches if batch.kind in ALWAYS_WANTED - self._query.kinds and batch.rows]
            self._file.write(Slice(piece.source, (*passing, *kept), piece.until_ns, piece.position))
        if self._intervals is None:
            gaps = [] if GAP in self._query.kinds else lost
            self._show([*passing, *gaps])
            return
        self._show(lost)
        for batch in passing:
            self._intervals.add(batch)
        self._tables(self._intervals.passed(mark_ns))

    def finish(self) -> None:
        """Show the last tables, and what they lack."""
        if self._intervals is not None:
            self._tables(self._intervals.rest())
            if self._intervals.late:
                self._screen.warn(f"{self._intervals.late:,} events came after their table was closed")

    def _passing(self, batch: Batch, end_ns: int) -> Batch:
        """Return the rows that were asked for; of gaps all, whatever the filter."""
        if batch.kind not in self._query.kinds:
            return batch.take(np.zeros(0, np.intp))
        keep = batch.time_ns < end_ns
        if self._query.where is not None and batch.kind != GAP:
            keep &= as_bool(self._query.where(batch), batch.rows)
        return batch if keep.all() else batch.take(np.flatnonzero(keep))

    def _show(self, batches: Iterable[Batch]) -> None:
        written = [each for batch in batches for each in self._written(batch)]
        if written:
            written.sort(key=lambda each: each[0])
            self._screen.show("".join(text for _, text in written))

    def _tables(self, tables: Iterator[MeasureTable]) -> None:
        plan = self._query.table
        assert isinstance(plan, TablePlan)
        for table in tables:
            self._screen.show("".join((json_tables if self._form == "json" else text_table)(table, plan)))
            for line in warnings_of(table):
                self._screen.warn(line)


def first_rows(batches: Sequence[Batch], most: int) -> list[Batch]:
    """Return the first `most` rows of the batches in time."""
    if sum(batch.rows for batch in batches) <= most:
        return list(batches)
    times = np.concatenate([batch.time_ns for batch in batches])
    chosen = np.zeros(len(times), np.bool_)
    chosen[np.argsort(times, kind="stable")[:most]] = True
    parts = np.split(chosen, np.cumsum([batch.rows for batch in batches])[:-1])
    return [batch.take(np.flatnonzero(part)) for batch, part in zip(batches, parts, strict=True) if part.any()]
