"""``reconet-bench train``: train a network with a method's objective."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import (
    COMMANDS,
    Command,
    add_vgg_option,
    at_least,
    err,
    out,
    show_training,
    warn,
    writable,
)

if TYPE_CHECKING:
    from reconet_bench.training.crops import TrainingCrops
    from reconet_bench.training.data import DataOptions
    from reconet_bench.training.presets import Recipe
    from reconet_bench.training.settings import TrainingSettings

#: Options that are settings of a recipe: option, type, placeholder, help.
RECIPE = (
    ("method", str, "NAME", "see: reconet-bench list methods"),
    ("split", str, "train|dissertation|all", "what Sintel training leaves out"),
    ("steps", int, "N", "optimiser steps"),
    ("epochs", int, "N", "instead of --steps: passes over MPI-Sintel or footage"),
    ("size", int, "N", "side of the training crops in pixels"),
    ("batch", int, "N", "clips a step"),
    ("learning-rate", float, "X", "of the optimiser"),
    ("optimizer", str, "adam|adamax", "the optimiser"),
    ("style-size", int, "N", "the painting's shorter side; larger gives larger strokes"),
    ("seed", int, "N", "of weights, data and noise"),
    (
        "precision",
        str,
        "auto|bf16|fp16|fp32",
        "auto is bf16 where the device computes it, else fp32 on a CPU and fp16 on a GPU",
    ),
    ("save-every", int, "N", "steps between saved states"),
    ("flow", str, "dis|raft", "what estimates the motion of footage"),
)


@COMMANDS.register("train")
class Train(Command):
    """``reconet-bench train``."""

    summary = "Train a network with a method's objective."
    example = "reconet-bench train --method reconet --style starry_night.jpg --data synthetic --steps 4000"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        from reconet_bench.training.presets import load_recipe, preset_names

        default = load_recipe()
        parser.add_argument("--style", type=Path, metavar="FILE", help="the painting")
        parser.add_argument(
            "--textures",
            type=Path,
            metavar="DIR",
            help="photographs to render scenes from (default: those in scikit-image, of which the built-in clips are made too: compare marks them)",
        )
        parser.add_argument(
            "--sintel",
            type=Path,
            metavar="DIR",
            help="folder that holds Sintel's 'training' (else $RECONET_BENCH_SINTEL, else ./data/MPI-Sintel*)",
        )
        parser.add_argument(
            "--footage",
            type=Path,
            nargs="+",
            default=[],
            metavar="DIR|FILE",
            help="videos, folders of frames, or folders that hold any number of either",
        )
        parser.add_argument(
            "--raft",
            type=Path,
            metavar="FILE",
            help="weights for --flow raft, safetensors (else $RECONET_BENCH_RAFT, else torchvision's where cached)",
        )
        parser.add_argument(
            "--device",
            default="auto",
            metavar="auto|cpu|cuda|cuda:N",
            help="auto is CUDA where there is one (default: auto)",
        )
        parser.add_argument(
            "--compile", action="store_true", help="torch.compile the networks; the first step takes a minute or more"
        )
        parser.add_argument(
            "--workers",
            type=at_least(0),
            metavar="N",
            help="processes that load data, on Linux (default: none on a CPU, enough to keep a GPU busy)",
        )
        parser.add_argument(
            "--tensorboard", action="store_true", help="write TensorBoard events into the run folder too"
        )
        parser.add_argument(
            "--benchmark",
            action="store_true",
            help="time this recipe's step against a plain fp32 loop, and train nothing",
        )
        parser.add_argument(
            "--branch-from",
            type=Path,
            metavar="RUN|FILE",
            help="start from another run's last saved state, or from a checkpoint's weights, then go on with this method",
        )
        parser.add_argument(
            "--resume", action="store_true", help="go on from the state in the run folder, if there is one"
        )
        parser.add_argument(
            "--download-vgg", action="store_true", help="fetch torchvision's VGG-16 weights (528 MB) first"
        )
        parser.add_argument("--output", "-o", type=Path, metavar="DIR", help="run folder (default: runs/METHOD-STYLE)")
        add_vgg_option(parser)
        recipe = parser.add_argument_group("recipe")
        recipe.add_argument(
            "--preset",
            default="default",
            metavar="NAME|FILE",
            help=f"start from a recipe: {', '.join(preset_names())}, or a .toml file of your own",
        )
        recipe.add_argument(
            "--set",
            nargs="+",
            action="extend",
            default=[],
            metavar="KEY=VALUE",
            help="any setting of a recipe, e.g. schedule=constant options.constraint=none",
        )
        recipe.add_argument(
            "--weights",
            nargs="+",
            default=[],
            metavar="TERM=X",
            help="loss weights other than the method's, e.g. temporal_short=500",
        )
        recipe.add_argument("--show", action="store_true", help="print the recipe as a preset file, and train nothing")
        recipe.add_argument(
            "--data",
            nargs="+",
            metavar="synthetic|sintel|footage",
            default=argparse.SUPPRESS,
            help=f"rendered scenes without end, MPI-Sintel, your own footage, or a mixture by weight: synthetic:2 sintel:1 (default: {default['data']})",
        )
        for name, kind, placeholder, text in RECIPE:
            # What was not given must not hide what the preset says, so these have no value of their own.
            value = default[name.replace("-", "_")]
            recipe.add_argument(
                f"--{name}",
                type=kind,
                metavar=placeholder,
                default=argparse.SUPPRESS,
                help=f"{text} (default: {value})",
            )
        recipe.add_argument(
            "--pass",
            dest="render_pass",
            default=argparse.SUPPRESS,
            metavar="clean|final|albedo",
            help="Sintel's rendering pass (default: clean)",
        )

    def run(self, options: Any) -> None:
        from reconet_bench.core.files import write_text
        from reconet_bench.core.images import transparency
        from reconet_bench.methods.base import METHODS
        from reconet_bench.models.checkpoint import load_checkpoint
        from reconet_bench.networks.vgg import download_weights
        from reconet_bench.report.model_card import model_card
        from reconet_bench.training.data import steps_of, training_data
        from reconet_bench.training.distributed import is_main, processes
        from reconet_bench.training.loop import check_folder, train
        from reconet_bench.training.presets import as_toml
        from reconet_bench.training.run_folder import CURVES_FILE

        if options.show:
            out.print(as_toml(checked_recipe(options)[0]), markup=False, end="")
            return
        # What costs little to check comes before what takes its time: a download, footage, its motion.
        recipe, where, settings = checked(options)
        folder = options.output or Path("runs") / f"{settings.method}-{options.style.stem}"
        if not options.benchmark:
            check_folder(writable(folder), options.resume)
        if options.download_vgg:
            settings = replace(settings, vgg=download_weights())
        _warn_of_emulation(settings)
        if transparency(settings.style) is not None:
            warn(f"{settings.style}: what is transparent in it is taken for white")
        data = training_data(recipe["data"], where)
        settings = steps_of(settings, data, recipe["epochs"], processes(), recipe["milestone_epochs"])
        if options.benchmark:
            _benchmark(settings, data)
            return
        with show_training(settings.steps) as show:
            path = train(settings, data, folder, options.resume, show, as_toml(recipe))
        if not is_main():
            return
        card = path.with_suffix(".md")
        curves = (path.parent / CURVES_FILE).read_text()
        write_text(card, model_card(path.stem, METHODS[settings.method].summary, load_checkpoint(path).info, curves))
        out.print(f"Written: {path} and {', '.join([card.name, *_pictures(path.parent, curves)])}", markup=False)


def checked_recipe(options: Any) -> tuple[Recipe, DataOptions]:
    """The recipe that the options mean, whole, and where its data are.

    Raises:
        ReconetBenchError: a value makes no sense, or an option would have no effect.
    """
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.training.data import DataOptions, check_used
    from reconet_bench.training.settings import whole_recipe

    recipe, named = whole_recipe(_recipe(options)), settings_named(options)
    where = DataOptions(
        **{name: recipe[name] for name in ("size", "seed", "render_pass", "split", "flow", "fit", "luminance")},
        textures=options.textures,
        sintel=options.sintel,
        footage=tuple(options.footage),
        raft=options.raft,
        report=lambda text: err.print(text, markup=False),
    )
    check_used(recipe["data"], where, named)
    if named >= {"steps", "epochs"}:
        raise TrainingError("--steps and --epochs both say how long to train: give one of them")
    if not all(isinstance(epoch, int | float) and epoch > 0 for epoch in recipe["milestone_epochs"]):
        raise TrainingError(f"milestone_epochs are numbers of epochs above 0, got {recipe['milestone_epochs']}")
    return recipe, where


def checked(options: Any) -> tuple[Recipe, DataOptions, TrainingSettings]:
    """:func:`checked_recipe` and the settings to train with; painting, loss network, device and precision are to be had."""
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.training.loop import check_files, check_start
    from reconet_bench.training.settings import from_recipe

    recipe, where = checked_recipe(options)
    if options.style is None:
        raise TrainingError("--style FILE is needed: the painting to learn from")
    settings = from_recipe(
        recipe,
        options.style,
        vgg=options.vgg,
        device=options.device,
        compile=options.compile,
        workers=options.workers,
        tensorboard=options.tensorboard,
        branch_from=options.branch_from,
    )
    check_start(settings)
    check_files(settings, network=not options.download_vgg)
    if options.vgg and options.download_vgg:
        raise TrainingError("--vgg and --download-vgg both say which loss network: give one of them")
    return recipe, where, settings


def _warn_of_emulation(settings: TrainingSettings) -> None:
    """Say what bf16 costs that the processor does not have."""
    from reconet_bench.core.machine import computes_bf16, pick_device

    if settings.precision == "bf16" and pick_device(settings.device).type == "cpu" and not computes_bf16():
        warn(
            "precision bf16: this processor emulates it, several times slower than fp32; --precision auto or fp32 is faster"
        )


def _pictures(folder: Path, curves: str) -> list[str]:
    """Plot the run's curves and line up its samples; names of what could be drawn, a note of what could not."""
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


def settings_named(options: Any) -> set[str]:
    """Settings of a recipe that the command line itself names, as ``--set`` would: ``optimizer``, ``weights.style``."""
    pairs = [*options.set, *(f"weights.{item}" for item in options.weights)]
    return {*_named(options), *(pair.partition("=")[0].strip() for pair in pairs)}


def _named(options: Any) -> list[str]:
    names = [name.replace("-", "_") for name, *_ in RECIPE] + ["render_pass"]
    return [name for name in names if hasattr(options, name)]


def _recipe(options: Any) -> Recipe:
    """Preset, then ``--set``, then the options given by name."""
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.training.presets import load_recipe, merged

    recipe = load_recipe(options.preset, options.set)
    given = {name: getattr(options, name) for name in _named(options)}
    if hasattr(options, "data"):
        given["data"] = " ".join(options.data)
    recipe = merged(recipe, given, "command line")
    weights = {}
    for item in options.weights:
        name, _, value = item.partition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            raise TrainingError(f"--weights takes TERM=NUMBER, got '{item}'") from None
    return merged(recipe, {"weights": weights}, "--weights")
