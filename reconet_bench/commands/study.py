"""``reconet-bench study``: the dissertation's studies of loss weights, optimisers and epochs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, at_least, err, out, own_folder


@COMMANDS.register("study")
class StudyCommand(Command):
    """``reconet-bench study``."""

    summary = (
        "Repeat a study of the dissertation (weights, optimizers or epochs) with any number of steps and any size."
    )
    example = (
        "reconet-bench study weights -o runs/weights -- --preset dissertation --style painting.jpg "
        "--data synthetic --size 192 --steps 500"
    )

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "study", metavar="NAME", help="weights (Table 5.1), optimizers (Fig. 5.2) or epochs (Fig. 5.1)"
        )
        parser.add_argument(
            "--jobs", type=at_least(1), default=1, metavar="N", help="runs at the same time (default: 1)"
        )
        parser.add_argument(
            "--output",
            "-o",
            type=Path,
            metavar="DIR",
            help="folder for runs, table and plots (default: runs/study-NAME)",
        )
        parser.usage = "%(prog)s NAME [--jobs N] [--output DIR] -- OPTIONS OF 'reconet-bench train', FOR ALL RUNS"

    def run(self, options: Any) -> None:
        from reconet_bench.commands.train_options import checked, settings_named
        from reconet_bench.core.errors import TrainingError
        from reconet_bench.networks.vgg import download_weights
        from reconet_bench.training.studies import STUDIES, check_shared, run_study

        shared = options.handed_on_options
        for name in ("show", "benchmark", "output"):
            if getattr(shared, name):
                raise TrainingError(
                    f"--{name} cannot follow --: a study trains every setting in a folder of its own: leave it out"
                )
        check_shared(options.study, settings_named(shared))
        for setting in STUDIES[options.study].settings:
            checked(argparse.Namespace(**{**vars(shared), "set": [*shared.set, *setting.overrides]}))
        labels = [setting.label for setting in STUDIES[options.study].settings]
        place = options.output or Path("runs") / f"study-{options.study}"
        with own_folder(place, "study of this kind", *labels) as folder:
            if shared.download_vgg:
                download_weights()  # once, not in each run
            run_study(
                options.study, options.handed_on, folder, options.jobs, lambda text: err.print(text, markup=False)
            )
        out.print((folder / "summary.md").read_text(), markup=False)
        out.print(f"Written to {folder}: summary.csv, summary.md and a run folder for each setting", markup=False)
