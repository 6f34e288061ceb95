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
    out,
    own_folder,
    stopped,
    warn,
)
from reconet_bench.commands.compare_forecast import show_forecast
from reconet_bench.commands.compare_plan import BUDGET, NEW_FRAMES, NEW_PICTURES, ROUNDS, comparison_plan
from reconet_bench.commands.compare_progress import CompareProgress
from reconet_bench.commands.compare_resume import check_unchanged, resumed, run_facts
from reconet_bench.commands.engine_option import add_engine_option, chosen_engine
from reconet_bench.commands.motion_options import add_motion_options
from reconet_bench.commands.result_options import add_result_options


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
            "--threads",
            type=at_least(1),
            metavar="N",
            help="CPU threads of each runtime and of the metrics (default: all)",
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
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="say what there is to do, and how much time, memory and traffic it takes, here and on more nodes; "
            "a few frames are measured for it, and nothing is written",
        )
        parser.add_argument(
            "--resume",
            type=Path,
            metavar="RUN",
            help="go on with a run that was stopped, from what is in its folder, settings too; what is finished is not "
            "measured again",
        )
        parser.add_argument("--save-frames", action="store_true", help="keep the stylised frames in the run folder")
        parser.add_argument(
            "--no-pictures",
            action="store_true",
            help="write no pictures: the report then has no filmstrip and no player",
        )
        add_engine_option(parser)
        add_metrics_option(parser, "the usual ones in the first runtime of each model, and E(V) alone in the others")
        parser.add_argument("--json", action="store_true", help="print the records as one JSON list and nothing else")
        parser.add_argument("--output", "-o", type=Path, metavar="DIR", help="run folder (default: reports/TIME)")
        add_result_options(parser)
        add_motion_options(parser, true=True)
        add_onnx_options(parser)
        add_style_options(parser, "your own ONNX files; a checkpoint contains its style")
        add_vgg_option(parser)
        add_data_options(parser)

    def run(self, options: Any) -> None:
        if options.resume is not None:
            options = resumed(self, options)
        if options.dry_run:
            self._forecast(options)
            return
        folder = options.output or Path("reports") / time.strftime("%Y%m%d-%H%M%S")
        with own_folder(folder, "run", "records.jsonl", NEW_FRAMES, NEW_PICTURES) as target:
            self._compare(options, target)

    def _forecast(self, options: Any) -> None:
        began = time.perf_counter()
        from reconet_bench.models.loading import workspace

        with workspace() as folder:
            show_forecast(comparison_plan(options, Path(folder), Path(folder)), began, options.json)

    def _compare(self, options: Any, target: Path) -> None:
        from reconet_bench.benchmark.compare import compare
        from reconet_bench.benchmark.journal import Head, Journal, read_journal
        from reconet_bench.benchmark.plan import ComparisonResult, new_result
        from reconet_bench.benchmark.provenance import provenance
        from reconet_bench.core.errors import enough_memory
        from reconet_bench.core.files import replace_folder
        from reconet_bench.models.loading import workspace
        from reconet_bench.report import terminal
        from reconet_bench.report.run_folder import FILES, JOURNAL, GrowingRun, write_run

        again = options.resume is not None
        journal = read_journal(target) if again else Journal(path=target / JOURNAL)
        with workspace() as folder, chosen_engine(options.on) as engine:
            plan = comparison_plan(options, Path(folder), target)
            if again:
                check_unchanged(target, plan, options.seed, journal)
            engine.check(plan)
            command = {"command": run_facts(target)["command"]} if again else {}
            result = new_result() if journal.head is None else ComparisonResult(journal.head.run, journal.head.time)
            journal.head = Head(result.run, result.time)
            _prepare(target, again)
            failure: BaseException | None = None
            with CompareProgress(plan.steps, len(plan.clips)) as progress:
                growing = GrowingRun(target, lambda: {**provenance(plan, options.seed, decode=False), **command}, again)

                def grow() -> None:
                    growing.grow(result.records, result.samples, result.timings, result.skipped)
                    if result.records:
                        journal.save()

                def step(text: str) -> None:
                    progress.step(text, result.records)
                    grow()

                journal.on_add = grow
                try:
                    with enough_memory("for this comparison: give a smaller --size or fewer --frames"):
                        compare(plan, step, result, journal, engine)
                    progress.show(result.records)
                except BaseException as stop:  # whatever it was that stopped it, what was measured is kept
                    if not result.records:
                        if not again:
                            _prepare(target)
                        raise
                    failure = stop
            notes = {"skipped": result.skipped, "warnings": result.warnings, "interrupted": failure is not None}
            facts = {**provenance(plan, options.seed), **engine.facts, **command, **notes}
            curves = {model.source.name: model.curves for model in plan.models if model.curves}
            journal.save()
            for name, new in (("pictures", NEW_PICTURES), ("frames", NEW_FRAMES)):
                replace_folder(target / name, target / new)
            write_run(target, result.records, result.samples, result.timings, result.differences, facts, curves)
            if failure is None:
                (target / JOURNAL).unlink(missing_ok=True)
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
            raise stopped(failure, target, f": go on with --resume {target}")


def _prepare(target: Path, again: bool = False) -> None:
    """Make room for new frames and pictures; a run that goes on has those that it has made.

    Of a run before this one nothing is touched until there are numbers to take its place.
    """
    for name, new in (("pictures", NEW_PICTURES), ("frames", NEW_FRAMES)):
        if not again:
            shutil.rmtree(target / new, ignore_errors=True)
        elif (target / name).is_dir() and not (target / new).is_dir():
            (target / name).rename(target / new)
