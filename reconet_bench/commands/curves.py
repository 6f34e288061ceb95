"""``reconet-bench curves``: plot the loss curves of training runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, out


@COMMANDS.register("curves")
class CurvesCommand(Command):
    """``reconet-bench curves``."""

    summary = "Plot the loss curves of training runs: a panel for each term, several runs in one figure."
    example = "reconet-bench curves runs/adam runs/adamax -o optimizers.svg"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "runs",
            nargs="+",
            type=Path,
            metavar="RUN",
            help="run folder of a training, or a curves file such as those beside shipped models",
        )
        parser.add_argument(
            "--output",
            "-o",
            type=Path,
            metavar="FILE",
            help=".png, .svg or .pdf (default: curves.png, of one run in its own folder)",
        )

    def run(self, options: Any) -> None:
        from reconet_bench.report.loss_plot import plot_losses

        runs = read_runs(options.runs)
        (first, *others) = options.runs
        path = options.output or (Path() if others or not first.is_dir() else first) / "curves.png"
        plot_losses(path, runs)
        out.print(f"Written: {path}", markup=False)


def read_runs(places: list[Path]) -> dict[str, Any]:
    """Curves by label: the name of the folder or file, with its parents if two have one name."""
    from reconet_bench.core.errors import DataError
    from reconet_bench.report.loss_curves import parse_curves

    found: dict[str, Any] = {}
    for place in places:
        path = place / "curves.csv" if place.is_dir() else place
        if not path.is_file():
            raise DataError(f"no curves in {place}: a training's run folder holds curves.csv")
        curves = parse_curves(path.read_text(encoding="utf-8", errors="replace"))
        if not curves.steps:
            raise DataError(f"{path}: not the curves of a training")
        whole = place.resolve().with_suffix("") if place.is_file() else place.resolve()
        labels = ("/".join(whole.parts[-count:]) for count in range(1, len(whole.parts) + 1))
        found[next((label for label in labels if label not in found), str(place))] = curves
    return found
