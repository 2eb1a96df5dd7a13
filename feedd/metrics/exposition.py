"""The sample in Prometheus' text formats; the formats themselves are prometheus_client's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from feedd.clock import SECOND_NS
from feedd.metrics.sample import Sample
from feedd.metrics.table import BOUNDS_NS, METRICS, buckets
from feedd.metrics.table import Metric as Row

__all__ = ["expose"]

_BOUNDS = [*(repr(ns / SECOND_NS) for ns in BOUNDS_NS), "+Inf"]
_FAMILIES: dict[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


def _family(row: Row, sample: Sample) -> Metric:
    if row.kind == "histogram":
        histogram = HistogramMetricFamily(row.name, row.help, labels=row.labels, unit=row.unit)
        for reader in sample.readers:
            counts, total = buckets(reader.histograms[row.stage])
            pairs = list(zip(_BOUNDS, counts, strict=True))
            histogram.add_metric([str(reader.number)], pairs, total)
        return histogram
    if row.kind == "info":
        info = InfoMetricFamily(row.name, row.help)
        for labels, _ in row.read(sample):
            info.add_metric([], dict(zip(row.labels, labels, strict=True)))
        return info
    family = _FAMILIES[row.kind](row.name, row.help, labels=row.labels, unit=row.unit)
    for labels, value in row.read(sample):
        family.add_metric(labels, value)
    made: Metric = family
    return made


class _Once(Collector):
    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    def collect(self) -> Iterable[Metric]:
        return (_family(row, self._sample) for row in METRICS)


def expose(sample: Sample, accept: str = "") -> tuple[bytes, str]:
    """The body and its content type, in the format that ``accept`` asks for (text by default)."""
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(sample))
    return encode(registry), content_type
