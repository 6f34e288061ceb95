"""``reconet-bench study field``: every objective from one trunk, compared at equal style."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import add_vgg_option, at_least, between, own_folder, size
from reconet_bench.commands.study_field_start import STEPS, STUDY_FILE, check, prepare, say, words
from reconet_bench.commands.study_runner import chosen_runner

if TYPE_CHECKING:
    from reconet_bench.benchmark.equal_style import Judge
    from reconet_bench.training.field_study import Course

#: What an option is if it is not given. The parser's own default is None, so that other studies can refuse it.
DEFAULTS: dict[str, Any] = {
    "trunk": "johnson-lite-starry_night",
    "network": "lite",
    "size": 144,
    "points": 4,
    "seed": 0,
    "precision": "auto",
    "stored_crops": 1024,
    "frames": 24,
    "video_size": size("256x144"),
}
#: Other options, which have no such value.
_OTHERS = ("style_image", "methods", "steps", "minutes", "threads", "textures", "vgg")
#: All options of the study, as attributes.
OWN = (*DEFAULTS, *_OTHERS)


def add_field_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the study ``field``."""
    group = parser.add_argument_group("study field")
    group.add_argument(
        "--trunk",
        metavar="MODEL",
        help=f"checkpoint that every objective starts from: a shipped model or a file (default: {DEFAULTS['trunk']})",
    )
    group.add_argument(
        "--style-image",
        type=Path,
        metavar="FILE",
        help="the painting (default: the file that the trunk names, if it is here or beside the trunk; structure needs "
        "it)",
    )
    group.add_argument(
        "--methods", nargs="+", metavar="NAME", help="objectives; johnson always stands beside them (default: all)"
    )
    group.add_argument("--network", metavar="NAME", help=f"network of the trunk (default: {DEFAULTS['network']})")
    group.add_argument(
        "--points",
        type=at_least(1),
        metavar="N",
        help=f"trainings of each method, one for each weight that is tried (default: {DEFAULTS['points']})",
    )
    group.add_argument(
        "--steps", type=at_least(1), metavar="N", help=f"steps of each training (default: {STEPS}, or see --minutes)"
    )
    group.add_argument(
        "--minutes",
        type=between(0, 1e6, ends=False),
        metavar="M",
        help="time for all: without --steps, the steps are chosen so that the study fits; what is not finished in "
        "time is left out",
    )
    group.add_argument(
        "--size",
        type=at_least(32),
        metavar="N",
        help=f"side of the training crops in pixels (default: {DEFAULTS['size']}; structure: 128)",
    )
    group.add_argument("--threads", type=at_least(1), metavar="N", help="CPU threads of each training (default: all)")
    group.add_argument("--seed", type=at_least(0), metavar="N", help="random seed of the trainings (default: 0)")
    group.add_argument(
        "--precision", metavar="auto|bf16|fp16|fp32", help="number format of the trainings, as in train (default: auto)"
    )
    group.add_argument(
        "--textures",
        type=Path,
        metavar="DIR",
        help="folder of photographs to render the training scenes from (default: those of scikit-image, which the "
        "evaluation clips show too)",
    )
    group.add_argument(
        "--stored-crops",
        type=at_least(1),
        metavar="N",
        help=f"crops that are made first and that all train on (default: {DEFAULTS['stored_crops']}, or as many as "
        "steps)",
    )
    group.add_argument(
        "--video-size",
        type=size,
        metavar="WxH",
        help=f"size of the evaluation clips (default: {DEFAULTS['video_size']}; structure: 448x256)",
    )
    group.add_argument(
        "--frames", type=at_least(7), metavar="N", help=f"frames of each of them (default: {DEFAULTS['frames']})"
    )
    add_vgg_option(group)  # type: ignore[arg-type]


def run_field_study(options: Any) -> None:
    """Check everything, train, and write tables and plot.

    Raises:
        ReconetBenchError: an option is invalid, and nothing is trained then; or a method failed, after the results of
            the others were written.
        KeyboardInterrupt: on Ctrl-C, after the results so far were written.
    """
    from reconet_bench.commands.study_field_result import write_result
    from reconet_bench.core.errors import TrainingError
    from reconet_bench.training.field_study import Interrupted, run_field

    began = time.monotonic()
    for name, value in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    checked = check(options)
    with (
        own_folder(options.output or Path("runs") / "study-field", "field study", STUDY_FILE) as folder,
        chosen_runner(options, words(checked, folder), folder) as runner,
    ):
        objectives, limits = prepare(checked, folder, began)
        if options.on is not None:
            limits = replace(limits, parallel=limits.jobs)  # each has cores of its own
        interrupt = None
        try:
            courses: Sequence[Course] = run_field(
                objectives, words(checked, folder), folder / "points", _judged(checked.judge), limits, say, runner
            )
        except Interrupted as stop:
            interrupt, courses = stop, stop.courses
        if courses[0].points:
            write_result(checked, courses, folder)
        if interrupt is not None:
            raise KeyboardInterrupt(
                f"study field: stopped: the results so far are in {folder}; run the same command again to continue"
            )
    failed = "; ".join(f"{course.ended}" for course in courses if course.failed)
    if failed:
        raise TrainingError(f"study field: {failed}; the other rows stand; run the same command again to continue")
    if not courses[0].points:
        raise TrainingError(
            "study field: the time was over before the first training: run the same command again to continue"
        )


def _judged(judge: Judge) -> Any:
    from reconet_bench.benchmark.equal_style import MEASURED_FILE, STYLE
    from reconet_bench.training.field_study import trained_model

    return lambda run: judge.measure(trained_model(run), run / MEASURED_FILE).mean(STYLE).value
