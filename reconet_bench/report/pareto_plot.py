"""The plot of an equal-style study: temporal error over style distance, a curve for each method over its weight."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path
from reconet_bench.report.equal_style import STYLE, FieldPoint, FieldResult
from reconet_bench.report.tables import ARROWS, QUALITY

#: Metrics with a panel each, as far as they were measured.
PANELS = ("temporal_error", "temporal_error_long")
#: Colours of Okabe & Ito, and marks that tell methods apart without them.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C6D1F", "#332288")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<")


def plot_pareto(path: Path, result: FieldResult) -> Path:
    """Write the plot: all trained points, those of one method joined in the order of its weight; below, a closer look.

    Points of equal style have a black ring, and the band of equal style is grey. Towards the lower left is better.

    Args:
        path: its suffix says the format: ``.png``, ``.svg``, ``.pdf``.

    Raises:
        DataError: nothing was measured, matplotlib is not installed, or does not write this format.
    """
    panels = [metric for metric in PANELS if any(metric in point.cells for point in result.points)]
    if not panels:
        raise DataError(f"no plot {path}: no trained point was measured")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DataError(f'no plot {path}: matplotlib is not installed: pip install "reconet-bench[plots]"') from None
    rows = 1 if result.baseline is None else 2
    figure = Figure(figsize=(5.2 * len(panels), 1.0 + 4.2 * rows), layout="constrained")
    grid = figure.subplots(rows, len(panels), squeeze=False)
    for column, metric in enumerate(panels):
        for axes in grid[:, column]:
            _panel(axes, result, metric)
        if result.baseline is not None:
            _zoom(grid[1, column], result, result.baseline, metric)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(result.title, fontsize=11)
    with atomic_path(path) as temporary:
        try:
            figure.savefig(temporary, dpi=110)
        except ValueError as error:
            raise DataError(f"no plot {path}: {str(error).partition('(')[0].strip()}: use .png, .svg or .pdf") from None
    return path


def _panel(axes: Any, result: FieldResult, metric: str) -> None:
    base = result.baseline
    if base is not None:
        style = base.cells[STYLE].value
        low, high = style * (1 - result.band), style * (1 + result.band)
        axes.axvspan(low, high, color="0.88", label=f"equal style (±{100 * result.band:g} %)")
    if result.trunk is not None:
        _draw(axes, [result.trunk], metric, color="0.4", marker="x", linestyle="none", label="trunk")
    for number, method in enumerate(dict.fromkeys(point.method for point in result.points)):
        points = sorted((p for p in result.points if p.method == method), key=lambda point: point.factor)
        only = base is not None and method == base.method
        look = {
            "color": "black" if only else _COLOURS[(number - 1) % len(_COLOURS)],
            "marker": "*" if only else _MARKS[(number - 1) % len(_MARKS)],
        }
        _draw(axes, points, metric, **look, markersize=13 if only else 6, linewidth=1.2, label=method)
    equal = [row.point for row in result.rows if row.equal and row.point is not None and row.point is not base]
    for number, point in enumerate(equal):
        label = "equal-style point" if not number else None
        ring = {"marker": "o", "markersize": 13, "markerfacecolor": "none", "markeredgecolor": "black"}
        _draw(axes, [point], metric, **ring, linestyle="none", label=label)
    axes.set(xlabel=f"{QUALITY[STYLE]} {ARROWS['lower']}", ylabel=f"{QUALITY[metric]} {ARROWS['lower']}")
    axes.grid(visible=True, alpha=0.3)


def _zoom(axes: Any, result: FieldResult, baseline: FieldPoint, metric: str) -> None:
    """Show the surroundings of the band alone."""
    style = baseline.cells[STYLE].value
    low, high = style * (1 - 1.5 * result.band), style * (1 + 2.5 * result.band)
    inside = [
        point.cells[metric].value
        for point in result.points
        if metric in point.cells and low <= point.cells[STYLE].value <= high
    ]
    room = 0.1 * (max(inside) - min(inside)) or 0.1 * max(inside)
    axes.set(xlim=(low, high), ylim=(min(inside) - room, max(inside) + room), title="around equal style")
    axes.title.set_fontsize(10)


def _draw(axes: Any, points: Sequence[FieldPoint], metric: str, **look: Any) -> None:
    known = [point for point in points if metric in point.cells]
    axes.plot([point.cells[STYLE].value for point in known], [point.cells[metric].value for point in known], **look)
