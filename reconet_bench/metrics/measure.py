"""The metrics that are asked for, on one stylised clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconet_bench.core.errors import MetricUnavailable, UnknownName
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


#: Words that stand for several metrics: those measured where none are named, and every one.
DEFAULT, ALL = "default", "all"


def chosen_metrics(names: Sequence[str] = ()) -> list[str]:
    """The metrics that names stand for, sorted; none are the default ones.

    A metric brings its parts with it: ``style_distance`` those at each tap.

    Args:
        names: of metrics, or :data:`DEFAULT` or :data:`ALL`.

    Raises:
        UnknownName: no such metric; suggests the nearest.
    """
    known = dict(METRICS.items())
    for name in names:
        if name not in (DEFAULT, ALL, *known):
            raise UnknownName("metric", name, [*known, DEFAULT, ALL])
    asked = set(names or (DEFAULT,))
    parts = tuple(f"{name}_" for name in asked)
    return [
        name
        for name, metric in known.items()
        if ALL in asked
        or (DEFAULT in asked and metric.default)
        or name in asked
        or (metric.detail and name.startswith(parts))
    ]


def measure_footage(footage: Footage, metrics: Sequence[str] = ()) -> dict[str, Outcome]:
    """What came of each metric on one stylised clip, by the metric's name.

    Args:
        metrics: which, see :func:`chosen_metrics`.
    """
    outcomes: dict[str, Outcome] = {}
    for name in chosen_metrics(metrics):
        metric = METRICS[name]
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
