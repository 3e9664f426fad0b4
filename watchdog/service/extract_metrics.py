"""What an extractor says of itself, in `/metrics`: records, losses, probes and CPU, by `stream:` source.

The numbers come in the heartbeats of the server, which may be any program: only names of this table are shown, and of
its texts none but kinds and fields of the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from watchdog.core.kinds import KINDS
from watchdog.core.source import HealthReporting
from watchdog.core.text import printable
from watchdog.service.channel import Channel
from watchdog.service.exposition import Exposition, Labels, MetricType

UNREADABLE: Final = "unreadable"  # with a kind and a field behind it, one number each


@dataclass(frozen=True, slots=True)
class _Family:
    """A metric. health: its name in a heartbeat. what: the label `what`, where several share a family."""

    name: str
    type: MetricType
    health: str
    about: str
    what: str = ""


_LOST: Final = "Records and payloads that found no room in a ring."
_FAMILIES: Final = (
    _Family("watchdog_extract_records_total", "counter", "records", "Records that the BPF program wrote."),
    _Family("watchdog_extract_lost_total", "counter", "lost", _LOST, "records"),
    _Family("watchdog_extract_lost_total", "counter", "lost_payloads", _LOST, "payloads"),
    _Family(
        "watchdog_extract_other_processes_total", "counter", "other_processes",
        "Hits of other processes of the same binary, which the BPF program dropped.",
    ),
    _Family("watchdog_extract_late_total", "counter", "late", "Records behind the watermark, moved up to it."),
    _Family("watchdog_extract_probes", "gauge", "probes", "Tracepoints that are attached."),
    _Family("watchdog_extract_probes_refused", "gauge", "probes_refused", "Tracepoints that could not be attached."),
    _Family("watchdog_extract_node_runs", "gauge", "node_runs", "1 while the extractor traces a node."),
    _Family("watchdog_extract_cpu_seconds_total", "counter", "cpu_s", "CPU time of the extractor."),
)  # fmt: skip


def extract_metrics(out: Exposition, channels: Sequence[Channel], labels: Labels) -> None:
    """Add what the servers of a node's sources say of themselves."""
    for one in channels:
        source: object = one.source
        if isinstance(source, HealthReporting) and (health := source.server_health):
            own = {**labels, "source": printable(one.name)}
            _add(out, health, own)
            _add_unreadable(out, health, own)


def _add(out: Exposition, health: Mapping[str, float], labels: Labels) -> None:
    for family in _FAMILIES:
        value = health.get(family.health)
        if value is not None and math.isfinite(value):
            more = {"what": family.what} if family.what else {}
            out.add(family.name, family.type, family.about, [({**labels, **more}, value)])


def _add_unreadable(out: Exposition, health: Mapping[str, float], labels: Labels) -> None:
    """Add texts and payloads that were on pages which could not be read, by kind and field."""
    samples: list[tuple[Labels, float]] = []
    for name, value in health.items():
        word, _, rest = name.partition(" ")
        kind, _, field = rest.partition(" ")
        if word == UNREADABLE and kind in KINDS and field in KINDS[kind].fields and math.isfinite(value):
            samples.append(({**labels, "kind": kind, "field": field}, value))
    about = "Arguments on memory pages that could not be read."
    out.add("watchdog_extract_unreadable_total", "counter", about, samples)
