"""What ``reproduce`` does before it trains: checks, the number of steps, and crops."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import err

if TYPE_CHECKING:
    from reconet_bench.data.clip import Clip
    from reconet_bench.training.crops import TrainingCrops
    from reconet_bench.training.presets import Recipe
    from reconet_bench.training.reproduction import Costs, Trainings

#: File of a reproduction's own facts, by which a folder is known as one.
SETTINGS_FILE = "reproduction.json"
#: Side of the crops and steps of a training without MPI-Sintel; the dissertation's side.
SMALL_SIZE, SMALL_STEPS, FULL_SIZE = 96, 200, 512
#: Trainings at the same time without MPI-Sintel: on small crops, two with one thread each are faster than one with two.
SMALL_JOBS = 2
#: The sequences of Table 6.2, and the built-in clip that stands beside them: only there something comes back after it
#: was hidden, since Sintel's flow over several frames is chained from single steps.
SEQUENCES, RETURNING = ("alley_2", "market_6"), "carousel"
#: How the built-in clips are rendered, and of how many frames of a video the time is taken.
_CLIP_SIZE, _CLIP_FRAMES, _TIMED_FRAMES = "256x144", 12, 7
#: Crops that are made ahead at most.
_MOST_CROPS = 1024
_ELSEWHERE = "choose another --output"


def say(text: str) -> None:
    """Print a line about the progress."""
    err.print(text, markup=False)


@dataclass(frozen=True)
class Video:
    """A clip to measure on, and the words that name it to ``compare``."""

    clip: Clip
    words: tuple[str, ...]


@dataclass(frozen=True)
class CheckedReproduction:
    """A reproduction whose options make sense: nothing costly was done yet.

    Attributes:
        root: folder of MPI-Sintel; ``None`` without.
        data: what is trained on.
    """

    options: Any
    root: Path | None
    size: int
    data: TrainingCrops
    videos: list[Video]

    def plan(self, steps: int) -> Trainings:
        """All trainings, with as many steps each."""
        from reconet_bench.training.reproduction import trainings

        shared: Recipe = {"size": self.size, "steps": steps, "save_every": min(200, max(1, steps // 8))}
        if self.root:
            shared |= {"data": "sintel", "split": "dissertation", "fit": "squash", "batch": 2}
        else:
            shared |= {"data": "synthetic", "split": "train", "fit": "crop", "batch": 1}
        return trainings(self.options.style, shared)

    @property
    def jobs(self) -> int:
        """Trainings at the same time."""
        return self.options.jobs or (1 if self.root else SMALL_JOBS)

    @property
    def words(self) -> list[str]:
        """Words of ``reconet-bench train`` for all trainings, but for where stored crops are."""
        vgg = ["--vgg", str(self.options.vgg)] if self.options.vgg else []
        return [*(["--sintel", str(self.root)] if self.root else []), *vgg]


@dataclass(frozen=True)
class Prepared:
    """What is to be trained, and where.

    Attributes:
        arguments: words of ``reconet-bench train`` for all.
        trained: folder of the run folders.
    """

    plan: Trainings
    steps: int
    arguments: list[str]
    trained: Path

    def checkpoint(self, name: str) -> Path:
        """What a training has written."""
        from reconet_bench.training.field_study import trained_model

        return trained_model(self.trained / name)


def check(options: Any) -> CheckedReproduction:
    """Check all that can be checked before anything is made.

    Raises:
        ReconetBenchError: an option is invalid, or a file that is needed is not there.
    """
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.data.sintel import find_sintel
    from reconet_bench.training.crops import ClipCrops
    from reconet_bench.training.data import DataOptions, training_data
    from reconet_bench.training.loop import check_files, check_start

    if options.style is None:
        raise TrainingError("no style image: give the painting to learn from by --style FILE")
    root = find_sintel(options.sintel) if options.sintel else None
    size = options.size or (FULL_SIZE if root else SMALL_SIZE)
    where = DataOptions(size, sintel=root, split="dissertation", fit="squash")
    data = training_data("sintel" if root else "synthetic", where)
    if isinstance(data, ClipCrops):
        for _, clip in data.clips:
            clip.check(range(len(clip)))
    checked = CheckedReproduction(options, root, size, data, _videos(root, size))
    plan = checked.plan(options.steps or 1)
    for model in plan.models:
        check_start(plan.settings(model, options.vgg))
    check_files(plan.settings(plan.models[0], options.vgg))
    return checked


def _videos(root: Path | None, size: int) -> list[Video]:
    """The clips to measure on; those of MPI-Sintel are looked at frame by frame."""
    from reconet_bench.core.errors import DataError
    from reconet_bench.core.size import Size
    from reconet_bench.data.selection import DEFAULT_VIDEOS, Selection
    from reconet_bench.data.sintel import SintelClip, sequences

    built_in = Selection("synthetic", size=Size.parse(_CLIP_SIZE), frames=_CLIP_FRAMES)
    words = ("--data", "synthetic", "--size", _CLIP_SIZE, "--frames", str(_CLIP_FRAMES))
    if root is None:
        return [Video(clip, words) for clip in built_in.clips(DEFAULT_VIDEOS)]
    found = [name for name in SEQUENCES if name in sequences(root)]
    if not found:
        raise DataError(f"{root} has neither {' nor '.join(SEQUENCES)} with flow: Table 6.2 is measured on these")
    videos = []
    for name in found:
        whole = SintelClip(root, name)
        whole.check(range(len(whole)))
        smaller = Size(*(max(16, round(side * size / FULL_SIZE)) for side in whole.size))
        resize = ("--size", str(smaller)) if size < FULL_SIZE else ()
        clip = Selection("sintel", root, size=smaller if resize else None).clip(name)
        videos.append(Video(clip, ("--data", "sintel", "--sintel", str(root), *resize)))
    return [*videos, Video(built_in.clip(RETURNING), words)]


def prepare(checked: CheckedReproduction, folder: Path, began: float) -> Prepared:
    """The number of steps, and crops; what a reproduction in this folder has begun with stays.

    Args:
        began: when it began, as ``time.monotonic`` counts.

    Raises:
        TrainingError: the folder holds a reproduction with other settings, or there is too little time.
    """
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.core.files import write_text
    from reconet_bench.training.crop_store import FACTS_FILE, store_crops

    options, place = checked.options, folder / SETTINGS_FILE
    facts, known = _facts(checked), _known(place)
    for name, value in {**facts, **({"steps": options.steps} if options.steps else {})}.items():
        if known and known.get(name) != value:
            raise TrainingError(
                f"{folder} holds a reproduction with {name} {known.get(name)}, now {value}: {_ELSEWHERE}"
            )
    steps = known.get("steps") or options.steps
    if options.minutes and not steps:
        steps = _steps_in_time(checked, began + 60 * options.minutes, _costs(checked))
    steps = steps or _usual_steps(checked)
    write_text(place, json.dumps({**facts, "steps": steps}, indent=1))
    plan, words = checked.plan(steps), checked.words
    if checked.root is None:
        crops, batch = folder / "crops", plan.models[0].recipe["batch"]
        count = min(_MOST_CROPS, steps * batch)
        if not (crops / FACTS_FILE).is_file():
            say(f"making {count} crops of {checked.size}x{checked.size} pixels")
        words += ["--crops", str(store_crops(checked.data, crops, count))]
    say(f"{len(plan.models)} trainings of {steps} steps, then {len(checked.videos)} videos to measure")
    return Prepared(plan, steps, words, folder / "trained")


def _facts(checked: CheckedReproduction) -> dict[str, Any]:
    """What all parts share: in its folder, no other reproduction can go on."""
    from reconet_bench.core.provenance import checksum
    from reconet_bench.networks.vgg import find_weights

    network, data = find_weights(checked.options.vgg), checked.data.describe()
    return {
        "style": checksum(checked.options.style),
        "loss network": checksum(network) if network else None,
        "data": f"{data['windows']} windows of MPI-Sintel" if checked.root else "built-in clips",
        "size": checked.size,
    }


def _known(place: Path) -> dict[str, Any]:
    """Facts of the reproduction in a folder; none if there is none."""
    from reconet_bench.core.errors import DataError

    if not place.is_file():
        return {}
    try:
        return dict(json.loads(place.read_text()))
    except (ValueError, TypeError):
        raise DataError(f"{place} is not the file of a reproduction: {_ELSEWHERE}") from None


def _usual_steps(checked: CheckedReproduction) -> int:
    """As many as the dissertation's epochs are, or few without MPI-Sintel, which alone has epochs."""
    from reconet_bench.training.data import steps_of
    from reconet_bench.training.presets import load_recipe
    from reconet_bench.training.reproduction import PRESET

    plan = checked.plan(SMALL_STEPS)
    settings = plan.settings(plan.models[0], checked.options.vgg)
    return steps_of(settings, checked.data, load_recipe(PRESET)["epochs"] if checked.root else 0).steps


def _costs(checked: CheckedReproduction) -> Costs:
    """Time a step of each method, a whole training of one step, and the measuring of some frames."""
    from reconet_bench.benchmark.equal_style import Judge
    from reconet_bench.core.machine import cpu_threads
    from reconet_bench.data.clip import ClipView
    from reconet_bench.training.field_pace import shares, start_seconds
    from reconet_bench.training.field_study import trained_model
    from reconet_bench.training.reproduction import Costs
    from reconet_bench.training.step_benchmark import step_seconds

    say("measuring the pace of this machine")
    plan, options = checked.plan(1), checked.options
    by_method = {str(model.recipe["method"]): model for model in plan.models}
    with cpu_threads(shares(checked.jobs, None)[0]):
        steps = {
            method: step_seconds(plan.settings(model, options.vgg), checked.data) for method, model in by_method.items()
        }
    with tempfile.TemporaryDirectory(prefix="reconet-bench-") as folder:
        start = start_seconds(plan.models[0], checked.words, Path(folder))
        clip = checked.videos[0].clip
        frames = min(_TIMED_FRAMES, len(clip))
        judge = Judge([ClipView(clip, None, frames)], options.vgg)
        for _ in range(2):  # the second time counts: the first one loads and renders
            began = time.monotonic()
            judge.measure(trained_model(Path(folder) / plan.models[0].name))
            taken = time.monotonic() - began
    # The content is measured beside the models.
    whole = taken / frames * sum(len(video.clip) for video in checked.videos) * (len(plan.compared) + 1)
    return Costs(steps, start, whole)


def _steps_in_time(checked: CheckedReproduction, ends: float, costs: Costs) -> int:
    from reconet_bench.training.field_pace import shares
    from reconet_bench.training.reproduction import steps_in_time

    _, parallel = shares(checked.jobs, None)
    return steps_in_time(ends, parallel, costs, checked.plan(1).models)
