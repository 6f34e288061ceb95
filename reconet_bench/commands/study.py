"""``reconet-bench study``: the dissertation's studies, that of all objectives at equal style, and of structures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands import study_field, study_structure
from reconet_bench.commands.base import COMMANDS, Command, at_least, err, out, own_folder
from reconet_bench.commands.engine_option import add_engine_option
from reconet_bench.commands.study_runner import chosen_runner
from reconet_bench.core.errors import TrainingError, UnknownName

#: Studies that have options of their own instead of those of ``train``, and these options.
OWN = {"field": study_field.OWN, "structure": study_structure.OWN}


@COMMANDS.register("study")
class StudyCommand(Command):
    """``reconet-bench study``."""

    summary = (
        "Repeat a study of the dissertation (weights, optimizers or epochs), train all objectives from one trunk "
        "and compare them at equal style (field), or measure structures of the network (structure)."
    )
    example = (
        "reconet-bench study weights -o runs/weights -- --preset dissertation --style painting.jpg "
        "--data synthetic --size 192 --steps 500"
    )

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "study",
            metavar="NAME",
            help="weights (Table 5.1), optimizers (Fig. 5.2), epochs (Fig. 5.1), field (objectives at equal style) or "
            "structure (networks: speed, and quality after equal time)",
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
        add_engine_option(parser)
        study_field.add_field_options(parser)
        study_structure.add_structure_options(parser)
        parser.usage = (
            "%(prog)s NAME [--jobs N] [--threads N] [--on ray] [--output DIR] -- OPTIONS OF 'reconet-bench train', "
            "FOR ALL RUNS\n"
            "       %(prog)s field [OPTIONS]\n"
            "       %(prog)s structure --style-image FILE [OPTIONS]"
        )

    def run(self, options: Any) -> None:
        self._refuse_options_of_others(options)
        if options.study == "field":
            study_field.run_field_study(options)
        elif options.study == "structure":
            study_structure.run_structure_study(options)
        else:
            self._of_dissertation(options)

    def _refuse_options_of_others(self, options: Any) -> None:
        from reconet_bench.training.studies import STUDIES

        if options.study not in STUDIES and options.study not in OWN:
            raise UnknownName("study", options.study, [*STUDIES, *OWN])
        for owner, names in OWN.items():
            own = {"threads", *OWN.get(options.study, ())}
            if given := [name for name in names if name not in own and getattr(options, name) is not None]:
                advice = (
                    ""
                    if options.study in OWN
                    else (f": give study {options.study} the options of 'reconet-bench train' after --")
                )
                raise TrainingError(f"--{given[0].replace('_', '-')} belongs to study {owner}{advice}")

    def _of_dissertation(self, options: Any) -> None:
        from reconet_bench.commands.train_options import checked, settings_named
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
        with (
            own_folder(place, "study of this kind", *labels) as folder,
            chosen_runner(options, options.handed_on, folder, shared.device) as runner,
        ):
            if shared.download_vgg:
                download_weights()  # once, not in each run
            jobs = options.jobs if options.on is None else len(labels)  # on a cluster as many as there is room for
            run_study(options.study, options.handed_on, folder.resolve(), jobs, _say, runner)
        out.print((folder / "summary.md").read_text(), markup=False)
        out.print(f"Written to {folder}: summary.csv, summary.md and a run folder for each setting", markup=False)


def _say(text: str) -> None:
    err.print(text, markup=False)
