"""``reconet-bench compare``: compare models on videos in every runtime: stability, fidelity, speed."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import (
    COMMANDS,
    Command,
    add_data_options,
    add_metrics_option,
    add_onnx_options,
    add_style_options,
    add_vgg_option,
    at_least,
    between,
    err,
    onnx_hints,
    out,
    own_folder,
    selection,
    stopped,
    warn,
)
from reconet_bench.commands.compare_progress import CompareProgress
from reconet_bench.commands.motion_options import TRUE_FLOW, add_motion_options, give_motion
from reconet_bench.commands.result_options import add_result_options, rendered_models

#: Fewest rounds of the speed measurement, and seconds for more, unless the user says otherwise.
ROUNDS, BUDGET = 5, 20.0


@COMMANDS.register("compare")
class Compare(Command):
    """``reconet-bench compare``."""

    summary = "Compare models on videos in every runtime: stability, fidelity, speed."
    example = "reconet-bench compare --videos alley_2 market_6 --sintel data/MPI-Sintel"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--videos",
            nargs="+",
            default=[],
            metavar="NAME",
            help="built-in clips, Sintel or DAVIS sequences, video files, folders of frames, or a folder that holds "
            "all of DAVIS (default: stroll carousel lantern rush)",
        )
        parser.add_argument(
            "--methods",
            nargs="+",
            default=[],
            metavar="NAME",
            help="use the shipped models of these methods (default: those of reconet, dougherty and johnson in the "
            "style, and identity)",
        )
        parser.add_argument(
            "--style-name",
            default="starry_night",
            metavar="NAME",
            help="style of the shipped models; see 'reconet-bench list models' (default: starry_night)",
        )
        parser.add_argument(
            "--network",
            default="lite",
            metavar="NAME",
            help="network of the shipped models; reconet is the dissertation's (default: lite)",
        )
        parser.add_argument(
            "--models",
            nargs="+",
            default=[],
            metavar="MODEL",
            help="shipped models by name, checkpoints, your own ONNX files, or descriptions (MODEL.toml)",
        )
        parser.add_argument(
            "--runtimes",
            nargs="+",
            default=[],
            metavar="NAME",
            help="runtimes, or variants such as openvino:bf16; see 'reconet-bench list runtimes'. auto: the fastest "
            "one whose frames match the reference at the size of the first video. all: every one (default: the usual "
            "ones that are installed)",
        )
        parser.add_argument(
            "--device",
            default="auto",
            metavar="auto|cpu|cuda|cuda:N",
            help="device to run on; auto uses CUDA if there is a GPU (default: auto)",
        )
        parser.add_argument(
            "--threads", type=at_least(1), metavar="N", help="CPU threads of each runtime (default: all)"
        )
        parser.add_argument(
            "--quick",
            action="store_true",
            help="a first look in half a minute: 7 frames of 224x128 of each video, two rounds, PyTorch and ONNX "
            "Runtime, no pictures; options that you give count more",
        )
        parser.add_argument(
            "--speed-budget",
            type=between(0, 1e6),
            default=BUDGET,
            metavar="SECONDS",
            help="time for each model and frame size in which more rounds are taken, until the speed relative to "
            "PyTorch is known within 3 %% (default: 20)",
        )
        parser.add_argument(
            "--rounds",
            type=at_least(0),
            default=ROUNDS,
            metavar="N",
            help="fewest rounds of the speed measurement; 0 skips it (default: 5)",
        )
        parser.add_argument("--save-frames", action="store_true", help="keep the stylised frames in the run folder")
        parser.add_argument(
            "--no-pictures",
            action="store_true",
            help="write no pictures: the report then has no filmstrip and no player",
        )
        add_metrics_option(parser)
        parser.add_argument("--json", action="store_true", help="print the records as one JSON list and nothing else")
        parser.add_argument("--output", "-o", type=Path, metavar="DIR", help="run folder (default: reports/TIME)")
        add_result_options(parser)
        add_motion_options(parser, true=True)
        add_onnx_options(parser)
        add_style_options(parser, "your own ONNX files; a checkpoint contains its style")
        add_vgg_option(parser)
        add_data_options(parser)

    def run(self, options: Any) -> None:
        folder = options.output or Path("reports") / time.strftime("%Y%m%d-%H%M%S")
        with own_folder(folder, "run", "records.jsonl", "frames.new") as target:
            self._compare(options, target)

    def _compare(self, options: Any, target: Path) -> None:
        from reconet_bench.benchmark.compare import compare
        from reconet_bench.benchmark.paired_differences import differences
        from reconet_bench.benchmark.plan import Plan, new_result
        from reconet_bench.benchmark.provenance import provenance
        from reconet_bench.core.errors import enough_memory
        from reconet_bench.core.files import replace_folder
        from reconet_bench.core.record import CONTENT_METHOD
        from reconet_bench.metrics.measure import chosen_metrics
        from reconet_bench.models.loading import ShippedSet, load_all, stabilised, with_rendered, workspace
        from reconet_bench.models.painting import give_style, paint
        from reconet_bench.report import terminal
        from reconet_bench.report.run_folder import FILES, GrowingRun, write_run
        from reconet_bench.runtimes.selection import Resources, usable_runtimes

        if options.quick:
            _quicken(options)
        hints = onnx_hints(options)
        chosen_metrics(options.metrics)  # an unknown name is reported before anything is read
        clips = selection(options).clips(options.videos)
        for clip in clips:
            clip.check(range(len(clip)))
        runtimes = usable_runtimes(options.runtimes, warn)
        with workspace() as folder:
            shipped = ShippedSet(options.style_name, options.network)
            rendered = rendered_models(options, clips, warn)
            alone = rendered and not options.models
            methods = options.methods or ([CONTENT_METHOD] if alone else [])
            models = with_rendered(load_all(options.models, methods, Path(folder), hints, warn, shipped), rendered)
            models = stabilised(models, options.stabilise, options.stabilise_strength)
            give_motion(models, options, clips)
            paint(models, options.style_size, options.vgg)
            if options.style:
                give_style(models, options.style, options.style_size, options.vgg)
            # Of a run before this one nothing is touched until there are numbers to take its place.
            pictures, new_frames = Path(folder) / "pictures", target / "frames.new"
            shutil.rmtree(new_frames, ignore_errors=True)
            plan = Plan(
                models,
                clips,
                runtimes,
                Resources(options.device, options.threads),
                options.rounds,
                options.vgg,
                new_frames if options.save_frames else None,
                None if options.no_pictures else pictures,
                speed_budget=options.speed_budget,
                true_motion=options.state_flow == TRUE_FLOW,
                metrics=options.metrics,
            )
            with CompareProgress(plan.steps, len(clips)) as progress:
                result, failure = new_result(), None
                growing = GrowingRun(target, lambda: provenance(plan, options.seed, decode=False))

                def step(text: str) -> None:
                    progress.step(text, result.records)
                    growing.grow(result.records, result.samples, result.timings, result.skipped)

                try:
                    with enough_memory("for this comparison: give a smaller --size or fewer --frames"):
                        compare(plan, step, result)
                    progress.show(result.records)
                except BaseException as stop:  # whatever it was that stopped it, what was measured is kept
                    if not result.records:
                        shutil.rmtree(new_frames, ignore_errors=True)
                        raise
                    failure = stop
                    result.differences = differences(models, clips, result.samples)
            notes = {"skipped": result.skipped, "warnings": result.warnings, "interrupted": failure is not None}
            facts = {**provenance(plan, options.seed), **notes}
            curves = {model.source.name: model.curves for model in models if model.curves}
            replace_folder(target / "pictures", pictures)
            replace_folder(target / "frames", new_frames)
            write_run(target, result.records, result.samples, result.timings, result.differences, facts, curves)
        if options.json:
            print(json.dumps([dataclasses.asdict(record) for record in result.records]))
        else:
            out.print(terminal.comparison(result.records, result.differences, options.metrics))
        for line in result.warnings:
            warn(line)
        for line in result.chosen:
            err.print(f"auto: {line}", markup=False)
        for line in result.skipped:
            err.print(f"skipped {line}", style="yellow", markup=False)
        (err if options.json else out).print(f"Written to {target}: {', '.join(FILES)}", markup=False)
        if failure is not None:
            raise stopped(failure, target)


def _quicken(options: Any) -> None:
    """Make a first look of a comparison, except where the user says otherwise."""
    from reconet_bench.core.size import Size

    options.size = options.size or Size(128, 224)
    options.frames = options.frames or 7
    options.runtimes = options.runtimes or ["torch", "onnxruntime"]
    options.no_pictures = True
    if (options.rounds, options.speed_budget) == (ROUNDS, BUDGET):
        options.rounds, options.speed_budget = 2, 0.0
