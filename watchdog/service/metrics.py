"""Metrics of the service for Prometheus. Names are stable; counters start at 0 with the process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerts.delivery.receiver_queue import HELD_MOST
from alerts.delivery.sender import Sender
from watchdog.core.release import VERSION
from watchdog.core.source import END_OF_TIME_NS, Counting, FormCounting, Source
from watchdog.core.text import printable
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.callers import Callers
from watchdog.service.capabilities import Capability
from watchdog.service.channel import Channel
from watchdog.service.engine_thread import COMMANDS_MOST, EngineLoop
from watchdog.service.exposition import Exposition, Labels
from watchdog.service.hub import MOST_WATCHERS, Hub
from watchdog.service.vitals import Stored, Vitals
from watchdog.service.writer_thread import WriterLoop


@dataclass(frozen=True, slots=True)
class Measured:
    """The parts that are measured."""

    engine: EngineLoop
    writer: WriterLoop
    sender: Sender
    hub: Hub
    stored: Stored
    api_queries: BoundedExecutor
    callers: Callers
    vitals: Vitals
    judged: Mapping[str, Capability]


def exposition(measured: Measured, now_ns: int) -> str:
    """Return the whole text. now_ns: wall clock. Queries no database."""
    out = Exposition()
    out.add("watchdog_build_info", "gauge", "Version of the program.", [({"version": VERSION}, 1)])
    _events(out, measured, now_ns)
    _sources(out, measured)
    _rules(out, measured)
    _incidents(out, measured)
    _deliveries(out, measured)
    _queues(out, measured)
    _store(out, measured)
    return out.text()


def _events(out: Exposition, measured: Measured, now_ns: int) -> None:
    watch = measured.engine.watch
    seen = sorted(dict(watch.seen).items())
    labelled = [({"kind": kind, "source": printable(source)}, rows) for (kind, source), rows in seen]
    out.add("watchdog_events_total", "counter", "Events read.", labelled)
    late = dict.fromkeys({kind for kind, _ in dict(watch.seen)}, 0) | dict(watch.engine.statistics.late)
    out.add(
        "watchdog_events_late_total",
        "counter",
        "Events that came too late to be judged.",
        [({"kind": kind}, rows) for kind, rows in sorted(late.items())],
    )
    cut = sorted(watch.engine.usage.findings_cut().items())
    out.add(
        "watchdog_findings_cut_total",
        "counter",
        "Keys that got no finding of their own, because too many of the rule fired in one pane.",
        [({"rule": rule}, count) for rule, count in cut],
    )
    out.one("watchdog_events_lost_total", "counter", "Events that sources know to be missing.", watch.engine.lost)
    if watch.last_event_ns is not None:
        out.one("watchdog_last_event_timestamp_seconds", "gauge", "Latest event time.", watch.last_event_ns / 1e9)
    watermark_ns = watch.engine.watermark_ns
    if 0 < watermark_ns < END_OF_TIME_NS:
        lag = (now_ns - watermark_ns) / 1e9
        out.one("watchdog_lag_seconds", "gauge", "Wall clock minus the watermark of the slowest source.", lag)
    waits = [
        ({"sources": ", ".join(map(printable, part.feeding)), "starts": ", ".join(map(printable, part.telling))}, at_ns)
        for number, part in enumerate(watch.engine.groups)
        if part.feeding and (at_ns := watch.engine.moment_ns(number)) > 0 and not watch.engine.ended(number)
    ]
    about = "Wall clock minus the watermark of the rules that wait for these sources (starts: only for node starts)."
    out.add("watchdog_rules_lag_seconds", "gauge", about, [(names, (now_ns - at_ns) / 1e9) for names, at_ns in waits])


def _sources(out: Exposition, measured: Measured) -> None:
    channels = [({"source": printable(one.name)}, one) for one in list(measured.engine.feed.channels)]
    out.add(
        "watchdog_source_up",
        "gauge",
        "1 while a source can be read, or was read to its end.",
        [(labels, float(not one.error)) for labels, one in channels],
    )
    out.add(
        "watchdog_source_errors_total",
        "counter",
        "Failed tries to open or read a source.",
        [(labels, one.errors) for labels, one in channels],
    )
    out.add(
        "watchdog_source_watermark_seconds",
        "gauge",
        "No earlier event is expected from a source.",
        [(labels, one.watermark_ns / 1e9) for labels, one in channels if 0 < one.watermark_ns < END_OF_TIME_NS],
    )
    _live_sources(out, [(labels, one) for labels, one in channels if one.live])
    wrong = measured.engine.feed.clock_faults
    about = "1 while the times of a source do not fit the clock of this machine, so that none of its events is judged."
    faulty = [(labels, float(one.name in wrong)) for labels, one in channels]
    out.add("watchdog_source_clock_wrong", "gauge", about, faulty)
    about = "Times that this began."
    out.add(
        "watchdog_source_clock_faults_total", "counter", about, [(name, one.times.faults) for name, one in channels]
    )
    _source_starts(out, channels)
    _source_counts(out, channels)


def _live_sources(out: Exposition, channels: Sequence[tuple[Labels, Channel]]) -> None:
    if not channels:
        return
    about = "Restarts of a live source after a failure."
    out.add("watchdog_source_restarts_total", "counter", about, [(labels, one.restarts) for labels, one in channels])
    about = "Producers of a live source that did not end in time and were abandoned."
    out.add("watchdog_source_abandoned_total", "counter", about, [(labels, one.abandoned) for labels, one in channels])


def _source_starts(out: Exposition, channels: Sequence[tuple[Labels, Channel]]) -> None:
    begun = [(labels, one.skipped, one.since_ns) for labels, one in channels if one.skipped is not None]
    sizes = [(labels, skipped.size) for labels, skipped, _ in begun]
    about = "Bytes that were passed over at the first start of a source."
    out.add("watchdog_source_skipped_bytes", "gauge", about, sizes)
    spans = [
        (labels, max(0, since_ns - skipped.from_ns) / 1e9 if skipped.size and skipped.from_ns is not None else 0.0)
        for labels, skipped, since_ns in begun
    ]
    about = "Time that was passed over at the first start of a source."
    out.add("watchdog_source_skipped_seconds", "gauge", about, spans)


def _source_counts(out: Exposition, channels: Sequence[tuple[Labels, Channel]]) -> None:
    counts = [
        ({**labels, "what": what}, number)
        for labels, one in channels
        if one.source is not None
        for what, number in _counters(one.source).items()
    ]
    about = "What a source has read and left out since it was opened, by its own count."
    out.add("watchdog_source_counts_total", "counter", about, counts)

    unread = [
        ({**labels, "form": form}, unread)
        for labels, one in channels
        if one.source is not None
        for form, (_, unread) in _line_forms(one.source).items()
    ]
    about = "Lines of a log that begin like this form but do not match it, since it was opened; untimed: no time."
    out.add("watchdog_log_lines_unread_total", "counter", about, unread)


def _line_forms(source: Source) -> Mapping[str, tuple[int, int]]:
    return source.line_forms if isinstance(source, FormCounting) else {}


def _counters(source: Source) -> Mapping[str, int]:
    return source.counters if isinstance(source, Counting) else {}


def _rules(out: Exposition, measured: Measured) -> None:
    engine = measured.engine.watch.engine
    _keys(out, "watchdog", "", [({"key": key}, counts) for key, counts in engine.usage.key_counts().items()])
    by_rule = sorted(engine.usage.rule_key_counts().items())
    shared = " Rules of one key share them: add up those without '_rule' instead."
    _keys(out, "watchdog_rule", shared, [({"rule": rule, "key": key}, counts) for rule, (key, counts) in by_rule])
    spent = sorted(engine.usage.rule_seconds().items())
    out.add(
        "watchdog_rule_seconds_total",
        "counter",
        "Time spent on deciding a rule.",
        [({"rule": rule}, seconds) for rule, seconds in spent],
    )
    judged = sorted(measured.judged.items())
    about = (
        "1 where the sources can make a rule fire, 0 where they cannot, NaN where it depends on what they will hold."
    )
    values = [({"rule": rule}, math.nan if one.can_fire is None else float(one.can_fire)) for rule, one in judged]
    out.add("watchdog_rule_can_fire", "gauge", about, values)
    out.one("watchdog_findings_total", "counter", "Findings of all rules.", engine.statistics.findings)


def _keys(out: Exposition, prefix: str, shared: str, rows: Sequence[tuple[Labels, Mapping[str, int]]]) -> None:
    live, evicted, refused = (
        [(labels, float(counts[name])) for labels, counts in rows] for name in ("live", "evicted", "refused")
    )
    out.add(f"{prefix}_keys", "gauge", f"Keys followed.{shared}", live)
    out.add(f"{prefix}_key_evictions_total", "counter", f"Keys let go to make room.{shared}", evicted)
    out.add(f"{prefix}_key_refusals_total", "counter", f"Keys for which there was no room.{shared}", refused)


def _incidents(out: Exposition, measured: Measured) -> None:
    known = sorted(measured.stored.incidents.items())
    out.add(
        "watchdog_incidents",
        "gauge",
        "Incidents that are not resolved.",
        [({"state": state, "severity": severity}, count) for (state, severity), count in known],
    )
    changes = sorted(dict(measured.engine.counts.changes).items())
    out.add(
        "watchdog_incident_changes_total",
        "counter",
        "Changes of incidents, by reason.",
        [({"reason": reason}, count) for reason, count in changes],
    )


def _deliveries(out: Exposition, measured: Measured) -> None:
    samples = [
        ({"receiver": one.receiver, "outcome": outcome}, count)
        for one in measured.sender.status()
        for outcome, count in (("sent", one.counts.sent), ("failed", one.counts.failed), ("dead", one.counts.dead))
    ]
    out.add("watchdog_deliveries_total", "counter", "Delivery attempts by result.", samples)
    receivers = [({"receiver": one.receiver}, one.counts) for one in measured.sender.status()]
    about = "Waits for the rate that a receiver may get."
    out.add("watchdog_delivery_rate_waits_total", "counter", about, [(name, one.rate_waits) for name, one in receivers])
    about = "Times a receiver was found to be failing, and then left alone for a while."
    out.add("watchdog_delivery_outages_total", "counter", about, [(name, one.outages) for name, one in receivers])
    about = "Openings merged into one notice, as the receiver takes them too slowly."
    out.add("watchdog_deliveries_merged_total", "counter", about, [(name, one.merged) for name, one in receivers])
    alive = [
        ({"receiver": one.receiver, "outcome": outcome}, count)
        for one in measured.sender.status()
        for outcome, count in zip(("sent", "failed"), one.keepalives, strict=True)
    ]
    out.add("watchdog_keepalives_total", "counter", "Requests that kept alerts alive, by result.", alive)
    waiting = sorted(measured.stored.outbox.items())
    out.add(
        "watchdog_outbox",
        "gauge",
        "Notices that wait, and dead letters.",
        [({"receiver": receiver, "status": state}, count) for (receiver, state), count in waiting],
    )
    out.one("watchdog_heartbeats_total", "counter", "Heartbeats sent.", measured.sender.heartbeats)
    failures = measured.sender.heartbeat_failures
    out.one("watchdog_heartbeat_failures_total", "counter", "Heartbeats that failed or were withheld.", failures)


def _queues(out: Exposition, measured: Measured) -> None:
    engine = measured.engine.counts
    lengths = {
        "changes": measured.engine.out.qsize(),
        "commands": measured.engine.commands,
        "requests": measured.api_queries.waiting,
        "outcomes": measured.sender.unstored,
        "stream": measured.hub.deepest,
    }
    limits = {
        "changes": measured.engine.out.maxsize,
        "commands": COMMANDS_MOST,
        "requests": measured.api_queries.waiting_most or 0,
        "outcomes": HELD_MOST * len(measured.sender.status()),
        "stream": measured.hub.limit,
    }
    full = {
        "changes": engine.full,
        "commands": engine.refused,
        "requests": measured.api_queries.refused,
        "outcomes": measured.sender.unstored_full,
        "stream": measured.hub.dropped,
    }
    out.add("watchdog_queue_length", "gauge", "What waits.", _by_queue(lengths))
    out.add("watchdog_queue_limit", "gauge", "How much may wait.", _by_queue(limits))
    out.add("watchdog_queue_full_total", "counter", "Times there was no room.", _by_queue(full))
    about = "Time the engine waited for room for changes."
    out.one("watchdog_queue_full_seconds_total", "counter", about, engine.full_s)
    out.one("watchdog_watchers", "gauge", "Live pages.", measured.hub.watchers)
    out.one("watchdog_watchers_limit", "gauge", "How many live pages there may be.", MOST_WATCHERS)


def _by_queue(numbers: Mapping[str, int]) -> list[tuple[Labels, float]]:
    return [({"queue": name}, number) for name, number in numbers.items()]


def _store(out: Exposition, measured: Measured) -> None:
    engine, writer = measured.engine.counts, measured.writer.counts
    out.one("watchdog_engine_busy_seconds_total", "counter", "Time the engine worked.", engine.busy_s)
    out.one("watchdog_checkpoints_total", "counter", "Checkpoints made.", engine.checkpoints)
    out.one("watchdog_checkpoint_failures_total", "counter", "Checkpoints not written.", writer.checkpoint_failures)
    decisions = [
        ({"receiver": printable(receiver), "decision": decision, "reason": reason}, count)
        for (receiver, decision, reason), count in sorted(dict(writer.decisions).items())
    ]
    about = "Stored changes by receiver: sent, or held back with the reason."
    out.add("watchdog_decisions_total", "counter", about, decisions)
    out.one("watchdog_changes_stored_total", "counter", "Changes stored.", writer.records)
    about = "Transactions that failed and were tried again."
    out.one("watchdog_store_failures_total", "counter", about, writer.failures)
    out.one("watchdog_store_seconds_total", "counter", "Time spent on storing.", writer.busy_s)
    waits_s = measured.writer.waits_s
    out.one("watchdog_store_waiting_seconds", "gauge", "How long changes have waited to be stored.", waits_s)
    up = measured.vitals.database_up
    out.one("watchdog_database_up", "gauge", "1 while the database answers.", float(up))
    measured.callers.export(out)
    about = "Requests that had no answer of the database in time."
    out.one("watchdog_requests_unanswered_total", "counter", about, measured.api_queries.unanswered)
