"""What the service measures of itself, for Prometheus. Names are stable; counters start at 0 with the process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alerts.delivery.sender import Sender
from watchdog.core.release import VERSION
from watchdog.core.source import END_OF_TIME_NS
from watchdog.core.text import printable
from watchdog.service.engine_loop import EngineLoop
from watchdog.service.exposition import Exposition
from watchdog.service.hub import Hub
from watchdog.service.writer_loop import WriterLoop


@dataclass(slots=True)
class Stored:
    """Counts that only the database knows, looked up now and then by the service."""

    incidents: Mapping[tuple[str, str], int]
    outbox: Mapping[tuple[str, str], int]
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class Parts:
    """What is measured."""

    engine: EngineLoop
    writer: WriterLoop
    sender: Sender
    hub: Hub
    stored: Stored
    queued: int
    queue_limit: int


def exposition(parts: Parts, now_ns: int) -> str:
    """The whole text; now_ns is wall clock. Touches no database."""
    out = Exposition()
    out.add("watchdog_build_info", "gauge", "Version of the program.", [({"version": VERSION}, 1)])
    _events(out, parts, now_ns)
    _sources(out, parts)
    _rules(out, parts)
    _incidents(out, parts)
    _deliveries(out, parts)
    _queues(out, parts)
    return out.text()


def _events(out: Exposition, parts: Parts, now_ns: int) -> None:
    watch = parts.engine.watch
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
    out.one("watchdog_events_lost_total", "counter", "Events that sources know to be missing.", watch.engine.lost)
    if watch.last_event_ns is not None:
        out.one("watchdog_last_event_timestamp_seconds", "gauge", "Latest event time.", watch.last_event_ns / 1e9)
    watermark_ns = watch.engine.watermark_ns
    if 0 < watermark_ns < END_OF_TIME_NS:
        lag = (now_ns - watermark_ns) / 1e9
        out.one("watchdog_lag_seconds", "gauge", "Wall clock minus the watermark of the slowest source.", lag)
    waits = [
        ({"sources": ", ".join(map(printable, part.feeding)), "starts": ", ".join(map(printable, part.telling))}, at_ns)
        for number, part in enumerate(watch.engine.parts)
        if part.feeding and (at_ns := watch.engine.moment_ns(number)) > 0 and not watch.engine.ended(number)
    ]
    about = "Wall clock minus the watermark of the rules that wait for these sources (starts: only for node starts)."
    out.add("watchdog_rules_lag_seconds", "gauge", about, [(names, (now_ns - at_ns) / 1e9) for names, at_ns in waits])


def _sources(out: Exposition, parts: Parts) -> None:
    channels = [({"source": printable(one.name)}, one) for one in list(parts.engine.feed.channels)]
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
        [(labels, one.mark_ns / 1e9) for labels, one in channels if 0 < one.mark_ns < END_OF_TIME_NS],
    )


def _rules(out: Exposition, parts: Parts) -> None:
    engine = parts.engine.watch.engine
    rows = [({"key": key}, counts) for key, counts in engine.key_counts().items()]
    names = (
        ("watchdog_keys", "live", "gauge", "Keys followed."),
        ("watchdog_key_evictions_total", "evicted", "counter", "Keys let go to make room."),
        ("watchdog_key_refusals_total", "refused", "counter", "Keys for which there was no room."),
    )
    for name, count, type_, about in names:
        samples = [(labels, float(counts[count])) for labels, counts in rows]
        out.add(name, "gauge" if type_ == "gauge" else "counter", about, samples)
    spent = sorted(engine.rule_seconds().items())
    out.add(
        "watchdog_rule_seconds_total",
        "counter",
        "Time spent on deciding a rule.",
        [({"rule": rule}, seconds) for rule, seconds in spent],
    )
    out.one("watchdog_findings_total", "counter", "Findings of all rules.", engine.statistics.findings)


def _incidents(out: Exposition, parts: Parts) -> None:
    known = sorted(parts.stored.incidents.items())
    out.add(
        "watchdog_incidents",
        "gauge",
        "Incidents that are not resolved.",
        [({"state": state, "severity": severity}, count) for (state, severity), count in known],
    )
    changes = sorted(dict(parts.engine.counts.changes).items())
    out.add(
        "watchdog_incident_changes_total",
        "counter",
        "Changes of incidents, by reason.",
        [({"reason": reason}, count) for reason, count in changes],
    )


def _deliveries(out: Exposition, parts: Parts) -> None:
    samples = [
        ({"receiver": one.receiver, "outcome": outcome}, count)
        for one in parts.sender.status()
        for outcome, count in (("sent", one.counts.sent), ("failed", one.counts.failed), ("dead", one.counts.dead))
    ]
    out.add("watchdog_deliveries_total", "counter", "Attempts to deliver, by what became of them.", samples)
    waiting = sorted(parts.stored.outbox.items())
    out.add(
        "watchdog_outbox",
        "gauge",
        "Notices that wait, and dead letters.",
        [({"receiver": receiver, "status": state}, count) for (receiver, state), count in waiting],
    )
    out.one("watchdog_heartbeats_total", "counter", "Heartbeats sent.", parts.sender.heartbeats)
    failures = parts.sender.heartbeat_failures
    out.one("watchdog_heartbeat_failures_total", "counter", "Heartbeats that failed or were withheld.", failures)


def _queues(out: Exposition, parts: Parts) -> None:
    engine, writer = parts.engine.counts, parts.writer.counts
    depths = (("changes", parts.queued), ("outcomes", parts.sender.unstored), ("watchers", parts.hub.watchers))
    out.add("watchdog_queue_length", "gauge", "What waits.", [({"queue": name}, depth) for name, depth in depths])
    out.one("watchdog_queue_limit", "gauge", "Room of the queue of changes.", parts.queue_limit)
    out.one("watchdog_queue_full_total", "counter", "Times the engine met a full queue of changes.", engine.full)
    out.one("watchdog_queue_full_seconds_total", "counter", "Time the engine waited for room.", engine.full_s)
    out.one("watchdog_engine_busy_seconds_total", "counter", "Time the engine worked.", engine.busy_s)
    out.one("watchdog_checkpoints_total", "counter", "Checkpoints made.", engine.checkpoints)
    out.one("watchdog_checkpoint_failures_total", "counter", "Checkpoints not written.", writer.checkpoint_failures)
    out.one("watchdog_changes_stored_total", "counter", "Changes stored.", writer.records)
    out.one(
        "watchdog_store_failures_total", "counter", "Transactions that failed and were tried again.", writer.failures
    )
    out.one("watchdog_store_seconds_total", "counter", "Time spent on storing.", writer.busy_s)
    out.one("watchdog_watchers_dropped_total", "counter", "Live pages let go for being slow.", parts.hub.dropped)
