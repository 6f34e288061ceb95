"""The plot of a structure study: temporal error over time, with the style distance as colour."""

from __future__ import annotations

from pathlib import Path

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path
from reconet_bench.report.structure_table import StructureResult
from reconet_bench.report.tables import ARROWS, QUALITY

_ERROR, _STYLE = "temporal_error", "style_distance"


def plot_structures(path: Path, result: StructureResult) -> Path:
    """Write the plot: a panel for each runtime, a point for each candidate. Towards the lower left is better.

    Args:
        path: its suffix says the format: ``.png``, ``.svg``, ``.pdf``.

    Raises:
        DataError: no candidate was both timed and measured, matplotlib is not installed, or does not write this format.
    """
    points = {
        runtime: [
            (row.times[runtime].ms, row.cells[_ERROR].value, row.cells[_STYLE].value, row.candidate.name)
            for row in result.rows
            if row.times[runtime].ms is not None and {_ERROR, _STYLE} <= row.cells.keys()
        ]
        for runtime in result.runtimes
    }
    shown = {runtime: found for runtime, found in points.items() if found}
    if not shown:
        raise DataError(f"no plot {path}: no candidate was both timed and measured")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DataError(f'no plot {path}: matplotlib is not installed: pip install "reconet-bench[plots]"') from None
    figure = Figure(figsize=(4.6 * len(shown) + 1, 4.4), layout="constrained")
    grid = figure.subplots(1, len(shown), squeeze=False)[0]
    styles = [style for found in shown.values() for _, _, style, _ in found]
    for axes, (runtime, found) in zip(grid, shown.items(), strict=True):
        times, errors, colours, names = zip(*found, strict=True)
        marks = axes.scatter(
            times, errors, c=colours, s=70, cmap="viridis", vmin=min(styles), vmax=max(styles), edgecolors="black"
        )
        for time, error, name in zip(times, errors, names, strict=True):
            axes.annotate(name, (time, error), textcoords="offset points", xytext=(5, 5), fontsize=8)
        axes.set(xlabel=f"{runtime}, ms ↓", ylabel=f"{QUALITY[_ERROR]} {ARROWS['lower']}")
        axes.margins(x=0.25, y=0.12)
        axes.grid(visible=True, alpha=0.3)
    figure.colorbar(marks, ax=list(grid), label=f"{QUALITY[_STYLE]} {ARROWS['lower']}")
    figure.suptitle(result.title, fontsize=11)
    with atomic_path(path) as temporary:
        try:
            figure.savefig(temporary, dpi=110)
        except ValueError as error:
            raise DataError(f"no plot {path}: {str(error).partition('(')[0].strip()}: use .png, .svg or .pdf") from None
    return path
