"""``reconet-bench diff``: compare two runs, and fail if the second is worse: a gate for CI."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from reconet_bench.commands.base import COMMANDS, Command, err, out

#: Exit code of a regression; 2 is a user error.
REGRESSION = 1


@COMMANDS.register("diff")
class Diff(Command):
    """``reconet-bench diff``."""

    summary = "Compare two runs frame by frame; exit with code 1 if the second one is worse than the limits allow."
    example = 'reconet-bench diff reports/before reports/after --fail-on "temporal_error>+2%,speed_up<-5%"'

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("before", type=Path, metavar="RUN_A", help="run folder to compare with")
        parser.add_argument("after", type=Path, metavar="RUN_B", help="run folder to check")
        parser.add_argument(
            "--fail-on",
            metavar="LIMITS",
            help="metrics and the change that fails, if a difference is shown; empty for none "
            "(default: temporal_error and its long form >+2%%, style_distance >+5%%, speed_up <-10%%)",
        )

    def run(self, options: Any) -> None:
        from reconet_bench.benchmark import diff, gate
        from reconet_bench.report import terminal
        from reconet_bench.report.run import load_run

        before, after = load_run(options.before), load_run(options.after)
        found, notes = diff.changes(before, after)
        known = gate.gated_metrics(before)
        limits = gate.default_limits(known) if options.fail_on is None else gate.parse_limits(options.fail_on, known)
        limits, skipped = gate.same_machine(before, after, limits)
        rows = [
            (
                *(c.metric, c.better, c.model, c.where, c.before, c.after, c.relative),
                *(c.low, c.high, c.n, c.p, c.p_corrected, c.verdict),
            )
            for c in found
        ]
        out.print(terminal.changes(rows, diff.setup_changes(before, after)))
        for line in [
            *(f"{run.folder}: {problem}" for run in (before, after) for problem in run.problems),
            *notes,
            *skipped,
            *gate.unjudged(found, limits),
        ]:
            err.print(line, style="yellow", markup=False)
        failed = [*gate.missing(before, after, found, limits), *gate.failures(found, limits)]
        for line in failed:
            err.print(f"regression: {line}", style="bold red", markup=False)
        if failed:
            sys.exit(REGRESSION)
        out.print(f"No regression by {', '.join(limit.text for limit in limits) or 'no limit'}.", markup=False)
