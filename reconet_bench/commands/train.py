"""``reconet-bench train``: train a network with a method's objective."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import (
    COMMANDS,
    Command,
    add_vgg_option,
    at_least,
    between,
    err,
    out,
    show_training,
    warn,
    writable,
)
from reconet_bench.commands.train_fleet import add_fleet_options, train_fleet
from reconet_bench.commands.train_options import add_recipe_options, checked, checked_recipe

if TYPE_CHECKING:
    from reconet_bench.training.crops import TrainingCrops
    from reconet_bench.training.settings import TrainingSettings


@COMMANDS.register("train")
class Train(Command):
    """``reconet-bench train``."""

    summary = "Train a style network for one painting."
    example = "reconet-bench train --method reconet --style starry_night.jpg --data synthetic --steps 4000"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--style", type=Path, metavar="FILE", help="the style image (needed, except with --show)")
        parser.add_argument(
            "--textures",
            type=Path,
            metavar="DIR",
            help="folder of photographs to render scenes from (default: those of scikit-image; the built-in clips show "
            "them too, so compare marks their numbers)",
        )
        parser.add_argument(
            "--sintel",
            type=Path,
            metavar="DIR",
            help="folder that holds Sintel's 'training' (default: $RECONET_BENCH_SINTEL, else ./data/MPI-Sintel*)",
        )
        parser.add_argument(
            "--footage",
            type=Path,
            nargs="+",
            default=[],
            metavar="DIR|FILE",
            help="videos and folders of frames to train on; folders are searched for both",
        )
        parser.add_argument(
            "--raft",
            type=Path,
            metavar="FILE",
            help="weights for --flow raft, safetensors (default: $RECONET_BENCH_RAFT, else torchvision's cached file)",
        )
        parser.add_argument(
            "--device",
            default="auto",
            metavar="auto|cpu|cuda|cuda:N",
            help="auto uses CUDA if there is a GPU (default: auto)",
        )
        parser.add_argument(
            "--compile", action="store_true", help="use torch.compile; the first step then takes a minute or more"
        )
        parser.add_argument(
            "--no-graphs",
            dest="graphs",
            action="store_false",
            help="start the operations of a step on a GPU one by one, not as a CUDA graph (slower; to find errors)",
        )
        parser.add_argument(
            "--workers",
            type=at_least(0),
            metavar="N",
            help="processes that load data, on Linux only (default: 0 on a CPU, up to 16 with a GPU)",
        )
        parser.add_argument(
            "--tensorboard", action="store_true", help="also write TensorBoard events into the run folder"
        )
        parser.add_argument(
            "--benchmark",
            action="store_true",
            help="do not train: compare the speed of a training step with that of a plain fp32 loop",
        )
        parser.add_argument(
            "--branch-from",
            type=Path,
            metavar="RUN|FILE",
            help="start from the last saved state of another run, or from the weights of a checkpoint",
        )
        parser.add_argument(
            "--minutes",
            type=between(0, 1e6, ends=False),
            metavar="M",
            help="end after M minutes if the steps are not done by then; the learning rate is lowered in time",
        )
        parser.add_argument(
            "--crops",
            type=Path,
            metavar="DIR",
            help="read the training crops from a store that --fleet made",
        )
        parser.add_argument(
            "--resume", action="store_true", help="continue from the state saved in the run folder, if there is one"
        )
        parser.add_argument(
            "--download-vgg", action="store_true", help="first download torchvision's VGG-16 weights (528 MB)"
        )
        parser.add_argument("--output", "-o", type=Path, metavar="DIR", help="run folder (default: runs/METHOD-STYLE)")
        add_fleet_options(parser)
        add_vgg_option(parser)
        add_recipe_options(parser)

    def run(self, options: Any) -> None:
        from reconet_bench.core.files import claimed, write_text
        from reconet_bench.core.images import transparency
        from reconet_bench.methods.base import METHODS
        from reconet_bench.models.checkpoint import load_checkpoint
        from reconet_bench.networks.vgg import download_weights
        from reconet_bench.report.model_card import model_card
        from reconet_bench.training.data import steps_of, stored_or_made
        from reconet_bench.training.distributed import is_main, processes
        from reconet_bench.training.loop import check_folder, train
        from reconet_bench.training.presets import as_toml
        from reconet_bench.training.run_folder import CURVES_FILE

        if options.show:
            out.print(as_toml(checked_recipe(options)[0]), markup=False, end="")
            return
        if options.fleet:
            train_fleet(options)
            return
        # Cheap checks come before slow work: downloads, decoding footage, estimating motion.
        recipe, where, settings = checked(options)
        folder = options.output or Path("runs") / f"{settings.method}-{options.style.stem}"
        if not options.benchmark:
            check_folder(writable(folder), options.resume)
        if options.download_vgg:
            settings = replace(settings, vgg=download_weights())
        _warn_of_emulation(settings)
        if transparency(settings.style) is not None:
            warn(f"{settings.style}: transparent parts are treated as white")
        data = stored_or_made(recipe["data"], where, options.crops)
        settings = steps_of(settings, data, recipe["epochs"], processes(), recipe["milestone_epochs"])
        if options.benchmark:
            _benchmark(settings, data)
            return
        alone = claimed(folder) if is_main() else contextlib.nullcontext()
        with alone, show_training(settings.steps) as show:
            path = train(settings, data, folder, options.resume, show, as_toml(recipe))
        if not is_main():
            return
        card = path.with_suffix(".md")
        curves = (path.parent / CURVES_FILE).read_text()
        write_text(card, model_card(path.stem, METHODS[settings.method].summary, load_checkpoint(path).info, curves))
        out.print(f"Written: {path} and {', '.join([card.name, *_pictures(path.parent, curves)])}", markup=False)


def _warn_of_emulation(settings: TrainingSettings) -> None:
    """Warn if the processor has to emulate bf16."""
    from reconet_bench.core.machine import computes_bf16, pick_device

    if settings.precision == "bf16" and pick_device(settings.device).type == "cpu" and not computes_bf16():
        warn(
            "precision bf16: this processor only emulates it, several times slower than fp32: "
            "use --precision auto or fp32"
        )


def _pictures(folder: Path, curves: str) -> list[str]:
    """Plot the loss curves and join the sample pictures; returns the names of the files written."""
    from reconet_bench.core.errors import DataError
    from reconet_bench.core.images import write_image
    from reconet_bench.report.loss_curves import parse_curves
    from reconet_bench.report.loss_plot import plot_losses
    from reconet_bench.training.progress_pictures import SAMPLES_FOLDER, progress_picture

    written = []
    try:
        written.append(plot_losses(folder / "curves.png", {folder.resolve().name: parse_curves(curves)}).name)
    except DataError as reason:
        err.print(str(reason), style="yellow", markup=False)
    if (folder / SAMPLES_FOLDER).is_dir():
        write_image(folder / "progress.png", progress_picture(folder))
        written.append("progress.png")
    return written


def _benchmark(settings: TrainingSettings, data: TrainingCrops) -> None:
    from statistics import median

    from reconet_bench.report.terminal import plain_table
    from reconet_bench.training.step_benchmark import compare_steps

    found = compare_steps(settings, data, report=lambda text: err.print(text, markup=False))
    rows = [
        [pace.name, f"{1000 * pace.median:.0f}", f"{1000 * min(pace.turns):.0f}", f"{1000 * max(pace.turns):.0f}"]
        for pace in (found.plain, found.ours)
    ]
    out.print(plain_table(("", "ms a step", "fastest turn", "slowest turn"), rows, left=(0,)))
    ratios = found.ratios
    out.print(
        f"{median(ratios):.2f} times as fast, {min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} rounds; "
        f"size {data.size}, batch {settings.batch}, precision {found.precision}; first step {found.first:.1f} s",
        markup=False,
    )
