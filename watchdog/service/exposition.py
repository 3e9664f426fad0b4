"""Families of numbers in Prometheus' text format; the format itself is the client library's (docs/adr/0012)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

MetricType = Literal["counter", "gauge"]
Labels = Mapping[str, str]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What `text` is in: names are plain, so the newer versions of the format would say the same."""


class Exposition:
    """Families in the order in which they were added; each name once. A collector of the library.

    Built for each scrape from counts kept elsewhere: nothing is registered globally, nothing counts twice.
    """

    def __init__(self) -> None:
        self._families: list[Metric] = []

    def add(self, name: str, type_: MetricType, about: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """Add a family with its samples; nothing is written without samples. Counters end in `_total`."""
        family: Metric = (CounterMetricFamily if type_ == "counter" else GaugeMetricFamily)(name, about)
        for labels, value in samples:
            family.add_sample(name, dict(labels), float(value))
        if family.samples:
            self._families.append(family)

    def one(self, name: str, type_: MetricType, about: str, value: float) -> None:
        """Add a family with one sample and no labels."""
        self.add(name, type_, about, [({}, value)])

    def collect(self) -> Iterable[Metric]:
        """Yield the families, for the library's registry."""
        return iter(self._families)

    def text(self) -> str:
        """Return the whole text, with the library's metrics of this process (`process_*`)."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        return generate_latest(registry).decode("utf-8")
