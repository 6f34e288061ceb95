"""The options of ``train`` that make up a recipe, and the settings that they mean."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import at_least, between, err

if TYPE_CHECKING:
    from reconet_bench.training.data import DataOptions
    from reconet_bench.training.presets import Recipe
    from reconet_bench.training.settings import TrainingSettings

#: Options that set one value of a recipe: option, type, placeholder, help.
RECIPE = (
    ("method", str, "NAME", "see: reconet-bench list methods"),
    ("network", str, "NAME", "see: reconet-bench list networks"),
    ("split", str, "train|dissertation|all", "which sequences of MPI-Sintel to train on"),
    ("steps", at_least(1), "N", "optimiser steps"),
    ("epochs", at_least(0), "N", "passes over MPI-Sintel or footage, instead of --steps; 0: use --steps"),
    ("size", at_least(32), "N", "side of the training crops in pixels"),
    ("batch", at_least(1), "N", "clips per step"),
    ("learning-rate", between(0, 1, ends=False), "X", "learning rate of the optimiser"),
    ("optimizer", str, "adam|adamax", "optimiser"),
    ("style-size", at_least(32), "N", "shorter side of the painting in pixels; larger gives larger strokes"),
    ("seed", at_least(0), "N", "random seed of initial weights, data and noise"),
    (
        "precision",
        str,
        "auto|bf16|fp16|fp32",
        "number format; auto is bf16 if the device supports it, else fp16 on a GPU and fp32 on a CPU",
    ),
    ("save-every", at_least(1), "N", "steps between saved states"),
    ("flow", str, "dis|raft", "method that estimates the motion of footage"),
)


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Declare them, with the default preset's values in the help."""
    from reconet_bench.training.presets import load_recipe, preset_names

    default = load_recipe()
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument(
        "--preset",
        default="default",
        metavar="NAME|FILE",
        help=f"recipe to start from: {', '.join(preset_names())}, or a .toml file of your own",
    )
    recipe.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="change any setting of the recipe, e.g. schedule=constant options.constraint=none",
    )
    recipe.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="TERM=X",
        help="change loss weights, e.g. temporal_short=500",
    )
    recipe.add_argument("--show", action="store_true", help="do not train: print the recipe as a preset file")
    recipe.add_argument(
        "--data",
        nargs="+",
        metavar="synthetic|sintel|footage",
        default=argparse.SUPPRESS,
        help="rendered scenes, MPI-Sintel, your own footage, or a mixture by weight such as synthetic:2 sintel:1 "
        f"(default: {default['data']})",
    )
    for name, kind, placeholder, text in RECIPE:
        # No default of its own: an option that is not given must not override the preset.
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


def checked_recipe(options: Any) -> tuple[Recipe, DataOptions]:
    """The complete recipe that the options mean, and where its data is.

    Raises:
        ReconetBenchError: a value is invalid, or an option would have no effect.
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
        raise TrainingError("--steps and --epochs both set the length of the training: give only one of them")
    if not all(isinstance(epoch, int | float) and epoch > 0 for epoch in recipe["milestone_epochs"]):
        raise TrainingError(f"milestone_epochs must be numbers above 0, got {recipe['milestone_epochs']}")
    return recipe, where


def checked(options: Any) -> tuple[Recipe, DataOptions, TrainingSettings]:
    """:func:`checked_recipe`, and the settings to train with.

    Raises:
        ReconetBenchError: also if the painting, the loss network, the device or the precision is not available.
    """
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.training.loop import check_files, check_start
    from reconet_bench.training.settings import from_recipe

    recipe, where = checked_recipe(options)
    if options.style is None:
        raise TrainingError("no style image: give the painting to learn from by --style FILE")
    settings = from_recipe(
        recipe,
        options.style,
        vgg=options.vgg,
        device=options.device,
        compile=options.compile,
        workers=options.workers,
        tensorboard=options.tensorboard,
        branch_from=options.branch_from,
        graphs=options.graphs,
        minutes=options.minutes or 0.0,
    )
    check_start(settings)
    check_files(settings, network=not options.download_vgg)
    if options.vgg and options.download_vgg:
        raise TrainingError("--vgg and --download-vgg both choose the loss network: give only one of them")
    return recipe, where, settings


def settings_named(options: Any) -> set[str]:
    """Settings that the command line names itself, written as for ``--set``: ``optimizer``, ``weights.style``."""
    pairs = [*options.set, *(f"weights.{item}" for item in options.weights)]
    return {*_named(options), *(pair.partition("=")[0].strip() for pair in pairs)}


def _named(options: Any) -> list[str]:
    names = [name.replace("-", "_") for name, *_ in RECIPE] + ["render_pass"]
    return [name for name in names if hasattr(options, name)]


def _recipe(options: Any) -> Recipe:
    """The preset, then ``--set``, then the single options; later ones win."""
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
