"""What ``study structure`` does before it trains: checks, crops, and the number of steps of each candidate."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.study_field_start import say

if TYPE_CHECKING:
    from reconet_bench.benchmark.equal_style import Judge
    from reconet_bench.training.fleet import FleetModel
    from reconet_bench.training.presets import Recipe
    from reconet_bench.training.settings import TrainingSettings

#: File of the study's own facts, by which a folder is known as one.
STUDY_FILE = "structures.json"
_ELSEWHERE = "choose another --output"


@dataclass(frozen=True)
class CheckedStructures:
    """A study whose options make sense: nothing costly was done yet.

    Attributes:
        candidates: names, what all are compared with first.
        missing: why a runtime cannot be used here, by name.
        costs: processor seconds of a training step, by candidate, once :func:`prepare` has measured them.
    """

    candidates: tuple[str, ...]
    recipe: Recipe
    judge: Judge
    options: Any
    missing: dict[str, str] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)

    def settings(self, candidate: str) -> TrainingSettings:
        """To train a candidate with."""
        from reconet_bench.training.settings import from_recipe

        recipe = {**self.recipe, "network": candidate}
        return from_recipe(recipe, self.options.style_image, vgg=self.options.vgg)


def check(options: Any) -> CheckedStructures:
    """Check all that can be checked before anything is made.

    Raises:
        ReconetBenchError: an option is invalid, or a file that is needed is not there.
    """
    from reconet_bench.benchmark.equal_style import Judge
    from reconet_bench.commands.base import warn
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.core.size import Size
    from reconet_bench.data.selection import Selection
    from reconet_bench.networks.candidates import CANDIDATES
    from reconet_bench.runtimes.base import RUNTIMES
    from reconet_bench.training.data import DataOptions, check_used
    from reconet_bench.training.loop import check_files, check_start
    from reconet_bench.training.structure_study import shared_recipe

    if options.handed_on:
        raise TrainingError("study structure has options of its own: nothing can follow --")
    if options.style_image is None:
        raise TrainingError("study structure needs a painting: give --style-image FILE")
    names = tuple(dict.fromkeys([CANDIDATES[0], *(options.candidates or CANDIDATES)]))
    options.runtimes = list(dict.fromkeys(RUNTIMES.canonical(name) for name in options.runtimes))
    missing = {name: reason for name in options.runtimes if (reason := RUNTIMES[name].missing())}
    recipe = shared_recipe(options.size, options.seed, options.precision)
    check_used(recipe["data"], DataOptions(options.size, textures=options.textures))
    clips = Selection(size=Size(*options.video_size), frames=options.frames).clips()
    judge = Judge(clips, options.vgg, options.threads, also=("carpet",))
    checked = CheckedStructures(names, recipe, judge, options, missing)
    for name in names:
        check_start(checked.settings(name))
    check_files(checked.settings(names[0]))
    for name, reason in missing.items():
        warn(f"skipped {name}: {reason}")
    return checked


def words(checked: CheckedStructures, folder: Path) -> list[str]:
    """Words of ``reconet-bench train`` for all candidates."""
    vgg = ["--vgg", str(checked.options.vgg)] if checked.options.vgg else []
    return ["--crops", str(folder / "crops"), *vgg]


def prepare(checked: CheckedStructures, folder: Path) -> list[FleetModel]:
    """Make the crops, measure the cost of a step; returns the models to train. What has begun stays.

    Raises:
        TrainingError: the folder holds a study with other settings.
    """
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.core.files import write_text
    from reconet_bench.core.machine import cpu_threads
    from reconet_bench.training.crop_store import FACTS_FILE, store_crops
    from reconet_bench.training.data import DataOptions, stored_or_made, training_data
    from reconet_bench.training.field_pace import shares
    from reconet_bench.training.step_benchmark import processor_seconds
    from reconet_bench.training.structure_study import steps_in, structure_models

    options, place = checked.options, folder / STUDY_FILE
    facts, known = _facts(checked), _known(place)
    for name, value in facts.items():
        if known and known.get(name) != value:
            raise TrainingError(f"{folder} holds a study with {name} {known.get(name)}, now {value}: {_ELSEWHERE}")
    costs = checked.costs
    costs |= known.get("step seconds", {})
    if not known:
        write_text(place, json.dumps({**facts, "step seconds": costs}, indent=1))
    where, store = DataOptions(options.size, textures=options.textures, report=say), folder / "crops"
    if not (store / FACTS_FILE).is_file():
        say(f"making {options.stored_crops} crops of {options.size}x{options.size} pixels")
    store_crops(training_data(checked.recipe["data"], where), store, options.stored_crops)
    if new := [name for name in checked.candidates if name not in costs]:
        say("measuring the processor time of a training step")
        data = stored_or_made(checked.recipe["data"], where, store)
        with cpu_threads(shares(options.jobs, options.threads)[0]):
            costs |= processor_seconds({name: checked.settings(name) for name in new}, data)
        write_text(place, json.dumps({**facts, "step seconds": costs}, indent=1))
    steps = {name: steps_in(options.cpu_minutes, costs[name]) for name in checked.candidates}
    say("steps of each: " + ", ".join(f"{name} {count}" for name, count in steps.items()))
    return structure_models(checked.candidates, options.style_image, checked.recipe, steps)


def _facts(checked: CheckedStructures) -> dict[str, Any]:
    """What all candidates share: in its folder, no other study can go on."""
    from reconet_bench.core.provenance import checksum
    from reconet_bench.networks.vgg import find_weights

    options, network = checked.options, find_weights(checked.options.vgg)
    return {
        "style": checksum(options.style_image),
        "loss network": checksum(network) if network else None,
        "processor minutes": options.cpu_minutes,
        "size": options.size,
        "seed": options.seed,
        "precision": options.precision,
        "crops": options.stored_crops,
        "clips": f"{options.video_size[1]}x{options.video_size[0]}, {options.frames} frames",
    }


def _known(place: Path) -> dict[str, Any]:
    """Facts of the study in a folder; none if there is none."""
    from reconet_bench.core.errors import DataError

    try:
        return dict(json.loads(place.read_text())) if place.is_file() else {}
    except (ValueError, TypeError):
        raise DataError(f"{place} is not the file of a structure study: {_ELSEWHERE}") from None
