"""The plot of loss curves: a panel for each term, a line for each run (the dissertation's Figs 5.2 and 6.1 to 6.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path
from reconet_bench.report.loss_curves import TOTAL, Curves

#: Panels beside one another, and inches of each.
_COLUMNS, _WIDTH, _HEIGHT = 3, 4.2, 3.0
#: The share of a run that the bold line is the running mean of; the thin line is every row.
_SMOOTH = 0.05


def plot_losses(path: Path, runs: Mapping[str, Curves], title: str = "") -> Path:
    """Write the plot of one or several runs: every weighted term over the steps, and the total if it is known.

    Args:
        path: its suffix says the format: ``.png``, ``.svg``, ``.pdf``.
        runs: curves by label.

    Raises:
        DataError: no curve has two rows, matplotlib is not installed, or does not write this format.
    """
    terms = list(dict.fromkeys(term for curves in runs.values() for term in curves.terms))
    if not terms or max(len(curves.steps) for curves in runs.values()) < 2:
        raise DataError(f"no plot {path}: each curve needs at least two rows ({', '.join(runs)})")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DataError(f'no plot {path}: matplotlib is not installed: pip install "reconet-bench[plots]"') from None
    panels = [*([TOTAL] if any(curves.total for curves in runs.values()) else []), *terms]
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, term in zip(grid, panels, strict=False):
        drawn: list[float] = []
        for number, (label, curves) in enumerate(runs.items()):
            values = curves.total if term == TOTAL else curves.terms.get(term)
            if values:
                colour = f"C{number % 10}"
                axes.plot(curves.steps, values, color=colour, alpha=0.3, linewidth=0.8)
                axes.plot(curves.steps, running_mean(values), color=colour, linewidth=1.6, label=label)
                drawn += values
        positive = bool(drawn) and min(drawn) > 0
        axes.set(title=term.replace("_", " "), xlabel="step", yscale="log" if positive else "linear")
        axes.grid(visible=True, which="both", alpha=0.25)
    for axes in grid[len(panels) :]:
        axes.remove()
    if len(runs) > 1:
        # The total of an older run is not known.
        max(grid[: len(panels)], key=lambda axes: len(axes.get_lines())).legend()
    if title:
        figure.suptitle(title)
    with atomic_path(path) as temporary:
        try:
            figure.savefig(temporary)
        except ValueError as error:
            raise DataError(f"no plot {path}: {str(error).partition('(')[0].strip()}: use .png, .svg or .pdf") from None
    return path


def running_mean(values: Sequence[float]) -> list[float]:
    """Each value's mean with its neighbours, over :data:`_SMOOTH` of the run in all; fewer at both ends."""
    half = math.ceil(_SMOOTH * len(values)) // 2
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]
