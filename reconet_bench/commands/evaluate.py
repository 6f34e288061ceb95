"""``reconet-bench evaluate``: measure frames that another tool stylised; no model is needed."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconet_bench.commands.base import (
    COMMANDS,
    Command,
    add_data_options,
    add_metrics_option,
    add_style_options,
    add_vgg_option,
    at_least,
    err,
    out,
    selection,
    warn,
    whole,
)
from reconet_bench.commands.engine_option import add_engine_option, chosen_place
from reconet_bench.core.errors import DataError
from reconet_bench.core.machine import usable_cpus

if TYPE_CHECKING:
    from reconet_bench.benchmark.evaluate import Evaluation
    from reconet_bench.core.place import Needs
    from reconet_bench.data.selection import Selection


@COMMANDS.register("evaluate")
class Evaluate(Command):
    """``reconet-bench evaluate``."""

    summary = "Measure frames that another tool stylised; no model is needed."
    example = "reconet-bench evaluate --stylized my_frames --video alley_2 --sintel data/MPI-Sintel --json"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--stylized",
            nargs="+",
            type=Path,
            required=True,
            metavar="DIR",
            help="folder of stylised frames in order of their names, or a video: one frame for each content frame; "
            "several are measured one by one",
        )
        parser.add_argument(
            "--video",
            nargs="+",
            required=True,
            metavar="NAME|PATH",
            help="the content: a built-in clip, a Sintel or DAVIS sequence, a video file or a folder of frames; "
            "one for each of --stylized, or one for all",
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
            "--json",
            action="store_true",
            help="print one JSON object {metric: value} and nothing else; of several results one each, by their paths",
        )
        parser.add_argument(
            "--threads", type=at_least(1), metavar="N", help="CPU threads of the metrics (default: all)"
        )
        add_engine_option(parser)
        add_metrics_option(parser)
        add_vgg_option(parser)
        add_data_options(parser)

    def run(self, options: Any) -> None:
        from reconet_bench.metrics.measure import chosen_metrics

        chosen_metrics(options.metrics)  # an unknown name is reported before anything is read
        if len(options.video) not in (1, len(options.stylized)):
            raise DataError(
                f"{len(options.stylized)} stylised results and {len(options.video)} videos: give one video for each, "
                "or one for all"
            )
        if doubles := [str(path) for path, times in Counter(options.stylized).items() if times > 1]:
            raise DataError(f"--stylized names {doubles[0]} twice")
        videos = options.video if len(options.video) > 1 else options.video * len(options.stylized)
        evaluations = _evaluated(options, list(zip(options.stylized, videos, strict=True)))
        if options.json:
            _print_json(evaluations)
            return
        for path, evaluation in evaluations.items():
            if len(evaluations) > 1:
                out.print(f"{path} ({evaluation.name})", markup=False)
            _print_table(evaluation)


def _evaluated(options: Any, pairs: Sequence[tuple[Path, str]]) -> dict[Path, Evaluation]:
    """What came of each result, in order; tells what to know of each."""
    import torch

    from reconet_bench.benchmark.evaluate import Measuring, evaluate_files
    from reconet_bench.core.place import Call
    from reconet_bench.data.selection import absolute_name
    from reconet_bench.metrics.style import painting_style

    wanted, given, cores = selection(options), pairs, options.threads or usable_cpus()
    with chosen_place(options.on) as place:
        if options.on is not None:
            wanted, given = wanted.absolute(), [(path.resolve(), absolute_name(video)) for path, video in pairs]
            place.check(_needs(wanted, given), cores)
        style = painting_style(options.style, options.style_size, options.vgg) if options.style else None
        threads = options.threads or torch.get_num_threads()
        how = place.put(Measuring(wanted, style, options.offset, options.metrics, threads))
        calls = [
            Call(str(path), path, evaluate_files, (*one, how), cores)
            for (path, _), one in zip(pairs, given, strict=True)
        ]
        found = {path: evaluation for path, _, evaluation in place.each(calls)}
    for path, _ in pairs:
        if found[path].warning:
            line = f"{found[path].warning}: give --offset {found[path].offset + found[path].lag}"
            warn(line if len(pairs) == 1 else f"{path}: {line}")
    return {path: found[path] for path, _ in pairs}


def _needs(wanted: Selection, pairs: Sequence[tuple[Path, str]]) -> Needs:
    """What is read of pairs with absolute paths; a built-in clip is made, not read."""
    from functools import partial

    from reconet_bench.data.fingerprints import fingerprints
    from reconet_bench.data.selection import DEFAULT_VIDEOS

    videos = {video for _, video in pairs if video not in DEFAULT_VIDEOS}
    paths = [path for path, _ in pairs] + sorted(Path(video) for video in videos if Path(video).is_absolute())
    named = sorted(video for video in videos if not Path(video).is_absolute())
    addresses = [address for name in named for address in wanted.found([name]).values()]
    return partial(fingerprints, addresses, paths)


def _print_json(evaluations: Mapping[Path, Evaluation]) -> None:
    """One object, or one of each by its path; reasons on standard error."""
    import json

    from reconet_bench.metrics.base import METRICS
    from reconet_bench.metrics.measure import absence_reasons

    values = {str(path): {name: e.value for name, e in one.estimates.items()} for path, one in evaluations.items()}
    several = len(values) > 1
    print(json.dumps(values if several else next(iter(values.values()))))
    for path, one in evaluations.items():
        begin = f"{path}: " if several else ""
        if one.remark:
            err.print(f"{begin}{one.name}: {one.remark}", markup=False)
        for name, reason in absence_reasons(one.outcomes).items():
            if not METRICS[name].detail:
                err.print(f"{begin}{name} not measured: {reason}", markup=False)


def _print_table(evaluation: Evaluation) -> None:
    from reconet_bench.metrics.base import METRICS
    from reconet_bench.metrics.measure import Absent, Measured
    from reconet_bench.report import terminal
    from reconet_bench.report.numbers import with_interval

    rows = []
    for name, outcome in evaluation.outcomes.items():
        match outcome:
            case Absent() if METRICS[name].detail:
                continue  # the reason stands at the metric that it is a part of
            case Absent(reason):
                rows.append((name, "–", "", f"not measured: {reason}"))
            case Measured():
                e = evaluation.estimates[name]
                remark = f"; {evaluation.remark}" if METRICS[name].uses_motion and evaluation.remark else ""
                rows.append((name, with_interval(e.value, e.low, e.high), str(e.n), METRICS[name].summary + remark))
    out.print(terminal.estimates(rows))
