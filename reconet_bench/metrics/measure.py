"""Every registered metric on one stylised clip."""

from __future__ import annotations

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage


def measure_footage(footage: Footage) -> dict[str, dict[int, float] | str]:
    """Every metric on one stylised clip: samples by frame index, or the reason why there are none."""
    measured: dict[str, dict[int, float] | str] = {}
    for name, metric in METRICS.items():
        try:
            measured[name] = metric.samples(footage)
        except MetricUnavailable as reason:
            measured[name] = str(reason)
    return measured
