"""Families of numbers in Prometheus' text format; the format itself is the client library's (docs/adr/0012)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

MetricType = Literal["counter", "gauge"]
Labels = Mapping[str, str]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What `text` is in: names are plain, so the newer versions of the format would say the same."""


def _new(name: str, type_: MetricType, about: str) -> Metric:
    return (CounterMetricFamily if type_ == "counter" else GaugeMetricFamily)(name, about)


class Exposition:
    """Families in the order in which they were added, as a collector of the library.

    A family that is added again gets further samples.

    Built for each scrape from counts kept elsewhere: nothing is registered globally, nothing counts twice. common:
    labels of all samples that are added from now on.
    """

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self.common: Labels = {}

    def add(self, name: str, type_: MetricType, about: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """Add a family with its samples; nothing is written without samples. Counters end in `_total`."""
        family = self._families.get(name) or _new(name, type_, about)
        for labels, value in samples:
            family.add_sample(name, {**self.common, **labels}, float(value))
        if family.samples:
            self._families[name] = family

    def histogram(
        self, name: str, about: str, bounds: Sequence[float], samples: Iterable[tuple[Labels, Sequence[int], float]]
    ) -> None:
        """Add a histogram: labels, numbers by bucket (the last one beyond all bounds), and the sum of the values."""
        known = self._families.get(name)
        family = known if known is not None else HistogramMetricFamily(name, about)
        for labels, numbers, total in samples:
            counts = list(accumulate(numbers))
            for bound, count in zip([*map(floatToGoString, bounds), "+Inf"], counts, strict=True):
                family.add_sample(f"{name}_bucket", {**labels, "le": bound}, float(count))
            family.add_sample(f"{name}_count", dict(labels), float(counts[-1]))
            family.add_sample(f"{name}_sum", dict(labels), total)
        if family.samples:
            self._families[name] = family

    def one(self, name: str, type_: MetricType, about: str, value: float) -> None:
        """Add a family with one sample and no labels."""
        self.add(name, type_, about, [({}, value)])

    def collect(self) -> Iterable[Metric]:
        """Yield the families, for the library's registry."""
        return iter(self._families.values())

    def text(self) -> str:
        """Return the whole text, with the library's metrics of this process (`process_*`)."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry).decode("utf-8")
