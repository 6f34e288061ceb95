"""``reconet-bench reproduce``: the dissertation's tables and figures from end to end."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import COMMANDS, Command, add_vgg_option, at_least, between, out, own_folder
from reconet_bench.commands.reproduce_start import (
    SETTINGS_FILE,
    SMALL_JOBS,
    SMALL_SIZE,
    SMALL_STEPS,
    check,
    prepare,
    say,
)

if TYPE_CHECKING:
    from reconet_bench.commands.reproduce_start import CheckedReproduction, Prepared

#: Folder of what is measured: a run folder of ``compare`` for each video.
MEASURED = "measured"
_METRICS = ("temporal_error", "temporal_error_long", "ssim_adjacent", "content_similarity", "style_distance")


@COMMANDS.register("reproduce")
class Reproduce(Command):
    """``reconet-bench reproduce``."""

    summary = (
        "Repeat the dissertation: train and measure what its Tables 5.1, 6.1, 6.2 and Figs 5.1, 5.2, 6.1 to 6.6 show, "
        "and write one page with published numbers beside ours. Run it again to go on after a stop."
    )
    example = "reconet-bench reproduce --style candy.jpg --steps 200 --size 96"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--style", type=Path, metavar="FILE", help="the style image (needed)")
        parser.add_argument(
            "--sintel",
            type=Path,
            metavar="DIR",
            help="folder that holds MPI-Sintel's 'training': train and measure on it as the dissertation does "
            "(default: rendered scenes and the built-in clips)",
        )
        parser.add_argument(
            "--size",
            type=at_least(32),
            metavar="N",
            help="side of the training crops in pixels; below 512, Sintel's frames are measured smaller in proportion "
            f"(default: 512 with --sintel, else {SMALL_SIZE})",
        )
        parser.add_argument(
            "--steps",
            type=at_least(1),
            metavar="N",
            help=f"steps of each training (default: 60 epochs with --sintel, else {SMALL_STEPS}; or see --minutes)",
        )
        parser.add_argument(
            "--minutes",
            type=between(0, 1e6, ends=False),
            metavar="M",
            help="time for all: the pace of this machine is measured, and the steps are chosen so that everything "
            "fits; if the machine becomes slower, it takes longer",
        )
        parser.add_argument(
            "--jobs",
            type=at_least(1),
            metavar="N",
            help=f"trainings at the same time (default: 1 with --sintel, else {SMALL_JOBS})",
        )
        parser.add_argument(
            "--output", "-o", type=Path, metavar="DIR", help="folder for everything (default: runs/reproduction)"
        )
        add_vgg_option(parser)

    def run(self, options: Any) -> None:
        from reconet_bench.commands.reproduce_result import write_result

        began = time.monotonic()
        checked = check(options)
        with own_folder(options.output or Path("runs") / "reproduction", "reproduction", SETTINGS_FILE) as folder:
            try:
                prepared = prepare(checked, folder, began)
                _train(checked, prepared)
                measured = _measure(checked, prepared, folder / MEASURED)
                write_result(checked, prepared, measured, folder)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"reproduce: stopped: what is finished is kept in {folder}; run the same command again to continue"
                ) from None


def _train(checked: CheckedReproduction, prepared: Prepared) -> None:
    """Train what is not trained yet."""
    from reconet_bench.training.fleet import finished, run_fleet

    models = [model for model in prepared.plan.models if not finished(prepared.trained / model.name)]
    if done := len(prepared.plan.models) - len(models):
        say(f"{done} of {len(prepared.plan.models)} trainings are done already")
    if models:
        arguments = {model.name: prepared.arguments for model in models}
        run_fleet(models, arguments, prepared.trained, checked.jobs, report=say)


def _measure(checked: CheckedReproduction, prepared: Prepared, folder: Path) -> list[Path]:
    """Compare the models on every video; returns the run folders. What is measured already stays."""
    models = [str(prepared.checkpoint(name)) for name in prepared.plan.compared]
    vgg = ["--vgg", str(checked.options.vgg)] if checked.options.vgg else []
    places = [folder / video.clip.name for video in checked.videos]
    for number, (video, place) in enumerate(zip(checked.videos, places, strict=True), 1):
        count = f"({number} of {len(places)})"
        if _is_measured(place):
            say(f"{video.clip.name}: already measured {count}")
            continue
        say(f"measuring {video.clip.name} {count}")
        words = ["--videos", video.clip.name, *video.words, "--models", *models, "--metrics", *_METRICS, *vgg]
        _compare([*words, "--runtimes", "torch", "--rounds", "0", "-o", str(place)])
    return places


def _compare(words: list[str]) -> None:
    """Run ``reconet-bench compare``; its tables are in its run folder, and its progress is shown."""
    parser = argparse.ArgumentParser()
    COMMANDS["compare"].add_options(parser)
    with out.capture():
        COMMANDS["compare"].run(parser.parse_args(words))


def _is_measured(run: Path) -> bool:
    """Whether a comparison came to its end."""
    try:
        return json.loads((run / "provenance.json").read_text())["interrupted"] is False
    except (OSError, ValueError, KeyError, TypeError):
        return False
