"""Loss curves as charts of a page: a panel for each term, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Sequence

from reconet_bench.core.record import is_measurable
from reconet_bench.report import figures
from reconet_bench.report.figures import Series
from reconet_bench.report.loss_curves import PACE, parse_curves


def loss_panels(runs: Sequence[tuple[Series, str]]) -> dict[str, str]:
    """Inline SVG by term, the weighted terms and the total that is optimised.

    Args:
        runs: name and look of each training (its points are not used), and the text of its ``curves.csv``.
    """
    terms: dict[str, list[Series]] = {}
    for series, text in runs:
        curves = parse_curves(text)
        for term, values in curves.table().items():
            if term not in PACE and (points := _drawn(curves.steps, values)):
                terms.setdefault(term, []).append(Series(series.name, points, series.slot))
    return {term: figures.lines(term, series, "step", log=True) for term, series in terms.items()}


def _drawn(steps: Sequence[int], values: Sequence[float]) -> list[tuple[float, float]]:
    """At most 120 points of a loss curve that a logarithmic axis can show."""
    points = [(float(step), value) for step, value in zip(steps, values, strict=True)]
    points = [point for point in points if all(map(is_measurable, point)) and point[1] > 0]
    return points[:: max(1, len(points) // 120)]
