"""What ``study field`` does before it trains: checks, crops, the trunk's own numbers, and the number of steps."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import err, warn
from reconet_bench.core.errors import MetricUnavailable

if TYPE_CHECKING:
    from reconet_bench.benchmark.equal_style import Judge
    from reconet_bench.models.checkpoint import Checkpoint
    from reconet_bench.training.field_objectives import Objective
    from reconet_bench.training.field_study import Limits
    from reconet_bench.training.settings import TrainingSettings

#: File of the study's own facts, by which a folder is known as one, and of what was measured of the trunk.
STUDY_FILE, TRUNK_FILE = "study.json", "trunk.json"
#: Steps of a point if neither they nor minutes are given.
STEPS = 500
_ELSEWHERE = "choose another --output"


@dataclass(frozen=True)
class CheckedStudy:
    """A study whose options make sense: nothing costly was done yet."""

    trunk: Checkpoint
    path: Path
    objectives: list[Objective]
    judge: Judge
    options: Any

    @property
    def own_style(self) -> bool:
        """Whether the painting is that of the trunk, so that the trunk itself is a point of the same style."""
        from reconet_bench.core.provenance import checksum

        return bool(self.trunk.style_targets) and self.trunk.info.get("style") == checksum(self.objectives[0].style)

    def settings(self, objective: Objective) -> TrainingSettings:
        """To train with at factor 1."""
        from reconet_bench.training.settings import from_recipe

        return from_recipe(objective.recipe, objective.style, vgg=self.options.vgg, branch_from=self.path)


def say(text: str) -> None:
    """Print a line about the progress."""
    err.print(text, markup=False)


def check(options: Any) -> CheckedStudy:
    """Check all that can be checked before anything is made.

    Raises:
        ReconetBenchError: an option is invalid, or a file that is needed is not there.
    """
    from reconet_bench.benchmark.equal_style import Judge
    from reconet_bench.core.errors import ModelError, TrainingError
    from reconet_bench.core.size import Size
    from reconet_bench.data.selection import Selection
    from reconet_bench.models.checkpoint import find_checkpoint, is_onnx, load_checkpoint
    from reconet_bench.networks.base import NETWORKS
    from reconet_bench.training.data import DataOptions, check_used
    from reconet_bench.training.field_objectives import objectives, trainable_methods, trunk_recipe
    from reconet_bench.training.loop import check_files, check_start

    if options.handed_on:
        raise TrainingError("study field has options of its own: nothing can follow --")
    NETWORKS[options.network]
    path = find_checkpoint(options.trunk)
    if is_onnx(path):
        raise ModelError(f"{path} is an ONNX file: a trunk is a checkpoint, which can be trained on")
    trunk = load_checkpoint(path)
    if trunk.kind != options.network:
        raise TrainingError(f"{path}: the trunk is a '{trunk.kind}' network: give --network {trunk.kind}")
    style = options.style_image or _own_painting(trunk, path)
    given = {name: getattr(options, name) for name in ("size", "seed", "precision")}
    recipe = trunk_recipe(trunk, steps=options.steps or STEPS, **given)
    found = objectives(options.methods or trainable_methods(), trunk, style, recipe)
    where = DataOptions(options.size, textures=options.textures)
    check_used(recipe["data"], where)
    clips = Selection(size=Size(*options.video_size), frames=options.frames).clips()
    checked = CheckedStudy(trunk, path, found, Judge(clips, options.vgg, options.threads), options)
    for objective in found:
        check_start(checked.settings(objective))
    check_files(checked.settings(found[0]))
    if not checked.own_style:
        warn(f"{style} is not the painting that the trunk was trained on: all objectives begin far from its style")
    return checked


def _own_painting(trunk: Checkpoint, path: Path) -> Path:
    """The trunk's painting: a checkpoint holds its name and checksum, and no picture."""
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.core.provenance import checksum

    name, digest = trunk.info.get("style_file"), trunk.info.get("style")
    for place in (Path(str(name)), path.parent / str(name)):
        if name and place.is_file() and checksum(place) == digest:
            return place
    called = f" ({name})" if name else ""
    raise TrainingError(
        f"the painting of the trunk{called} is neither here nor beside {path.name}: give it by --style-image FILE"
    )


def words(checked: CheckedStudy, folder: Path) -> list[str]:
    """Words of ``reconet-bench train`` for all points."""
    vgg = ["--vgg", str(checked.options.vgg)] if checked.options.vgg else []
    return ["--branch-from", str(checked.path), "--crops", str(folder / "crops"), *vgg]


def prepare(checked: CheckedStudy, folder: Path, began: float) -> tuple[list[Objective], Limits]:
    """Crops, the trunk's own numbers, and the number of steps; what a study in this folder has begun with stays.

    Args:
        began: when the study began, as ``time.monotonic`` counts.

    Raises:
        TrainingError: the folder holds a study with other settings, or there is too little time.
    """
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.core.files import write_text
    from reconet_bench.core.machine import cpu_threads
    from reconet_bench.training.crop_store import FACTS_FILE, store_crops
    from reconet_bench.training.data import DataOptions, stored_or_made, training_data
    from reconet_bench.training.field_objectives import beginning_at, with_steps
    from reconet_bench.training.field_pace import measure_pace, shares
    from reconet_bench.training.field_study import Limits

    options, place = checked.options, folder / STUDY_FILE
    facts = _facts(checked)
    known = _known(place)
    for name, value in facts.items():
        if known and known.get(name) != value:
            raise TrainingError(f"{folder} holds a study with {name} {known.get(name)}, now {value}: {_ELSEWHERE}")
    if options.steps and known.get("steps") not in (None, options.steps):
        raise TrainingError(f"{folder} holds a study with {known['steps']} steps, now {options.steps}: {_ELSEWHERE}")
    starts: dict[str, Any] = known.get("start", {})
    found = [beginning_at(one, starts.get(one.name, one.terms)) for one in checked.objectives]
    starts |= {one.name: dict(one.terms) for one in found}
    where = DataOptions(options.size, textures=options.textures, report=say)
    count = known.get("crops") or min(options.stored_crops, options.steps or options.stored_crops)
    write_text(place, json.dumps({**facts, "crops": count, **known, "start": starts}, indent=1))
    store = folder / "crops"
    if not (store / FACTS_FILE).is_file():
        say(f"making {count} crops of {options.size}x{options.size} pixels")
    store_crops(training_data(found[0].recipe["data"], where), store, count)
    if checked.own_style:
        checked.judge.measure(checked.path, folder / TRUNK_FILE)
    threads, parallel = shares(options.jobs, options.threads)
    ends = began + 60 * options.minutes if options.minutes else 0.0
    steps, costs = known.get("steps") or options.steps, known.get("costs", {})
    if steps is None and options.minutes:
        say("measuring the pace of this machine")
        judging = _judging_seconds(checked)
        data = stored_or_made(found[0].recipe["data"], where, store)
        with cpu_threads(threads):
            pace = measure_pace(found, checked.settings, data, words(checked, folder), folder, judging)
        steps = pace.steps_in(parallel * (ends - time.monotonic()), found, options.points)
        costs = pace.costs(steps)
    steps = steps or STEPS
    begun = {**facts, "crops": count, "steps": steps, "costs": costs, "start": starts}
    write_text(place, json.dumps(begun, indent=1))
    total = sum(options.points if one.terms else 1 for one in found)
    say(f"{len(found)} methods, at most {total} points of {steps} steps each")
    limits = Limits(options.points, options.jobs, parallel, options.threads or 0, ends, costs)
    return [with_steps(one, steps) for one in found], limits


def _facts(checked: CheckedStudy) -> dict[str, Any]:
    """What all points of a study share: in its folder, no other study can go on."""
    from reconet_bench.core.provenance import checksum
    from reconet_bench.networks.vgg import find_weights

    options, network = checked.options, find_weights(checked.options.vgg)
    return {
        "trunk": checksum(checked.path),
        "style": checksum(checked.objectives[0].style),
        "loss network": checksum(network) if network else None,
        "size": options.size,
        "seed": options.seed,
        "precision": options.precision,
        "clips": f"{options.video_size[1]}x{options.video_size[0]}, {options.frames} frames",
    }


def _known(place: Path) -> dict[str, Any]:
    """Facts of the study in a folder; none if there is none."""
    from reconet_bench.core.errors import DataError

    if not place.is_file():
        return {}
    try:
        known = json.loads(place.read_text())
        return dict(known)
    except (ValueError, TypeError):
        raise DataError(f"{place} is not the file of a field study: {_ELSEWHERE}") from None


def _judging_seconds(checked: CheckedStudy) -> float:
    """How long it takes to measure a point: the second time, when the clips have been rendered."""
    for _ in range(2):
        began = time.monotonic()
        with contextlib.suppress(MetricUnavailable):  # of a trunk without a style; it takes its time all the same
            checked.judge.measure(checked.path)
    return time.monotonic() - began
