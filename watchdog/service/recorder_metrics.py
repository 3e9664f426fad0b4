"""The recorder of a node in `/metrics`."""

from __future__ import annotations

from watchdog.service.exposition import Exposition, MetricType
from watchdog.service.recorder import NodeRecorder


def recorder_metrics(out: Exposition, recorder: NodeRecorder, node: str) -> None:
    """Add the families of one recorder."""
    status = recorder.status
    rows: tuple[tuple[str, MetricType, str, float], ...] = (
        ("up", "gauge", "1 while a node's recorder can write.", not status.error),
        ("bytes", "gauge", "Bytes of all recorded files.", status.size),
        ("kept_bytes", "gauge", "Bytes of recorded files that are kept for incidents.", status.kept_size),
        ("files", "gauge", "Recorded files that have room until they are the oldest.", status.files),
        ("events_total", "counter", "Events recorded.", status.events),
        ("events_dropped_total", "counter", "Events that were not recorded, for want of room.", recorder.dropped),
        ("errors_total", "counter", "Failed tries to record.", status.errors),
        (
            "incidents_dropped_total",
            "counter",
            "Incidents whose recorded files were removed early, for want of room.",
            status.incidents_dropped,
        ),
        ("files_unkept_total", "counter", "Recorded files that could not be kept for an incident.", status.unkept),
    )
    for name, type_, about, value in rows:
        out.add(f"watchdog_recorder_{name}", type_, about, [({"node": node}, float(value))])
