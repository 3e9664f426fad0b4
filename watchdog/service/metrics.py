"""Metrics of the service for Prometheus. Names are stable; counters start at 0 with the process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerts.delivery.receiver_queue import HELD_MOST
from alerts.delivery.sender import Sender
from watchdog.core.release import VERSION
from watchdog.core.source import END_OF_TIME_NS, Counting, FormCounting, MessageCounting, Source
from watchdog.core.text import printable
from watchdog.engine.engine import Engine
from watchdog.service.abilities import Abilities
from watchdog.service.bounded_executor import BoundedExecutor
from watchdog.service.budget_facts import budget_metrics
from watchdog.service.callers import Callers
from watchdog.service.capabilities import Capability
from watchdog.service.case_metrics import all_case_metrics
from watchdog.service.channel import Channel
from watchdog.service.commands import COMMANDS_MOST
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.exposition import Exposition, Labels
from watchdog.service.extract_metrics import extract_metrics
from watchdog.service.followed_sources import FollowedSources
from watchdog.service.hub import MOST_WATCHERS, Hub
from watchdog.service.node_metrics import message_metrics, node_metrics
from watchdog.service.nodes import Nodes, label_of
from watchdog.service.notice_delays import NoticeDelays
from watchdog.service.recorder_metrics import recorder_metrics
from watchdog.service.rpc_metrics import rpc_metrics
from watchdog.service.vitals import Stored, Vitals
from watchdog.service.writer_thread import WriterLoop


@dataclass(frozen=True, slots=True)
class Measured:
    """The parts that are measured. now_s: monotonic seconds."""

    nodes: Nodes
    writer: WriterLoop
    sender: Sender
    hub: Hub
    stored: Stored
    api_queries: BoundedExecutor
    callers: Callers
    vitals: Vitals
    abilities: Abilities
    delays: NoticeDelays
    now_s: float


def exposition(measured: Measured, now_ns: int) -> str:
    """Return the whole text. now_ns: wall clock. Queries no database."""
    out = Exposition()
    out.add("watchdog_build_info", "gauge", "Version of the program.", [({"version": VERSION}, 1)])
    for engine in measured.nodes:
        out.common = label_of(measured.nodes, engine)
        _events(out, engine, now_ns)
        _sources(out, engine)
        _rules(out, engine, measured.abilities.now(engine.node))
        _engine(out, engine)
        channels = list(engine.feed.channels)
        node_metrics(out, engine.node_state, channels, {"node": engine.node}, measured.now_s)
        message_metrics(out, engine.traffic.totals, {"node": engine.node})
        _in_force(out, engine)
        if engine.recorder is not None:
            recorder_metrics(out, engine.recorder, engine.node)
        rpc_metrics(out, channels, {"node": engine.node})
        extract_metrics(out, channels, {"node": engine.node})
    if (fleet := measured.nodes.fleet) is not None:
        out.common = {"node": fleet.node}
        _events(out, fleet, now_ns)
        _rules(out, fleet, {})
        _engine(out, fleet)
    out.common = {}
    all_case_metrics(out, measured.nodes.loops, measured.writer.counts, measured.delays, measured.stored)
    for engine in measured.nodes:
        budget_metrics(out, engine.watch.engine.budgets.facts(), engine.node)
    _incidents(out, measured)
    _deliveries(out, measured)
    _queues(out, measured)
    _store(out, measured)
    return out.text()


def _events(out: Exposition, engine: EngineLoop, now_ns: int) -> None:
    watch = engine.watch
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
    about = "Wall clock minus the watermark of the rules that wait for these sources (starts: only for node starts)."
    out.add(
        "watchdog_rules_lag_seconds",
        "gauge",
        about,
        [(names, (now_ns - at_ns) / 1e9) for names, at_ns in group_times(watch.engine)],
    )


def group_times(engine: Engine) -> list[tuple[Labels, int]]:
    """Return the time of each source group that has not ended, with labels of its own.

    The second stage is left out: it has the time of the slowest group below, and the labels of one.
    """
    return [
        (
            {"sources": ", ".join(map(printable, group.feeding)), "starts": ", ".join(map(printable, group.telling))},
            time_ns,
        )
        for number, group in enumerate(engine.groups)
        if group.feeding and not group.fed_by
        if (time_ns := engine.moment_ns(number)) > 0 and not engine.ended(number)
    ]


def _sources(out: Exposition, engine: EngineLoop) -> None:
    channels = [({"source": printable(one.name)}, one) for one in list(engine.feed.channels)]
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
    wrong = engine.feed.clock_faults
    about = "1 while the times of a source do not fit the clock of this machine, so that none of its events is judged."
    faulty = [(labels, float(one.name in wrong)) for labels, one in channels]
    out.add("watchdog_source_clock_wrong", "gauge", about, faulty)
    about = "Times that this began."
    out.add(
        "watchdog_source_clock_faults_total", "counter", about, [(name, one.times.faults) for name, one in channels]
    )
    _source_starts(out, channels)
    _source_counts(out, channels)


def _in_force(out: Exposition, engine: EngineLoop) -> None:
    if not isinstance(engine.feed, FollowedSources):
        return
    given: dict[tuple[str, str], bool] = {}  # by family and member
    for standing in engine.feed.in_force.standings:
        for family in standing.share.families:
            for name in standing.share.members:
                given[family, name] = given.get((family, name), False) or bool(standing.kinds_of(name))
    about = "1 for the source whose events are judged, of several that give the same kinds; 0 for those on standby."
    rows = [
        ({"node": engine.node, "source": printable(name), "family": family}, float(gives))
        for (family, name), gives in given.items()
    ]
    out.add("watchdog_source_in_force", "gauge", about, rows)


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

    unread = [
        ({**labels, "subject": printable(subject)}, unread)
        for labels, one in channels
        if one.source is not None
        for subject, (_, unread) in _message_counts(one.source).items()
    ]
    about = "Messages of peer-observer that fit no known form, since the source was opened; each is also a source:gap."
    out.add("watchdog_source_messages_unread_total", "counter", about, unread)


def _message_counts(source: Source) -> Mapping[str, tuple[int, int]]:
    return source.message_counts if isinstance(source, MessageCounting) else {}


def _line_forms(source: Source) -> Mapping[str, tuple[int, int]]:
    return source.line_forms if isinstance(source, FormCounting) else {}


def _counters(source: Source) -> Mapping[str, int]:
    return source.counters if isinstance(source, Counting) else {}


def _rules(out: Exposition, loop: EngineLoop, capabilities: Mapping[str, Capability]) -> None:
    engine = loop.watch.engine
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
    judged = sorted(capabilities.items())
    about = "1 where the sources can make a rule fire, 0 where they cannot, NaN where their content decides."
    values = [({"rule": rule}, math.nan if one.can_fire is None else float(one.can_fire)) for rule, one in judged]
    out.add("watchdog_rule_can_fire", "gauge", about, values)
    out.one("watchdog_findings_total", "counter", "Findings of all rules.", engine.statistics.findings)


def _keys(out: Exposition, prefix: str, shared: str, rows: Sequence[tuple[Labels, Mapping[str, int]]]) -> None:
    live, evicted, refused = (
        [(labels, float(counts[name])) for labels, counts in rows] for name in ("live", "evicted", "refused")
    )
    out.add(f"{prefix}_keys", "gauge", f"Keys followed.{shared}", live)
    out.add(f"{prefix}_key_evictions_total", "counter", f"Keys evicted to make room.{shared}", evicted)
    out.add(f"{prefix}_key_refusals_total", "counter", f"Keys for which there was no room.{shared}", refused)


def _incidents(out: Exposition, measured: Measured) -> None:
    known = sorted(measured.stored.incidents.items())
    out.add(
        "watchdog_incidents",
        "gauge",
        "Incidents that are not resolved.",
        [({"state": state, "severity": severity}, count) for (state, severity), count in known],
    )
    about = "Incidents that are not resolved, by rule."
    by_rule = [
        ({"node": printable(node), "rule": rule, "severity": severity}, count)
        for (node, rule, severity), count in sorted(measured.stored.by_rule.items())
    ]
    out.add("watchdog_incidents_open", "gauge", about, by_rule)
    opened = {**{engine.node: 0 for engine in measured.nodes}, **measured.writer.opened.opened}
    about = "Incidents that opened or opened again, since the start of the service."
    samples = [({"node": printable(node)}, count) for node, count in sorted(opened.items())]
    out.add("watchdog_incidents_opened_total", "counter", about, samples)


def _engine(out: Exposition, engine: EngineLoop) -> None:
    changes = sorted(dict(engine.counts.changes).items())
    out.add(
        "watchdog_incident_changes_total",
        "counter",
        "Changes of incidents, by reason.",
        [({"reason": reason}, count) for reason, count in changes],
    )
    counts = engine.counts
    about = "Time the engine waited for room for changes."
    out.one("watchdog_queue_full_seconds_total", "counter", about, counts.full_s)
    out.one("watchdog_engine_busy_seconds_total", "counter", "Time the engine worked.", counts.busy_s)
    out.one("watchdog_checkpoints_total", "counter", "Checkpoints made.", counts.checkpoints)


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
    engines = list(measured.nodes)
    lengths = {
        "changes": measured.nodes.out.qsize(),
        "commands": sum(len(one.orders) for one in engines),
        "requests": measured.api_queries.waiting,
        "outcomes": measured.sender.unstored,
        "stream": measured.hub.deepest,
    }
    limits = {
        "changes": measured.nodes.out.maxsize,
        "commands": COMMANDS_MOST * len(engines),
        "requests": measured.api_queries.waiting_most or 0,
        "outcomes": HELD_MOST * len(measured.sender.status()),
        "stream": measured.hub.limit,
    }
    full = {
        "changes": sum(one.counts.full for one in engines),
        "commands": sum(one.orders.refused for one in engines),
        "requests": measured.api_queries.refused,
        "outcomes": measured.sender.unstored_full,
        "stream": measured.hub.dropped,
    }
    out.add("watchdog_queue_length", "gauge", "What waits.", _by_queue(lengths))
    out.add("watchdog_queue_limit", "gauge", "How much may wait.", _by_queue(limits))
    out.add("watchdog_queue_full_total", "counter", "Times there was no room.", _by_queue(full))
    out.one("watchdog_watchers", "gauge", "Live pages.", measured.hub.watchers)
    out.one("watchdog_watchers_limit", "gauge", "How many live pages there may be.", MOST_WATCHERS)


def _by_queue(numbers: Mapping[str, int]) -> list[tuple[Labels, float]]:
    return [({"queue": name}, number) for name, number in numbers.items()]


def _store(out: Exposition, measured: Measured) -> None:
    writer = measured.writer.counts
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
