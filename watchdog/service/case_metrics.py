"""Metrics of cases: how many there are, how often a bound was met, how their notices reach people; and of the audit."""

from __future__ import annotations

from collections.abc import Iterable

from alerts.store.audit import MOST_ENTRIES
from watchdog.core.text import printable
from watchdog.service.case_rows import CaseRows
from watchdog.service.engine_thread import EngineLoop
from watchdog.service.exposition import Exposition
from watchdog.service.notice_delays import BOUNDS_S, NoticeDelays
from watchdog.service.vitals import Stored
from watchdog.service.writer_thread import WriterCounts


def all_case_metrics(
    out: Exposition, nodes: Iterable[EngineLoop], writer: WriterCounts, delays: NoticeDelays, stored: Stored
) -> None:
    """Add the metrics of all cases. nodes: their engines. stored: counts of the history."""
    for engine in nodes:
        case_metrics(out, engine.watch.case_rows, engine.node)
    out.add(
        "watchdog_notices_total",
        "counter",
        "Notices of cases that were made for a receiver, by the reason that it was given.",
        [
            ({"receiver": printable(receiver), "reason": type_.removeprefix("case.")}, many)
            for (receiver, type_), many in sorted(dict(writer.case_notices).items())
        ],
    )
    out.add(
        "watchdog_drill_notices_total",
        "counter",
        "Notices of drills, which no other metric of cases counts.",
        [
            ({"receiver": printable(receiver), "reason": type_.removeprefix("case.")}, many)
            for (receiver, type_), many in sorted(dict(writer.drill_notices).items())
        ],
    )
    about = "From the beginning of a case, event time, to its accepted `case.opened`; live ones only."
    out.histogram("watchdog_notice_delay_seconds", about, BOUNDS_S, delays.samples())
    audit_metrics(out, stored.audit)
    silence_metrics(out, stored)


def audit_metrics(out: Exposition, entries: int) -> None:
    """Add how full the audit is."""
    about = f"Entries of the audit; at {MOST_ENTRIES} operators' changes are refused."
    out.one("watchdog_audit_entries", "gauge", about, entries)


def case_metrics(out: Exposition, rows: CaseRows, node: str) -> None:
    """Add the metrics of one node's cases, as they were at its last checkpoint."""
    seen = rows.seen
    out.add(
        "watchdog_cases",
        "gauge",
        "Cases in memory, by severity and state.",
        [
            ({"node": node, "severity": severity, "state": state}, many)
            for (severity, state), many in sorted(seen.cases.items())
        ],
    )
    out.add(
        "watchdog_case_notices_total",
        "counter",
        "Notices of cases, by reason, before any receiver is considered.",
        [({"node": node, "reason": reason}, many) for reason, many in sorted(seen.notices.items())],
    )
    out.add(
        "watchdog_case_bounds_total",
        "counter",
        "How often cases met a bound, or a finding that came too late for its place (late).",
        [({"node": node, "bound": bound}, many) for bound, many in sorted(seen.bounds.items())],
    )


def silence_metrics(out: Exposition, stored: Stored) -> None:
    """Add the numbers of silences."""
    out.one("watchdog_silences", "gauge", "Silences in force.", stored.silences)
    out.one("watchdog_silences_ending", "gauge", "Silences that end within a day.", stored.silences_ending)
