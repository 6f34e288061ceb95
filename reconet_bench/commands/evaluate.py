"""``reconet-bench evaluate``: measure frames that another tool stylised; no model is needed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import (
    COMMANDS,
    Command,
    add_data_options,
    add_metrics_option,
    add_style_options,
    add_vgg_option,
    err,
    out,
    selection,
    warn,
    whole,
)


@COMMANDS.register("evaluate")
class Evaluate(Command):
    """``reconet-bench evaluate``."""

    summary = "Measure frames that another tool stylised; no model is needed."
    example = "reconet-bench evaluate --stylized my_frames --video alley_2 --sintel data/MPI-Sintel --json"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--stylized",
            type=Path,
            required=True,
            metavar="DIR",
            help="folder of stylised frames in order of their names, or a video: one frame for each content frame",
        )
        parser.add_argument(
            "--video",
            required=True,
            metavar="NAME|PATH",
            help="the content: a built-in clip, a Sintel or DAVIS sequence, a video file or a folder of frames",
        )
        parser.add_argument(
            "--offset",
            type=whole,
            default=0,
            metavar="N",
            help="the stylised frames are N frames behind the content, or ahead of it if N is negative (default: 0; a "
            "warning says which offset fits better)",
        )
        add_style_options(parser, "the frames")
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object {metric: value} and nothing else"
        )
        add_metrics_option(parser)
        add_vgg_option(parser)
        add_data_options(parser)

    def run(self, options: Any) -> None:
        import json

        from reconet_bench.benchmark.evaluate import evaluate
        from reconet_bench.data.footage import read_stylized
        from reconet_bench.metrics.base import METRICS
        from reconet_bench.metrics.measure import Absent, Measured, absence_reasons, chosen_metrics
        from reconet_bench.metrics.style import painting_style
        from reconet_bench.report import terminal
        from reconet_bench.report.numbers import with_interval

        chosen_metrics(options.metrics)  # an unknown name is reported before anything is read
        stylized = read_stylized(options.stylized, options.frames)
        style = painting_style(options.style, options.style_size, options.vgg) if options.style else None
        evaluation = evaluate(options.video, stylized, selection(options), style, options.offset, options.metrics)
        clip, estimates = evaluation.clip, evaluation.estimates
        if evaluation.warning:
            warn(f"{evaluation.warning}: give --offset {evaluation.offset + evaluation.lag}")
        if options.json:
            print(json.dumps({name: e.value for name, e in estimates.items()}))
            if clip.remark:
                err.print(f"{clip.name}: {clip.remark}", markup=False)
            for name, reason in absence_reasons(evaluation.outcomes).items():
                if METRICS[name].detail:
                    continue
                err.print(f"{name} not measured: {reason}", markup=False)
            return
        rows = []
        for name, outcome in evaluation.outcomes.items():
            match outcome:
                case Absent() if METRICS[name].detail:
                    continue  # the reason stands at the metric that it is a part of
                case Absent(reason):
                    rows.append((name, "–", "", f"not measured: {reason}"))
                case Measured():
                    e = estimates[name]
                    remark = f"; {clip.remark}" if METRICS[name].uses_motion and clip.remark else ""
                    rows.append((name, with_interval(e.value, e.low, e.high), str(e.n), METRICS[name].summary + remark))
        out.print(terminal.estimates(rows))
