"""``reconet-bench study structure``: candidates for the network, their speed, and what each reaches in equal time."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import at_least, between, err, own_folder, size, warn
from reconet_bench.commands.study_runner import chosen_runner

if TYPE_CHECKING:
    import numpy as np

    from reconet_bench.benchmark.structure_speed import CandidateSpeed
    from reconet_bench.commands.study_structure_start import CheckedStructures
    from reconet_bench.runtimes.base import ModelSource

#: What an option is if it is not given; those of ``study field`` with the same name may be other values.
DEFAULTS: dict[str, Any] = {
    "cpu_minutes": 5.0,
    "speed_size": size("448x256"),
    "runtimes": ["openvino:bf16", "onnxruntime", "onnxruntime-web:wasm"],
    "rounds": 12,
    "size": 128,
    "seed": 0,
    "precision": "auto",
    "stored_crops": 1024,
    "frames": 24,
    "video_size": size("448x256"),
}
#: Options that no other study has, as attributes.
NEW = ("candidates", "cpu_minutes", "speed_size", "runtimes", "rounds")
#: All options of the study, as attributes.
OWN = (*NEW, *(name for name in DEFAULTS if name not in NEW), "style_image", "threads", "textures", "vgg")
#: File of the times: without it, they are taken anew.
SPEED_FILE = "speed.json"


def add_structure_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options that only the study ``structure`` has."""
    group = parser.add_argument_group(
        "study structure",
        "of study field, also --style-image (needed), --size, --threads, --seed, --precision, --textures, "
        "--stored-crops, --video-size, --frames and --vgg",
    )
    group.add_argument(
        "--candidates",
        nargs="+",
        metavar="NAME",
        help="networks to try, as 'reconet-bench list networks' names them; lite always stands beside them "
        "(default: lite-..., which each change one thing, and small)",
    )
    group.add_argument(
        "--cpu-minutes",
        type=between(0, 1e6, ends=False),
        metavar="M",
        help=f"processor minutes of each training; they choose its steps (default: {DEFAULTS['cpu_minutes']:g})",
    )
    group.add_argument(
        "--speed-size", type=size, metavar="WxH", help=f"size of the timed frames (default: {DEFAULTS['speed_size']})"
    )
    group.add_argument(
        "--runtimes", nargs="+", metavar="NAME", help=f"to time in (default: {' '.join(DEFAULTS['runtimes'])})"
    )
    group.add_argument(
        "--rounds", type=at_least(2), metavar="N", help=f"turns of each candidate (default: {DEFAULTS['rounds']})"
    )


def run_structure_study(options: Any) -> None:
    """Check everything, train, measure, time, and write tables and plot.

    Raises:
        ReconetBenchError: an option is invalid, and nothing is trained then; or a candidate failed, after the results
            of the others were written.
        KeyboardInterrupt: on Ctrl-C, after the results so far were written.
    """
    from reconet_bench.commands.study_structure_result import measured, write_structures
    from reconet_bench.commands.study_structure_start import STUDY_FILE, check, prepare, words
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.training.fleet import run_fleet

    for name, value in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    checked = check(options)
    failed, stop = "", None
    with (
        own_folder(options.output or Path("runs") / "study-structure", "structure study", STUDY_FILE) as folder,
        chosen_runner(options, words(checked, folder), folder) as runner,
    ):
        speeds: Mapping[str, Mapping[str, CandidateSpeed]] = {}
        models = prepare(checked, folder)
        arguments = {model.name: words(checked, folder) for model in models}
        try:
            try:
                run_fleet(models, arguments, folder / "candidates", options.jobs, report=_say, runner=runner)
            except TrainingError as error:
                failed = str(error)
                warn(failed)
            reached = measured(checked, models, folder)
            speeds = _speeds(checked, folder)
        except KeyboardInterrupt as asked:
            stop, reached = asked, measured(checked, models, folder, anew=False)
        write_structures(checked, models, reached, speeds, folder)
    failed = "; ".join(filter(None, [failed, reached.failed]))
    if stop is not None:
        raise KeyboardInterrupt(
            f"study structure: stopped: the results so far are in {folder}; run the same command again to continue"
        )
    if failed:
        raise TrainingError(f"study structure: {failed}; the other rows stand; run the same command again to continue")


def _speeds(checked: CheckedStructures, folder: Path) -> dict[str, dict[str, CandidateSpeed]]:
    """Times by runtime and candidate; what ``speed.json`` holds of the same size and candidates is not timed again."""
    from reconet_bench.benchmark.content_frames import ContentFrames
    from reconet_bench.benchmark.structure_speed import CandidateSpeed, time_candidates, untrained
    from reconet_bench.core.files import write_text
    from reconet_bench.data.selection import Selection
    from reconet_bench.models.loading import workspace
    from reconet_bench.training.structure_study import METHOD

    options, place = checked.options, folder / SPEED_FILE
    facts = {"size": str(options.speed_size), "rounds": options.rounds, "candidates": list(checked.candidates)}
    known = _kept(place)
    timed: dict[str, Any] = known.get("runtimes", {}) if all(known.get(k) == v for k, v in facts.items()) else {}
    with workspace() as exports:
        sources: dict[str, ModelSource] = {}
        frames: list[np.ndarray] = []
        for runtime in options.runtimes:
            if runtime in timed or checked.missing.get(runtime):
                continue
            if not sources:
                clip = Selection(size=options.speed_size, frames=8).clips()[0]
                frames = list(ContentFrames().of(clip))[:8]
                sources = {name: untrained(name, METHOD, Path(exports)) for name in checked.candidates}
            _say(f"timing {len(sources)} candidates in {runtime} at {options.speed_size[1]}x{options.speed_size[0]}")
            found = time_candidates(sources, runtime, frames, options.rounds, _say)
            timed[runtime] = {name: asdict(speed) for name, speed in found.items()}
            write_text(place, json.dumps({**facts, "runtimes": timed}, indent=1))
    return {
        runtime: {name: CandidateSpeed(**speed) for name, speed in timed[runtime].items()}
        for runtime in options.runtimes
        if runtime in timed
    }


def _kept(place: Path) -> dict[str, Any]:
    """What a file of an earlier run holds; nothing if there is none, or it is broken."""
    try:
        return dict(json.loads(place.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _say(text: str) -> None:
    err.print(text, markup=False)
