"""The plot of a sweep: milliseconds a frame over megapixels, one line for each runtime and thread count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reconet_bench.core.errors import DataError
from reconet_bench.core.files import atomic_path

#: Points of a line: (pixels, milliseconds).
Points = Sequence[tuple[int, float]]


def plot(path: Path, lines: Mapping[str, Points], title: str) -> Path:
    """Write the plot, both axes logarithmic: in proportion to pixels is a straight line of slope one.

    Args:
        path: its suffix says the format: ``.svg``, ``.png``, ``.pdf``.
        lines: by label.

    Raises:
        DataError: matplotlib is not installed, or does not write this format.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DataError(f"no plot {path}: matplotlib is not installed: pip install matplotlib") from None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for label, points in lines.items():
        pixels, taken = zip(*sorted(points), strict=True)
        axes.loglog([1e-6 * count for count in pixels], taken, marker="o", label=label)
    axes.set(title=title, xlabel="megapixels", ylabel="ms a frame")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        try:
            figure.savefig(temporary)
        except ValueError as error:
            raise DataError(f"no plot {path}: {str(error).partition('(')[0].strip()}: use .svg, .png or .pdf") from None
    return path
