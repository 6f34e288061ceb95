"""``reconet-bench train --fleet``: many models side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import at_least, err, out, writable
from reconet_bench.commands.train_options import checked

if TYPE_CHECKING:
    from reconet_bench.training.data import DataOptions
    from reconet_bench.training.fleet import FleetModel

#: Options of ``train`` that a fleet hands on to every model: the word, and the name of its value.
_SHARED = ("textures", "sintel", "raft", "vgg", "device", "workers")


def add_fleet_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a fleet."""
    fleet = parser.add_argument_group("fleet")
    fleet.add_argument(
        "--fleet",
        type=Path,
        metavar="FILE",
        help="train all models of a TOML file side by side: settings at its top are for all, a table [models.NAME] "
        "changes them for one; --output gets a run folder for each",
    )
    fleet.add_argument("--jobs", type=at_least(1), metavar="N", help="models at the same time (default: all)")
    fleet.add_argument(
        "--stored-crops",
        type=at_least(1),
        default=4096,
        metavar="N",
        help="crops that are made first, by all CPU cores, and that all models train on (default: 4096)",
    )
    fleet.add_argument("--store", type=Path, metavar="DIR", help="folder for these crops (default: crops in --output)")


def train_fleet(options: Any) -> None:
    """Check every model, make the crops, then train.

    Raises:
        ReconetBenchError: a model's settings are invalid; nothing is trained then.
    """
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.training.fleet import finished, overrides, read_fleet, run_fleet

    for name in ("style", "benchmark", "branch_from", "resume", "crops", "preset", "set", "weights"):
        if getattr(options, name) not in (None, False, [], "default"):
            raise TrainingError(f"--{name.replace('_', '-')} cannot be given with --fleet: its file has the settings")
    models = read_fleet(options.fleet)
    wheres = {}
    for model in models:
        words = {"style": model.style, "set": overrides(model.recipe), "minutes": 0.0}
        try:
            _, wheres[model.name], _ = checked(argparse.Namespace(**{**vars(options), **words}))
        except TrainingError as error:
            raise TrainingError(f"{options.fleet}, model {model.name}: {error}") from None
    folder = writable(options.output or Path("runs") / options.fleet.stem)
    shared = _shared_words(options)
    todo = [model for model in models if not finished(folder / model.name)]
    stores = _stores(todo, wheres, options.store or folder / "crops", options.stored_crops)
    arguments = {model.name: [*shared, "--crops", str(stores[model.name])] for model in todo}
    if todo:
        run_fleet(todo, arguments, folder, options.jobs or 0, options.minutes or 0.0, _say)
    out.print(f"{len(models)} models are in {folder}", markup=False)


def _say(text: str) -> None:
    err.print(text, markup=False)


def _shared_words(options: Any) -> list[str]:
    from reconet_bench.core.machine import pick_device

    words: list[str] = []
    for name in _SHARED:
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    if options.footage:
        words += ["--footage", *map(str, options.footage)]
    if options.workers is None and pick_device(options.device).type == "cuda":
        words += ["--workers", "1"]  # it only reads the store; the models share the CPU's cores
    return words + ["--compile"] * options.compile + ["--no-graphs"] * (not options.graphs)


def _stores(models: Sequence[FleetModel], wheres: dict[str, DataOptions], place: Path, count: int) -> dict[str, Path]:
    """Make the crops of every kind of data once; returns the folder of each model's."""
    from reconet_bench.training.crop_store import store_crops
    from reconet_bench.training.data import training_data

    kinds: dict[tuple[str, DataOptions], Path] = {}
    result = {}
    for model in models:
        # Another seed gives another order; the crops may be the same.
        kind = str(model.recipe["data"]), replace(wheres[model.name], seed=0, report=_say)
        if kind not in kinds:
            kinds[kind] = place / str(len(kinds))
            _say(f"making {count} crops of {kind[1].size}x{kind[1].size} pixels in {kinds[kind]}")
            store_crops(training_data(*kind), kinds[kind], count)
        result[model.name] = kinds[kind]
    return result
