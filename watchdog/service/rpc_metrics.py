"""What the polls of a node cost and how they fail, in `/metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from watchdog.core.source import Calling
from watchdog.service.channel import Channel
from watchdog.service.exposition import Exposition, Labels
from watchdog.sources.rpc.link import BUCKETS_S


def rpc_metrics(out: Exposition, channels: Sequence[Channel], labels: Labels) -> None:
    """Add the calls of one node, by method; those of several sources of a node are summed up."""
    opened: list[object] = [one.source for one in channels]
    sources = [source for source in opened if isinstance(source, Calling)]
    seconds: dict[str, float] = {}
    buckets: dict[str, list[int]] = {}
    errors: Counter[tuple[str, str]] = Counter()
    intervals: dict[str, float] = {}
    for source in sources:
        for method, counts in source.calls.items():
            seconds[method] = seconds.get(method, 0.0) + counts.seconds
            known = buckets.setdefault(method, [0] * len(counts.buckets))
            buckets[method] = [one + more for one, more in zip(known, counts.buckets, strict=True)]
            errors.update({(method, reason): count for reason, count in dict(counts.errors).items()})
        for method, interval_s in source.intervals_s.items():
            intervals[method] = min(interval_s, intervals.get(method, interval_s))
    samples = [({**labels, "method": method}, counts, seconds[method]) for method, counts in sorted(buckets.items())]
    about = "Duration of requests to the node, answered or abandoned."
    out.histogram("watchdog_rpc_seconds", about, BUCKETS_S, samples)
    failed = [({**labels, "method": method, "reason": why}, count) for (method, why), count in sorted(errors.items())]
    out.add("watchdog_rpc_errors_total", "counter", "Requests to the node that failed.", failed)
    about = "Present time between two calls, longer than configured while the node is slow."
    present = [({**labels, "method": method}, interval_s) for method, interval_s in sorted(intervals.items())]
    out.add("watchdog_rpc_interval_seconds", "gauge", about, present)
