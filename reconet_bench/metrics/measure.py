"""Every registered metric on one stylised clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconet_bench.core.errors import MetricUnavailable
from reconet_bench.metrics.base import METRICS, Footage


@dataclass(frozen=True)
class Measured:
    """A metric that could be measured: its value by frame index (of a pair: its first frame)."""

    samples: Mapping[int, float]


@dataclass(frozen=True)
class Absent:
    """A metric that could not be measured, and why."""

    reason: str


#: What came of a metric on one stylised clip.
Outcome = Measured | Absent


def measure_footage(footage: Footage) -> dict[str, Outcome]:
    """What came of every metric on one stylised clip, by the metric's name."""
    outcomes: dict[str, Outcome] = {}
    for name, metric in METRICS.items():
        try:
            outcomes[name] = Measured(metric.samples(footage))
        except MetricUnavailable as reason:
            outcomes[name] = Absent(str(reason))
    return outcomes


def moved(outcomes: Mapping[str, Outcome], first: int) -> dict[str, Outcome]:
    """Outcomes on a part of a clip by the frame indices of the whole, of which the part begins with ``first``."""
    return {
        name: Measured({index + first: value for index, value in outcome.samples.items()})
        if isinstance(outcome, Measured)
        else outcome
        for name, outcome in outcomes.items()
    }


def measured_samples(outcomes: Mapping[str, Outcome]) -> dict[str, Mapping[int, float]]:
    """The samples of those metrics that could be measured, by name."""
    return {name: outcome.samples for name, outcome in outcomes.items() if isinstance(outcome, Measured)}


def absence_reasons(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    """The reasons of those metrics that could not be measured, by name."""
    return {name: outcome.reason for name, outcome in outcomes.items() if isinstance(outcome, Absent)}
